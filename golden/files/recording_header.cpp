#include "golden/files/recording_header.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "golden/files/printable.h"
#include "golden/files/strict_json.h"
#include "model/error.h"

namespace meshparity {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kVersion = 1;

/// An object's members, each asked for by name.
class Members {
 public:
  /// Throws UsageError for a member that is none of `known`.
  Members(const Json& object, const std::string& name, const std::set<std::string>& known)
      : object_(object), name_(name) {
    if (!object.is_object()) throw UsageError(fmt::format("{} is not an object", name));
    for (const auto& [key, value] : object.items()) {
      if (!known.contains(key)) refuse(key, "is unknown");
    }
  }

  bool has(const std::string& key) const { return object_.contains(key); }
  const Json& operator[](const std::string& key) const {
    if (!has(key)) refuse(key, "is missing");
    return object_.at(key);
  }

  std::size_t whole(const std::string& key) const {
    if (!(*this)[key].is_number_unsigned()) refuse(key, "is not a whole number");
    return object_.at(key).get<std::size_t>();
  }
  std::size_t whole(const std::string& key, std::size_t otherwise) const {
    return has(key) ? whole(key) : otherwise;
  }
  double number(const std::string& key) const {
    const Json& value = (*this)[key];
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() < 0) {
      refuse(key, "is not a finite number that is 0 or more");
    }
    return value.get<double>();
  }
  double number(const std::string& key, double otherwise) const {
    return has(key) ? number(key) : otherwise;
  }
  bool truth(const std::string& key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!object_.at(key).is_boolean()) refuse(key, "is neither true nor false");
    return object_.at(key).get<bool>();
  }
  /// The index of the text among these.
  template <typename Choice, std::size_t kCount>
  Choice choice(const std::string& key,
                const std::array<std::pair<const char*, Choice>, kCount>& choices) const {
    const Json& value = (*this)[key];
    std::string all;
    for (const auto& [text, choice] : choices) {
      if (value == text) return choice;
      all += fmt::format("{}'{}'", all.empty() ? "" : ", ", text);
    }
    refuse(key, fmt::format("is {}, which is none of {}", printable(value.dump()), all));
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& why) const {
    throw UsageError(fmt::format("'{}' of {} {}", printable(key), name_, why));
  }

 private:
  const Json& object_;
  std::string name_;
};

constexpr std::array<std::pair<const char*, WeightLayout>, 2> kLayouts = {
    {{"output_input", WeightLayout::output_input}, {"input_output", WeightLayout::input_output}}};
constexpr std::array<std::pair<const char*, RecordedModel::Gelu>, 2> kGelus = {
    {{"tanh", RecordedModel::Gelu::tanh}, {"erf", RecordedModel::Gelu::erf}}};
constexpr std::array<std::pair<const char*, RecordedModel::Kind>, 2> kKinds = {
    {{"gpt2", RecordedModel::Kind::gpt2}, {"mlp", RecordedModel::Kind::mlp}}};
constexpr std::array<std::pair<const char*, RecordedArithmetic>, 3> kArithmetics = {
    {{"float32", RecordedArithmetic::float32},
     {"tf32", RecordedArithmetic::tf32},
     {"bf16", RecordedArithmetic::bf16}}};
constexpr std::array<std::pair<const char*, RecordedOptimizer::Kind>, 2> kOptimizers = {
    {{"adamw", RecordedOptimizer::Kind::adamw}, {"sgd", RecordedOptimizer::Kind::sgd}}};
constexpr std::array<std::pair<const char*, RecordedClip::Formula>, 2> kClips = {
    {{"torch", RecordedClip::Formula::torch}, {"exact", RecordedClip::Formula::exact}}};

constexpr std::size_t kMostLayers = 10'000;
constexpr std::size_t kMostSamples = std::size_t{1} << 31;  // so that rows can be counted

