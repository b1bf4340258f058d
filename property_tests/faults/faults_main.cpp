// meshparity-faults: what the programs do when the system fails them, as a table (see ci/faults).

#include <sys/mount.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "golden/jobs/exit_status.h"
#include "golden/jobs/program_start.h"
#include "golden/jobs/temporary_folder.h"
#include "property_tests/faults/trial.h"

namespace meshparity::faults {
namespace {

struct Options {
  bool brief = false;
  bool mounts = false;
  std::string only;
};

struct Row {
  std::string name;
  Tally tally;
  bool control = false;  ///< what no program can put right, so that a trial must not be clean
};

bool fails(const Row& row) {
  const Tally& t = row.tally;
  if (row.control) return t.clean == t.tried;
  return t.tried == 0 || t.clean != t.tried;
}

void print_heading() {
  std::printf("%-44s %6s %6s %6s %7s %5s %12s %9s\n", "what fails", "tried", "clean", "wrong",
              "crashed", "hung", "half-written", "leftovers");
}

void print(const Row& row) {
  const Tally& t = row.tally;
  std::printf("%-44s %6zu %6zu %6zu %7zu %5zu %12zu %9zu%s\n", row.name.c_str(), t.tried, t.clean,
              t.wrong, t.crashed, t.hung, t.half_written, t.leftovers,
              row.control ? "  (must be seen)" : "");
  if (!row.control) {
    for (const auto& [kind, example] : t.examples) std::printf("  %s\n", example.c_str());
  }
  std::fflush(stdout);
}

/// A full disk of its own below a folder, as long as it lives.
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path folder, std::size_t bytes) : folder_(std::move(folder)) {
    const std::string size = "size=" + std::to_string(bytes);
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, size.c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount(folder_.c_str());
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }

 private:
  std::filesystem::path folder_;
  bool mounted_;
};

/// All rows, one after the other.
class Table {
 public:
  explicit Table(const Options& options)
      : options_(options), workloads_(make_workloads(in_.path())) {}

  void run() {
    print_heading();
    for (const auto& [name, rows] :
         {std::pair("allocations", &Table::allocations), std::pair("files", &Table::file_calls),
          std::pair("disks", &Table::disks), std::pair("kills", &Table::kills),
          std::pair("jobs", &Table::jobs), std::pair("controls", &Table::controls)}) {
      if (options_.only.empty() || options_.only == name) (this->*rows)();
    }
  }
  bool clean() const { return clean_; }

 private:
  using Names = std::vector<std::string>;
  static constexpr std::uint64_t kEvery = std::numeric_limits<std::uint64_t>::max();

  const Trials& trials(const std::string& name) {
    const auto found = trials_.find(name);
    if (found != trials_.end()) return found->second;
    return trials_.try_emplace(name, workloads_.at(name), in_.path()).first->second;
  }

  void done(const Row& row) {
    print(row);
    clean_ = clean_ && !fails(row);
  }

  /// Calls of one kind in each of these workloads: every one, or about `most` that are spread out.
  void each_call(const std::string& title, const Names& names, const std::string& call,
                 const std::string& how, End end, std::uint64_t most = kEvery) {
    Row row{title, {}};
    for (const std::string& name : names) {
      const Trials& of = trials(name);
      const std::uint64_t stride = 1 + of.calls().at(call) / most;
      for (std::uint64_t n = 1; n <= of.calls().at(call); n += stride) {
        of.run({call + ":" + std::to_string(n) + how, end}, row.tally);
      }
    }
    done(row);
  }

  void allocations() {
    const Names all =
        options_.brief ? Names{"mlp"}
                       : Names{"mlp", "gpt2", "tokens", "load", "diff of models", "diff of traces"};
    each_call("an allocation", all, "allocate", ":ENOMEM", End::told, options_.brief ? 90 : 500);
    each_call("an allocation and all after it", all, "allocate", "+:ENOMEM", End::told,
              options_.brief ? 20 : 100);
    each_call("a mapping (stacks of fibers)", {"mlp"}, "map", ":ENOMEM", End::told);
  }

  void file_calls() {
    const Names readers =
        options_.brief ? Names{"mlp", "load"}
                       : Names{"mlp", "gpt2", "tokens", "load", "diff of models", "diff of traces"};
    each_call("a read: EIO", readers, "read", ":EIO", End::told);
    each_call("a read is interrupted", readers, "read", ":EINTR", End::as_ever);
    each_call("a read is short", readers, "read", ":short", End::as_ever);
    each_call("an open: too many files", readers, "open", ":EMFILE", End::told);
    const Names writers = options_.brief ? Names{"mlp"} : Names{"mlp", "gpt2", "tokens"};
    each_call("a write: EIO", writers, "write", ":EIO", End::told);
    each_call("a write is interrupted", writers, "write", ":EINTR", End::as_ever);
    each_call("a write is short", writers, "write", ":short", End::as_ever);
    each_call("a flush to the disk: EIO", writers, "flush", ":EIO", End::told);
    each_call("a renaming: EIO", writers, "rename", ":EIO", End::told);
  }

