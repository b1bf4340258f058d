#include "property_tests/parallel/transport/comm_mpi_calls.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

namespace meshparity {
namespace {
CommunicatorCalls communicators;
}  // namespace

CommunicatorCalls communicator_calls() { return communicators; }

}  // namespace meshparity

// NOLINTBEGIN(readability-identifier-naming): the names are MPI's
extern "C" int MPI_Comm_dup(MPI_Comm communicator, MPI_Comm* made) {
  ++meshparity::communicators.made;
  return PMPI_Comm_dup(communicator, made);
}

extern "C" int MPI_Comm_split(MPI_Comm communicator, int colour, int key, MPI_Comm* made) {
  ++meshparity::communicators.made;
  return PMPI_Comm_split(communicator, colour, key, made);
}

extern "C" int MPI_Comm_split_type(MPI_Comm communicator, int type, int key, MPI_Info info,
                                   MPI_Comm* made) {
  ++meshparity::communicators.made;
  return PMPI_Comm_split_type(communicator, type, key, info, made);
}

extern "C" int MPI_Comm_free(MPI_Comm* communicator) {
  ++meshparity::communicators.freed;
  return PMPI_Comm_free(communicator);
}
// NOLINTEND(readability-identifier-naming)
