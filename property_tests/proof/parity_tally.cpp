#include "property_tests/proof/parity_tally.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "golden/files/corpus_file.h"
#include "model/gpt2.h"
#include "model/model.h"
#include "model/numerics/range.h"

namespace meshparity {

namespace {

bool any_subnormal(const FloatTensors& tensors) {
  return std::ranges::any_of(tensors, [](const auto& tensor) {
    return std::ranges::any_of(tensor.second,
                               [](float value) { return std::fpclassify(value) == FP_SUBNORMAL; });
  });
}

}  // namespace

std::string axes_text(const Mesh& mesh) {
  std::string text;
  for (const auto& [axis, name] : kAxes) {
    if (mesh[axis] == 1) continue;
    text += (text.empty() ? "" : " x ") + std::string(name);
  }
  return text.empty() ? "one rank" : text;
}

void ParityTally::count(Row& row, const ParityCase& c, bool equal) {
  const std::size_t ranks = c.how.mesh.size();
  row.ranks_min = row.cases == 0 ? ranks : std::min(row.ranks_min, ranks);
  row.ranks_max = std::max(row.ranks_max, ranks);
  row.meshes.insert(to_string(c.how.mesh));
  ++row.cases;
  if (equal) ++row.equal;
}

void ParityTally::add(const ParityCase& c, const std::string& transport, bool equal) {
  count(strategies_[{std::string(entry_of(c.strategy).name), transport}], c, equal);
  const std::string axes = axes_text(c.how.mesh);
  if (c.strategy == Strategy::mesh) count(products_[{axes, transport}], c, equal);
  classify(c);
}

void ParityTally::add_met(const Recording& run) {
  bool values = any_subnormal(run.final_values);
  bool gradients = false;
  bool moments = false;
  for (const Recording::Step& step : run.steps) {
    values = values || any_subnormal(step.values);
    gradients = gradients || any_subnormal(step.gradients);
    moments = moments || any_subnormal(step.first_moments) || any_subnormal(step.second_moments);
  }
  distribution_["subnormal parameters"] += values ? 1 : 0;
  distribution_["subnormal gradients"] += gradients ? 1 : 0;
  distribution_["subnormal moments"] += moments ? 1 : 0;
}

void ParityTally::add_native(const ParityCase& c, double ratio) {
  Row& row = strategies_[{std::string(entry_of(c.strategy).name), "sim"}];
  ++row.native_cases;
  row.native_worst_ratio = std::max(row.native_worst_ratio, ratio);
}

std::size_t ParityTally::cases(const std::string& transport) const {
  std::size_t total = 0;
  for (const auto& [key, row] : strategies_) {
    if (key.second == transport) total += row.cases;
  }
  return total;
}

ParityTally::Row ParityTally::row_of(const StrategyEntry& entry,
                                     const std::string& transport) const {
  const auto found = strategies_.find({std::string(entry.name), transport});
  return found == strategies_.end() ? Row{} : found->second;
}

std::size_t ParityTally::fewest_cases(const std::string& transport) const {
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (const StrategyEntry& entry : strategies()) {
    fewest = std::min(fewest, row_of(entry, transport).cases);
  }
  return fewest;
}

std::size_t ParityTally::fewest_native_cases() const {
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (const StrategyEntry& entry : strategies()) {
    const Row row = row_of(entry, "sim");
    fewest = std::min(fewest, row.native_worst_ratio > 0 ? row.native_cases : 0);
  }
  return fewest;
}

namespace {

/// Leaves of the sums over a layer's features.
std::size_t feature_leaves_of(const Recipe& recipe) {
  if (recipe.model == ModelKind::mlp) return leaf_count(recipe.hidden, recipe.feature_grain);
  const std::size_t features = 4 * recipe.channels;
  return leaf_count(features, grain_or_eighth(recipe.feature_grain, features));
}

}  // namespace

void ParityTally::classify(const ParityCase& c) {
  const Recipe& r = c.recipe;
  const Mesh& mesh = c.how.mesh;
  const std::size_t data = mesh[Axis::dp] * mesh[Axis::fsdp];
  const std::size_t leaves = leaf_count(r.batch, r.batch_grain);
  const std::size_t vocabulary = corpus_of(r, c.corpus).vocabulary();
  const auto tag = [&](bool applies, const std::string& what) {
    distribution_[what] += applies ? 1 : 0;
  };
  for (std::size_t a = 0; a < kAxes.size(); ++a) {
    const auto& [axis, name] = kAxes[a];
    tag(mesh[axis] == 1, std::string(name) + " of one rank");
    tag(mesh[axis] > 10, std::string(name) + " of more than 10 ranks");
    for (std::size_t b = a + 1; b < kAxes.size(); ++b) {
      tag(mesh[axis] > 1 && mesh[kAxes[b].first] > 1,
          std::string(name) + " with " + std::string(kAxes[b].second));
    }
  }
  tag(std::ranges::all_of(mesh.values, [](std::size_t size) { return size > 1; }),
      "all axes at once");
  tag(data > leaves, "a data rank without samples");
  tag(mesh[Axis::tp] > feature_leaves_of(r), "a tp rank without features");
  tag(r.batch % data != 0, "batch does not divide");
  tag(leaves % data != 0, "leaves of the batch do not divide");
  tag(vocabulary % mesh[Axis::tp] != 0, "vocabulary does not divide");
  tag(model_of(r, vocabulary).blocks.size() % mesh[Axis::pp] != 0, "blocks do not divide");
  tag(c.how.microbatches < mesh[Axis::pp], "fewer microbatches than stages");
  tag(c.how.microbatches == 1, "one microbatch");
  tag(c.how.microbatches >= 3, "three microbatches or more");
  tag(mesh[Axis::pp] > 1 && c.how.schedule == ScheduleKind::gpipe, "pipeline, gpipe");
  tag(mesh[Axis::pp] > 1 && c.how.schedule == ScheduleKind::one_f_one_b, "pipeline, 1f1b");
  tag(c.world.turns != SimOptions::Turns::random, "ranks in a fixed order");
  tag(c.world.max_delay == 0, "messages without delay");
  tag(c.world.loans == SimOptions::Loans::in_place, "loans in place");
  tag(c.world.loans == SimOptions::Loans::copied, "loans copied");
  tag(r.batch_grain == 1, "batch grain 1");
  tag(r.batch_grain >= r.batch, "batch grain of the whole batch");
  tag(r.feature_grain == 1, "feature grain 1");
  tag(vocabulary == 2, "vocabulary of 2");
  tag(r.optimizer == OptimizerKind::adamw, "adamw");
  tag(r.clip > 0, "clipped");
  tag(c.corpus.starts_with('\n') || c.corpus.find("\n\n") != std::string::npos, "empty lines");
  tag(std::count(c.corpus.begin(), c.corpus.end(), '\n') <= 1, "corpus of one line");
  tag(std::any_of(c.corpus.begin(), c.corpus.end(),
                  [](char byte) { return static_cast<unsigned char>(byte) > 127; }),
      "bytes above 127");
  const bool is_mlp = r.model == ModelKind::mlp;
  tag(is_mlp, "mlp");
  tag(is_mlp && mesh[Axis::fsdp] > vocabulary, "mlp: a rank with an empty shard of a bias");
  tag(is_mlp && r.hidden % mesh[Axis::tp] != 0, "mlp: features do not divide");
  tag(is_mlp && r.feature_grain >= r.hidden, "mlp: feature grain of the whole layer");
  tag(is_mlp && r.context == 1, "mlp: context of 1");
  tag(!is_mlp, "gpt2");
  tag(!is_mlp && r.tied, "gpt2: tied");
  tag(!is_mlp && r.tied && mesh[Axis::pp] > 1, "gpt2: tied over stages");
  tag(!is_mlp && r.dropout > 0, "gpt2: dropout");
  tag(!is_mlp && r.form == DataForm::lines, "gpt2: documents");
  tag(!is_mlp && r.sequence_leaves > 1, "gpt2: several leaves a sample");
  tag(!is_mlp && positions_of(r) == 1, "gpt2: sequence of 1");
  tag(!is_mlp && r.heads % mesh[Axis::tp] != 0, "gpt2: heads do not divide");
  tag(!is_mlp && leaf_count(r.heads, r.head_grain) < mesh[Axis::tp],
      "gpt2: a tp rank without heads");
}

nlohmann::ordered_json ParityTally::to_json() const {
  const auto row_json = [](const char* label, const Key& key, const Row& row) {
    return nlohmann::ordered_json{{label, key.first},
                                  {"transport", key.second},
                                  {"cases", row.cases},
                                  {"meshes", row.meshes.size()},
                                  {"ranks_min", row.ranks_min},
                                  {"ranks_max", row.ranks_max},
                                  {"bit_equal", row.equal},
                                  {"native_cases", row.native_cases},
                                  {"native_worst_ratio", row.native_worst_ratio}};
  };
  nlohmann::ordered_json json = {{"strategies", nlohmann::json::array()},
                                 {"products", nlohmann::json::array()},
                                 {"distribution", nlohmann::json::array()}};
  for (const auto& [key, row] : strategies_)
    json["strategies"].push_back(row_json("name", key, row));
  for (const auto& [key, row] : products_) json["products"].push_back(row_json("axes", key, row));
  for (const auto& [what, cases] : distribution_) {
    json["distribution"].push_back({{"what", what}, {"cases", cases}});
  }
  return json;
}

std::string ParityTally::distribution_text() const {
  std::size_t total = 0;
  for (const auto& [key, row] : strategies_) total += row.cases;
  std::string text = "of " + std::to_string(total) + " cases:\n";
  for (const auto& [what, cases] : distribution_) {
    const std::string number = std::to_string(cases);
    text.append(number.size() < 8 ? 8 - number.size() : 0, ' ');
    text.append(number).append("  ").append(what).append("\n");
  }
  return text;
}

}  // namespace meshparity
