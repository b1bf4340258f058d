#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "golden/files/checkpoint_header.h"
#include "model/observer.h"

/// Writes the files of a checkpoint, under any name. Everything throws EnvironmentError if the
/// machine fails. What is `counted` is written, and nothing else.
namespace meshparity {

/// One file for all: room for the header and every tensor.
void create_gathered(const std::string& path, const CheckpointHeader& header);
/// Writes a rank's elements of every tensor to their places in it, whatever the header's digest.
/// Ranks may do so at once. Returns the digest of the elements, made while the disk writes them.
std::uint64_t write_gathered(const std::string& path, const CheckpointHeader& header,
                             std::span<const ShardView> shards);
/// Last, when the state's digest is known: those of all ranks add up to it.
void write_gathered_header(const std::string& path, const CheckpointHeader& header);

/// What the index says of a piece.
struct CheckpointPiece {
  std::uint64_t bytes = 0;
  std::uint64_t digest = 0;  ///< of its elements: those of all pieces add up to the state's
};
/// A file of a rank's elements alone, each shard as it lies in memory.
CheckpointPiece write_piece(const std::string& path, const CheckpointHeader& header,
                            std::size_t rank, std::span<const ShardView> shards);
void write_index(const std::string& path, const CheckpointHeader& header,
                 std::span<const CheckpointPiece> pieces);

}  // namespace meshparity
