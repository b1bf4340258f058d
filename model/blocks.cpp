#include "model/blocks.h"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace meshparity {
namespace {

bool same_part(const Shard& a, const Shard& b) {
  return a.rows == b.rows && a.columns == b.columns;
}

}  // namespace

Blocks::Blocks(const Model& model, Range blocks, std::size_t most_rows, FeatureGroup& group)
    : range_(blocks), counts_copies_(group.counts_copies()) {
  std::map<std::size_t, const HeldParameter*> held;  // by number in the model
  for (std::size_t i = blocks.begin; i < blocks.end; ++i) {
    blocks_.push_back(make_block(model, i, most_rows, group));
    for (std::size_t place = 0; place < model.blocks[i].uses.size(); ++place) {
      const HeldParameter& part = blocks_.back()->parameters()[place];
      const auto [known, is_new] = held.emplace(model.blocks[i].uses[place], &part);
      if (is_new || same_part(known->second->shard, part.shard)) continue;
      throw std::logic_error(part.shard.spec.name + ": its blocks cut it differently");
    }
  }
  for (const auto& [number, part] : held) {
    parameters_.push_back(*part);
    numbers_.push_back(number);
  }
  for (std::size_t i = blocks.begin; i < blocks.end; ++i) {
    auto& places = of_blocks_.emplace_back();
    for (const std::size_t number : model.blocks[i].uses) {
      const auto found = std::ranges::find(numbers_, number);
      places.push_back(static_cast<std::size_t>(found - numbers_.begin()));
    }
  }
}

std::vector<Use> Blocks::uses_of(std::size_t parameter) const {
  std::vector<Use> uses;
  for (std::size_t block = 0; block < size(); ++block) {
    for (std::size_t place = 0; place < uses_in(block); ++place) {
      if (of_blocks_[block][place] == parameter) uses.push_back({block, place});
    }
  }
  return uses;
}

Features Blocks::boundary(std::size_t boundary) const {
  return boundary == 0 ? blocks_.front()->input() : blocks_[boundary - 1]->output();
}

}  // namespace meshparity
