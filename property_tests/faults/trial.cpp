#include "property_tests/faults/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "golden/files/file_io.h"
#include "golden/jobs/exit_status.h"
#include "golden/jobs/mpirun.h"
#include "model/error.h"

namespace meshparity::faults {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kUndisturbed{60};
constexpr std::chrono::seconds kDeadline{20};  // beyond what this program and fault take
constexpr int kSignalled = 128;                // and the signal's number

std::string placed(std::string argument, const fs::path& in, const fs::path& out) {
  for (const auto& [word, folder] : {std::pair("IN/", &in), std::pair("OUT/", &out)}) {
    const std::size_t at = argument.find(word);
    if (at != std::string::npos) {
      argument.replace(at, std::string(word).size(), folder->string() + "/");
    }
  }
  return argument;
}

std::string shortened(const std::string& text) { return text.substr(0, 300); }

/// How long a fault of this kind makes a program wait.
std::chrono::seconds stopped_by(const std::string& fault) {
  const std::size_t at = fault.find("SIGSTOP:");
  return std::chrono::seconds(at == std::string::npos ? 0 : std::stol(fault.substr(at + 8)));
}

}  // namespace

Trials::Trials(Workload workload, const fs::path& in) : workload_(std::move(workload)), in_(in) {
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out";
  fs::create_directory(out);
  prepare(out);
  const std::string counts = folder.file("counts");
  const auto begin = Clock::now();
  expected_ = child(out, {"MESHPARITY_FAULT_COUNTS=" + counts}, kUndisturbed);
  duration_ = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
  if (expected_.status > kProofFailed) {
    throw EnvironmentError("undisturbed, the program fails: " + expected_.errors);
  }
  for (const auto& [name, before] : workload_.outputs) {
    results_[name] = read_file((out / name).string(), "result");
  }
  std::istringstream numbers(read_file(counts, "counts"));
  for (const char* call : {"allocate", "map", "open", "read", "write", "flush", "rename", "file"}) {
    if (!(numbers >> calls_[call])) throw EnvironmentError("the calls were not counted");
  }
}

std::size_t Trials::output_bytes() const {
  std::size_t bytes = 0;
  for (const auto& [name, text] : results_) bytes += text.size();
  return bytes;
}

ChildResult Trials::child(const fs::path& out, const std::vector<std::string>& settings,
                          std::chrono::milliseconds deadline) const {
  std::vector<std::string> command = {
      "env", "LD_PRELOAD=" + program_folder() + "/libmeshparity-preloaded.so"};
  command.insert(command.end(), settings.begin(), settings.end());
  command.push_back(program_folder() + "/" + workload_.program);
  for (const std::string& argument : workload_.arguments) {
    command.push_back(placed(argument, in_, out));
  }
  return run_child(workload_.ranks > 1 ? mpirun_command(workload_.ranks, command) : command,
                   deadline);
}

void Trials::prepare(const fs::path& out) const {
  for (const auto& [name, before] : workload_.outputs) write_file((out / name).string(), before);
}

void Trials::run(const Fault& fault, Tally& tally) const {
  const TemporaryFolder folder;
  run_in(folder.path(), fault, tally);
}

void Trials::run_in(const fs::path& out, const Fault& fault, Tally& tally) const {
  prepare(out);
  std::vector<std::string> settings = {"MESHPARITY_FAULT=" + fault.text};
  if (!fault.rank.empty()) settings.push_back("MESHPARITY_FAULT_RANK=" + fault.rank);
  const ChildResult result =
      child(out, settings, kDeadline + 5 * duration_ + stopped_by(fault.text));
  ++tally.tried;
  std::vector<std::string> complaints;
  bool all_new = true;
  for (const fs::directory_entry& entry : fs::directory_iterator(out)) {
    const std::string name = entry.path().filename().string();
    const auto output = workload_.outputs.find(name);
    if (output == workload_.outputs.end()) {
      if (fault.end == End::by_sigkill) continue;
      ++tally.leftovers;
      complaints.push_back("left behind: " + name);
      continue;
    }
    const std::string text = read_file(entry.path().string(), "result");
    if (text == results_.at(name)) continue;
    all_new = false;
    if (text == output->second) continue;
    ++tally.half_written;
    complaints.push_back("half-written: " + name);
  }
  const std::string end = verdict(result, fault, all_new, tally);
  if (!end.empty()) complaints.push_back(end);
  if (complaints.empty()) ++tally.clean;
  for (const std::string& complaint : complaints) {
    tally.examples.try_emplace(complaint.substr(0, complaint.find(':')),
                               fmt::format("{} {}: {}", workload_.program, fault.text, complaint));
  }
}

std::string Trials::verdict(const ChildResult& result, const Fault& fault, bool all_new,
                            Tally& tally) const {
  if (result.timed_out) {
    ++tally.hung;
    return "does not end";
  }
  const bool same = result.status == expected_.status && result.output == expected_.output &&
                    all_new && fault.end != End::unsuccessful;
  if (same) return "";
  const bool told =
      result.status == kEnvironmentFailed && result.errors.find("error: ") != std::string::npos;
  if (fault.end == End::told && told) return "";
  if (fault.end == End::unsuccessful && result.status > kProofFailed) return "";
  if (result.status > kSignalled) {
    if (fault.end == End::by_signal || fault.end == End::by_sigkill) return "";
    ++tally.crashed;
    return fmt::format("ended by signal {}: {}", result.status - kSignalled,
                       shortened(result.errors));
  }
  ++tally.wrong;
  return fmt::format("status {}, {} result: {}", result.status, all_new ? "the" : "another or no",
                     shortened(result.output + result.errors));
}

}  // namespace meshparity::faults
