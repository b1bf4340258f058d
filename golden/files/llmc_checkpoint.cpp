#include "golden/files/llmc_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <map>

#include "golden/files/file_io.h"
#include "golden/files/gpt2_names.h"
#include "golden/files/little_endian.h"
#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::size_t kHeaderWords = 256;
constexpr std::size_t kHeaderBytes = kHeaderWords * 4;
constexpr std::uint32_t kMagic = 20240326;
constexpr std::uint32_t kTokenFileMagic = 20240520;
constexpr std::uint32_t kVersion = 3;
constexpr std::uint32_t kHalfPrecisionVersion = 5;
constexpr std::size_t kVocabularyMultiple = 128;

/// The parameters of a layer, in the file's order.
struct LayerTensor {
  const char* name = nullptr;
  std::size_t outputs = 0;  // in channels
  std::size_t inputs = 0;   // in channels; 0: a vector
};
constexpr std::array<LayerTensor, 12> kLayer = {{{"ln_1.weight", 1},
                                                 {"ln_1.bias", 1},
                                                 {"attn.c_attn.weight", 3, 1},
                                                 {"attn.c_attn.bias", 3},
                                                 {"attn.c_proj.weight", 1, 1},
                                                 {"attn.c_proj.bias", 1},
                                                 {"ln_2.weight", 1},
                                                 {"ln_2.bias", 1},
                                                 {"mlp.c_fc.weight", 4, 1},
                                                 {"mlp.c_fc.bias", 4},
                                                 {"mlp.c_proj.weight", 1, 4},
                                                 {"mlp.c_proj.bias", 1}}};

struct Sizes {
  std::size_t positions = 0;
  std::size_t vocabulary = 0;
  std::size_t layers = 0;
  std::size_t heads = 0;
  std::size_t channels = 0;
  std::size_t padded_vocabulary = 0;
};
/// In the header's order, from its third word on.
struct SizeField {
  const char* name;
  std::size_t Sizes::*member;
};
constexpr std::array<SizeField, 6> kSizeFields = {
    {{"max_seq_len", &Sizes::positions},
     {"vocab_size", &Sizes::vocabulary},
     {"num_layers", &Sizes::layers},
     {"num_heads", &Sizes::heads},
     {"channels", &Sizes::channels},
     {"padded_vocab_size", &Sizes::padded_vocabulary}}};

void require_version(std::string_view bytes) {
  const auto magic = little_endian_at<std::uint32_t>(bytes, 0);
  if (magic == kTokenFileMagic) {
    throw UsageError(fmt::format("its magic {} is that of a token file", magic),
                     "give token files to --data, checkpoints to --load");
  }
  if (magic != kMagic) {
    throw UsageError(fmt::format("its magic is {}, a checkpoint's is {}", magic, kMagic),
                     "give a checkpoint that llm.c wrote, or a safetensors file");
  }
  const auto version = little_endian_at<std::uint32_t>(bytes, 4);
  if (version == kVersion) return;
  throw UsageError(
      fmt::format("its version is {}{}, only version {} (float32) is read", version,
                  version == kHalfPrecisionVersion ? " (bfloat16)" : "", kVersion),
      "write it as float32 (llm.c's train_gpt2.py does: gpt2_124M.bin, not gpt2_124M_bf16.bin)");
}

Sizes sizes_of(std::string_view bytes) {
  const std::string hint = "give a whole checkpoint that llm.c wrote";
  Sizes sizes;
  for (std::size_t i = 0; i < kSizeFields.size(); ++i) {
    const auto value =
        static_cast<std::int32_t>(little_endian_at<std::uint32_t>(bytes, 4 * (i + 2)));
    if (value <= 0) {
      throw UsageError(fmt::format("its {} is {}", kSizeFields[i].name, value), hint);
    }
    sizes.*kSizeFields[i].member = static_cast<std::size_t>(value);
  }
  if (sizes.channels % sizes.heads != 0) {
    throw UsageError(fmt::format("its channels {} are no multiple of its num_heads {}",
                                 sizes.channels, sizes.heads),
                     hint);
  }
  if (sizes.padded_vocabulary < sizes.vocabulary) {
    throw UsageError(fmt::format("its padded_vocab_size {} is below its vocab_size {}",
                                 sizes.padded_vocabulary, sizes.vocabulary),
                     hint);
  }
  return sizes;
}

/// Names and shapes are handed to `add` in the file's order, with the rows that stand in the file.
template <typename Add>
void each_tensor(const Sizes& sizes, Add add) {
  const std::size_t channels = sizes.channels;
  add("wte.weight", {sizes.vocabulary, channels}, sizes.padded_vocabulary);
  add("wpe.weight", {sizes.positions, channels}, sizes.positions);
  for (const LayerTensor& tensor : kLayer) {
    std::vector<std::size_t> shape = {tensor.outputs * channels};
    if (tensor.inputs > 0) shape.push_back(tensor.inputs * channels);
    for (std::size_t layer = 0; layer < sizes.layers; ++layer) {
      add(fmt::format("h.{}.{}", layer, tensor.name), shape, shape.front());
    }
  }
  add("ln_f.weight", {channels}, channels);
  add("ln_f.bias", {channels}, channels);
}

