#pragma once

#include <span>
#include <string>
#include <string_view>

#include "golden/files/safetensors.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// Checkpoints of llm.c (https://github.com/karpathy/llm.c, train_gpt2.c and train_gpt2.py): 256
/// int32 header words (magic 20240326, version 3, positions, vocabulary, layers, heads, channels,
/// padded vocabulary), then F32 parameters, each for all layers together: wte, wpe, ln_1.weight,
/// ln_1.bias, c_attn.weight, c_attn.bias, attn.c_proj.weight, .bias, ln_2.weight, .bias,
/// mlp.c_fc.weight, .bias, mlp.c_proj.weight, .bias, ln_f.weight, .bias; weights as (outputs,
/// inputs). The head is tied. Everything is little-endian.
namespace meshparity {

/// A checkpoint's sizes and where its parameters stand.
struct LlmcCheckpoint {
  Recipe recipe;  ///< gpt2's defaults with this shape
  std::size_t vocabulary = 0;
  TensorIndex index;  ///< transformers' names, weights as (outputs, inputs), without padded rows
};

/// True if a file is read as a checkpoint: its name ends in ".bin", or it begins with the magic.
bool is_llmc_checkpoint(const std::string& path, std::string_view bytes);

/// `name` stands for the bytes in errors. Throws UsageError for another magic or version, sizes
/// that are not positive or do not fit each other, and a file that is not exactly as long as they
/// say.
LlmcCheckpoint parse_llmc_checkpoint(std::string_view bytes, const std::string& name);

/// Throws UsageError unless a model can be written as a checkpoint: GPT-2 with a tied head and
/// sizes below 2^31.
void require_exportable(const Recipe& recipe);

/// Writes the model whose parameters are `specs`, atomically, one tensor in memory at a time; rows
/// of +0 fill the vocabulary up to a multiple of 128. Throws as `require_exportable` and AtomicFile
/// do.
void save_llmc_checkpoint(const std::string& path, const Recipe& recipe,
                          std::span<const ParameterSpec> specs, const ParameterSource& source);

}  // namespace meshparity
