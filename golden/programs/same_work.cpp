#include "golden/programs/same_work.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "golden/files/file_io.h"
#include "golden/files/number_text.h"
#include "golden/files/recipe_file.h"
#include "model/error.h"
#include "model/numerics/isa.h"
#include "model/numerics/philox.h"
#include "parallel/mesh.h"
#include "parallel/strategy.h"

namespace meshparity {
namespace {

constexpr const char* kProgram = "program";
constexpr const char* kIsa = "instruction set";

/// A hash of all bytes, eight at a time.
std::uint64_t hash_of(std::string_view bytes) {
  std::uint64_t hash = bytes.size();
  while (!bytes.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = std::min(bytes.size(), sizeof(word));
    std::memcpy(&word, bytes.data(), count);
    bytes.remove_prefix(count);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    hash ^= hash >> 32U;
  }
  return hash;
}

std::string hash_text(std::string_view bytes) { return fmt::format("{:016x}", hash_of(bytes)); }

/// The running program: its version, and a hash of its file where the system shows it.
std::string program_text() {
  try {
    return fmt::format("{} {}", MESHPARITY_VERSION,
                       hash_text(read_file("/proc/self/exe", "program")));
  } catch (const UsageError&) {
    return MESHPARITY_VERSION;
  }
}

const char* yes_or_no(bool value) { return value ? "yes" : "no"; }

/// Every rank's words, rank after rank.
std::vector<std::uint64_t> words_of_all(std::span<const std::uint64_t> mine, Comm& world) {
  std::vector<std::uint64_t> all(mine.size() * world.size(), 0);
  std::ranges::copy(mine, all.begin() + static_cast<std::ptrdiff_t>(mine.size() * world.rank()));
  world.all_reduce_integers(all);
  return all;
}

/// The beginning of a text that only rank `root` needs to have; collective.
std::string text_of_rank(const std::string& text, std::size_t root, Comm& world) {
  std::array<std::uint64_t, 10> words{};
  if (world.rank() == root) {
    std::memcpy(words.data(), text.data(), std::min(text.size(), sizeof(words)));
  }
  world.all_reduce_integers(words);
  std::string beginning(sizeof(words), '\0');
  std::memcpy(beginning.data(), words.data(), sizeof(words));
  return beginning.substr(0, beginning.find('\0'));
}

/// "rank 3", "ranks 1 and 3", "ranks 1, 2, 3, 4 and 12 more".
std::string names_of(std::span<const std::size_t> ranks) {
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  constexpr std::size_t kNamed = 8;
  if (ranks.size() > kNamed) {
    return fmt::format("ranks {} and {} more", fmt::join(ranks.first(kNamed), ", "),
                       ranks.size() - kNamed);
  }
  return fmt::format("ranks {} and {}", fmt::join(ranks.first(ranks.size() - 1), ", "),
                     ranks.back());
}

/// "lr is '0.1' on rank 0 and '0.2' on rank 1". Collective.
std::string difference_in(const WorkItem& item, std::span<const std::size_t> ranks, Comm& world) {
  const std::string expected = text_of_rank(item.text, 0, world);
  const std::string found = text_of_rank(item.text, ranks[0], world);
  return fmt::format("{} is '{}' on rank 0 and '{}' on {}{}", item.name, expected, found,
                     names_of(ranks), ranks.size() > 1 ? " (of the first of them)" : "");
}

/// What to do where only instruction sets differ: the fastest that all have. Collective.
std::string isa_hint(Comm& world) {
  const std::vector<Isa> mine = available_isas();
  constexpr std::array kFromSlowest = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512};
  std::array<std::uint64_t, kFromSlowest.size()> ranks_with{};
  for (std::size_t i = 0; i < kFromSlowest.size(); ++i) {
    ranks_with[i] = std::ranges::count(mine, kFromSlowest[i]) > 0 ? 1 : 0;
  }
  world.all_reduce_integers(ranks_with);
  Isa best = Isa::scalar;
  for (std::size_t i = 0; i < kFromSlowest.size(); ++i) {
    if (ranks_with[i] == world.size()) best = kFromSlowest[i];
  }
  return fmt::format("mpirun -x MESHPARITY_ISA={} ...: one that all ranks have (bits are the same)",
                     name_of(best));
}

}  // namespace