RecordedModel parse_model(const Json& json) {
  const Members members(json, "model",
                        {"kind", "layers", "heads", "eps", "gelu", "tied", "biases", "weights",
                         "dropout", "context"});
  RecordedModel model;
  model.kind = members.choice("kind", kKinds);
  const bool is_gpt2 = model.kind == RecordedModel::Kind::gpt2;
  model.weights = is_gpt2 || members.has("weights") ? members.choice("weights", kLayouts)
                                                    : WeightLayout::output_input;
  model.dropout = members.number("dropout", 0);
  model.tied = is_gpt2 && members.truth("tied", true);
  model.biases = members.truth("biases", true);
  model.layers = is_gpt2 ? members.whole("layers") : members.whole("layers", 0);
  if (model.layers > kMostLayers) members.refuse("layers", "is too large");
  if (!is_gpt2) return model;
  model.heads = members.whole("heads");
  if (model.heads == 0) members.refuse("heads", "is 0");
  model.epsilon = members.number("eps");
  model.gelu = members.choice("gelu", kGelus);
  return model;
}

RecordedOptimizer parse_optimizer(const Json& json) {
  const Members members(
      json, "optimizer",
      {"kind", "lr", "beta1", "beta2", "eps", "weight_decay", "update", "decayed"});
  RecordedOptimizer optimizer;
  optimizer.kind = members.choice("kind", kOptimizers);
  optimizer.lr = members.number("lr");
  optimizer.weight_decay = members.number("weight_decay", 0);
  if (optimizer.kind == RecordedOptimizer::Kind::adamw) {
    optimizer.beta1 = members.number("beta1");
    optimizer.beta2 = members.number("beta2");
    optimizer.epsilon = members.number("eps");
    optimizer.update = members.whole("update");
    if (optimizer.beta1 >= 1) members.refuse("beta1", "is not below 1");
    if (optimizer.beta2 >= 1) members.refuse("beta2", "is not below 1");
    if (optimizer.update == 0) members.refuse("update", "is 0; the first one is 1");
  }
  if (members.has("decayed")) {
    optimizer.decayed.emplace();
    for (const Json& name : members["decayed"]) {
      if (!name.is_string()) members.refuse("decayed", "is no list of names");
      optimizer.decayed->push_back(bare_tensor_name(name.get<std::string>()));
    }
  }
  return optimizer;
}

Range parse_range(const Json& json, const std::string& of) {
  if (!json.is_array() || json.size() != 2 || !json[0].is_number_unsigned() ||
      !json[1].is_number_unsigned() || json[1].get<std::size_t>() < json[0].get<std::size_t>()) {
    throw UsageError(
        fmt::format("'{}' of {} is no range [begin, end)", printable(json.dump()), of));
  }
  return {json[0].get<std::size_t>(), json[1].get<std::size_t>()};
}

std::vector<RecordedPart> parse_parts(const Json& json, std::size_t rank) {
  if (!json.is_array() || json.empty()) throw UsageError("'parts' is no list, or an empty one");
  std::vector<RecordedPart> parts;
  for (const Json& entry : json) {
    const Members members(entry, "a part", {"samples", "weight"});
    const Range samples = parse_range(members["samples"], "a part's samples");
    if (samples.empty()) members.refuse("samples", "is empty");
    if (samples.end > kMostSamples) members.refuse("samples", "is too large");
    for (const RecordedPart& other : parts) {
      if (other.samples == samples) members.refuse("samples", "is that of another part");
    }
    const double weight = members.number("weight");
    if (weight == 0) members.refuse("weight", "is 0");
    parts.push_back({.samples = samples, .weight = weight, .rank = rank});
  }
  return parts;
}

TensorSlice parse_slice(const Json& json, const std::string& name) {
  const std::string of = fmt::format("slice '{}'", printable(name));
  const Members members(json, of, {"shape", "ranges"});
  TensorSlice slice;
  for (const Json& extent : members["shape"]) {
    if (!extent.is_number_unsigned()) members.refuse("shape", "is no list of whole numbers");
    slice.shape.push_back(extent.get<std::size_t>());
  }
  for (const Json& dimension : members["ranges"]) {
    auto& ranges = slice.ranges.emplace_back();
    for (const Json& range : dimension) ranges.push_back(parse_range(range, of));
  }
  if (slice.ranges.size() != slice.shape.size()) {
    members.refuse("ranges", "has not one list for each dimension of the shape");
  }
  for (std::size_t d = 0; d < slice.shape.size(); ++d) {
    for (const Range range : slice.ranges[d]) {
      if (range.end > slice.shape[d]) members.refuse("ranges", "goes beyond the shape");
    }
  }
  return slice;
}

