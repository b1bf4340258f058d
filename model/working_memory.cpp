#include "model/working_memory.h"

#include <algorithm>
#include <utility>

namespace meshparity {

Layers make_layers(std::span<const LayerSpec> specs) {
  Layers layers;
  for (const LayerSpec& spec : specs) layers.push_back(make_layer(spec));
  return layers;
}

std::vector<std::vector<Shard>> shards_of(const Layers& layers) {
  std::vector<std::vector<Shard>> shards;
  for (const auto& layer : layers) shards.push_back(layer->parameters());
  return shards;
}

Parameters::Parameters(std::vector<std::vector<Shard>> shards) : shards_(std::move(shards)) {
  for (const auto& layer : shards_) {
    auto& values = values_.emplace_back();
    for (const Shard& shard : layer) values.emplace_back(shard.size());
    views_.emplace_back(values.begin(), values.end());
  }
}

Parameters::Parameters(const Layers& layers) : Parameters(shards_of(layers)) {}

void Parameters::fill(const ParameterSource& source) {
  for (std::size_t l = 0; l < layers(); ++l) {
    for (std::size_t p = 0; p < shards_[l].size(); ++p) source.fill(shards_[l][p], values_[l][p]);
  }
}

std::vector<ShardView> Parameters::views() const {
  std::vector<ShardView> views;
  for (std::size_t l = 0; l < layers(); ++l) {
    for (std::size_t p = 0; p < shards_[l].size(); ++p) {
      views.push_back({&shards_[l][p], true, values_[l][p], {}});
    }
  }
  return views;
}

GradientSums make_gradient_sums(const Layers& layers, std::size_t leaves,
                                std::span<const Range> runs) {
  GradientSums sums;
  for (const auto& layer : layers) {
    auto& of_layer = sums.emplace_back();
    for (const Shard& shard : layer->parameters())
      of_layer.emplace_back(leaves, runs, shard.size());
  }
  return sums;
}

void start(GradientSums& sums, Range run) {
  for (auto& layer : sums) {
    for (PartialSum& sum : layer) sum.start(run);
  }
}

void attach_gradients(std::span<ShardView> views, GradientSums& sums) {
  auto view = views.begin();
  for (auto& layer : sums) {
    for (PartialSum& sum : layer) (view++)->gradient = sum.total();
  }
}

Activations::Activations(const Layers& layers, std::size_t max_samples) {
  for (std::size_t boundary = 0; boundary <= layers.size(); ++boundary) {
    widths_.push_back(boundary == 0 ? layers.front()->input_width()
                                    : layers[boundary - 1]->output_width());
    values_.emplace_back(max_samples * widths_.back());
    gradients_.emplace_back(max_samples * widths_.back());
  }
}

std::span<float> Activations::value(std::size_t boundary, std::size_t samples) {
  return std::span(values_[boundary]).first(samples * widths_[boundary]);
}

std::span<float> Activations::gradient(std::size_t boundary, std::size_t samples) {
  return std::span(gradients_[boundary]).first(samples * widths_[boundary]);
}

BatchBuffer::BatchBuffer(const Recipe& recipe, const Corpus& corpus, std::size_t max_samples)
    : recipe_(recipe),
      corpus_(corpus),
      tokens_(max_samples * corpus.context()),
      targets_(max_samples) {}

MicroBatch BatchBuffer::draw(Corpus::Split split, std::size_t step, Range samples) {
  const std::span<Token> tokens = std::span(tokens_).first(samples.size() * corpus_.context());
  const std::span<Token> targets = std::span(targets_).first(samples.size());
  corpus_.draw(split, recipe_.seed, step, samples.begin, tokens, targets);
  return {samples.size(), recipe_.batch_grain, tokens, targets};
}

}  // namespace meshparity