/// The length of a file with these sizes, which may be beyond any file's: a binary64 is exact
/// wherever a file can be that long.
double bytes_of(const Sizes& sizes) {
  const auto channels = static_cast<double>(sizes.channels);
  double of_layer = 0;
  for (const LayerTensor& tensor : kLayer) {
    const double inputs = tensor.inputs == 0 ? 1 : static_cast<double>(tensor.inputs) * channels;
    of_layer += static_cast<double>(tensor.outputs) * channels * inputs;
  }
  const auto rows = static_cast<double>(sizes.padded_vocabulary + sizes.positions + 2);
  return static_cast<double>(kHeaderBytes) +
         4 * (rows * channels + static_cast<double>(sizes.layers) * of_layer);
}

LlmcCheckpoint parse(std::string_view bytes) {
  if (bytes.size() < kHeaderBytes) {
    throw UsageError(
        fmt::format("it has {} bytes, its header alone {}", bytes.size(), kHeaderBytes),
        "give a whole checkpoint that llm.c wrote");
  }
  require_version(bytes);
  const Sizes sizes = sizes_of(bytes);
  if (bytes_of(sizes) != static_cast<double>(bytes.size())) {
    throw UsageError(
        fmt::format("it has {} bytes, its header announces {:.0f} ({} layers, {} channels, {} "
                    "positions, vocabulary {} padded to {})",
                    bytes.size(), bytes_of(sizes), sizes.layers, sizes.channels, sizes.positions,
                    sizes.vocabulary, sizes.padded_vocabulary),
        "give a whole checkpoint that llm.c wrote (is it cut off?)");
  }
  LlmcCheckpoint checkpoint;
  checkpoint.recipe = default_recipe(ModelKind::gpt2);
  checkpoint.recipe.layers = sizes.layers;
  checkpoint.recipe.heads = sizes.heads;
  checkpoint.recipe.channels = sizes.channels;
  checkpoint.recipe.positions = sizes.positions;
  checkpoint.recipe.tied = true;
  checkpoint.vocabulary = sizes.vocabulary;
  std::size_t offset = kHeaderBytes;
  each_tensor(sizes, [&](std::string name, const std::vector<std::size_t>& shape,
                         std::size_t rows_in_file) {
    const std::size_t row = 4 * *value_count(shape) / shape.front();
    checkpoint.index.tensors.push_back(
        {std::move(name), "F32", shape, offset, offset + shape.front() * row});
    offset += rows_in_file * row;
  });
  return checkpoint;
}

std::string header_of(const Sizes& sizes) {
  std::string header;
  append_little_endian(header, kMagic);
  append_little_endian(header, kVersion);
  for (const SizeField& field : kSizeFields) {
    append_little_endian(header, static_cast<std::uint32_t>(sizes.*field.member));
  }
  header.resize(kHeaderBytes, '\0');
  return header;
}

/// By the names that files have.
std::map<std::string, const ParameterSpec*> by_file_name(std::span<const ParameterSpec> specs) {
  std::map<std::string, const ParameterSpec*> found;
  for (const ParameterSpec& spec : specs) found[file_name_of(spec.name)] = &spec;
  return found;
}

}  // namespace

bool is_llmc_checkpoint(const std::string& path, std::string_view bytes) {
  return path.ends_with(".bin") ||
         (bytes.size() >= 8 && little_endian_at<std::uint32_t>(bytes, 0) == kMagic &&
          little_endian_at<std::uint32_t>(bytes, 4) != 0);
}

LlmcCheckpoint parse_llmc_checkpoint(std::string_view bytes, const std::string& name) {
  try {
    return parse(bytes);
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("'{}' is not a usable llm.c checkpoint: {}", name, e.what()),
                     e.hint());
  }
}

void require_exportable(const Recipe& recipe) {
  if (recipe.model != ModelKind::gpt2) {
    throw UsageError(fmt::format("--export writes GPT-2 as llm.c keeps it, the model is {}",
                                 name_of(recipe.model)),
                     "use --save");
  }
  if (!recipe.tied) {
    throw UsageError("--export: llm.c has no head apart from the token embedding, tied is false",
                     "train with --tied true, or use --save");
  }
}

void save_llmc_checkpoint(const std::string& path, const Recipe& recipe,
                          std::span<const ParameterSpec> specs, const ParameterSource& source) {
  require_exportable(recipe);
  const std::map<std::string, const ParameterSpec*> parameters = by_file_name(specs);
  Sizes sizes{recipe.positions, parameters.at("wte.weight")->rows,
              recipe.layers,    recipe.heads,
              recipe.channels,  0};
  sizes.padded_vocabulary =
      (sizes.vocabulary + kVocabularyMultiple - 1) / kVocabularyMultiple * kVocabularyMultiple;
  for (const SizeField& field : kSizeFields) {
    if (sizes.*field.member <= std::numeric_limits<std::int32_t>::max()) continue;
    throw UsageError(
        fmt::format("--export: {} {} does not fit llm.c's header", field.name, sizes.*field.member),
        "use --save");
  }
  AtomicFile file(path);
  file.write(header_of(sizes));
  each_tensor(sizes, [&](const std::string& name, const std::vector<std::size_t>& shape,
                         std::size_t rows_in_file) {
    const ParameterSpec& spec = *parameters.at(name);
    std::vector<float> values(spec.size());
    source.fill(Shard(spec), values);
    values = in_file_order(spec, WeightLayout::output_input, recipe.heads, std::move(values));
    values.resize(values.size() / shape.front() * rows_in_file);
    std::string bytes;
    bytes.reserve(4 * values.size());
    for (const float value : values) {
      append_little_endian(bytes, std::bit_cast<std::uint32_t>(value));
    }
    file.write(bytes);
  });
  file.commit();
}

}  // namespace meshparity
