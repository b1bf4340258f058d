#pragma once

#include <rapidcheck.h>

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "model/block.h"
#include "oracle/compare.h"
#include "property_tests/random_values.h"

/// What the tests of blocks share. Used inside RapidCheck properties.
namespace meshparity {

inline void require_same(std::span<const float> actual, const std::vector<float>& expected) {
  RC_ASSERT(actual.size() == expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (!same_float(actual[i], expected[i])) RC_ASSERT(actual[i] == expected[i]);
  }
}

/// A batch and how it is cut into microbatches of whole leaves.
struct BatchCut {
  std::size_t samples = 1;
  std::size_t grain = 1;
  std::size_t leaves = 1;
  std::vector<Range> microbatches;  // runs of leaves

  Range samples_of(Range run) const { return terms_of(run, grain, samples); }
};

inline BatchCut random_batch() {
  BatchCut batch;
  batch.samples = *random::from_to(1, 13);
  batch.grain = *rc::gen::oneOf(rc::gen::just<std::size_t>(1), random::from_to(1, 15));
  batch.leaves = leaf_count(batch.samples, batch.grain);
  batch.microbatches = random::random_split({0, batch.leaves}, *random::from_to(1, 4));
  RC_CLASSIFY(batch.samples % batch.grain != 0, "short last leaf");
  return batch;
}

/// Gradients of one block over the whole batch, whose microbatches push one after the other.
inline std::vector<PartialSum> sums_for(const Block& block, const BatchCut& batch) {
  std::vector<PartialSum> sums;
  for (const HeldParameter& held : block.parameters()) {
    sums.emplace_back(batch.leaves, Range{0, batch.leaves}, held.shard.size());
  }
  return sums;
}

/// A model of one block, all of whose parameters are its own.
template <typename Spec>
std::unique_ptr<Block> alone(const Spec& spec, std::vector<ParameterSpec> parameters,
                             std::size_t most_rows) {
  Model model;
  model.parameters = std::move(parameters);
  model.blocks.push_back({"block", spec, {}});
  for (std::size_t p = 0; p < model.parameters.size(); ++p) model.blocks[0].uses.push_back(p);
  static AloneGroup group;
  return make_block(model, 0, most_rows, group);
}

}  // namespace meshparity
