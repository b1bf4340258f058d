#include "golden/files/recording_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <list>
#include <set>

#include "golden/files/assembled_tensors.h"
#include "golden/files/printable.h"
#include "golden/files/recording_files.h"
#include "golden/files/recording_shapes.h"
#include "golden/files/safetensors.h"
#include "model/error.h"

namespace meshparity {
namespace {

const TensorEntry* entry_of(const RankFile& rank, const std::string& name) {
  for (const TensorEntry& entry : rank.index.tensors) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

/// Puts a step together from the files of its ranks.
class Reading {
 public:
  Reading(const std::string& folder, std::size_t number)
      : ranks_(open_recorded_step(folder, number)) {
    step_ = ranks_.front().header.step;
    std::size_t bytes = 0;
    for (const RankFile& rank : ranks_) bytes += rank.file.size();
    tensors_.limit(bytes);  // a whole is made of what files hold
  }

  /// Of the tensors for which `wants` gives a name.
  template <typename Wants>
  void read(const Wants& wants) {
    for (const RankFile& rank : ranks_) {
      about_file(rank.file.path(), [&] {
        std::set<std::string> names;
        for (const TensorEntry& entry : rank.index.tensors) {
          const std::string name = wants(bare_tensor_name(entry.name));
          if (name.empty()) continue;
          if (!names.insert(name).second) {
            throw UsageError(fmt::format("tensor '{}' is there twice", printable(name)));
          }
          take(rank, entry, name);
        }
        for (const auto& [name, slice] : rank.header.slices) {
          if (!wants(name).empty() && !names.contains(wants(name))) {
            throw UsageError(fmt::format("it has a slice, but no tensor '{}'", printable(name)));
          }
        }
      });
    }
  }

  /// The parts of all ranks, and from them the size of the batch.
  void find_parts() {
    for (RankFile& rank : ranks_) {
      about_file(rank.file.path(), [&] {
        if (rank.header.parts.empty()) {
          const TensorEntry* const tokens = entry_of(rank, "batch.tokens");
          if (ranks_.size() > 1 || tokens == nullptr || tokens->shape.empty() ||
              tokens->shape[0] == 0) {
            throw UsageError("it does not say which 'parts' of the batch it holds");
          }
          rank.header.parts = {{.samples = {0, tokens->shape[0]}}};
        }
        for (const RecordedPart& part : rank.header.parts) add_part(part);
      });
    }
    auto& parts = step_.parts;
    std::sort(parts.begin(), parts.end(), [](const RecordedPart& a, const RecordedPart& b) {
      return a.samples.begin < b.samples.begin;
    });
    for (const RecordedPart& part : parts) {
      if (part.samples.begin != step_.samples) {
        throw UsageError(fmt::format("parts of step {} {} at sample {} of the batch", step_.number,
                                     part.samples.begin < step_.samples ? "overlap" : "leave a gap",
                                     std::min(part.samples.begin, step_.samples)),
                         "give 'parts' the samples of the global batch that each microbatch has");
      }
      step_.samples = part.samples.end;
    }
  }

  void find_positions() {
    for (const RankFile& rank : ranks_) {
      const TensorEntry* const targets = entry_of(rank, "batch.targets");
      if (targets == nullptr || targets->shape.empty()) continue;
      std::size_t count = 1;
      for (std::size_t d = 1; d < targets->shape.size(); ++d) count *= targets->shape[d];
      constexpr std::size_t kMost = std::size_t{1} << 31;
      if (count == 0 || count > kMost) {
        throw UsageError(fmt::format("'{}': tensor 'batch.targets' is {}",
                                     printable(rank.file.path()), shape_text(targets->shape)),
                         kRecordingHint);
      }
      step_.positions = count;
      return;
    }
  }

  RecordedStep take_step() {
    step_.tensors = tensors_.take(step_.replicas);
    return std::move(step_);
  }

 private:
  void add_part(const RecordedPart& part) {
    for (const RecordedPart& known : step_.parts) {
      if (known.samples != part.samples) continue;
      if (known.weight == part.weight) return;
      throw UsageError(fmt::format("samples {} to {} have weight {}, and on rank {} weight {}",
                                   part.samples.begin, part.samples.end, part.weight, known.rank,
                                   known.weight));
    }
    step_.parts.push_back(part);
  }

  /// Values of a file, as floats.
  std::vector<float> values_of(const RankFile& rank, const TensorEntry& entry,
                               bool whole_numbers) const {
    const auto refuse = [&](const std::string& why) {
      throw UsageError(fmt::format("tensor '{}' {}", printable(entry.name), why));
    };
    const bool is_whole = entry.dtype == "I32" || entry.dtype == "I64";
    if (whole_numbers ? !is_whole : entry.dtype != "F32" && entry.dtype != "BF16") {
      refuse(fmt::format("is {}, not {}", entry.dtype, whole_numbers ? "I32 or I64" : "F32"));
    }
    std::vector<float> values = read_floats(rank.file, entry);
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (std::isfinite(values[i])) continue;
      refuse(fmt::format("holds {} at {}", whole_numbers ? "too large a number" : "no number",
                         index_text(entry.shape, i)));
    }
    return values;
  }

  void take(const RankFile& rank, const TensorEntry& entry, const std::string& name) {
    const bool of_batch = name.starts_with("batch.");
    Placement placement;
    std::vector<std::size_t> shape = entry.shape;
    if (name == "loss") {
      if (shape.empty()) shape = {1};
      placement.shape = {step_.parts.size()};
      placement.places = {parts_of(rank)};
    } else if (of_batch || is_of_rows(name)) {
      shape = as_rows(name, shape, of_batch ? 1 : step_.positions, rank);
      placement.shape = {of_batch ? step_.samples : step_.rows(), shape[1]};
      placement.places = {rows_of(rank, of_batch ? 1 : step_.positions), {}};
    } else {
      placement.shape = shape;
      placement.places.resize(shape.size());
    }
    const auto slice = rank.header.slices.find(bare_tensor_name(entry.name));
    if (slice != rank.header.slices.end()) apply(slice->second, name, shape, placement);
    about_tensor(name, [&] {
      tensors_.place(name, rank.header.rank, shape, placement, values_of(rank, entry, of_batch));
    });
  }

  template <typename Action>
  static void about_tensor(const std::string& name, const Action& action) {
    try {
      action();
    } catch (const std::invalid_argument& e) {
      throw UsageError(fmt::format("tensor '{}': {}", printable(name), e.what()));
    }
  }

  static bool is_of_rows(const std::string& name) {
    return name.starts_with("input/") || name.starts_with("output/") ||
           name.starts_with("grad_input/") || name.starts_with("grad_output/");
  }

  /// (samples, positions, width) as (rows, width).
  static std::vector<std::size_t> as_rows(const std::string& name,
                                          const std::vector<std::size_t>& shape,
                                          std::size_t positions, const RankFile& rank) {
    std::size_t samples = 0;
    for (const RecordedPart& part : rank.header.parts) samples += part.samples.size();
    const std::size_t rows = samples * positions;
    const std::size_t count = value_count(shape).value_or(0);
    const bool fits = !shape.empty() && rows > 0 && count > 0 && count % rows == 0 &&
                      (shape[0] == rows || shape[0] == samples);
    if (fits) return {rows, count / rows};
    throw UsageError(fmt::format("tensor '{}' is {}, but the file's parts have {} rows",
                                 printable(name), shape_text(shape), rows));
  }

  std::vector<std::size_t> rows_of(const RankFile& rank, std::size_t positions) const {
    std::vector<std::size_t> rows;
    for (const RecordedPart& part : rank.header.parts) {
      for (std::size_t row = part.samples.begin * positions; row < part.samples.end * positions;
           ++row) {
        rows.push_back(row);
      }
    }
    return rows;
  }

  std::vector<std::size_t> parts_of(const RankFile& rank) const {
    std::vector<std::size_t> numbers;
    for (const RecordedPart& part : rank.header.parts) {
      for (std::size_t i = 0; i < step_.parts.size(); ++i) {
        if (step_.parts[i].samples == part.samples) numbers.push_back(i);
      }
    }
    return numbers;
  }

  /// Of rows, the slice says the columns alone.
  static void apply(const TensorSlice& slice, const std::string& name,
                    const std::vector<std::size_t>& shape, Placement& placement) {
    if (slice.shape.size() != placement.shape.size()) {
      throw UsageError(fmt::format("slice '{}' has {} dimensions, its tensor {}", printable(name),
                                   slice.shape.size(), placement.shape.size()));
    }
    for (std::size_t d = is_of_rows(name) ? 1 : 0; d < slice.shape.size(); ++d) {
      placement.shape[d] = slice.shape[d];
      std::size_t extent = 0;
      for (const Range range : slice.ranges[d]) extent += range.size();
      if (extent != shape[d]) {
        throw UsageError(fmt::format("tensor '{}' is {}, but its slice has {} along dimension {}",
                                     printable(name), shape_text(shape), extent, d));
      }
      for (const Range range : slice.ranges[d]) {
        for (std::size_t i = range.begin; i < range.end; ++i) placement.places[d].push_back(i);
      }
    }
  }

  std::list<RankFile> ranks_;
  RecordedStep step_;
  AssembledTensors tensors_;
};

/// Moves tokens, targets and losses to where they belong.
void unpack(RecordedStep& step) {
  const auto numbers = [&](const std::string& name, std::vector<Token>& to) {
    if (const RecordedTensor* const found = step.find(name)) {
      to.assign(found->values.begin(), found->values.end());
    }
  };
  numbers("batch.tokens", step.tokens);
  numbers("batch.targets", step.targets);
  if (const RecordedTensor* const losses = step.find("loss")) {
    step.has_losses = true;
    for (std::size_t i = 0; i < step.parts.size(); ++i) {
      step.parts[i].loss = static_cast<double>(losses->values[i]);
    }
  }
  for (const char* const name : {"batch.tokens", "batch.targets", "loss"}) step.tensors.erase(name);
}

}  // namespace

std::vector<std::size_t> recorded_steps(const std::string& folder) {
  std::set<std::size_t> steps;
  for (const StepFile& file : step_files(folder)) steps.insert(file.step);
  if (steps.empty()) {
    throw UsageError(fmt::format("'{}' holds no recorded step", printable(folder)),
                     "name a folder of files like step-000000.safetensors (golden/RECORDINGS.md)");
  }
  return {steps.begin(), steps.end()};
}

RecordedStep read_recorded_step(const std::string& folder, std::size_t number) {
  Reading reading(folder, number);
  reading.find_parts();
  reading.find_positions();
  // Left out: buffers, and rows of positions' vectors, which are not those of the batch.
  reading.read([](const std::string& name) {
    const bool is_ignored = name.ends_with("/wpe") || name.ends_with(".attn.bias") ||
                            name.ends_with(".attn.masked_bias");
    return is_ignored ? "" : name;
  });
  RecordedStep step = reading.take_step();
  unpack(step);
  require_fitting_tensors(step);

  const std::vector<StepFile> files = step_files(folder);
  const bool has_next =
      std::ranges::any_of(files, [&](const StepFile& file) { return file.step == number + 1; });
  if (!has_next || (step.has_group("param_after/") && step.has_group("state_after/"))) return step;
  Reading next(folder, number + 1);
  next.find_parts();
  next.read([&](const std::string& name) -> std::string {
    for (const std::string group : {"param", "state"}) {
      if (name.starts_with(group + "/") && !step.has_group(group + "_after/")) {
        return group + "_after" + name.substr(group.size());
      }
    }
    return "";
  });
  RecordedStep after = next.take_step();
  step.tensors.merge(after.tensors);
  std::ranges::move(after.replicas, std::back_inserter(step.replicas));
  require_fitting_tensors(step);
  return step;
}

}  // namespace meshparity
