#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "golden/files/checkpoint_header.h"
#include "model/observer.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// Which checkpoints a run leaves, and where.
struct CheckpointPlan {
  std::string folder;
  CheckpointLayout layout = CheckpointLayout::gathered;
  std::size_t every = 0;  ///< steps between two; 0: only where training ends
  std::size_t keep = 0;   ///< the newest so many stay; 0: all
};

/// Writes the state of a run, each rank what it owns; `Comm` is null where there is one. A
/// checkpoint appears under its name complete or not at all, whenever the process dies: it is
/// written under a partial name, its header or index last, flushed and renamed. Only then older
/// ones go.
class CheckpointSaver {
 public:
  /// `header` is of the run; its step and digest do not count.
  CheckpointSaver(CheckpointPlan plan, CheckpointHeader header);

  /// True where a run that goes on is to be saved.
  bool due(std::size_t step) const { return plan_.every > 0 && step % plan_.every == 0; }

  /// Collective: writes the state in `view.shards`, made by `view.step` steps. Throws SharedFailure
  /// on all ranks if it fails on any, or if the state has another digest than it is known to have;
  /// what was complete before stays.
  void save(const StepView& view, Comm* world,
            std::optional<std::uint64_t> expected_digest = {}) const;

 private:
  using Digest = std::optional<std::uint64_t>;
  void save_gathered(CheckpointHeader header, const StepView& view, Comm* world,
                     Digest expected) const;
  void save_sharded(CheckpointHeader header, const StepView& view, Comm* world,
                    Digest expected) const;
  void publish(const CheckpointHeader& header) const;
  std::string partial(const CheckpointHeader& header) const;

  CheckpointPlan plan_;
  CheckpointHeader header_;
};

/// Makes the folder of a plan if it is not there, and removes what a killed run left half written.
/// Throws UsageError if that cannot be done, or, unless `goes_on`, if it holds a checkpoint.
void prepare_folder(const std::string& folder, bool goes_on);

}  // namespace meshparity
