// Single kernels against peers and against limits, on one core. Prints a line of JSON for each
// ratio on stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <exception>
#include <iostream>
#include <map>
#include <string>

#include "ci/benchmarks/products.h"

namespace meshparity::bench {
namespace {

int run(const std::string& part, const std::string& filter) {
  const std::map<std::string, void (*)(const std::string&)> parts = {
      {"products", measure_products}, {"tree", measure_tree}, {"peak", measure_peak}};
  const auto measure = parts.find(part);
  if (measure == parts.end()) {
    std::cerr << "usage: bench-kernels products | tree | peak [PART OF A NAME]\n";
    return 2;
  }
  measure->second(filter);
  return 0;
}

}  // namespace
}  // namespace meshparity::bench

int main(int argc, char** argv) {
  try {
    return meshparity::bench::run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
  } catch (const std::exception& error) {
    std::cerr << std::string("error: ") + error.what() + "\n";
    return 1;
  }
}
