// Single kernels against peers and against limits, on one core. Prints a line of JSON for each
// ratio on stdout and a line for people on stderr. Exit 0 if everything could be measured.
#include <exception>
#include <iostream>
#include <map>
#include <string>

#include "ci/benchmarks/products.h"

int main(int argc, char** argv) {
  using namespace meshparity::bench;
  const std::map<std::string, void (*)(const std::string&)> parts = {
      {"products", measure_products}, {"tree", measure_tree}, {"peak", measure_peak}};
  const auto part = parts.find(argc > 1 ? argv[1] : "");
  if (part == parts.end() || argc > 3) {
    std::cerr << "usage: bench-kernels products | tree | peak [PART OF A NAME]\n";
    return 2;
  }
  try {
    part->second(argc > 2 ? argv[2] : "");
    return 0;
  } catch (const std::exception& error) {
    std::cerr << std::string("error: ") + error.what() + "\n";
    return 1;
  }
}
