// Saving and loading all of GPT-2 124M with AdamW's state, 1.5 GB, on one rank: against writing and
// reading as many bytes of one piece of memory, in the same folder and in turns. Disks are often
// lent more speed for the first seconds, so either side comes first as often, and what is compared
// is all of its time; both read what the system no longer has in memory. Prints lines of JSON on
// stdout and lines for people on stderr. Exit 0 if it could be measured.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/timed_training.h"
#include "golden/files/checkpoint.h"
#include "golden/files/positioned_file.h"
#include "golden/jobs/checkpoint_saver.h"
#include "model/numerics/aligned_floats.h"
#include "model/statistics.h"
#include "model/training.h"

namespace meshparity::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kTurns = 4;

double peak_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return 1024 * static_cast<double>(usage.ru_maxrss);
}

template <typename Work>
double seconds_of(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The state of one rank that owns everything.
class State {
 public:
  explicit State(const std::vector<ParameterSpec>& specs) : shards_(specs.begin(), specs.end()) {
    std::size_t size = 0;
    for (const Shard& shard : shards_) size += shard.size();
    memory_.resize(3 * size);
    for (std::size_t i = 0; i < memory_.size(); ++i) memory_[i] = static_cast<float>(i % 4096);
    std::span<float> rest(memory_);
    for (const Shard& shard : shards_) {
      std::array<std::span<float>, 3>& parts = parts_.emplace_back();
      for (std::span<float>& part : parts) {
        part = rest.first(shard.size());
        rest = rest.subspan(shard.size());
      }
      views_.push_back({.shard = &shard,
                        .values = parts[0],
                        .gradient = {},
                        .first_moment = parts[1],
                        .second_moment = parts[2]});
    }
  }

  std::span<float> memory() { return memory_; }
  double bytes() const { return static_cast<double>(memory_.size() * sizeof(float)); }
  std::span<const ShardView> views() const { return views_; }
  std::uint64_t digest() const {
    std::uint64_t sum = 0;
    for (const ShardView& view : views_) sum += digest_of(view);
    return sum;
  }
  /// Part by part, as trainers do.
  void read(const Checkpoint& checkpoint) {
    for (std::size_t part = 0; part < 3; ++part) {
      for (std::size_t p = 0; p < shards_.size(); ++p) {
        checkpoint.read(static_cast<StatePart>(part), shards_[p], parts_[p][part]);
      }
    }
  }

 private:
  std::vector<Shard> shards_;
  AlignedFloats memory_;
  std::vector<std::array<std::span<float>, 3>> parts_;
  std::vector<ShardView> views_;
};

/// Seconds of all turns: of the plain way and of ours.
struct Rates {
  double plain = 0;
  double ours = 0;

  /// `check`, the seconds of ours that no plain way has, is told apart.
  void report(const std::string& what, double of_one, double check = 0) const {
    const double gigabytes = kTurns * of_one / 1e9;
    std::string note =
        fmt::format("{:.2f} GB/s, plainly {:.2f} GB/s", gigabytes / ours, gigabytes / plain);
    if (check > 0) {
      note += fmt::format(", without the check {:.2f} GB/s", gigabytes / (ours - check));
    }
    print({"checkpoints", what, plain / ours, 0.7, Good::above, note});
  }
};

void write_plainly(const std::string& path, std::span<const float> values) {
  WritableFile file = WritableFile::create(path, values.size_bytes());
  file.write(0, values);
  file.flush();
}

/// The system forgets a flushed file, or all files of a folder.
void forget(const fs::path& path) {
  if (fs::is_directory(path)) {
    for (const fs::directory_entry& entry : fs::directory_iterator(path)) forget(entry.path());
    return;
  }
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw std::runtime_error("cannot open " + path.string());
  ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  ::close(descriptor);
}

/// Both in turns, and in turns first; `before` each, which does not count.
template <typename Before, typename Plain, typename Ours>
void add_turn(Rates& rates, int turn, Before before, Plain plain, Ours ours) {
  for (const int side : {0, 1}) {
    before();
    if ((turn + side) % 2 == 0) {
      rates.plain += seconds_of(plain);
    } else {
      rates.ours += seconds_of(ours);
    }
  }
}

void measure(const std::string& folder, CheckpointLayout layout, const std::string& name) {
  const Workload workload = full_gpt2_workload(1);
  const CheckpointHeader header = checkpoint_header(workload.recipe, workload.corpus, "");
  State state(header.specs());
  const double owned = peak_bytes();
  const std::string run = folder + "/run";
  const std::string plain = folder + "/plain";
  prepare_folder(folder, true);
  prepare_folder(run, true);
  const CheckpointSaver saver({.folder = run, .layout = layout}, header);
  Rates save;
  Rates load;
  double check = 0;
  for (int turn = 0; turn < kTurns; ++turn) {
    fs::remove(plain);
    for (const StoredCheckpoint& old : checkpoints_in(run)) fs::remove_all(old.path);
    add_turn(
        save, turn, [] {}, [&] { write_plainly(plain, state.memory()); },
        [&] { saver.save({.step = 1, .shards = state.views()}, nullptr); });
    const std::string saved = checkpoints_in(run).back().path;
    forget(plain);
    forget(saved);
    add_turn(
        load, turn, [&] { std::ranges::fill(state.memory(), 0.0F); },
        [&] { ReadableFile(plain, "file").read(0, state.memory()); },
        [&] {
          const Checkpoint checkpoint(saved);
          state.read(checkpoint);
          check += seconds_of([&] {
            if (state.digest() != checkpoint.header().digest) {
              throw std::runtime_error("other bits");
            }
          });
        });
  }
  save.report("save, " + name, state.bytes());
  load.report("load and check, " + name, state.bytes(), check);
  print({"checkpoints", "memory beyond what a rank owns, " + name + ", GB",
         (peak_bytes() - owned) / 1e9, 0.256, Good::below,
         fmt::format("{:.2f} GB owned", owned / 1e9)});
}

int run(const std::vector<std::string>& arguments) {
  if (arguments.size() != 2 || (arguments[1] != "gathered" && arguments[1] != "sharded")) {
    std::cerr << "usage: bench-checkpoints FOLDER gathered|sharded\n";
    return 2;
  }
  measure(arguments[0],
          arguments[1] == "gathered" ? CheckpointLayout::gathered : CheckpointLayout::sharded,
          arguments[1]);
  return 0;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  return meshparity::bench::run_benchmark(argc, argv, meshparity::bench::run);
}
