#include "golden/files/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <numeric>
#include <stdexcept>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/files/printable.h"
#include "golden/files/shard_rows.h"
#include "golden/files/strict_json.h"
#include "model/error.h"
#include "model/statistics.h"

namespace meshparity {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kReadFloats = std::size_t{1} << 18;
constexpr const char* kHint = "give a checkpoint of meshparity-train as it was written";

/// Then its elements lie side by side in the whole parameter.
bool has_whole_rows(const Shard& shard) { return shard.columns.size() == shard.spec.columns; }
Range elements_in(const Shard& shard) {
  const std::size_t begin = shard.size() == 0 ? 0 : shard.global_index(0);
  return {begin, begin + shard.size()};
}

Shard shard_of(const Json& json, const ParameterSpec& spec) {
  std::array<std::size_t, 6> place{};
  for (std::size_t i = 0; i < place.size(); ++i) {
    const Json& number = json.at(i + 1);
    if (!number.is_number_unsigned()) throw UsageError("the place of a shard is damaged");
    place[i] = number.get<std::size_t>();
  }
  Shard shard(spec, {place[0], place[1]}, {place[2], place[3]});
  const bool fits = place[0] <= place[1] && place[1] <= spec.rows && place[2] <= place[3] &&
                    place[3] <= spec.columns && place[4] <= place[5] &&
                    place[5] <= shard.rows.size() * shard.columns.size();
  if (!fits) throw UsageError(fmt::format("a shard of '{}' lies beyond it", spec.name));
  shard.flat = {place[4], place[5]};
  return shard;
}

}  // namespace

Checkpoint::Checkpoint(std::string path) : path_(std::move(path)) {
  try {
    if (std::filesystem::is_directory(path_)) {
      layout_ = CheckpointLayout::sharded;
      read_sharded();
    } else {
      read_gathered();
    }
    require_every_element();
  } catch (const UsageError& e) {
    throw UsageError(fmt::format("checkpoint '{}' cannot be used: {}", path_, e.what()), kHint);
  } catch (const Json::exception& e) {
    throw UsageError(fmt::format("checkpoint '{}' cannot be used: {}", path_, e.what()), kHint);
  }
}

void Checkpoint::read_gathered() {
  const ReadableFile file(path_, "checkpoint");
  files_.push_back(path_);
  bytes_ = file.size();
  const TensorIndex found = index_safetensors(file);
  const auto ours = found.metadata.find("meshparity");
  if (ours == found.metadata.end()) throw UsageError("it has no metadata 'meshparity'");
  header_ = checkpoint_header_of(parse_strict_json(ours->second));
  specs_ = header_.specs();
  const TensorIndex expected = gathered_index(header_);
  if (found.tensors.size() != expected.tensors.size()) {
    throw UsageError(fmt::format("it has {} tensors, its recipe makes {}", found.tensors.size(),
                                 expected.tensors.size()));
  }
  for (std::size_t i = 0; i < expected.tensors.size(); ++i) {
    const TensorEntry& entry = expected.tensors[i];
    const TensorEntry& actual = found.tensors[i];
    if (actual.name != entry.name || actual.dtype != entry.dtype || actual.shape != entry.shape) {
      throw UsageError(fmt::format("tensor '{}' {} stands where '{}' {} should be",
                                   printable(actual.name), shape_text(actual.shape), entry.name,
                                   shape_text(entry.shape)));
    }
    const StatePart part = header_.parts()[i / specs_.size()];
    const ParameterSpec& spec = specs_[i % specs_.size()];
    tensors_[std::string(prefix_of(part)) + spec.name].push_back({Shard(spec), 0, actual.begin});
  }
}

void Checkpoint::read_sharded() {
  const std::filesystem::path folder(path_);
  const Json json = parse_strict_json(read_file((folder / kIndexName).string(), "index"));
  header_ = checkpoint_header_of(json);
  specs_ = header_.specs();
  const Json& pieces = json.at("pieces");
  if (!pieces.is_array()) throw UsageError("'pieces' is no list");
  for (std::size_t rank = 0; rank < pieces.size(); ++rank) {
    piece_digests_.push_back(parse_digest(string_member(pieces[rank], "digest")));
    files_.push_back((folder / piece_name(rank)).string());
    const ReadableFile file(files_.back(), "piece");
    bytes_ += file.size();
    read_piece(rank, file, whole_member(pieces[rank], "bytes"));
  }
  const std::uint64_t sum =
      std::accumulate(piece_digests_.begin(), piece_digests_.end(), std::uint64_t{0});
  if (sum != header_.digest)
    throw UsageError("the digests of its pieces are not those of its state");
}

