#pragma once

/// What a program takes for granted before it computes anything: that compiler, processor and
/// settings give the bits of the numerics contract.
namespace meshparity {

/// Computes a handful of values whose bits are known: plain arithmetic, the model's functions, and
/// every kind of kernel of the instruction set in use. Takes less than a millisecond. Throws
/// EnvironmentError that names what came out otherwise, UsageError if MESHPARITY_ISA names no
/// instruction set that is available.
void check_known_bits();

/// Every program calls this first (under MPI, after that has loaded its libraries): sets the
/// floating point environment and checks known bits. Throws as both do.
void require_premises();

}  // namespace meshparity
