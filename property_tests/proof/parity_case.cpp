#include "property_tests/proof/parity_case.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>
#include <vector>

#include "model/numerics/canonical_sum.h"
#include "model/error.h"

namespace meshparity {
namespace {

/// Uniform over [low, high] whatever RapidCheck's size; shrinks towards `low`.
std::size_t in(std::size_t low, std::size_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange(low, high + 1));
}

template <typename T>
T one_of(const std::vector<T>& choices) {
  return choices[in(0, choices.size() - 1)];
}

/// Small numbers mostly, now and then one that leaves others without a share.
std::size_t axis_size(std::size_t most) {
  return in(1, std::min(most, in(1, 12) <= 9 ? 4UL : most));
}

Mesh draw_mesh(const std::string& trainer, std::size_t layers, std::size_t max_ranks) {
  Mesh mesh;
  if (trainer == "train_dp") mesh.dp = axis_size(max_ranks);
  if (trainer == "train_fsdp") mesh.fsdp = axis_size(max_ranks);
  if (trainer == "train_tp") mesh.tp = axis_size(max_ranks);
  if (trainer == "train_pp") mesh.pp = in(1, std::min(layers + 2, max_ranks));
  if (trainer == "train_mesh") {
    // Each axis takes from what the ones before it have left, in a random order, so that every axis
    // meets every other and each is sometimes the long one.
    const std::vector<std::size_t Mesh::*> axes = {&Mesh::dp, &Mesh::fsdp, &Mesh::tp, &Mesh::pp};
    const std::size_t first = in(0, 3);
    for (std::size_t i = 0; i < axes.size(); ++i) {
      const auto axis = axes[(first + i) % axes.size()];
      const std::size_t left = max_ranks / mesh.size();
      const std::size_t most = axis == &Mesh::pp ? std::min(left, layers + 2) : left;
      mesh.*axis = in(1, std::min<std::size_t>(most, in(1, 8) == 8 ? most : 3));
    }
  }
  return mesh;
}

std::string draw_corpus() {
  // The last bytes are above 127; one distinct byte makes a vocabulary of 2.
  const std::string bytes = "ab.-zyxwvutsrqponmlkjihgfedc \xC3\xA9\xFF";
  const std::size_t distinct = in(0, 3) == 0 ? 1 : in(1, bytes.size());
  const std::size_t documents = in(1, 8);
  std::string text;
  for (std::size_t d = 0; d < documents; ++d) {
    const std::size_t length = in(0, 4) == 0 ? 0 : in(1, 7);
    for (std::size_t i = 0; i < length; ++i) text += bytes[in(0, distinct - 1)];
    text += '\n';
  }
  // A corpus of empty lines is refused; one byte makes it a corpus.
  return text.find_first_not_of('\n') == std::string::npos ? text + "a" : text;
}

Recipe draw_recipe(std::size_t layers) {
  Recipe recipe;
  recipe.layers = layers;
  recipe.context = in(1, 5);
  recipe.embedding = in(1, 5);
  recipe.hidden = in(1, 13);
  recipe.batch = in(1, 17);
  // Grain 1, grains that do not divide, and grains of the whole dimension and more.
  recipe.batch_grain = in(0, 2) == 0 ? 1 : in(1, recipe.batch + 2);
  recipe.feature_grain = in(0, 2) == 0 ? 1 : in(1, recipe.hidden + 2);
  recipe.vocab_grain = in(1, 20);
  recipe.steps = in(3, 4);
  recipe.seed = in(0, 1U << 20);
  recipe.lr = one_of<float>({0.125F, 0.1F, 0.7F});
  recipe.init_scale = one_of<float>({1.0F, 3.0F, 8.0F});
  return recipe;
}

/// Bytes as code points below 256, so that any corpus is valid JSON.
std::string to_utf8(const std::string& bytes) {
  std::string text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      text += c;
    } else {
      text += static_cast<char>(0xC0 | (byte >> 6));
      text += static_cast<char>(0x80 | (byte & 0x3F));
    }
  }
  return text;
}

