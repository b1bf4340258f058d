#include "parallel/mesh.h"

#include <charconv>
#include <limits>
#include <utility>

#include "model/error.h"

namespace meshparity {
namespace {

constexpr std::string_view kHint = "write a mesh like dp=2,fsdp=2,tp=2,pp=3 (absent axes are 1)";

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

/// The axis that `part`, such as "tp=2", names. Throws UsageError.
Axis parse_axis(std::string_view part) {
  const std::size_t equals = part.find('=');
  for (const auto& [axis, name] : kAxes) {
    if (equals != std::string_view::npos && name == part.substr(0, equals)) return axis;
  }
  throw UsageError("mesh part '" + std::string(part) + "' names no axis", std::string(kHint));
}

void require_countable(const Mesh& mesh) {
  std::size_t ranks = 1;
  for (const std::size_t size : mesh.values) {
    if (size > std::numeric_limits<std::int32_t>::max() / ranks) {
      throw UsageError("mesh " + to_string(mesh) + " has more ranks than can be counted",
                       "use smaller axes");
    }
    ranks *= size;
  }
}

}  // namespace

std::string_view name_of(Axis axis) { return kAxes[static_cast<std::size_t>(axis)].second; }

std::size_t Mesh::size() const {
  std::size_t ranks = 1;
  for (const std::size_t along : values) ranks *= along;
  return ranks;
}

Mesh parse_mesh(std::string_view text) {
  Mesh mesh;
  AxisSet seen;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const Axis axis = parse_axis(part);
    const std::string_view name = name_of(axis);
    if (std::exchange(seen[axis], true)) {
      throw UsageError("mesh axis " + std::string(name) + " is given twice", std::string(kHint));
    }
    mesh[axis] = parse_size(name, part.substr(name.size() + 1));
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) throw UsageError("the mesh ends in a comma", std::string(kHint));
  }
  require_countable(mesh);
  return mesh;
}

std::string to_string(const Mesh& mesh) {
  std::string text;
  for (const auto& [axis, name] : kAxes) {
    if (mesh[axis] == 1) continue;
    if (!text.empty()) text += ",";
    text += std::string(name) + "=" + std::to_string(mesh[axis]);
  }
  return text.empty() ? "dp=1" : text;
}

MeshCoordinates coordinates_of(const Mesh& mesh, std::size_t rank) {
  MeshCoordinates at;
  for (const Axis axis : kRankOrder) {
    at[axis] = rank % mesh[axis];
    rank /= mesh[axis];
  }
  return at;
}

std::size_t rank_of(const Mesh& mesh, const MeshCoordinates& at) {
  std::size_t rank = 0;
  for (std::size_t i = kRankOrder.size(); i-- > 0;) {
    rank = rank * mesh[kRankOrder[i]] + at[kRankOrder[i]];
  }
  return rank;
}

bool counts(const AxisSet& copies, const MeshCoordinates& at) {
  for (const Axis axis : kRankOrder) {
    if (copies[axis] && at[axis] != 0) return false;
  }
  return true;
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
  for (const auto& [axis, name] : kAxes) {
    // Ranks that agree in every other coordinate share a colour: the rank of the first of them.
    MeshCoordinates first = groups.at;
    first[axis] = 0;
    groups.along[axis] = world.split(std::string(name), rank_of(mesh, first), groups.at[axis]);
  }
  return groups;
}

}  // namespace meshparity
