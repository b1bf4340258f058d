#include "property_tests/golden/judge/small_recording.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "golden/files/recording_header.h"
#include "golden/files/recording_shapes.h"
#include "golden/judge/judging.h"
#include "golden/judge/model_walk.h"

namespace meshparity {
namespace {

constexpr std::size_t kSamples = 4;

std::vector<float> rounded(const std::vector<double>& values) {
  std::vector<float> floats;
  for (const double value : values) floats.push_back(static_cast<float>(value));
  return floats;
}

/// Records what a walk gives, rounded.
class RoundingOperands final : public Operands {
 public:
  explicit RoundingOperands(RecordedStep& step) : step_(step) {}

  void give(const std::string& tensor, const std::string& /*kind*/,
            BoundedMatrix computed) override {
    step_.tensors[tensor] = {{computed.rows, computed.columns}, rounded(computed.value)};
  }
  BoundedMatrix take(const std::string& tensor) override {
    return matrix_of(step_.tensors.at(tensor));
  }
  void give_losses(const BoundedMatrix& losses) override {
    const auto targets = std::ranges::count_if(step_.targets, [](Token t) { return t >= 0; });
    for (RecordedPart& part : step_.parts) {
      double sum = 0;
      for (std::size_t row = part.samples.begin * step_.positions;
           row < part.samples.end * step_.positions; ++row) {
        sum += losses.value[row];
      }
      const double mean = sum / static_cast<double>(targets) / part.weight;
      part.loss = static_cast<double>(static_cast<float>(mean));
    }
    step_.has_losses = true;
  }
  void give_gradient(const std::string& name, const std::string& /*kind*/,
                     BoundedMatrix computed) override {
    if (name.find(' ') != std::string::npos) return;  // of one use
    step_.tensors["grad/" + name] = {step_.tensors.at("param/" + name).shape,
                                     rounded(computed.value)};
  }
  BoundedMatrix parameter(const std::string& name) override {
    return matrix_of(step_.tensors.at("param/" + name));
  }

 private:
  RecordedStep& step_;
};

using Shape = std::vector<std::size_t>;

class Maker {
 public:
  Maker(RecordedStep& step, const SmallOptions& options) : step_(step), options_(options) {}

  void parameters() {
    const bool by_output = options_.weights == WeightLayout::output_input;
    const auto linear = [&](const std::string& name, std::size_t inputs, std::size_t outputs) {
      add(name + ".weight", by_output ? Shape{outputs, inputs} : Shape{inputs, outputs}, 0.3F);
      if (options_.biases) add(name + ".bias", {outputs}, 0.1F);
    };
    if (options_.kind == RecordedModel::Kind::mlp) {
      add("embedding.weight", {11, 4}, 1);
      linear("hidden.0", 12, 7);
      linear("hidden.1", 7, 6);
      linear("output", 6, 11);
      return;
    }
    add("wte.weight", {11, 8}, 0.5F);
    add("wpe.weight", {6, 8}, 0.5F);
    for (std::size_t i = 0; i < 2; ++i) {
      const std::string h = fmt::format("h.{}.", i);
      norm(h + "ln_1");
      linear(h + "attn.c_attn", 8, 24);
      linear(h + "attn.c_proj", 8, 8);
      norm(h + "ln_2");
      linear(h + "mlp.c_fc", 8, 16);
      linear(h + "mlp.c_proj", 16, 8);
    }
    norm("ln_f");
    if (!options_.tied) add("lm_head.weight", {11, 8}, 0.5F);
  }

  std::vector<Token> tokens(std::size_t count, bool with_gaps) {
    std::vector<Token> drawn;
    for (std::size_t i = 0; i < count; ++i) {
      const auto token = static_cast<Token>(random_() % 11);
      drawn.push_back(with_gaps && i % 4 == 3 ? kNoTarget : token);
    }
    return drawn;
  }

  void moments() {
    for (const std::string& name : parameter_names(step_.model)) {
      const Shape shape = step_.tensors.at("param/" + name).shape;
      put("state/exp_avg/" + name, shape, 0.01F, 0);
      put("state/exp_avg_sq/" + name, shape, 0.01F, 0);
      for (float& v : step_.tensors.at("state/exp_avg_sq/" + name).values) v *= v;
    }
  }

