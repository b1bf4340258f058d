#include "ci/benchmarks/measurement.h"

#include <fmt/format.h>

#include <cstdio>
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

}  // namespace meshparity::bench
