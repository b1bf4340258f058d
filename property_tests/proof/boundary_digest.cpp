#include "property_tests/proof/boundary_digest.h"

#include "model/numerics/kernels.h"

namespace meshparity {

BoundaryDigests::BoundaryDigests(const Model& model, std::size_t steps) {
  for (const BlockSpec& block : model.blocks) names_.push_back("output of " + block.name);
  for (std::size_t b = model.blocks.size(); b-- > 0;) {
    names_.push_back("gradient of the output of " + model.blocks[b].name);
  }
  words_.resize(steps * names_.size() * 2);
}

void BoundaryDigests::value(const BoundaryView& view) { add(view.boundary - 1, view); }

void BoundaryDigests::gradient(const BoundaryView& view) {
  add(names_.size() - view.boundary, view);
}

void BoundaryDigests::add(std::size_t place, const BoundaryView& view) {
  const MicroBatch& batch = *view.batch;
  const std::size_t width = view.features.size();
  std::uint64_t& word = words_[(batch.step * names_.size() + place) * 2 + (view.counted ? 0 : 1)];
  for (std::size_t row = 0; row < batch.rows(); ++row) {
    const std::size_t in_batch = batch.slots.begin * batch.leaves.positions + row;
    word += digest(view.values.subspan(row * width, width),
                   in_batch * view.width + view.features.begin);
  }
}

std::optional<std::string> BoundaryDigests::first_difference(const BoundaryDigests& other,
                                                             std::size_t copies) const {
  for (std::size_t i = 0; i < words_.size() / 2; ++i) {
    const std::uint64_t expected = words_[2 * i];
    const std::uint64_t of_copies = other.words_[2 * i + 1];  // none where ranks hold parts
    if (other.words_[2 * i] == expected && (of_copies == 0 || of_copies == copies * expected)) {
      continue;
    }
    return "step " + std::to_string(i / names_.size()) + ", " + names_[i % names_.size()];
  }
  return std::nullopt;
}

}  // namespace meshparity
