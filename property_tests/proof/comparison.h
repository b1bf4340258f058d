#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "model/observer.h"
#include "oracle/compare.h"
#include "oracle/recording.h"
#include "parallel/transport/comm.h"

namespace meshparity {

/// What a rank saw first that is not as it should be.
struct Difference {
  /// From cause to effect.
  enum class Kind { parameter, gradient, loss, statistics, missing };
  std::size_t step = 0;
  Kind kind = Kind::parameter;
  std::string text;

  bool comes_before(const Difference& other) const {
    return step != other.step ? step < other.step : kind < other.kind;
  }
};

/// True if two runs were ended by the same words, or by none. The sign of a NaN does not count.
bool same_divergence(std::string a, std::string b);

/// Holds what a rank reports to one rank's run, bit for bit, and remembers the first difference: in
/// each step the parameters, copies too, the gradients, loss, norm and digest; after the last step
/// all parameters again; and that there are as many steps, and the same end.
class Comparison final : public StepObserver {
 public:
  /// `expected` must outlive it; `rank` is for messages.
  Comparison(const Recording& expected, std::size_t rank) : expected_(expected), rank_(rank) {}

  bool wants_statistics() const override { return true; }
  void step(const StepView& view) override;
  void finished(const StepView& view) override;
  /// Training ended with this error.
  void diverged(const std::string& how) { divergence_ = how; }

  /// After the run.
  std::optional<Difference> result();

 private:
  using Kind = Difference::Kind;

  void compare_values(const StepView& view, const FloatTensors& expected);
  void compare(std::size_t step, Kind kind, const ShardView& view, const FloatTensors& expected,
               std::span<const float> actual);
  void note(std::size_t step, Kind kind, const std::optional<FirstDifference>& difference);
  void note_missing(std::size_t step, const std::string& what);

  const Recording& expected_;
  std::size_t rank_;
  std::size_t steps_ = 0;
  std::size_t ends_ = 0;
  std::size_t shown_ = 0;  // elements of the last step's shards and copies
  std::string divergence_;
  std::optional<Difference> found_;
};

/// Collective. The rank with the earliest and most telling difference, of equal ones the lowest;
/// nothing if no rank has one. Every rank gets the same answer.
std::optional<std::size_t> first_to_differ(Comm& group, const std::optional<Difference>& mine);

}  // namespace meshparity
