#pragma once

#include <span>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// A trained model as a safetensors file: every parameter whole, and in the metadata what sampling
/// from it needs: the recipe, the vocabulary and the corpus's SHA-256. GPT-2 is written as Hugging
/// Face's transformers keep it, with a config.json beside it, so that they load the folder.
namespace meshparity {

/// A parameter as a tensor of the file: a bias has one dimension.
StoredTensor stored_parameter(const std::string& name, const ParameterSpec& spec,
                              std::vector<float> values);

/// `values`: every parameter whole, in the order of `specs`. The bytes depend on nothing else, in
/// particular not on where the corpus lies or how the model was trained.
TensorFile model_file(const Recipe& recipe, const Corpus& corpus, const std::string& corpus_sha256,
                      std::span<const ParameterSpec> specs, std::vector<std::vector<float>> values);

/// Writes it, and the config that goes with it. Throws as AtomicFile does.
void save_model(const std::string& path, const Recipe& recipe, const Corpus& corpus,
                const std::string& corpus_sha256, std::span<const ParameterSpec> specs,
                std::vector<std::vector<float>> values);

/// Throws UsageError if `save_model` could not write there, or would replace what is no config.
/// Leaves nothing behind.
void require_saveable(const std::string& path, const Recipe& recipe);

}  // namespace meshparity
