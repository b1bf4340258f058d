#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

/// What must be the same bits whatever the processor, the compiler and its options. Each check
/// compares what it can on this machine, and gives a SHA-256 of all results to compare with those
/// of other machines.
namespace meshparity {

/// One check, and how many of its comparisons found the same bits.
struct PortabilityCheck {
  std::string name;
  std::size_t compared = 0;
  std::size_t same = 0;
  std::string difference;  ///< the first one; empty if there is none
  std::string sha256;      ///< of all results

  bool proven() const { return compared > 0 && same == compared; }
};

/// The first steps (30 or a few more) of every golden recipe on one rank and on two simulated
/// meshes, each against the recorded trace. On each mesh again from a checkpoint that one rank left
/// half way; and `all_steps` on one rank. One check for each recipe; its SHA-256 is of the
/// parameters after the first steps as safetensors files, and of the checkpoints.
std::vector<PortabilityCheck> check_portable_goldens(const std::string& golden_dir, bool all_steps);

/// Every kernel, on shapes, strides, grains and values drawn from Philox, against its definition
/// written out.
std::vector<PortabilityCheck> check_portable_kernels();

/// The kernels of the transformer: the same. Part of check_portable_kernels' list.
std::vector<PortabilityCheck> check_portable_transformer_kernels();

/// exp, log, tanh, erf, GELU and its derivative on about a million floats of all kinds: a loop that
/// the compiler may vectorise, against single calls. The functions in binary64: their symmetry.
std::vector<PortabilityCheck> check_portable_functions();

/// Floats as bytes that are the same on every machine: little-endian, and every NaN the same.
std::string portable_bytes(std::span<const float> values);

}  // namespace meshparity
