#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "golden/files/safetensors.h"
#include "model/corpus.h"
#include "model/parameter.h"
#include "model/recipe.h"

/// What checkpoints say of themselves, and what they are called: see golden/CHECKPOINTS.md.
namespace meshparity {

/// What an update changes, in the order in which it is stored.
enum class StatePart { parameters, first_moments, second_moments };

/// "", "exp_avg/", "exp_avg_sq/": what stands before a parameter's name.
std::string_view prefix_of(StatePart part);
/// True if a tensor of this name is a moment.
bool is_moment(std::string_view tensor);

enum class CheckpointLayout {
  gathered,  ///< one file, whole tensors under the names of `--save`; the same bytes from any mesh
  sharded    ///< a folder: each rank's own part as it is, and an index of them
};

/// All of a checkpoint but its tensors. The next step depends on nothing else.
struct CheckpointHeader {
  std::size_t step = 0;      ///< steps that made it
  std::uint64_t digest = 0;  ///< of all parameters and moments: a trace's at this step
  std::uint64_t contract = 0;
  Recipe recipe;           ///< without paths
  std::string vocabulary;  ///< `Corpus::bytes`
  std::string corpus_sha256;

  /// The parts that the recipe's optimizer has.
  std::vector<StatePart> parts() const;
  /// The model's parameters, in order.
  std::vector<ParameterSpec> specs() const;
  /// 16 hexadecimal digits that all checkpoints of one recipe and corpus share.
  std::string run() const;
};

/// `step` and `digest` are left at 0.
CheckpointHeader checkpoint_header(const Recipe& recipe, const Corpus& corpus,
                                   const std::string& corpus_sha256);

nlohmann::ordered_json json_of(const CheckpointHeader& header);
/// Throws UsageError for what is missing or makes no sense.
CheckpointHeader checkpoint_header_of(const nlohmann::ordered_json& json);

/// "step-00000050.safetensors", or the folder's "step-00000050".
std::string checkpoint_name(std::size_t step, CheckpointLayout layout);
/// The name under which it is written until it is complete.
std::string partial_name(std::size_t step, CheckpointLayout layout);
/// True for what `partial_name` makes: what was left when a run was killed.
bool is_partial_name(const std::string& name);

struct StoredCheckpoint {
  std::size_t step = 0;
  std::string path;
};
/// The complete ones in a folder, by step; none if there is no such folder. Throws as read_folder
/// does if it cannot be listed.
std::vector<StoredCheckpoint> checkpoints_in(const std::string& folder);

/// The places of all tensors in a gathered file, as a safetensors header has them.
TensorIndex gathered_index(const CheckpointHeader& header);

/// The name of a parameter in a gathered file.
std::string name_in_file(const Recipe& recipe, const ParameterSpec& spec);

/// A sharded folder's index, and what a piece is called.
inline constexpr const char* kIndexName = "index.json";
std::string piece_name(std::size_t rank);

/// Names the first field in which `recipe` or the corpus is not the checkpoint's: throws
/// UsageError. Paths do not count.
void require_same_run(const CheckpointHeader& checkpoint, const std::string& path,
                      const Recipe& recipe, const std::string& corpus_sha256);

}  // namespace meshparity
