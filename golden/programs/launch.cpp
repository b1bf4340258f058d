#include "golden/programs/launch.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "golden/files/temporary_name.h"
#include "golden/programs/program.h"
#include "model/error.h"
#ifdef MESHPARITY_WITH_MPI
#include "parallel/transport/comm_mpi.h"
#endif

namespace meshparity {
namespace {

void print_error(const std::string& text) {
  std::fputs(text.c_str(), stderr);
  std::fflush(stderr);
}

/// The same error, with the rank that it happened on.
std::string on_rank(std::size_t rank, const std::string& text) {
  constexpr std::string_view kBegin = "error: ";
  return fmt::format("{}on rank {}: {}", kBegin, rank, text.substr(kBegin.size()));
}

}  // namespace

#ifdef MESHPARITY_WITH_MPI

struct Launch::Mpi {
  void on_deadline(const std::string& report) const {
    if (patient) return;
    print_error(fmt::format("error: {}\n", report));
    remove_temporaries();
    std::_Exit(kEnvironmentFailed);
  }

  std::atomic<bool> patient{false};
  MpiWorld world{MpiWorld::default_deadline,
                 [this](const std::string& report) { on_deadline(report); }};
};

Launch::Launch() {
  if (started_by_mpirun()) mpi_ = std::make_unique<Mpi>();
}

void Launch::require_mpi() {
  if (!mpi_) mpi_ = std::make_unique<Mpi>();
}

void Launch::wait_for_root() {
  if (mpi_) mpi_->patient = true;  // MPI ends only when every rank has come to its end
}

void Launch::set_deadline(std::chrono::seconds deadline) {
  if (mpi_) mpi_->world.set_deadline(deadline);
}

Comm* Launch::world() const { return mpi_ ? &mpi_->world.comm() : nullptr; }

void Launch::abort(const std::exception_ptr& error) {
  const ErrorReport report = describe_error(error);
  print_error(size() > 1 ? on_rank(rank(), report.text) : report.text);
  std::fflush(stdout);
  if (mpi_) mpi_->world.abort(report.status);
  std::exit(report.status);
}

#else

struct Launch::Mpi {};

Launch::Launch() {
  if (std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr) require_mpi();
}

void Launch::require_mpi() {
  throw EnvironmentError(
      "this build has no MPI (MESHPARITY_MPI is off): run one process, with --transport sim");
}

void Launch::wait_for_root() {}

void Launch::set_deadline(std::chrono::seconds /*deadline*/) {}

Comm* Launch::world() const { return nullptr; }

void Launch::abort(const std::exception_ptr& error) {
  const ErrorReport report = describe_error(error);
  print_error(report.text);
  std::exit(report.status);
}

#endif

Launch::~Launch() = default;

std::optional<int> Launch::agree(const std::exception_ptr& error) const {
  // Of each rank: 0, or 1 + the status with which it wants to end.
  std::vector<std::uint64_t> ends(size(), 0);
  ErrorReport report;
  bool to_print = false;
  if (error) {
    try {
      std::rethrow_exception(error);
    } catch (const PrintAndExit& text) {
      report = {text.what(), kSuccess};
      to_print = true;
    } catch (...) {
      report = describe_error(error);
    }
    ends[rank()] = 1 + static_cast<std::uint64_t>(report.status);
  }
  if (world() != nullptr) world()->all_reduce_integers(ends);
  const auto first = std::ranges::find_if(ends, [](std::uint64_t end) { return end != 0; });
  if (first == ends.end()) return std::nullopt;
  if (std::cmp_equal(first - ends.begin(), rank())) {
    if (to_print) {
      std::fputs(report.text.c_str(), stdout);
    } else {
      const bool all = std::ranges::find(ends, 0U) == ends.end();
      print_error(all ? report.text : on_rank(rank(), report.text));
    }
  }
  return static_cast<int>(*first - 1);
}

}  // namespace meshparity
