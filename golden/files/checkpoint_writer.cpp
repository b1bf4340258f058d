#include "golden/files/checkpoint_writer.h"

#include <algorithm>
#include <map>
#include <vector>

#include "golden/files/number_text.h"
#include "golden/files/positioned_file.h"
#include "golden/files/safetensors.h"
#include "golden/files/shard_rows.h"
#include "model/statistics.h"

namespace meshparity {
namespace {

constexpr std::size_t kWriteFloats = std::size_t{1} << 18;

std::span<const float> part_of(const ShardView& view, StatePart part) {
  switch (part) {
    case StatePart::parameters:
      return view.values;
    case StatePart::first_moments:
      return view.first_moment;
    case StatePart::second_moments:
      return view.second_moment;
  }
  return {};
}

/// Collects values that follow each other in a file.
class Collected {
 public:
  explicit Collected(WritableFile& file) : file_(file) {}

  void add(std::size_t begin, std::span<const float> values) {
    if (begin != begin_ + values_.size() * sizeof(float) || values_.size() >= kWriteFloats) {
      write_out();
      begin_ = begin;
    }
    values_.insert(values_.end(), values.begin(), values.end());
  }
  void write_out() {
    if (!values_.empty()) file_.write(begin_, values_);
    values_.clear();
  }

 private:
  WritableFile& file_;
  std::size_t begin_ = 0;  // bytes
  std::vector<float> values_;
};

/// A shard whose columns stand elsewhere in the file: row by row.
void write_permuted(WritableFile& file, std::size_t tensor_begin, const Shard& shard,
                    std::span<const std::size_t> in_file, std::span<const float> values) {
  Collected collected(file);
  std::vector<float> row_values(shard.spec.columns);
  const Range rows = rows_in(shard);
  for (std::size_t row = rows.begin; row < rows.end; ++row) {
    const Range columns = columns_in(shard, row);
    const float* const source = values.data() + place_in(shard, row, columns.begin);
    const std::size_t row_begin = tensor_begin + row * shard.spec.columns * sizeof(float);
    for (std::size_t c = columns.begin; c < columns.end; ++c) {
      row_values[in_file[c]] = source[c - columns.begin];
    }
    if (columns.size() == shard.spec.columns) {
      collected.add(row_begin, row_values);
      continue;
    }
    for (std::size_t c = columns.begin; c < columns.end;) {
      const std::size_t run = run_in_file(in_file, {c, columns.end});
      collected.add(row_begin + in_file[c] * sizeof(float),
                    std::span(row_values).subspan(in_file[c], run));
      c += run;
    }
  }
  collected.write_out();
}

void write_shard(WritableFile& file, std::size_t tensor_begin, const Shard& shard,
                 std::span<const std::size_t> in_file, std::span<const float> values) {
  if (values.empty()) return;
  if (!in_file.empty()) {
    write_permuted(file, tensor_begin, shard, in_file, values);
    return;
  }
  if (shard.columns.size() == shard.spec.columns) {  // whole rows lie side by side
    file.write(tensor_begin + shard.global_index(0) * sizeof(float), values);
    return;
  }
  Collected collected(file);
  const Range rows = rows_in(shard);
  for (std::size_t row = rows.begin; row < rows.end; ++row) {
    const Range columns = columns_in(shard, row);
    collected.add(tensor_begin + (row * shard.spec.columns + columns.begin) * sizeof(float),
                  values.subspan(place_in(shard, row, columns.begin), columns.size()));
  }
  collected.write_out();
}

}  // namespace

void create_gathered(const std::string& path, const CheckpointHeader& header) {
  const TensorIndex index = gathered_index(header);
  WritableFile::create(path, safetensors_header(index).size() + index.tensors.back().end);
}

std::uint64_t write_gathered(const std::string& path, const CheckpointHeader& header,
                             std::span<const ShardView> shards) {
  const TensorIndex index = gathered_index(header);
  const std::size_t data = safetensors_header(index).size();
  std::map<std::string, std::size_t> begins;
  for (const TensorEntry& tensor : index.tensors) begins[tensor.name] = data + tensor.begin;
  WritableFile file = WritableFile::open(path);
  for (const ShardView& view : shards) {
    if (!view.counted) continue;
    const ParameterSpec& spec = view.shard->spec;
    const std::vector<std::size_t> in_file = columns_in_file(spec, header.recipe.heads);
    for (const StatePart part : header.parts()) {
      const std::string name = std::string(prefix_of(part)) + name_in_file(header.recipe, spec);
      write_shard(file, begins.at(name), *view.shard, in_file, part_of(view, part));
    }
  }
  file.start_flush();
  const std::uint64_t digest = digest_of_counted(shards);
  file.flush();
  return digest;
}

void write_gathered_header(const std::string& path, const CheckpointHeader& header) {
  WritableFile file = WritableFile::open(path);
  file.write(0, safetensors_header(gathered_index(header)));
  file.flush();
}

CheckpointPiece write_piece(const std::string& path, const CheckpointHeader& header,
                            std::size_t rank, std::span<const ShardView> shards) {
  TensorIndex index;
  std::vector<std::span<const float>> values;
  nlohmann::ordered_json places = nlohmann::ordered_json::array();
  CheckpointPiece piece;
  std::size_t offset = 0;
  // Part by part, as a trainer reads them: the disk goes from the first byte to the last.
  for (const StatePart part : header.parts()) {
    for (const ShardView& view : shards) {
      const Shard& shard = *view.shard;
      if (!view.counted || shard.size() == 0) continue;
      if (part == StatePart::parameters) {
        places.push_back({shard.spec.name, shard.rows.begin, shard.rows.end, shard.columns.begin,
                          shard.columns.end, shard.flat.begin, shard.flat.end});
      }
      values.push_back(part_of(view, part));
      const std::size_t end = offset + values.back().size_bytes();
      index.tensors.push_back({std::string(prefix_of(part)) + shard.spec.name,
                               "F32",
                               {values.back().size()},
                               offset,
                               end});
      offset = end;
    }
  }
  const nlohmann::ordered_json ours = {
      {"step", header.step}, {"run", header.run()}, {"rank", rank}, {"shards", places}};
  index.metadata = {{"meshparity", ours.dump()}};
  const std::string first = safetensors_header(index);
  piece.bytes = first.size() + offset;
  WritableFile file = WritableFile::create(path, piece.bytes);
  file.write(0, first);
  for (std::size_t i = 0; i < values.size(); ++i) {
    file.write(first.size() + index.tensors[i].begin, values[i]);
  }
  file.start_flush();
  piece.digest = digest_of_counted(shards);
  file.flush();
  return piece;
}

void write_index(const std::string& path, const CheckpointHeader& header,
                 std::span<const CheckpointPiece> pieces) {
  nlohmann::ordered_json json = json_of(header);
  json["pieces"] = nlohmann::ordered_json::array();
  for (std::size_t rank = 0; rank < pieces.size(); ++rank) {
    json["pieces"].push_back({{"file", piece_name(rank)},
                              {"bytes", pieces[rank].bytes},
                              {"digest", digest_text(pieces[rank].digest)}});
  }
  const std::string text = json.dump(1) + "\n";
  WritableFile file = WritableFile::create(path, text.size());
  file.write(0, text);
  file.flush();
}

}  // namespace meshparity
