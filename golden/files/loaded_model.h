#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "golden/files/gpt2_names.h"
#include "golden/files/safetensors.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

namespace meshparity {

/// A model read back, and the source of first values for training on: a safetensors file of ours or
/// of transformers', or a checkpoint of llm.c. Values are read from the file's bytes where they are
/// asked for.
class LoadedModel final : public ParameterSource {
 public:
  /// Throws UsageError if the file cannot be used: damaged, with metadata that is damaged or names
  /// a corpus, a GPT-2 whose config.json describes another model.
  explicit LoadedModel(const std::string& path);

  /// False for a file that another program wrote: its recipe knows shapes alone, its vocabulary is
  /// unknown.
  bool has_recipe() const { return has_recipe_; }
  /// As it was trained, with an empty `data`; of a foreign GPT-2 the defaults with the file's
  /// shape, where `heads` is 0 if neither the file nor a config.json beside it says it.
  const Recipe& recipe() const { return recipe_; }
  const std::string& corpus_sha256() const { return corpus_sha256_; }
  /// The whole file.
  std::string_view bytes() const { return bytes_; }
  /// Tokens that a GPT-2 knows; 0 for other models.
  std::size_t tokens() const { return tokens_; }

  /// A corpus with the model's vocabulary and nothing worth training on.
  Corpus vocabulary_corpus(const Recipe& recipe) const;

  /// Throws UsageError if `corpus` has another vocabulary than the model.
  void require_vocabulary(const Corpus& corpus) const;

  /// The recipe that will be used, before anything of its sizes is made. Throws UsageError naming
  /// both values where it has another shape than the file, or if nobody says the number of heads.
  void fit(const Recipe& recipe);

  /// Throws UsageError unless the file holds exactly these parameters: a tensor that is missing,
  /// left over, of another shape (naming both shapes) or dtype, or holds a value that is not finite
  /// (naming the first).
  void require_parameters(std::span<const ParameterSpec> specs) const;

  void fill(const Shard& shard, std::span<float> values) const override;

 private:
  void read_llmc();
  void read_safetensors();
  void read_metadata(const std::map<std::string, std::string>& metadata);
  void take_gpt2_tensors(std::vector<TensorEntry> tensors);
  void take_gpt2_shape();
  void take_config();
  bool same_bytes(const TensorEntry& a, const TensorEntry& b) const;
  void require_same(const char* field, std::size_t found, std::size_t wanted) const;
  void require_tied_head();
  void require_tensor(const ParameterSpec& spec) const;
  void require_finite(const TensorEntry& tensor) const;

  std::string path_;
  std::string bytes_;                           // of the file
  std::map<std::string, TensorEntry> tensors_;  // by the names of files, without a prefix
  WeightLayout layout_ = WeightLayout::input_output;
  bool has_recipe_ = false;
  Recipe recipe_;
  std::size_t tokens_ = 0;
  std::string vocabulary_;  // the bytes of all tokens that have one
  std::string corpus_sha256_;
};

}  // namespace meshparity
