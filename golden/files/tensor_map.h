#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace meshparity {

/// A field of a map of tensors.
struct MapField {
  std::string tensor;   ///< as a recording names it, which says where the field is
  std::string text;     ///< in the field
  std::string details;  ///< shown where the pointer rests
  double heat = 0;      ///< 0: nothing; up to 1: shaded; above: wrong
  bool grey = false;    ///< not known
  bool first = false;   ///< the first that is wrong
};

/// The heat of a number below 1 on a scale of so many decades; at least a little of what is not 0.
double heat_of(double number, double decades);

/// A <table>: a row for each operation in the order of the fields, with its input, output, their
/// gradients, the parameters' gradients, moments and values as columns. Names of another kind have
/// rows of their own.
std::string tensor_map(const std::vector<MapField>& fields);

/// What the map needs of a page's style.
extern const char* const kMapStyle;

}  // namespace meshparity
