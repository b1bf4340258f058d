#include "parallel/mesh.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::string_view kHint = "write a mesh like dp=2,fsdp=2,tp=2,pp=3 (absent axes are 1)";

struct Axis {
  std::string_view name;
  std::size_t Mesh::*size;
};
constexpr std::array<Axis, 4> kAxes = {Axis{"dp", &Mesh::dp}, Axis{"fsdp", &Mesh::fsdp},
                                       Axis{"tp", &Mesh::tp}, Axis{"pp", &Mesh::pp}};

std::size_t parse_size(std::string_view axis, std::string_view text) {
  const std::string what = "mesh axis " + std::string(axis) + "=" + std::string(text);
  std::size_t size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (error == std::errc::result_out_of_range)
    throw UsageError(what + " is too large", std::string(kHint));
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError(what + " is not a positive whole number", std::string(kHint));
  }
  if (size == 0) throw UsageError(what + ": an axis has at least one rank", std::string(kHint));
  return size;
}

}  // namespace

Mesh parse_mesh(std::string_view text) {
  Mesh mesh;
  std::array<bool, kAxes.size()> seen{};
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const std::size_t equals = part.find('=');
    const std::string_view name = part.substr(0, equals);
    std::size_t axis = 0;
    while (axis < kAxes.size() && kAxes[axis].name != name) ++axis;
    if (axis == kAxes.size() || equals == std::string_view::npos) {
      throw UsageError("mesh part '" + std::string(part) + "' names no axis", std::string(kHint));
    }
    if (std::exchange(seen[axis], true)) {
      throw UsageError("mesh axis " + std::string(name) + " is given twice", std::string(kHint));
    }
    mesh.*kAxes[axis].size = parse_size(name, part.substr(equals + 1));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) throw UsageError("the mesh ends in a comma", std::string(kHint));
  }
  std::size_t ranks = 1;
  for (const Axis& axis : kAxes) {
    const std::size_t size = mesh.*axis.size;
    if (size > std::numeric_limits<std::int32_t>::max() / ranks) {
      throw UsageError("mesh " + to_string(mesh) + " has more ranks than can be counted",
                       "use smaller axes");
    }
    ranks *= size;
  }
  return mesh;
}

std::string to_string(const Mesh& mesh) {
  std::string text;
  for (const Axis& axis : kAxes) {
    const std::size_t size = mesh.*axis.size;
    if (size == 1) continue;
    if (!text.empty()) text += ",";
    text += std::string(axis.name) + "=" + std::to_string(size);
  }
  return text.empty() ? "dp=1" : text;
}

MeshCoordinates coordinates_of(const Mesh& mesh, std::size_t rank) {
  MeshCoordinates at;
  at.tp = rank % mesh.tp;
  rank /= mesh.tp;
  at.fsdp = rank % mesh.fsdp;
  rank /= mesh.fsdp;
  at.dp = rank % mesh.dp;
  at.pp = rank / mesh.dp;
  return at;
}

std::size_t rank_of(const Mesh& mesh, const MeshCoordinates& at) {
  return ((at.pp * mesh.dp + at.dp) * mesh.fsdp + at.fsdp) * mesh.tp + at.tp;
}

void require_world_size(const Mesh& mesh, std::size_t world_size) {
  if (mesh.size() == world_size) return;
  const std::string ranks = std::to_string(mesh.size());
  throw UsageError("mesh " + to_string(mesh) + " needs " + ranks +
                       (mesh.size() == 1 ? " rank" : " ranks") + ", but the world has " +
                       std::to_string(world_size),
                   "mpirun -n " + ranks + " ... --mesh " + to_string(mesh));
}

MeshGroups lay_out(const Mesh& mesh, Comm& world) {
  require_world_size(mesh, world.size());
  MeshGroups groups;
  groups.at = coordinates_of(mesh, world.rank());
  // Ranks that agree in every other coordinate share a colour: the rank of the line's first member.
  const auto line = [&](std::size_t MeshCoordinates::*axis, const char* name) {
    MeshCoordinates first = groups.at;
    first.*axis = 0;
    return world.split(name, rank_of(mesh, first), groups.at.*axis);
  };
  groups.dp = line(&MeshCoordinates::dp, "dp");
  groups.fsdp = line(&MeshCoordinates::fsdp, "fsdp");
  groups.tp = line(&MeshCoordinates::tp, "tp");
  groups.pp = line(&MeshCoordinates::pp, "pp");
  return groups;
}

}  // namespace meshparity