  void disks() {
    full_disks();
    slow_disks();
  }

  void full_disks() {
    const Trials& of = trials("gpt2");
    const std::size_t sizes = options_.brief ? 5 : 20;
    const std::size_t step = of.output_bytes() / sizes;
    Row counted{"a full disk (counted)", {}};
    for (std::size_t i = 0; i < sizes; ++i) {
      of.run({"space:" + std::to_string(i * step)}, counted.tally);
    }
    done(counted);
    if (!options_.mounts) return;
    Row mounted{"a full disk (tmpfs)", {}};
    for (std::size_t i = 1; i <= sizes; ++i) {
      const TemporaryFolder folder;
      // Small enough to be full in the end, and large enough for what stood there before.
      const SmallDisk disk(folder.path(), 20480 + i * step);
      if (!disk.mounted()) return;
      of.run_in(folder.path(), {"slow:0"}, mounted.tally);
    }
    done(mounted);
  }

  void slow_disks() {
    Row row{"a slow disk", {}};
    for (const char* name : {"mlp", "gpt2"}) {
      trials(name).run({options_.brief ? "slow:5" : "slow:100", End::as_ever}, row.tally);
    }
    done(row);
  }

  void kills() {
    const std::uint64_t most = options_.brief ? 4 : kEvery;
    each_call("killed at a call on files", {"gpt2"}, "file", ":SIGKILL", End::by_sigkill, most);
    for (const char* signal : {"SIGTERM", "SIGINT", "SIGHUP", "SIGXFSZ"}) {
      each_call(std::string(signal) + " at a call on files", {"gpt2"}, "file",
                std::string(":") + signal, End::by_signal, most);
    }
    Row killed{"killed at any time", {}};
    Row signalled{"SIGTERM at any time", {}};
    const Trials& of = trials("gpt2");
    std::minstd_rand random(1);
    const auto longest = static_cast<unsigned long>(of.duration().count()) + 1;
    for (int i = 0; i < (options_.brief ? 3 : 160); ++i) {
      const std::string after = "after:" + std::to_string(random() % longest);
      of.run({after + ":SIGKILL", End::by_sigkill}, killed.tally);
      of.run({after + ":SIGTERM", End::by_signal}, signalled.tally);
    }
    done(killed);
    done(signalled);
  }

  void jobs() {
#ifdef MESHPARITY_WITH_MPI
    const std::string stop = options_.brief ? "SIGSTOP:2" : "SIGSTOP:130";
    Row suspended{"a job is suspended", {}};
    trials("long job").run({"after:300:" + stop, End::as_ever}, suspended.tally);
    done(suspended);
    if (options_.brief) return;
    Row killed{"a rank is killed", {}};
    for (const char* rank : {"1", "0"}) {
      trials("long job").run({"after:300:SIGTERM", End::unsuccessful, rank}, killed.tally);
    }
    // Rank 1: rank 0, which writes the files, could not clean up after SIGKILL.
    trials("long job").run({"after:300:SIGKILL", End::unsuccessful, "1"}, killed.tally);
    done(killed);
    Row slow{"a slow disk of one rank", {}};
    trials("job").run({"slow:50", End::as_ever, "0"}, slow.tally);
    done(slow);
    Row full{"a full disk of a job", {}};
    for (const char* bytes : {"0", "600", "2000"}) {
      trials("job").run({std::string("space:") + bytes, End::told, "0"}, full.tally);
    }
    done(full);
#endif
  }

  /// Faults that no program can notice or put right, so the trials must see them.
  void controls() {
    for (const auto& [title, text] :
         {std::pair("control: a read returns other bytes", "read:3:altered"),
          std::pair("control: killed, which nobody can clean up after", "flush:1:SIGKILL"),
          std::pair("control: a write is not done", "write:1:altered")}) {
      Row row{title, {}, true};
      trials("mlp").run({text, End::by_signal}, row.tally);
      done(row);
    }
  }

  Options options_;
  TemporaryFolder in_;
  std::map<std::string, Workload> workloads_;
  std::map<std::string, Trials> trials_;
  bool clean_ = true;
};

int run(int argc, char** argv) {
  CLI::App app("Runs the programs while the system fails them.", "meshparity-faults");
  Options options;
  app.add_flag("--short", options.brief, "a few of each, in seconds");
  app.add_flag("--mounts", options.mounts,
               "small disks, too: in a mount namespace of its own (unshare -rm)");
  app.add_option("--only", options.only, "one part of the table")
      ->check(CLI::IsMember({"allocations", "files", "disks", "kills", "jobs", "controls"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kSuccess : kBadUsage;
  }
  Table table(options);
  table.run();
  return table.clean() ? kSuccess : kProofFailed;
}

}  // namespace
}  // namespace meshparity::faults

int main(int argc, char** argv) {
  meshparity::start_program();
  try {
    return meshparity::faults::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return meshparity::kEnvironmentFailed;
  }
}
