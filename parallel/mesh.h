#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "parallel/transport/comm.h"

namespace meshparity {

/// How many ways each axis splits the work. `dp` replicates the model, `fsdp` shards it (ZeRO-3),
/// `tp` cuts inside layers, `pp` between layers. Both dp and fsdp share out the batch.
struct Mesh {
  std::size_t dp = 1;
  std::size_t fsdp = 1;
  std::size_t tp = 1;
  std::size_t pp = 1;

  std::size_t size() const { return dp * fsdp * tp * pp; }
  bool operator==(const Mesh&) const = default;
};

/// A rank's position on each axis.
struct MeshCoordinates {
  std::size_t dp = 0;
  std::size_t fsdp = 0;
  std::size_t tp = 0;
  std::size_t pp = 0;

  bool operator==(const MeshCoordinates&) const = default;
};

/// Reads "dp=2,tp=2,pp=3"; absent axes are 1, "" is one rank. Throws UsageError that names the bad
/// part: an unknown or repeated axis, a size that is not a positive whole number, an overflow.
Mesh parse_mesh(std::string_view text);

/// The axes larger than 1, as `parse_mesh` reads them; "dp=1" for one rank.
std::string to_string(const Mesh& mesh);

/// tp varies fastest, then fsdp, then dp, then pp.
MeshCoordinates coordinates_of(const Mesh& mesh, std::size_t rank);
std::size_t rank_of(const Mesh& mesh, const MeshCoordinates& at);

/// A mesh laid over a world: this rank's position, and along each axis the group of ranks that
/// differ from it in that coordinate alone.
struct MeshGroups {
  MeshCoordinates at;
  std::unique_ptr<Comm> dp;
  std::unique_ptr<Comm> fsdp;
  std::unique_ptr<Comm> tp;
  std::unique_ptr<Comm> pp;
};

/// Collective. Throws UsageError, with the mpirun line that fits, if the world has another size.
MeshGroups lay_out(const Mesh& mesh, Comm& world);

/// Throws the UsageError that `lay_out` would.
void require_world_size(const Mesh& mesh, std::size_t world_size);

}  // namespace meshparity
