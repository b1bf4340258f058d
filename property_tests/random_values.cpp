#include "property_tests/random_values.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace meshparity::random {

rc::Gen<std::size_t> from_to(std::size_t least, std::size_t most) {
  return rc::gen::resize(rc::kNominalSize, rc::gen::inRange(least, most + 1));
}

rc::Gen<std::uint64_t> any_seed() {
  return rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint64_t>());
}

rc::Gen<float> moderate_float() {
  return rc::gen::map(from_to(0, (1U << 22) - 2), [](std::size_t n) {
    return (static_cast<float>(n) - static_cast<float>((1U << 21) - 1)) * 0x1p-20F;
  });
}

rc::Gen<float> any_float() {
  return rc::gen::map(from_to(0, std::numeric_limits<std::uint32_t>::max()), [](std::size_t bits) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  });
}

rc::Gen<float> finite_float() {
  return rc::gen::map(any_float(), [](float x) {
    // An exponent of all ones becomes the one below.
    const auto bits = std::bit_cast<std::uint32_t>(x);
    return (bits & 0x7F800000U) == 0x7F800000U ? std::bit_cast<float>(bits ^ 0x00800000U) : x;
  });
}

rc::Gen<float> tiny_float() {
  return rc::gen::map(from_to(0, 0x03FFFFFF), [](std::size_t n) {
    const auto bits = static_cast<std::uint32_t>(n);
    return std::bit_cast<float>((bits >> 1) | (bits << 31));
  });
}

rc::Gen<float> special_float() {
  using Limits = std::numeric_limits<float>;
  return rc::gen::weightedOneOf<float>(
      {{4, moderate_float()},
       {3, rc::gen::element(0.0F, -0.0F, 1.0F, -1.0F, Limits::denorm_min(), -Limits::denorm_min(),
                            Limits::min(), Limits::max(), -Limits::max())},
       {1, rc::gen::element(0.0F, -0.0F, Limits::infinity(), -Limits::infinity(),
                            Limits::quiet_NaN())}});
}

rc::Gen<rc::Gen<float>> kind_of_floats() {
  return rc::gen::map(from_to(0, 4), [](std::size_t kind) -> rc::Gen<float> {
    switch (kind) {
      case 0:
        return moderate_float();
      case 1:
        return tiny_float();
      case 2:
        return finite_float();
      case 3:
        return special_float();
      default:
        return any_float();
    }
  });
}

std::vector<float> floats(std::size_t count, const rc::Gen<float>& kind) {
  return *rc::gen::container<std::vector<float>>(count, kind);
}

std::vector<Range> random_split(Range whole, std::size_t parts) {
  auto cuts =
      *rc::gen::container<std::vector<std::size_t>>(parts - 1, from_to(whole.begin, whole.end));
  std::sort(cuts.begin(), cuts.end());
  cuts.push_back(whole.end);
  std::vector<Range> runs;
  std::size_t begin = whole.begin;
  for (const std::size_t cut : cuts) {
    runs.push_back({begin, cut});
    begin = cut;
  }
  return runs;
}

Range random_run(std::size_t total) {
  const std::size_t a = *from_to(0, total);
  const std::size_t b = *from_to(0, total);
  return {std::min(a, b), std::max(a, b)};
}

}  // namespace meshparity::random