  void update() {
    std::vector<std::span<const float>> gradients;
    const auto names = parameter_names(step_.model);
    for (const std::string& name : names) {
      gradients.emplace_back(step_.tensors.at("grad/" + name).values);
    }
    BoundedNumber clip{1, 0};
    if (step_.clip) {
      const BoundedNumber norm = norm_of(gradients, NormOrder::any, FreeArithmetic::float32());
      clip = {clip_factor(norm, step_.clip->max_norm, step_.clip->added()).value, 0};
    }
    const RecordedOptimizer& o = *step_.optimizer;
    for (const std::string& name : names) {
      const auto of = [&](const std::string& group) {
        return matrix_of(step_.tensors.at(group + name));
      };
      const bool decays = std::ranges::find(*o.decayed, name) != o.decayed->end();
      const AdamWNumbers numbers{o.lr,    o.beta1, o.beta2, o.epsilon, decays ? o.weight_decay : 0,
                                 o.update};
      const AdamWMoments after =
          adamw_moments(of("grad/"), clip, of("state/exp_avg/"), of("state/exp_avg_sq/"), numbers);
      const Shape shape = step_.tensors.at("param/" + name).shape;
      step_.tensors["state_after/exp_avg/" + name] = {shape, rounded(after.first.value)};
      step_.tensors["state_after/exp_avg_sq/" + name] = {shape, rounded(after.second.value)};
      const AdamWMoments held{of("state_after/exp_avg/"), of("state_after/exp_avg_sq/")};
      step_.tensors["param_after/" + name] = {
          shape, rounded(adamw_values(of("param/"), held, numbers).value)};
    }
  }

 private:
  void norm(const std::string& name) {
    put("param/" + name + ".weight", {8}, 0.2F, 1);
    if (options_.biases) put("param/" + name + ".bias", {8}, 0.1F, 0);
  }
  void add(const std::string& name, const Shape& shape, float deviation) {
    put("param/" + name, shape, deviation, 0);
  }
  void put(const std::string& name, const Shape& shape, float deviation, float mean) {
    std::normal_distribution<float> normal(mean, deviation);
    RecordedTensor& tensor = step_.tensors[name];
    tensor.shape = shape;
    tensor.values.resize(*value_count(shape));
    for (float& value : tensor.values) value = normal(random_);
  }

