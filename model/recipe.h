#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace meshparity {

/// The models that can be trained: ml.c's character model, and GPT-2.
enum class ModelKind { mlp, gpt2 };

/// "mlp", "gpt2".
std::string_view name_of(ModelKind kind);
/// Throws UsageError for a name that no model has.
ModelKind model_named(std::string_view name);

/// Version of the rules in NUMERICS.md that a model is trained by: it changes whenever the bits of
/// its runs change.
std::uint64_t contract_of(ModelKind kind);

/// How a corpus becomes samples.
enum class DataForm {
  lines,   ///< one document a line; a sample is a context of one (mlp) or a document (gpt2)
  text,    ///< one stream of bytes; a sample is a window of it
  tokens,  ///< llm.c's token files; a sample is a window of one of them
};
/// Which samples a batch holds.
enum class DataOrder { random, sequential };

enum class OptimizerKind { sgd, adamw };
/// How the learning rate falls after its warm-up. `wsd`: it stays, and falls linearly over the last
/// tenth of the steps (warm-up, stable, decay).
enum class LrDecay { constant, linear, cosine, wsd };

/// What is trained. Two runs of one recipe give the same bits, however they are split (the mesh,
/// the microbatches, the schedule and the transport are *how*, and never part of a recipe). The
/// defaults are those of ml.c's character model; `default_recipe` has those of every model. Numbers
/// are binary64 as written; what is computed from them is rounded once.
struct Recipe {
  ModelKind model = ModelKind::mlp;
  std::string data;             ///< path of the corpus
  std::string validation_data;  ///< of token files: the ones to validate on
  DataForm form = DataForm::lines;
  DataOrder order = DataOrder::random;
  bool all_bytes = false;          ///< the vocabulary of a text: all 256 bytes, or those that occur
  std::size_t vocabulary = 50257;  ///< of token files; of other forms it is known

  // The MLP's shape.
  std::size_t context = 16;    ///< tokens the model sees
  std::size_t embedding = 16;  ///< width of a token's vector
  std::size_t hidden = 64;     ///< width of every hidden layer
  float init_scale = 1.0F;     ///< parameters start uniform in [-k, k), k = init_scale / fan_in

  // GPT-2's shape.
  std::size_t heads = 4;
  std::size_t channels = 128;  ///< width of the residual stream; a multiple of `heads`
  std::size_t positions = 64;  ///< rows of the position embedding
  std::size_t sequence = 0;    ///< positions of a sample; 0: all `positions`
  bool tied = true;            ///< the head is the token embedding
  double dropout = 0;          ///< probability that an activation is dropped in training

  std::size_t layers = 1;     ///< hidden layers, or transformer layers
  std::size_t batch = 32;     ///< samples in the global batch
  std::size_t steps = 25000;  ///< of training
  std::uint64_t seed = 42;    ///< of initial parameters, batches, dropout and samples

  OptimizerKind optimizer = OptimizerKind::sgd;
  double lr = 0.1;         ///< the largest step size
  double min_lr = 0;       ///< what it falls to
  std::size_t warmup = 0;  ///< steps over which it rises
  LrDecay decay = LrDecay::constant;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< of matrices, decoupled (AdamW)
  double clip = 0;          ///< the largest norm of the gradient; 0: any

  std::size_t batch_grain = 8;      ///< samples per leaf of every sum over the batch
  std::size_t sequence_leaves = 1;  ///< leaves of a sample: a power of two
  // Leaves of other sums. For gpt2 0 stands for what the contract names as default.
  std::size_t feature_grain = 16;  ///< features per leaf of every sum over a layer's features
  std::size_t vocab_grain = 32;    ///< tokens per leaf of every sum over the vocabulary
  std::size_t channel_grain = 0;   ///< channels per leaf of every sum over the residual stream
  std::size_t head_grain = 1;      ///< heads per leaf of every sum over them

  bool operator==(const Recipe&) const = default;
};

/// Positions of a sample: targets it may have.
std::size_t positions_of(const Recipe& recipe);

/// A recipe of a model, with nothing said.
Recipe default_recipe(ModelKind model);

/// Throws UsageError, naming the value, if a size is zero or does not fit the others, a number is
/// not finite or out of its range, or the model of this recipe with `vocabulary` tokens would
/// overflow memory sizes or the coordinates of its random numbers.
void validate(const Recipe& recipe, std::size_t vocabulary);

/// Bytes that training holds at least, on all ranks together: parameters, gradients, the
/// optimizer's state, and what passes between the blocks and out of them for one of `microbatches`.
/// Of a valid recipe.
double least_bytes(const Recipe& recipe, std::size_t vocabulary, std::size_t microbatches);

}  // namespace meshparity
