#include "parallel/transport/comm_mpi.h"

#include <cstdlib>
#include <exception>
#include <limits>
#include <utility>

#include "parallel/transport/comm_mpi_group.h"

namespace meshparity {

bool started_by_mpirun() { return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr; }

int checked_count(std::size_t value) {
  if (std::cmp_greater(value, std::numeric_limits<int>::max())) {
    throw CommError("MPI cannot take " + std::to_string(value) + ": its counts end at " +
                    std::to_string(std::numeric_limits<int>::max()));
  }
  return static_cast<int>(value);
}

namespace {

void require_positive(std::chrono::milliseconds deadline) {
  if (deadline.count() > 0) return;
  throw CommError("the deadline of MPI operations must be positive, not " +
                  std::to_string(deadline.count()) + " ms");
}

}  // namespace

MpiWorld::MpiWorld(std::chrono::milliseconds deadline, DeadlineHandler on_deadline)
    : exceptions_(std::uncaught_exceptions()) {
  require_positive(deadline);
  int initialised = 0;
  MPI_Initialized(&initialised);
  if (initialised != 0) throw CommError("MPI can be started only once in a process");
  int provided = MPI_THREAD_SINGLE;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (provided < MPI_THREAD_FUNNELED) {
    MPI_Finalize();
    throw CommError("this MPI cannot work in a process with threads");
  }
  process_ = std::make_unique<MpiProcess>(deadline, std::move(on_deadline));
  comm_ = mpi_group("world", MPI_COMM_WORLD, *process_);
}

MpiWorld::~MpiWorld() {
  if (std::uncaught_exceptions() > exceptions_) return;
  const std::string dropped = process_->dropped_requests();
  if (!dropped.empty()) process_->report(dropped);
  const std::string group = comm_->name();
  const CommOperation operation{
      .name = "finalize", .group = &group, .rank = comm_->rank(), .site = CallSite::here()};
  const MpiProcess::Watched watched(*process_, operation);
  comm_.reset();
  MPI_Finalize();
}

void MpiWorld::set_deadline(std::chrono::milliseconds deadline) {
  require_positive(deadline);
  process_->set_deadline(deadline);
}

void MpiWorld::abort(int status) {
  MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

}  // namespace meshparity
