#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "golden/files/checkpoint_header.h"
#include "golden/files/positioned_file.h"
#include "model/observer.h"
#include "model/parameter.h"

namespace meshparity {

/// A complete checkpoint of either layout, to be read by any mesh: each rank reads what it holds.
/// One thread at a time.
class Checkpoint {
 public:
  /// Reads all headers. Throws UsageError that names what is wrong: a piece that is missing, cut
  /// off, of another step or run, in another's place; a tensor that is not there once.
  explicit Checkpoint(std::string path);

  const std::string& path() const { return path_; }
  CheckpointLayout layout() const { return layout_; }
  const CheckpointHeader& header() const { return header_; }
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  std::size_t pieces() const { return files_.size(); }
  std::size_t bytes() const { return bytes_; }  ///< of all its files of tensors

  /// Fills `values` with the elements of `shard`.
  void read(StatePart part, const Shard& shard, std::span<float> values) const;

  /// The digest of all that it holds, as its header should say. Reads everything.
  std::uint64_t digest() const;
  /// Throws UsageError that names what is damaged, for who has found that `found` is not the
  /// header's digest.
  [[noreturn]] void refuse(std::uint64_t found) const;

 private:
  /// Elements of a tensor, side by side in a file.
  struct Stored {
    Shard shard;
    std::size_t file = 0;
    std::size_t begin = 0;  // byte
  };

  void read_gathered();
  void read_sharded();
  void read_piece(std::size_t rank, const ReadableFile& file, std::size_t bytes);
  void require_every_element() const;
  const ParameterSpec& spec_of(const std::string& parameter) const;
  /// Stays open until another one is read: the system reads ahead in a file that stays open, and
  /// there may be more files than can be open.
  const ReadableFile& opened(std::size_t file) const;
  void copy_overlap(const Stored& stored, const Shard& shard, std::span<float> values) const;
  std::uint64_t digest_of_piece(std::size_t rank) const;

  std::string path_;
  CheckpointLayout layout_ = CheckpointLayout::gathered;
  CheckpointHeader header_;
  std::vector<ParameterSpec> specs_;
  std::vector<std::string> files_;
  std::size_t bytes_ = 0;
  std::vector<std::uint64_t> piece_digests_;            // of a sharded one, as its index says
  std::map<std::string, std::vector<Stored>> tensors_;  // by prefix and parameter
  mutable std::unique_ptr<const ReadableFile> open_;
  mutable std::size_t open_number_ = 0;
};

/// One part of a checkpoint's state, for trainers.
class CheckpointPart final : public ParameterSource {
 public:
  CheckpointPart(const Checkpoint& checkpoint, StatePart part)
      : checkpoint_(checkpoint), part_(part) {}
  void fill(const Shard& shard, std::span<float> values) const override {
    checkpoint_.read(part_, shard, values);
  }

 private:
  const Checkpoint& checkpoint_;
  StatePart part_;
};

/// All that a run goes on from. The checkpoint must outlive it.
class CheckpointSources {
 public:
  explicit CheckpointSources(const Checkpoint& checkpoint);
  const ParameterSource& parameters() const { return parameters_; }
  /// Points into this object.
  TrainingStart start() const;

 private:
  const Checkpoint& checkpoint_;
  CheckpointPart parameters_;
  CheckpointPart first_moments_;
  CheckpointPart second_moments_;
};

}  // namespace meshparity
