// Single kernels against peers and against limits, on one core. Prints a line of JSON for each
// ratio on stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "ci/benchmarks/measurement.h"
#include "ci/benchmarks/products.h"

namespace meshparity::bench {
namespace {

int run(const std::vector<std::string>& arguments) {
  const std::map<std::string, void (*)(const std::string&)> parts = {
      {"products", measure_products}, {"tree", measure_tree}, {"peak", measure_peak}};
  const auto measure = parts.find(arguments.empty() ? "" : arguments[0]);
  if (measure == parts.end()) {
    std::cerr << "usage: bench-kernels products | tree | peak [PART OF A NAME]\n";
    return 2;
  }
  measure->second(arguments.size() > 1 ? arguments[1] : "");
  return 0;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  return meshparity::bench::run_benchmark(argc, argv, meshparity::bench::run);
}
