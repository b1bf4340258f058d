#include "golden/jobs/checkpoint_saver.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "golden/files/checkpoint_writer.h"
#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/files/positioned_file.h"
#include "golden/jobs/on_all_ranks.h"
#include "model/error.h"

namespace meshparity {
namespace {

namespace fs = std::filesystem;

/// Rank 0 alone.
template <typename Work>
void on_root(Comm* world, Work work) {
  on_all_ranks(world, [&] {
    if (world == nullptr || world->rank() == 0) work();
  });
}

/// All ranks know both, so all of them throw.
void require_digest(std::uint64_t found, std::optional<std::uint64_t> expected) {
  if (!expected || found == *expected) return;
  throw SharedFailure(fmt::format("the state to be saved has digest {}, it should have {}",
                                  digest_text(found), digest_text(*expected)));
}

/// A sharded one first becomes incomplete, under a partial name: no moment shows half of it.
void remove_checkpoint(const std::string& folder, const StoredCheckpoint& old) {
  const fs::path path(old.path);
  if (!fs::is_directory(path)) {
    fs::remove(path);
    return;
  }
  const fs::path partial = fs::path(folder) / partial_name(old.step, CheckpointLayout::sharded);
  fs::rename(path, partial);
  fs::remove_all(partial);
}

}  // namespace

CheckpointSaver::CheckpointSaver(CheckpointPlan plan, CheckpointHeader header)
    : plan_(std::move(plan)), header_(std::move(header)) {}

void CheckpointSaver::save(const StepView& view, Comm* world, Digest expected_digest) const {
  CheckpointHeader header = header_;
  header.step = view.step;
  try {
    if (plan_.layout == CheckpointLayout::gathered) {
      save_gathered(header, view, world, expected_digest);
    } else {
      save_sharded(header, view, world, expected_digest);
    }
    on_root(world, [&] { publish(header); });
  } catch (...) {  // all ranks end here: in a simulated world, some because others do
    std::error_code error;
    if (world == nullptr || world->rank() == 0) fs::remove_all(partial(header), error);
    throw;
  }
}

std::string CheckpointSaver::partial(const CheckpointHeader& header) const {
  return (fs::path(plan_.folder) / partial_name(header.step, plan_.layout)).string();
}

void CheckpointSaver::save_gathered(CheckpointHeader header, const StepView& view, Comm* world,
                                    Digest expected) const {
  const std::string path = partial(header);
  on_root(world, [&] { create_gathered(path, header); });
  on_all_ranks(world, [&] { header.digest = write_gathered(path, header, view.shards); });
  if (world != nullptr) world->all_reduce_integers({&header.digest, 1});
  require_digest(header.digest, expected);
  on_root(world, [&] { write_gathered_header(path, header); });
}

void CheckpointSaver::save_sharded(CheckpointHeader header, const StepView& view, Comm* world,
                                   Digest expected) const {
  const fs::path folder = partial(header);
  const std::size_t rank = world == nullptr ? 0 : world->rank();
  on_root(world, [&] {
    fs::remove_all(folder);
    fs::create_directory(folder);
  });
  std::vector<CheckpointPiece> pieces(world == nullptr ? 1 : world->size());
  on_all_ranks(world, [&] {
    pieces[rank] = write_piece((folder / piece_name(rank)).string(), header, rank, view.shards);
  });
  if (world != nullptr) {
    std::vector<std::uint64_t> words(2 * pieces.size(), 0);
    words[2 * rank] = pieces[rank].bytes;
    words[2 * rank + 1] = pieces[rank].digest;
    world->all_reduce_integers(words);
    for (std::size_t r = 0; r < pieces.size(); ++r) pieces[r] = {words[2 * r], words[2 * r + 1]};
  }
  header.digest = 0;
  for (const CheckpointPiece& piece : pieces) header.digest += piece.digest;
  require_digest(header.digest, expected);
  on_root(world, [&] {
    write_index((folder / kIndexName).string(), header, pieces);
    flush_folder(folder.string());
  });
}

void CheckpointSaver::publish(const CheckpointHeader& header) const {
  const std::string path =
      (fs::path(plan_.folder) / checkpoint_name(header.step, plan_.layout)).string();
  if (std::rename(partial(header).c_str(), path.c_str()) != 0) {
    throw EnvironmentError(fmt::format("renaming to '{}' failed: {}", path, std::strerror(errno)));
  }
  flush_folder(plan_.folder);
  if (plan_.keep == 0) return;
  const std::vector<StoredCheckpoint> all = checkpoints_in(plan_.folder);
  for (std::size_t i = 0; i + plan_.keep < all.size(); ++i) remove_checkpoint(plan_.folder, all[i]);
}

void prepare_folder(const std::string& folder, bool goes_on) {
  const std::string hint = "name a folder that you may write to";
  try {
    if (fs::exists(folder) && !fs::is_directory(folder)) {
      throw UsageError(fmt::format("'{}' is not a folder", folder), hint);
    }
    fs::create_directory(folder);
    const std::vector<StoredCheckpoint> old = checkpoints_in(folder);
    if (!goes_on && !old.empty()) {
      throw UsageError(fmt::format("folder '{}' already holds step {}", folder, old.back().step),
                       "--resume to go on from there, or name another folder");
    }
    for (const std::string& name : read_folder(folder)) {
      if (is_partial_name(name)) fs::remove_all(fs::path(folder) / name);
    }
  } catch (const fs::filesystem_error& e) {
    throw UsageError(fmt::format("folder '{}' cannot be used: {}", folder, e.code().message()),
                     hint);
  }
}

}  // namespace meshparity