std::string from_utf8(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80 || i + 1 == text.size()) {
      bytes += text[i];
    } else {
      const auto next = static_cast<unsigned char>(text[++i]);
      bytes += static_cast<char>((byte & 0x03) << 6 | (next & 0x3F));
    }
  }
  return bytes;
}

}  // namespace

std::string to_line(const ParityCase& c) {
  const Recipe& r = c.recipe;
  const nlohmann::ordered_json json = {
      {"trainer", c.trainer},
      {"mesh", to_string(c.how.mesh)},
      {"schedule", to_string(c.how.schedule)},
      {"microbatches", c.how.microbatches},
      {"reduction", c.how.reduction == Reduction::canonical ? "canonical" : "native"},
      {"scheduler_seed", c.scheduler_seed},
      {"context", r.context},
      {"embedding", r.embedding},
      {"hidden", r.hidden},
      {"layers", r.layers},
      {"batch", r.batch},
      {"lr", r.lr},
      {"steps", r.steps},
      {"seed", r.seed},
      {"init_scale", r.init_scale},
      {"batch_grain", r.batch_grain},
      {"feature_grain", r.feature_grain},
      {"vocab_grain", r.vocab_grain},
      {"corpus", to_utf8(c.corpus)}};
  return json.dump();
}

ParityCase parse_case(const std::string& line) {
  try {
    const nlohmann::json json = nlohmann::json::parse(line);
    ParityCase c;
    c.trainer = json.at("trainer");
    c.how.mesh = parse_mesh(json.at("mesh").get<std::string>());
    c.how.schedule = parse_schedule(json.at("schedule").get<std::string>());
    c.how.microbatches = json.at("microbatches");
    c.how.reduction = json.at("reduction") == "native" ? Reduction::native : Reduction::canonical;
    c.scheduler_seed = json.at("scheduler_seed");
    c.recipe.context = json.at("context");
    c.recipe.embedding = json.at("embedding");
    c.recipe.hidden = json.at("hidden");
    c.recipe.layers = json.at("layers");
    c.recipe.batch = json.at("batch");
    c.recipe.lr = json.at("lr");
    c.recipe.steps = json.at("steps");
    c.recipe.seed = json.at("seed");
    c.recipe.init_scale = json.at("init_scale");
    c.recipe.batch_grain = json.at("batch_grain");
    c.recipe.feature_grain = json.at("feature_grain");
    c.recipe.vocab_grain = json.at("vocab_grain");
    c.corpus = from_utf8(json.at("corpus"));
    return c;
  } catch (const nlohmann::json::exception& error) {
    throw UsageError("not a case: " + line + " (" + error.what() + ")",
                     "copy the whole line that a failure prints");
  }
}

std::ostream& operator<<(std::ostream& out, const ParityCase& c) { return out << to_line(c); }

rc::Gen<ParityCase> parity_cases(const std::string& trainer, Reduction reduction,
                                 std::size_t max_ranks) {
  return rc::gen::exec([=] {
    ParityCase c;
    c.trainer = trainer;
    c.how.reduction = reduction;
    // Now and then deep enough for a pipeline of more than ten stages.
    const std::size_t layers = in(1, 16) == 16 ? in(9, 12) : in(1, 5);
    c.how.mesh = draw_mesh(trainer, layers, max_ranks);
    c.recipe = draw_recipe(layers);
    c.how.microbatches = in(1, leaf_count(c.recipe.batch, c.recipe.batch_grain));
    c.how.schedule = one_of<ScheduleKind>({ScheduleKind::one_f_one_b, ScheduleKind::gpipe});
    c.corpus = draw_corpus();
    c.scheduler_seed = in(0, 1U << 30);
    return c;
  });
}

}  // namespace meshparity
