#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "parallel/transport/comm.h"

namespace meshparity {

/// A way to split the work. `dp` replicates the model, `fsdp` shards it (ZeRO-3), `tp` cuts inside
/// blocks, `pp` between blocks. Both dp and fsdp share out the batch.
enum class Axis { dp, fsdp, tp, pp };

/// Every axis, in the order in which meshes are written: an axis is added here ...
inline constexpr std::array<std::pair<Axis, std::string_view>, 4> kAxes = {
    {{Axis::dp, "dp"}, {Axis::fsdp, "fsdp"}, {Axis::tp, "tp"}, {Axis::pp, "pp"}}};
/// ... and here, where the rank varies fastest along the first.
inline constexpr std::array<Axis, kAxes.size()> kRankOrder = {Axis::tp, Axis::fsdp, Axis::dp,
                                                              Axis::pp};

std::string_view name_of(Axis axis);

/// Something for each axis.
template <typename T>
struct PerAxis {
  std::array<T, kAxes.size()> values{};

  T& operator[](Axis axis) { return values[static_cast<std::size_t>(axis)]; }
  const T& operator[](Axis axis) const { return values[static_cast<std::size_t>(axis)]; }
  bool operator==(const PerAxis&) const = default;
};

/// A set of axes.
using AxisSet = PerAxis<bool>;

/// How many ways each axis splits the work.
struct Mesh : PerAxis<std::size_t> {
  Mesh() { values.fill(1); }
  std::size_t size() const;
};

/// A rank's position on each axis.
using MeshCoordinates = PerAxis<std::size_t>;

/// Reads "dp=2,tp=2,pp=3"; absent axes are 1, "" is one rank. Throws UsageError that names the bad
/// part: an unknown or repeated axis, a size that is not a positive whole number, an overflow.
Mesh parse_mesh(std::string_view text);

/// The axes larger than 1, as `parse_mesh` reads them; "dp=1" for one rank.
std::string to_string(const Mesh& mesh);

MeshCoordinates coordinates_of(const Mesh& mesh, std::size_t rank);
std::size_t rank_of(const Mesh& mesh, const MeshCoordinates& at);

/// Of a tensor that all ranks along the axes `copies` hold alike, one copy counts: at their origin.
bool counts(const AxisSet& copies, const MeshCoordinates& at);

/// A mesh laid over a world: this rank's position, and along each axis the group of ranks that
/// differ from it in that coordinate alone.
struct MeshGroups {
  MeshCoordinates at;
  PerAxis<std::unique_ptr<Comm>> along;

  Comm& operator[](Axis axis) { return *along[axis]; }
};

/// Collective. Throws UsageError, with the mpirun line that fits, if the world has another size.
MeshGroups lay_out(const Mesh& mesh, Comm& world);

/// Throws the UsageError that `lay_out` would.
void require_world_size(const Mesh& mesh, std::size_t world_size);

}  // namespace meshparity
