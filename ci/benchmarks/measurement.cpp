#include "ci/benchmarks/measurement.h"

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

namespace meshparity::bench {

void print(const Measurement& measurement) {
  nlohmann::ordered_json line = {{"part", measurement.part},
                                 {"name", measurement.name},
                                 {"ratio", measurement.ratio},
                                 {"bar", measurement.bar},
                                 {"good", measurement.good == Good::above ? "above" : "below"},
                                 {"note", measurement.note}};
  fmt::print("{}\n", line.dump());
  std::fflush(stdout);
  fmt::print(stderr, "  {:<44} {:>7.3f}  {}\n", measurement.name, measurement.ratio,
             measurement.note);
}

int run_benchmark(int argc, char** argv, int (*run)(const std::vector<std::string>& arguments)) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
}

}  // namespace meshparity::bench
