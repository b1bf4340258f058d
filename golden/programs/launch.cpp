#include "golden/programs/launch.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
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

}  // namespace

#ifdef MESHPARITY_WITH_MPI

struct Launch::Mpi {
  static constexpr std::chrono::seconds kDeadline{120};

  void on_deadline(const std::string& report) const {
    if (patient) return;
    print_error(fmt::format("error: {}\n", report));
    remove_temporaries();
    std::_Exit(kEnvironmentFailed);
  }

  std::atomic<bool> patient{false};
  MpiWorld world{kDeadline, [this](const std::string& report) { on_deadline(report); }};
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

Comm* Launch::world() const { return mpi_ ? &mpi_->world.comm() : nullptr; }

void Launch::abort(const std::exception_ptr& error) {
  const ErrorReport report = describe_error(error);
  print_error(report.text);
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

Comm* Launch::world() const { return nullptr; }

void Launch::abort(const std::exception_ptr& error) {
  const ErrorReport report = describe_error(error);
  print_error(report.text);
  std::exit(report.status);
}

#endif

Launch::~Launch() = default;

int Launch::agree(const std::exception_ptr& error) const {
  std::vector<std::uint64_t> status(size(), kSuccess);
  ErrorReport report;
  if (error) {
    report = describe_error(error);
    status[rank()] = static_cast<std::uint64_t>(report.status);
  }
  if (world() != nullptr) world()->all_reduce_integers(status);
  for (std::size_t r = 0; r < status.size(); ++r) {
    if (status[r] == kSuccess) continue;
    if (r == rank()) print_error(report.text);
    return static_cast<int>(status[r]);
  }
  return kSuccess;
}

}  // namespace meshparity
