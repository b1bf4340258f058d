#include "model/pass.h"

#include <algorithm>

namespace meshparity {

BoundaryGradients::BoundaryGradients(const Blocks& blocks, std::size_t most_rows) {
  std::array<std::size_t, 2> widest{};
  for (std::size_t boundary = 0; boundary <= blocks.size(); ++boundary) {
    widths_.push_back(blocks.boundary(boundary).here.size());
    widest[boundary % 2] = std::max(widest[boundary % 2], widths_.back());
  }
  for (std::size_t i = 0; i < buffers_.size(); ++i) buffers_[i].resize(most_rows * widest[i]);
}

Pass::Pass(const Blocks& blocks, const BatchSource& batches, std::size_t most_samples,
           BoundaryGradients& gradients, BoundaryObserver* boundaries)
    : blocks_(blocks),
      batches_(batches),
      gradients_(gradients),
      boundaries_(boundaries),
      room_(batches.room_for(most_samples)) {
  const std::size_t most_rows = most_samples * batches.positions();
  for (std::size_t boundary = 0; boundary <= blocks.size(); ++boundary) {
    values_.emplace_back(most_rows * blocks.boundary(boundary).here.size());
  }
  for (std::size_t b = 0; b < blocks.size(); ++b)
    saved_.emplace_back(most_rows * blocks[b].saved());
}

void Pass::load(Corpus::Split split, std::uint64_t step, Range slots) {
  batch_ = batches_.draw(split, step, slots, room_);
}

void Pass::load_consecutive(Corpus::Split split, Range samples) {
  batch_ = batches_.consecutive(split, samples, room_);
}

void Pass::load(std::span<const Token> tokens) { batch_ = batches_.prompt(tokens, room_); }

std::span<float> Pass::value(std::size_t boundary) {
  return std::span(values_[boundary]).first(batch_.rows() * blocks_.boundary(boundary).here.size());
}

std::span<float> Pass::saved(std::size_t block) {
  return std::span(saved_[block]).first(batch_.rows() * blocks_[block].saved());
}

void Pass::show_value(std::size_t boundary) {
  if (boundaries_ != nullptr) boundaries_->value(view_of(boundary, value(boundary)));
}

void Pass::show_gradient(std::size_t boundary) {
  if (boundaries_ != nullptr) boundaries_->gradient(view_of(boundary, gradient(boundary)));
}

BoundaryView Pass::view_of(std::size_t boundary, std::span<const float> values) const {
  const Features features = blocks_.boundary(boundary);
  return {.boundary = blocks_.range().begin + boundary,
          .batch = &batch_,
          .width = features.width,
          .features = features.here,
          .counted = !features.copied || blocks_.counts_copies(),
          .values = values};
}

}  // namespace meshparity
