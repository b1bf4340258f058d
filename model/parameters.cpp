#include "model/parameters.h"

#include <numeric>
#include <utility>

#include "model/numerics/kernels.h"

namespace meshparity {
namespace {

std::vector<Shard> shards_of(const Blocks& blocks) {
  std::vector<Shard> shards;
  for (const HeldParameter& held : blocks.parameters()) shards.push_back(held.shard);
  return shards;
}

std::vector<std::size_t> rooms_of(const Blocks& blocks) {
  std::vector<std::size_t> rooms;
  for (const HeldParameter& held : blocks.parameters()) {
    rooms.push_back(whole_cache_lines(held.shard.size()));
  }
  return rooms;
}

}  // namespace

Parameters::Parameters(const Blocks& blocks, const ParameterSource& source)
    : Parameters(blocks, shards_of(blocks), source, rooms_of(blocks)) {}

Parameters::Parameters(const Blocks& blocks, std::vector<Shard> shards,
                       const ParameterSource& source, std::span<const std::size_t> rooms)
    : shards_(std::move(shards)), starts_(rooms.size() + 1) {
  std::inclusive_scan(rooms.begin(), rooms.end(), starts_.begin() + 1);
  memory_.resize(starts_.back());
  for (std::size_t p = 0; p < shards_.size(); ++p) {
    values_.push_back(std::span(memory_).subspan(starts_[p], shards_[p].size()));
    source.fill(shards_[p], values_.back());
  }
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    auto& of_block = of_blocks_.emplace_back();
    for (std::size_t place = 0; place < blocks.uses_in(block); ++place) {
      of_block.emplace_back(values_[blocks.parameter({block, place})]);
    }
  }
}

std::span<const float> Parameters::side_by_side(Range parameters) const {
  const std::size_t begin = starts_[parameters.begin];
  return std::span(memory_).subspan(begin, starts_[parameters.end] - begin);
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

Pushed how_pushed(const Block& block, std::size_t place, const RowLeaves& leaves) {
  return leaves.even() ? block.parameters()[place].pushed : Pushed::by_leaf;
}

GradientSums::GradientSums(const Blocks& blocks, const std::vector<Shard>& shards,
                           const BatchSource& batches, std::span<const Range> microbatches) {
  const std::size_t leaves = batches.all_leaves().end;
  for (std::size_t block = 0; block < blocks.size(); ++block) {
    auto& of_block = sums_.emplace_back();
    for (std::size_t place = 0; place < blocks.uses_in(block); ++place) {
      const Pushed how = how_pushed(blocks[block], place, batches.row_leaves());
      const std::size_t width = shards[blocks.parameter({block, place})].size();
      of_block.emplace_back(leaves, SumRoom(most_nodes(microbatches, leaves, how), width));
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
