#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace meshparity {

/// The models that can be trained.
enum class ModelKind { mlp };

/// "mlp".
std::string_view name_of(ModelKind kind);
/// Throws UsageError for a name that no model has.
ModelKind model_named(std::string_view name);

/// Version of the rules in NUMERICS.md that a model is trained by: it changes whenever the bits of
/// its runs change.
std::uint64_t contract_of(ModelKind kind);

/// What is trained. Two runs of one recipe give the same bits, however they are split (the mesh,
/// the microbatches, the schedule and the transport are *how*, and never part of a recipe). The
/// defaults are those of ml.c's character model.
struct Recipe {
  ModelKind model = ModelKind::mlp;
  std::string data;                ///< path of the corpus, one document a line
  std::size_t context = 16;        ///< tokens the model sees
  std::size_t embedding = 16;      ///< width of a token's vector
  std::size_t hidden = 64;         ///< width of every hidden layer
  std::size_t layers = 1;          ///< hidden layers
  std::size_t batch = 32;          ///< samples in the global batch
  float lr = 0.1F;                 ///< SGD step size
  std::size_t steps = 25000;       ///< of training
  std::uint64_t seed = 42;         ///< of initial parameters, batches and samples
  float init_scale = 1.0F;         ///< parameters start uniform in [-k, k), k = init_scale / fan_in
  std::size_t batch_grain = 8;     ///< samples per leaf of every sum over the batch
  std::size_t feature_grain = 16;  ///< features per leaf of every sum over a layer's features
  std::size_t vocab_grain = 32;    ///< tokens per leaf of every sum over the vocabulary

  bool operator==(const Recipe&) const = default;
};

/// Throws UsageError, naming the value, if a size is zero, a number is not finite, or the model of
/// this recipe with `vocabulary` tokens would overflow memory sizes.
void validate(const Recipe& recipe, std::size_t vocabulary);

}  // namespace meshparity