void Checkpoint::read_piece(std::size_t rank, const ReadableFile& file, std::size_t bytes) {
  const auto refuse = [&](const std::string& why) {
    throw UsageError(fmt::format("piece '{}' {}", piece_name(rank), why));
  };
  if (file.size() != bytes) {
    refuse(fmt::format("has {} bytes, it was written with {}", file.size(), bytes));
  }
  const TensorIndex index = index_safetensors(file);
  const auto ours = index.metadata.find("meshparity");
  if (ours == index.metadata.end()) refuse("has no metadata 'meshparity'");
  const Json piece = parse_strict_json(ours->second);
  const std::uint64_t step = whole_member(piece, "step");
  if (step != header_.step) refuse(fmt::format("is of step {}, not {}", step, header_.step));
  if (string_member(piece, "run") != header_.run()) refuse("is of another run");
  const std::uint64_t written_by = whole_member(piece, "rank");
  if (written_by != rank) refuse(fmt::format("is that of rank {}", written_by));
  const Json& shards = piece.at("shards");
  if (!shards.is_array() || shards.size() * header_.parts().size() != index.tensors.size()) {
    refuse("does not say where its tensors belong");
  }
  std::map<std::string_view, const TensorEntry*> entries;
  for (const TensorEntry& entry : index.tensors) entries[entry.name] = &entry;
  for (const Json& place : shards) {
    const std::string parameter = place.at(0).get<std::string>();
    const Shard shard = shard_of(place, spec_of(parameter));
    for (const StatePart part : header_.parts()) {
      const std::string name = std::string(prefix_of(part)) + parameter;
      const auto found = entries.find(name);
      if (found == entries.end()) refuse(fmt::format("has no tensor '{}'", printable(name)));
      const TensorEntry& entry = *found->second;
      if (entry.dtype != "F32" || entry.shape != std::vector<std::size_t>{shard.size()}) {
        refuse(fmt::format("has tensor '{}' as {} {}, not F32 [{}]", name, printable(entry.dtype),
                           shape_text(entry.shape), shard.size()));
      }
      tensors_[name].push_back({shard, rank, entry.begin});
    }
  }
}

const ParameterSpec& Checkpoint::spec_of(const std::string& parameter) const {
  const auto found = std::ranges::find(specs_, parameter, &ParameterSpec::name);
  if (found != specs_.end()) return *found;
  throw UsageError(fmt::format("its recipe has no parameter '{}'", printable(parameter)));
}

/// Ranges that overlap have as many elements together only if others are missing: digests see that.
void Checkpoint::require_every_element() const {
  for (const StatePart part : header_.parts()) {
    for (const ParameterSpec& spec : specs_) {
      const std::string name = std::string(prefix_of(part)) + spec.name;
      std::size_t elements = 0;
      if (const auto found = tensors_.find(name); found != tensors_.end()) {
        for (const Stored& stored : found->second) elements += stored.shard.size();
      }
      if (elements == spec.size()) continue;
      throw UsageError(
          fmt::format("it holds {} of the {} elements of '{}'", elements, spec.size(), name));
    }
  }
}

void Checkpoint::read(StatePart part, const Shard& shard, std::span<float> values) const {
  const auto found = tensors_.find(std::string(prefix_of(part)) + shard.spec.name);
  if (found == tensors_.end()) throw std::invalid_argument("no state of " + shard.spec.name);
  for (const Stored& stored : found->second) copy_overlap(stored, shard, values);
}

const ReadableFile& Checkpoint::opened(std::size_t file) const {
  if (!open_ || open_number_ != file) {
    open_ = std::make_unique<ReadableFile>(files_[file], "checkpoint");
    open_number_ = file;
  }
  return *open_;
}

