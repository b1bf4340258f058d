#pragma once

#include <string>
#include <vector>

/// What the benchmark programs have in common.
namespace meshparity::bench {

/// Which side of a bar, or of a former ratio, is good.
enum class Good { above, below };

/// A ratio, and the bar it is held to.
struct Measurement {
  std::string part;  ///< "products", ...
  std::string name;
  double ratio = 0;
  double bar = 0;  ///< 0: for information
  Good good = Good::above;
  std::string note;  ///< the figures behind the ratio, for people
};

/// Writes a measurement to stdout, as one line of JSON, and one for people to stderr.
void print(const Measurement& measurement);

/// The whole of a benchmark's main: calls `run` with the arguments and returns its exit status. If
/// it throws, the reason is printed and the status is 1.
int run_benchmark(int argc, char** argv, int (*run)(const std::vector<std::string>& arguments));

}  // namespace meshparity::bench
