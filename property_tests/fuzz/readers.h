#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace meshparity {

/// Something that reads what others wrote, as a target for hostile bytes.
struct Reader {
  std::string_view name;
  /// Reads the bytes, and checks that what was read is written and read back as the same. Throws
  /// UsageError if it refuses them; anything else that it throws is a finding.
  void (*read)(std::string_view bytes);
  /// What it must accept: where a fuzzer begins.
  std::vector<std::string> (*seeds)();
};

/// One for each kind of file, for numbers, meshes and command lines.
const std::vector<Reader>& readers();

/// Gives bytes to a reader. False if it refuses them, in words that fit a terminal; throws what is
/// neither, std::logic_error if it changes what it read.
bool accepts(const Reader& reader, std::string_view bytes);

// The seeds of each.
std::vector<std::string> safetensors_seeds();
std::vector<std::string> model_seeds();
std::vector<std::string> checkpoint_seeds();
std::vector<std::string> config_seeds();
std::vector<std::string> recipe_seeds();
std::vector<std::string> trace_seeds();
std::vector<std::string> corpus_seeds();
std::vector<std::string> token_seeds();
std::vector<std::string> number_seeds();
std::vector<std::string> mesh_seeds();
std::vector<std::string> recording_seeds();
std::vector<std::string> command_line_seeds();

}  // namespace meshparity