void Checkpoint::copy_overlap(const Stored& stored, const Shard& shard,
                              std::span<float> values) const {
  const Range theirs = rows_in(stored.shard);
  const Range ours = rows_in(shard);
  const Range rows{std::max(theirs.begin, ours.begin), std::min(theirs.end, ours.end)};
  const std::vector<std::size_t> in_file = layout_ == CheckpointLayout::gathered
                                               ? columns_in_file(shard.spec, header_.recipe.heads)
                                               : std::vector<std::size_t>();
  const std::size_t at_once = std::max<std::size_t>(1, kReadFloats / shard.spec.columns);
  if (rows.begin >= rows.end) return;
  const ReadableFile& file = opened(stored.file);
  if (in_file.empty() && has_whole_rows(stored.shard) && has_whole_rows(shard)) {
    const Range theirs_in_all = elements_in(stored.shard);
    const Range ours_in_all = elements_in(shard);
    const Range both{std::max(theirs_in_all.begin, ours_in_all.begin),
                     std::min(theirs_in_all.end, ours_in_all.end)};
    if (both.begin >= both.end) return;
    file.read(stored.begin + (both.begin - theirs_in_all.begin) * sizeof(float),
              values.subspan(both.begin - ours_in_all.begin, both.size()));
    return;
  }
  std::vector<float> buffer;
  for (std::size_t first = rows.begin; first < rows.end; first += at_once) {
    const std::size_t last = std::min(first + at_once, rows.end) - 1;
    const std::size_t begin = place_in(stored.shard, first, columns_in(stored.shard, first).begin);
    const std::size_t end = place_in(stored.shard, last, columns_in(stored.shard, last).end);
    buffer.resize(end - begin);
    file.read(stored.begin + begin * sizeof(float), buffer);
    for (std::size_t row = first; row <= last; ++row) {
      const Range from = columns_in(stored.shard, row);
      const Range to = columns_in(shard, row);
      const Range both{std::max(from.begin, to.begin), std::min(from.end, to.end)};
      if (both.begin >= both.end) continue;
      const float* const source = buffer.data() + place_in(stored.shard, row, from.begin) - begin;
      float* const target = values.data() + place_in(shard, row, both.begin);
      if (in_file.empty()) {
        std::copy_n(source + (both.begin - from.begin), both.size(), target);
        continue;
      }
      for (std::size_t c = both.begin; c < both.end;) {
        const std::size_t size = run_in_file(in_file, {c, both.end});
        std::copy_n(source + in_file[c], size, target + (c - both.begin));
        c += size;
      }
    }
  }
}

namespace {

/// The digest of some elements of all parts, which `checkpoint` holds.
std::uint64_t digest_in(const Checkpoint& checkpoint, const Shard& shard) {
  std::array<std::vector<float>, 3> values;
  for (const StatePart part : checkpoint.header().parts()) {
    std::vector<float>& of_part = values[static_cast<std::size_t>(part)];
    of_part.resize(shard.size());
    checkpoint.read(part, shard, of_part);
  }
  return digest_of(ShardView{.shard = &shard,
                             .values = values[0],
                             .gradient = {},
                             .first_moment = values[1],
                             .second_moment = values[2]});
}

}  // namespace

std::uint64_t Checkpoint::digest() const {
  std::uint64_t sum = 0;
  for (const ParameterSpec& spec : specs_) sum += digest_in(*this, Shard(spec));
  return sum;
}

std::uint64_t Checkpoint::digest_of_piece(std::size_t rank) const {
  std::uint64_t sum = 0;
  for (const ParameterSpec& spec : specs_) {
    for (const Stored& stored : tensors_.at(spec.name)) {
      if (stored.file == rank) sum += digest_in(*this, stored.shard);
    }
  }
  return sum;
}

void Checkpoint::refuse(std::uint64_t found) const {
  for (std::size_t rank = 0; rank < piece_digests_.size(); ++rank) {
    const std::uint64_t digest = digest_of_piece(rank);
    if (digest == piece_digests_[rank]) continue;
    throw UsageError(
        fmt::format("checkpoint '{}' is damaged: piece '{}' has digest {}, it was written with {}",
                    path_, piece_name(rank), digest_text(digest),
                    digest_text(piece_digests_[rank])),
        kHint);
  }
  throw UsageError(fmt::format("checkpoint '{}' is damaged: its state has digest {}, it was "
                               "written with {}",
                               path_, digest_text(found), digest_text(header_.digest)),
                   kHint);
}

CheckpointSources::CheckpointSources(const Checkpoint& checkpoint)
    : checkpoint_(checkpoint),
      parameters_(checkpoint, StatePart::parameters),
      first_moments_(checkpoint, StatePart::first_moments),
      second_moments_(checkpoint, StatePart::second_moments) {}

TrainingStart CheckpointSources::start() const {
  TrainingStart start{.step = checkpoint_.header().step};
  if (checkpoint_.header().recipe.optimizer == OptimizerKind::sgd) return start;
  start.first_moments = &first_moments_;
  start.second_moments = &second_moments_;
  return start;
}

}  // namespace meshparity
