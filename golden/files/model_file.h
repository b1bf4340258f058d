#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// A trained model as a safetensors file: every parameter whole, and in the metadata what sampling
/// from it needs: the recipe, the vocabulary and the corpus's SHA-256.
namespace meshparity {

/// A parameter as a tensor of the file: a bias has one dimension.
StoredTensor stored_parameter(const std::string& name, const ParameterSpec& spec,
                              std::vector<float> values);

/// `values`: every parameter whole, in the order of `specs`. The bytes depend on nothing else, in
/// particular not on where the corpus lies or how the model was trained.
TensorFile model_file(const Recipe& recipe, const Corpus& corpus, const std::string& corpus_sha256,
                      std::span<const ParameterSpec> specs, std::vector<std::vector<float>> values);

/// A model read back. Also the source of first values for training on.
class LoadedModel final : public ParameterSource {
 public:
  /// Throws UsageError if the file is no safetensors file, or its metadata is damaged.
  explicit LoadedModel(const std::string& path);

  /// False for a file that another program wrote: recipe and vocabulary are then unknown.
  bool has_recipe() const { return !vocabulary_.empty(); }
  /// As it was trained, with an empty `data`.
  const Recipe& recipe() const { return recipe_; }
  const std::string& corpus_sha256() const { return corpus_sha256_; }

  /// A corpus with the model's vocabulary and nothing worth training on.
  Corpus vocabulary_corpus(std::size_t context) const;

  /// Throws UsageError if `corpus` has another vocabulary than the model.
  void require_vocabulary(const Corpus& corpus) const;

  /// Throws UsageError unless the file holds exactly these parameters: a tensor that is missing,
  /// left over or of another shape (naming both shapes).
  void require_parameters(std::span<const ParameterSpec> specs) const;

  void fill(const Shard& shard, std::span<float> values) const override;

 private:
  std::string path_;
  std::map<std::string, StoredTensor> tensors_;
  Recipe recipe_;
  std::string vocabulary_;  ///< the bytes of tokens 1, 2, ...
  std::string corpus_sha256_;
};

}  // namespace meshparity
