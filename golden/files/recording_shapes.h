#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"

/// What tensors a recording of a model may have, and of which shapes.
namespace meshparity {

/// An operation's rows of numbers. 0: not recorded, or not known.
struct OperationWidths {
  std::size_t input = 0;
  std::size_t output = 0;
};

struct RecordingShapes {
  std::map<std::string, std::vector<std::size_t>> parameters;  ///< by bare name
  std::map<std::string, OperationWidths> operations;
};

/// From the model and the shapes of its whole parameters, as far as these are recorded; what
/// follows from missing ones is 0. Throws UsageError if a table is no matrix.
RecordingShapes recording_shapes(const RecordedStep& step);

/// Counts an MLP's layers, which are those of its recorded parameters. Throws UsageError unless
/// every tensor is one that the model has, of the shape that follows from its parameters, and
/// tokens and targets are those of the vocabulary.
void require_fitting_tensors(RecordedStep& step);

}  // namespace meshparity
