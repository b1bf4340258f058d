#pragma once

#include <cstddef>
#include <vector>

#include "parallel/reducer.h"
#include "property_tests/random_values.h"

namespace meshparity {

using Leaves = std::vector<std::vector<float>>;  // [leaf][element]

/// Wide leaves repeat a few values, each leaf with another period.
Leaves random_leaves(std::size_t count, std::size_t width, const rc::Gen<float>& kind);

/// One stream over a run, for the elements of `share`.
PartialSum stream(const Leaves& leaves, Range run, Range share);

/// Whether a sum over this run can be finished in the memory of a rank's part.
bool fits_in_place(Range whole, std::size_t leaves);

/// What a reduce_scatter in place has left to be done of an all_reduce.
void all_gather_nodes(Reducer& reducer, PartialSum& sum);

}  // namespace meshparity
