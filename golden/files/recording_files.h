#pragma once

#include <fmt/format.h>

#include <list>
#include <string>
#include <vector>

#include "golden/files/positioned_file.h"
#include "golden/files/printable.h"
#include "golden/files/recording_header.h"
#include "golden/files/safetensors.h"
#include "model/error.h"

/// The files of a recording, opened, with their headers.
namespace meshparity {

inline constexpr const char* kRecordingHint =
    "read golden/RECORDINGS.md, and record the step again";

/// step-000000.safetensors or step-000000.rank-0003.safetensors
struct StepFile {
  std::size_t step = 0;
  std::string path;
};

/// Those in a folder. Throws UsageError for a name that only begins and ends like theirs.
std::vector<StepFile> step_files(const std::string& folder);

/// One rank's file, its header checked.
struct RankFile {
  ReadableFile file;
  TensorIndex index;
  RecordingHeader header;
};

/// Errors of one file carry its name.
template <typename Action>
auto about_file(const std::string& path, const Action& action) {
  try {
    return action();
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("recording '{}': {}", printable(path), e.what()), kRecordingHint);
  }
}

/// All ranks' files of a step, by rank. Throws UsageError unless there is one of each, and all say
/// the same of the run.
std::list<RankFile> open_recorded_step(const std::string& folder, std::size_t step);

}  // namespace meshparity
