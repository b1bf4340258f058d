#include "model/parameters.h"

#include <utility>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

std::vector<Shard> shards_of(const Blocks& blocks) {
  std::vector<Shard> shards;
  for (const HeldParameter& held : blocks.parameters()) shards.push_back(held.shard);
  return shards;
}

}  // namespace

Parameters::Parameters(const Blocks& blocks, const ParameterSource& source)
    : Parameters(blocks, shards_of(blocks), source) {}

Parameters::Parameters(const Blocks& blocks, std::vector<Shard> shards,
                       const ParameterSource& source)
    : shards_(std::move(shards)) {
  for (const Shard& shard : shards_) {
    source.fill(shard, values_.emplace_back(shard.size()));
  }
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    auto& of_block = of_blocks_.emplace_back();
    for (std::size_t place = 0; place < blocks.uses_in(block); ++place) {
      of_block.emplace_back(values_[blocks.parameter({block, place})]);
    }
  }
}

std::vector<Range> Parameters::whole_parts() const {
  std::vector<Range> parts;
  for (const Shard& shard : shards_) parts.push_back({0, shard.size()});
  return parts;
}

std::vector<ShardView> Parameters::views() const {
  std::vector<ShardView> views;
  for (std::size_t p = 0; p < size(); ++p) views.push_back({&shards_[p], true, values_[p], {}});
  return views;
}

GradientSums::GradientSums(const Blocks& blocks, const std::vector<Shard>& shards,
                           std::size_t leaves, std::span<const Range> ranges) {
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    auto& of_block = sums_.emplace_back();
    for (std::size_t place = 0; place < blocks.uses_in(block); ++place) {
      of_block.emplace_back(leaves, ranges, shards[blocks.parameter({block, place})].size());
    }
  }
  for (std::size_t p = 0; p < shards.size(); ++p) uses_.push_back(blocks.uses_of(p));
}

void GradientSums::start(Range range) {
  for (auto& of_block : sums_) {
    for (PartialSum& sum : of_block) sum.start(range);
  }
}

std::span<const float> GradientSums::add_uses(std::size_t parameter, Range part) {
  const auto of_use = [&](Use use) { return of(use).total().subspan(part.begin, part.size()); };
  const std::span<const Use> uses = uses_[parameter];
  const std::span<float> gradient = of_use(uses.front());
  for (const Use& use : uses.subspan(1)) add(gradient, of_use(use), gradient);
  return gradient;
}

std::span<const float> GradientSums::add_uses(std::size_t parameter) {
  return add_uses(parameter, {0, of(uses_[parameter].front()).width()});
}

}  // namespace meshparity
