#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"

/// What the metadata of a recorded step's file says (golden/RECORDINGS.md).
namespace meshparity {

/// Which elements of a whole tensor a file holds: for each dimension the ranges that, joined, are
/// the file's.
struct TensorSlice {
  std::vector<std::size_t> shape;  ///< of the whole
  std::vector<std::vector<Range>> ranges;
};

struct RecordingHeader {
  std::size_t rank = 0;
  RecordedStep step;                          ///< all but tensors and parts
  std::string run;                            ///< what all ranks must say alike, as text
  std::vector<RecordedPart> parts;            ///< in the order of the file's rows; empty: not said
  std::map<std::string, TensorSlice> slices;  ///< by the tensors' names without prefixes
};

/// Reads the value of the metadata `meshparity`. Throws UsageError, naming key and value.
RecordingHeader parse_recording_header(const std::string& text);

/// A tensor's name without what wrappers of modules put before the parts of it (`module.`,
/// `_orig_mod.`, ...).
std::string bare_tensor_name(const std::string& name);

/// The parameters that a model has, in the order in which it uses them.
std::vector<std::string> parameter_names(const RecordedModel& model);

}  // namespace meshparity