/// All that is not a rank's own.
std::string run_text(Json json) {
  for (const char* const own : {"rank", "parts", "slices", "copies"}) json.erase(own);
  return json.dump();
}

}  // namespace

RecordingHeader parse_recording_header(const std::string& text) {
  const Json json = parse_sorted_json(text);
  const Members members(
      json, "the recording",
      {"recording", "step", "rank", "ranks", "model", "arithmetic", "longest_chain", "parts",
       "copies", "optimizer", "clip", "slices", "axes", "microbatches"});
  if (members.whole("recording") != kVersion) {
    throw UsageError(fmt::format("it is a recording of version {}; this program reads version {}",
                                 members.whole("recording"), kVersion));
  }
  RecordingHeader header;
  header.run = run_text(json);
  RecordedStep& step = header.step;
  step.number = members.whole("step");
  header.rank = members.whole("rank", 0);
  step.ranks = members.whole("ranks", 1);
  if (header.rank >= step.ranks) {
    members.refuse("rank", fmt::format("is {}, of {} ranks", header.rank, step.ranks));
  }
  step.model = parse_model(members["model"]);
  if (members.has("arithmetic")) step.arithmetic = members.choice("arithmetic", kArithmetics);
  if (members.has("longest_chain")) {
    step.longest_chain = members.whole("longest_chain");
    if (*step.longest_chain == 0) members.refuse("longest_chain", "is 0");
  }
  if (members.has("optimizer")) step.optimizer = parse_optimizer(members["optimizer"]);
  if (members.has("clip")) {
    const Members clip(members["clip"], "clip", {"max_norm", "formula"});
    step.clip = {.max_norm = clip.number("max_norm"), .formula = clip.choice("formula", kClips)};
  }
  if (members.has("axes")) {
    for (const auto& [axis, size] : members["axes"].items()) {
      if (!size.is_number_unsigned()) members.refuse("axes", "has a size that is no whole number");
      step.axes[axis] = size.get<std::size_t>();
    }
  }
  step.microbatches = members.whole("microbatches", 0);
  if (members.has("parts")) header.parts = parse_parts(members["parts"], header.rank);
  if (members.has("slices")) {
    for (const auto& [name, slice] : members["slices"].items()) {
      header.slices[bare_tensor_name(name)] = parse_slice(slice, name);
    }
  }
  return header;
}

std::string bare_tensor_name(const std::string& name) {
  std::string bare = name;
  for (const std::string_view prefix : {"module.", "_orig_mod.", "_fsdp_wrapped_module.",
                                        "_checkpoint_wrapped_module.", "transformer."}) {
    for (std::size_t at = 0; (at = bare.find(prefix, at)) != std::string::npos;) {
      // Only whole words.
      if (at == 0 || bare[at - 1] == '/' || bare[at - 1] == '.') {
        bare.erase(at, prefix.size());
      } else {
        ++at;
      }
    }
  }
  return bare;
}

std::vector<std::string> parameter_names(const RecordedModel& model) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& operation) {
    names.push_back(operation + ".weight");
    if (model.biases) names.push_back(operation + ".bias");
  };
  if (model.kind == RecordedModel::Kind::mlp) {
    names = {"embedding.weight"};
    for (std::size_t i = 0; i < model.layers; ++i) add(fmt::format("hidden.{}", i));
    add("output");
    return names;
  }
  names = {"wte.weight", "wpe.weight"};
  for (std::size_t i = 0; i < model.layers; ++i) {
    for (const char* const operation :
         {"ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"}) {
      add(fmt::format("h.{}.{}", i, operation));
    }
  }
  add("ln_f");
  if (!model.tied) names.emplace_back("lm_head.weight");
  return names;
}

}  // namespace meshparity
