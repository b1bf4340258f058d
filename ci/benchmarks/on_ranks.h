#pragma once

#include <string>

#include "parallel/transport/comm.h"

/// Measurements under Open MPI. Collective over the world; rank 0 prints.
namespace meshparity::bench {

/// A mesh against one rank, which must give the same bits: the others wait while rank 0 trains.
void measure_scaling(const std::string& corpus_path, Comm& world);

/// Data and tensor parallel training of the large transformer against one rank, likewise.
void measure_full_scaling(Comm& world);

/// Training steps with canonical against native reductions, on a mesh.
void measure_reductions(const std::string& corpus_path, const std::string& mesh, Comm& world);

/// The same, of the small transformer.
void measure_transformer_reductions(const std::string& mesh, Comm& world);

/// Canonical against native reductions alone, one aligned node on each rank.
void measure_collectives(Comm& world);

}  // namespace meshparity::bench