  RecordedStep& step_;
  const SmallOptions& options_;
  std::mt19937_64 random_{7};
};

bool is_of_rows(const std::string& name) {
  return name.starts_with("input/") || name.starts_with("output/") ||
         name.starts_with("grad_input/") || name.starts_with("grad_output/");
}

StoredTensor whole_numbers(const std::string& name, const Shape& shape,
                           const std::vector<Token>& values) {
  return {name, shape, std::vector<std::int32_t>(values.begin(), values.end())};
}

}  // namespace

RecordedStep small_step(const SmallOptions& options) {
  RecordedStep step;
  const bool is_gpt2 = options.kind == RecordedModel::Kind::gpt2;
  step.model = {.kind = options.kind,
                .layers = 2,
                .heads = is_gpt2 ? std::size_t{2} : 0,
                .epsilon = 1e-5,
                .gelu = options.gelu,
                .tied = is_gpt2 && options.tied,
                .biases = options.biases,
                .dropout = 0,
                .weights = options.weights};
  step.samples = kSamples;
  step.positions = is_gpt2 ? 5 : 1;
  for (std::size_t p = 0; p < options.parts; ++p) {
    const Range samples = share_of(kSamples, options.parts, p);
    step.parts.push_back(
        {.samples = samples, .weight = 1 / static_cast<double>(options.parts), .rank = p});
  }
  Maker maker(step, options);
  maker.parameters();
  step.tokens = maker.tokens(kSamples * (is_gpt2 ? 5 : 3), false);
  step.targets = maker.tokens(step.rows(), true);
  const RowScales scales = row_scales(step);
  RoundingOperands operands(step);
  walk_model(step, Operations(FreeArithmetic::float32()),
             {scales.losses, scales.gradients, options.parts}, operands);
  const std::vector<std::string> names = activation_names(step.model);
  std::erase_if(step.tensors, [&](const auto& entry) {
    return is_of_rows(entry.first) && std::ranges::find(names, entry.first) == names.end();
  });
  step.optimizer = RecordedOptimizer{.lr = 1e-3,
                                     .weight_decay = 0.1,
                                     .update = 3,
                                     .decayed = {{is_gpt2 ? "wte.weight" : "embedding.weight"}}};
  if (options.max_norm > 0) {
    step.clip = {.max_norm = options.max_norm, .formula = RecordedClip::Formula::torch};
  }
  maker.moments();
  maker.update();
  return step;
}

StoredTensor& RankRecording::tensor(const std::string& name) {
  return *std::ranges::find(file.tensors, name, &StoredTensor::name);
}

void RankRecording::remove(const std::string& name) {
  std::erase_if(file.tensors, [&](const StoredTensor& tensor) { return tensor.name == name; });
}

RankRecording rank_recording(const RecordedStep& step, std::size_t rank, std::size_t ranks) {
  const bool is_gpt2 = step.model.kind == RecordedModel::Kind::gpt2;
  RankRecording recording;
  auto& header = recording.header;
  header["recording"] = 1;
  header["step"] = step.number;
  header["rank"] = rank;
  header["ranks"] = ranks;
  header["model"] = {
      {"kind", is_gpt2 ? "gpt2" : "mlp"},
      {"biases", step.model.biases},
      {"weights",
       step.model.weights == WeightLayout::output_input ? "output_input" : "input_output"}};
  if (is_gpt2) {
    header["model"]["layers"] = step.model.layers;
    header["model"]["heads"] = step.model.heads;
    header["model"]["eps"] = step.model.epsilon;
    header["model"]["tied"] = step.model.tied;
    header["model"]["gelu"] = step.model.gelu == RecordedModel::Gelu::tanh ? "tanh" : "erf";
  }
  const RecordedOptimizer& o = *step.optimizer;
  header["optimizer"] = {{"kind", "adamw"},    {"lr", o.lr},
                         {"beta1", o.beta1},   {"beta2", o.beta2},
                         {"eps", o.epsilon},   {"weight_decay", o.weight_decay},
                         {"update", o.update}, {"decayed", *o.decayed}};
  if (step.clip) header["clip"] = {{"max_norm", step.clip->max_norm}, {"formula", "torch"}};
  std::vector<float> losses;
  std::vector<Range> samples;
  header["parts"] = nlohmann::ordered_json::array();
  for (std::size_t p = 0; p < step.parts.size(); ++p) {
    const RecordedPart& part = step.parts[p];
    if (p % ranks != rank) continue;
    header["parts"].push_back(
        {{"samples", {part.samples.begin, part.samples.end}}, {"weight", part.weight}});
    losses.push_back(static_cast<float>(part.loss));
    samples.push_back(part.samples);
  }
  // Rows of this rank's parts.
  const auto rows = [&](const auto& values, std::size_t total) {
    std::decay_t<decltype(values)> own;
    const std::size_t width = values.size() / total;  // of a sample
    for (const Range range : samples) {
      const auto at = [&](std::size_t i) {
        return values.begin() + static_cast<std::ptrdiff_t>(i * width);
      };
      own.insert(own.end(), at(range.begin), at(range.end));
    }
    return own;
  };
  auto& tensors = recording.file.tensors;
  const std::vector<Token> tokens = rows(step.tokens, step.samples);
  const std::vector<Token> targets = rows(step.targets, step.samples);
  const std::size_t own = targets.size() / step.positions;
  tensors.push_back(whole_numbers("batch.tokens", {own, tokens.size() / own}, tokens));
  tensors.push_back(whole_numbers("batch.targets", {own, targets.size() / own}, targets));
  tensors.push_back({"loss", {losses.size()}, losses});
  for (const auto& [name, tensor] : step.tensors) {
    if (is_of_rows(name)) {
      const std::vector<float> values = rows(tensor.values, step.samples);
      tensors.push_back({name, {values.size() / tensor.shape[1], tensor.shape[1]}, values});
    } else {
      tensors.push_back({name, tensor.shape, tensor.values});
    }
  }
  return recording;
}

void write_recording(const std::string& folder, const RankRecording& recording) {
  std::filesystem::create_directories(folder);
  TensorFile file = recording.file;
  file.metadata["meshparity"] = recording.header.dump();
  const std::size_t step = recording.header["step"];
  const std::size_t rank = recording.header["rank"];
  save_safetensors(fmt::format("{}/step-{:06}.rank-{:04}.safetensors", folder, step, rank), file);
}

void write_recording(const std::string& folder, const RecordedStep& step, std::size_t ranks) {
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    write_recording(folder, rank_recording(step, rank, ranks));
  }
}

void halve(RankRecording& recording, const std::string& name, std::size_t half) {
  StoredTensor& tensor = recording.tensor(name);
  const Shape whole = tensor.shape;
  auto& values = std::get<std::vector<float>>(tensor.values);
  const std::size_t rows = whole[0] / 2;
  const std::size_t width = values.size() / whole[0];
  const auto begin = values.begin() + static_cast<std::ptrdiff_t>(half * rows * width);
  values = std::vector<float>(begin, begin + static_cast<std::ptrdiff_t>(rows * width));
  tensor.shape[0] = rows;
  auto& slice = recording.header["slices"][name];
  slice["shape"] = whole;
  slice["ranges"] = nlohmann::ordered_json::array();
  slice["ranges"].push_back({{half * rows, (half + 1) * rows}});
  for (std::size_t d = 1; d < whole.size(); ++d) slice["ranges"].push_back({{0, whole[d]}});
}

}  // namespace meshparity
