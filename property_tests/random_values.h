#pragma once

#include <rapidcheck.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/numerics/canonical_sum.h"

/// What the tests of single pieces draw. Everything here is used inside a RapidCheck property.
namespace meshparity::random {

/// The whole range from the first case on: RapidCheck's own ranges start small.
rc::Gen<std::size_t> from_to(std::size_t least, std::size_t most);

rc::Gen<std::uint64_t> any_seed();

/// Multiples of 2^-20 in (-2, 2): their sums round, and up to 2^30 of them are exact in binary64.
rc::Gen<float> moderate_float();

/// Any bits: every exponent is as likely as every other, infinities and NaN among them.
rc::Gen<float> any_float();

rc::Gen<float> finite_float();

/// Subnormals and the smallest normal numbers of either sign.
rc::Gen<float> tiny_float();

/// Numbers at the edges of the format among ordinary ones.
rc::Gen<float> special_float();

/// One of the above for a whole case, so that few values do not drown all others in NaN.
rc::Gen<rc::Gen<float>> kind_of_floats();

std::vector<float> floats(std::size_t count, const rc::Gen<float>& kind);

/// `parts` runs side by side through all of `whole`, of any sizes: some may be empty.
std::vector<Range> random_split(Range whole, std::size_t parts);

/// Any run in [0, total), also an empty one.
Range random_run(std::size_t total);

}  // namespace meshparity::random
