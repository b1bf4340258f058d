#include "golden/jobs/convert_checkpoint.h"

#include <fmt/format.h>

#include <array>
#include <vector>

#include "golden/files/gpt2_names.h"
#include "golden/files/number_text.h"
#include "golden/files/printable.h"
#include "golden/files/recipe_file.h"
#include "golden/jobs/checkpoint_saver.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

/// What one of several ranks holds that share out every parameter, read from a checkpoint.
class HeldState {
 public:
  HeldState(const Checkpoint& from, std::size_t ranks, std::size_t rank) {
    for (const ParameterSpec& spec : from.specs()) {
      shards_.push_back(share_of(Shard(spec), ranks, rank));
    }
    values_.resize(shards_.size());
    for (std::size_t p = 0; p < shards_.size(); ++p) {
      for (const StatePart part : from.header().parts()) {
        std::vector<float>& values = values_[p][static_cast<std::size_t>(part)];
        values.resize(shards_[p].size());
        from.read(part, shards_[p], values);
      }
      views_.push_back({.shard = &shards_[p],
                        .values = values_[p][0],
                        .gradient = {},
                        .first_moment = values_[p][1],
                        .second_moment = values_[p][2]});
    }
  }

  std::span<const ShardView> views() const { return views_; }

 private:
  std::vector<Shard> shards_;
  std::vector<std::array<std::vector<float>, 3>> values_;  // [parameter][part]
  std::vector<ShardView> views_;
};

}  // namespace

void convert_checkpoint(const Checkpoint& from, const std::string& folder, CheckpointLayout layout,
                        std::size_t ranks) {
  const CheckpointHeader& header = from.header();
  if (const std::uint64_t digest = from.digest(); digest != header.digest) from.refuse(digest);
  prepare_folder(folder, true);
  const CheckpointSaver saver({.folder = folder, .layout = layout}, header);
  SimOptions world;
  world.ranks = ranks;
  run_simulated(world, [&](Comm& comm) {
    const HeldState held(from, ranks, comm.rank());
    saver.save({.step = header.step, .shards = held.views()}, &comm, header.digest);
  });
}

TensorFile gathered_tensors(const Checkpoint& from) {
  const CheckpointHeader& header = from.header();
  const TensorIndex index = gathered_index(header);
  TensorFile file{{}, index.metadata};
  for (const TensorEntry& entry : index.tensors) {
    const std::size_t i = file.tensors.size();
    const ParameterSpec& spec = from.specs()[i % from.specs().size()];
    std::vector<float> values(spec.size());
    from.read(header.parts()[i / from.specs().size()], Shard(spec), values);
    file.tensors.push_back(
        {entry.name, entry.shape,
         in_file_order(spec, WeightLayout::input_output, header.recipe.heads, std::move(values))});
  }
  return file;
}

std::string explain(const Checkpoint& checkpoint) {
  const CheckpointHeader& header = checkpoint.header();
  std::size_t elements = 0;
  for (const ParameterSpec& spec : checkpoint.specs()) elements += spec.size();
  const bool sharded = checkpoint.layout() == CheckpointLayout::sharded;
  const bool whole = checkpoint.digest() == header.digest;
  std::string text = fmt::format(
      "step {} of {}\nlayout {}, {} file{}, {} bytes\n{} parameters, {} values{}\ndigest {}: {}\n"
      "corpus SHA-256 {}\n",
      header.step, header.recipe.steps, sharded ? "sharded" : "gathered", checkpoint.pieces(),
      checkpoint.pieces() == 1 ? "" : "s", checkpoint.bytes(), checkpoint.specs().size(), elements,
      header.parts().size() > 1 ? ", each with two moments" : "", digest_text(header.digest),
      whole ? "the state has it" : "the state does NOT have it: damaged", header.corpus_sha256);
  for (const RecipeField& field : recipe_fields()) {
    if (!field.belongs_to(header.recipe.model)) continue;
    const std::string value = field.text(header.recipe);
    if (!value.empty()) text += fmt::format("{} = {}\n", field.key, value);
  }
  return printable_lines(text);
}

}  // namespace meshparity
