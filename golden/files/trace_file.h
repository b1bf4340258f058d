#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/recipe.h"

/// Loss traces as JSON lines. The first line says what was trained, then one line a step, the last
/// one says where training ended:
///
///     {"meshparity_trace":1,"contract":1,"recipe":{...},"corpus_sha256":"..."}
///     {"step":0,"loss":"0x1.a1p+1","loss_decimal":3.2578,"grad_norm":"0x1.8p-2","digest":"..."}
///     {"end":500,"digest":"..."}
///
/// The header of a run that went on from a checkpoint says `"continues":{"step":50,"digest":"..."}`,
/// and its steps begin there; that of a run whose parameters were loaded says `"loaded":true`.
/// The end says `"stopped":true` too if the recipe has more steps. Hexadecimal floats are exact; a
/// digest is of all parameters and of the optimizer's moments, before the step's update. Nothing in
/// a trace depends on how the run was split, so traces of all meshes are the same bytes.
namespace meshparity {

/// Where a run went on.
struct TraceOrigin {
  std::size_t step = 0;  ///< that were made before
  std::uint64_t digest = 0;

  bool operator==(const TraceOrigin&) const = default;
};

/// The first line. A golden trace also says who recorded it, when and why.
struct TraceHeader {
  std::uint64_t contract = contract_of(ModelKind::mlp);  ///< of the recipe's model
  Recipe recipe;                                         ///< `data` without its folder
  std::string corpus_sha256;                             ///< 64 hex digits
  std::size_t every = 1;  ///< steps 0, every, 2 every, ... and the last are recorded
  bool native = false;    ///< reductions in the transport's own order
  bool loaded = false;    ///< parameters came from a file: step 0's digest says which
  std::optional<TraceOrigin> continues;  ///< of a run that went on
  std::string compiler;                  ///< empty where nobody said
  std::string date;
  std::string reason;

  std::size_t first_step() const { return continues ? continues->step : 0; }
};

struct TraceStep {
  std::size_t step = 0;
  float loss = 0;
  double gradient_norm = 0;
  std::uint64_t digest = 0;

  bool operator==(const TraceStep&) const = default;
};

struct TraceEnd {
  std::size_t steps = 0;
  std::uint64_t digest = 0;
  bool stopped = false;  ///< before the recipe's last step, as asked

  bool operator==(const TraceEnd&) const = default;
};

struct Trace {
  TraceHeader header;
  std::vector<TraceStep> steps;
  TraceEnd end;
};

/// The header that goes with a recipe: only the base name of its `data` is kept.
TraceHeader header_of(const Recipe& recipe, const std::string& corpus_sha256);

/// True if a trace of `steps` steps with this `every` holds step `step`.
bool is_recorded(std::size_t step, std::size_t every, std::size_t steps);

/// One line each, with its line end.
std::string line_of(const TraceHeader& header);
std::string line_of(const TraceStep& step);
std::string line_of(const TraceEnd& end);
std::string text_of(const Trace& trace);

/// Throws UsageError naming file:line if the text is not such a trace.
Trace parse_trace(const std::string& text, const std::string& name);
Trace load_trace(const std::string& path);

/// Where two traces part.
struct TraceDifference {
  std::string where;  ///< "header", "step 12", "end"
  std::string field;
  std::string left;
  std::string right;
  std::string distance;  ///< "3 ULP" between two losses, otherwise empty
};
std::string to_string(const TraceDifference& difference);

/// The first difference in what was trained (contract, recipe, corpus), in the steps that both
/// record, or in the end. Who recorded a trace, when and why is not compared.
std::optional<TraceDifference> compare_traces(const Trace& left, const Trace& right);

/// The traces of a run that stopped and went on, as one. Throws UsageError unless each goes on
/// where the one before it stopped, with the same state.
Trace joined(std::span<const Trace> parts);

/// The same, where `part` may stop early: its steps are a prefix of the run that `whole` records.
std::optional<TraceDifference> compare_prefix(const Trace& whole, const Trace& part);

}  // namespace meshparity