std::vector<WorkItem> work_of(const TrainOptions& options, const TrainInputs& inputs) {
  std::vector<WorkItem> items = {{kProgram, program_text()}, {kIsa, name_of(isa_in_use())}};
  for (const RecipeField& field : recipe_fields()) {
    if (field.key == "data" || field.key == "validation-data") continue;
    items.push_back({std::string(field.key), field.text(inputs.recipe)});
  }
  items.push_back({"corpus", inputs.corpus_sha256});
  items.push_back({"--load", inputs.model ? hash_text(inputs.model->bytes()) : "nothing"});
  const Parallelism& how = options.how;
  items.push_back({"--mesh", to_string(how.mesh)});
  items.push_back({"--microbatches", fmt::to_string(how.microbatches)});
  items.push_back({"--schedule", how.schedule == ScheduleKind::gpipe ? "gpipe" : "1f1b"});
  items.push_back({"--reduction", how.reduction == Reduction::native ? "native" : "canonical"});
  items.push_back({"--trainer", options.strategy ? std::string(entry_of(*options.strategy).name)
                                : options.alone  ? "train_single"
                                                 : "of the mesh"});
  items.push_back(
      {"--stop-after", options.stop_after ? fmt::to_string(*options.stop_after) : "none"});
  const CheckpointPlan& plan = options.checkpoints;
  items.push_back(
      {"--resume", inputs.checkpoint
                       ? fmt::format("step {}, digest {}", inputs.checkpoint->header().step,
                                     digest_text(inputs.checkpoint->header().digest))
                       : "no"});
  items.push_back({"--checkpoints", yes_or_no(!plan.folder.empty())});
  items.push_back(
      {"--checkpoint-layout", plan.layout == CheckpointLayout::gathered ? "gathered" : "sharded"});
  items.push_back({"--save-every", fmt::to_string(plan.every)});
  items.push_back({"--keep", fmt::to_string(plan.keep)});
  // Whether a result is wanted; what for matters to rank 0 alone.
  items.push_back({"training", yes_or_no(inputs.trains)});
  items.push_back({"--trace", yes_or_no(!options.trace_path.empty())});
  items.push_back({"--record-tensors", yes_or_no(!options.tensors_path.empty())});
  items.push_back({"--record-boundaries", yes_or_no(options.boundaries)});
  items.push_back({"--save", yes_or_no(!options.save_path.empty())});
  items.push_back({"--sample, --validate or --export", yes_or_no(options.uses_model())});
  return items;
}

void require_same_work(const std::vector<WorkItem>& items, Comm& world) {
  // One hash of everything; where that differs, one of each item. Other programs may have other
  // items, so theirs are not asked for.
  std::vector<std::uint64_t> hashes;
  for (const WorkItem& item : items) hashes.push_back(coordinate_of(item.text));
  std::uint64_t everything = 0;
  for (const std::uint64_t hash : hashes) everything = everything * 0x9e3779b97f4a7c15U + hash;
  const std::array<std::uint64_t, 2> mine = {hashes[0], everything};
  const std::vector<std::uint64_t> all = words_of_all(mine, world);
  bool same_program = true;
  bool same_work = true;
  for (std::size_t r = 1; r < world.size(); ++r) {
    same_program = same_program && all[2 * r] == all[0];
    same_work = same_work && all[2 * r + 1] == all[1];
  }
  if (same_program && same_work) return;

  hashes.resize(same_program ? hashes.size() : 1);
  const std::vector<std::uint64_t> each = words_of_all(hashes, world);
  constexpr std::size_t kTold = 3;
  std::vector<std::string> told;
  std::size_t differences = 0;
  bool only_isa = true;
  for (std::size_t i = 0; i < hashes.size(); ++i) {
    std::vector<std::size_t> ranks;
    for (std::size_t r = 1; r < world.size(); ++r) {
      if (each[r * hashes.size() + i] != each[i]) ranks.push_back(r);
    }
    if (ranks.empty()) continue;
    only_isa = only_isa && items[i].name == kIsa;
    if (++differences <= kTold) told.push_back(difference_in(items[i], ranks, world));
  }
  const std::string hint = only_isa ? isa_hint(world)
                                    : "give every rank the same program, command line, recipe, "
                                      "corpus and model";
  const std::string more =
      differences > kTold ? fmt::format("; and {} more differences", differences - kTold) : "";
  throw UsageError(fmt::format("ranks would do different work: {}{}", fmt::join(told, "; "), more),
                   hint);
}

}  // namespace meshparity
