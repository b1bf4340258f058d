#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "golden/files/recording_folder.h"
#include "golden/files/safetensors.h"

/// Recordings of small models, right ones, to be spoiled.
namespace meshparity {

struct SmallOptions {
  RecordedModel::Kind kind = RecordedModel::Kind::gpt2;
  bool tied = true;
  bool biases = true;
  RecordedModel::Gelu gelu = RecordedModel::Gelu::tanh;
  WeightLayout weights = WeightLayout::output_input;
  std::size_t parts = 1;  ///< of four samples
  double max_norm = 0;    ///< 0: no clipping
};

/// A step in which every operation was computed in float64 and rounded once, updates included.
RecordedStep small_step(const SmallOptions& options = {});

/// The file of one rank: it holds the given parts, and all other tensors whole. (A JSON value says
/// that it moves without exceptions, and checks its invariants on the way.)
struct RankRecording {  // NOLINT(bugprone-exception-escape)
  nlohmann::ordered_json header;
  TensorFile file;  ///< without metadata

  StoredTensor& tensor(const std::string& name);
  void remove(const std::string& name);
};
RankRecording rank_recording(const RecordedStep& step, std::size_t rank, std::size_t ranks);

/// Writes it under the name of its step and rank.
void write_recording(const std::string& folder, const RankRecording& recording);
void write_recording(const std::string& folder, const RecordedStep& step, std::size_t ranks = 1);

/// Of a parameter: two ranks hold one half of its first dimension each.
void halve(RankRecording& recording, const std::string& name, std::size_t half);

}  // namespace meshparity
