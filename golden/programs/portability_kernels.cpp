#include <bit>
#include <cmath>
#include <cstdint>

#include "golden/programs/portability.h"
#include "golden/programs/portability_cases.h"
#include "model/numerics/functions.h"
#include "model/numerics/kernels.h"
#include "oracle/canonical_reference.h"

namespace meshparity {
namespace {

/// A matrix within a larger one, perhaps transposed.
struct Window {
  std::vector<float> memory;
  MatrixView view;

  Window(std::size_t rows, std::size_t columns, bool transposed, Draw& draw) : view({}, 0, 0) {
    const std::size_t inner_rows = transposed ? columns : rows;
    const std::size_t inner_columns = transposed ? rows : columns;
    const std::size_t above = draw.from_to(0, 2);
    const std::size_t before = draw.from_to(0, 2);
    const std::size_t memory_rows = above + inner_rows + draw.from_to(0, 2);
    const std::size_t memory_columns = before + inner_columns + draw.from_to(0, 2);
    memory = draw.floats(memory_rows * memory_columns);
    view = MatrixView(memory, memory_rows, memory_columns)
               .row_range({above, above + inner_rows})
               .column_range({before, before + inner_columns});
    if (transposed) view = view.transposed();
  }
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  float at(std::size_t row, std::size_t column) const {
    return view.data[row * view.row_stride + column * view.column_stride];
  }
};

std::size_t any_grain(std::size_t terms, Draw& draw) {
  const std::size_t way = draw.from_to(0, 2);
  if (way == 0) return 1;
  return way == 1 ? draw.from_to(1, 20) : draw.from_to(terms + 1, terms + 9);
}

float finished(float sum, const Epilogue& epilogue, std::size_t column) {
  const float y = epilogue.bias.empty() ? sum : sum + epilogue.bias[column];
  return epilogue.relu && y <= 0.0F ? 0.0F : y;
}

PortabilityCheck check_product() {
  Judge judge("canonical_product");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(1, 19);
    const std::size_t columns = number % 4 == 0 ? draw.from_to(60, 140) : draw.from_to(1, 40);
    const std::size_t terms = number % 4 == 1 ? draw.from_to(90, 200) : draw.from_to(0, 40);
    const std::size_t grain = any_grain(terms, draw);
    const Window left(rows, terms, draw.from_to(0, 1) == 1, draw);
    const Window right(terms, columns, draw.from_to(0, 1) == 1, draw);
    const std::vector<float> bias = draw.floats(draw.from_to(0, 1) * columns);
    const Epilogue epilogue{bias, draw.from_to(0, 1) == 1};
    std::vector<float> actual(rows * columns);
    canonical_product(left.view, right.view, grain, actual, epilogue);
    std::vector<float> expected;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) {
        const float sum = reference::canonical_dot(
            terms, grain, [&](std::size_t k) { return left.at(r, k); },
            [&](std::size_t k) { return right.at(k, c); });
        expected.push_back(finished(sum, epilogue, c));
      }
    }
    judge.compare(number, actual, expected);
  }
  return judge.verdict();
}

PortabilityCheck check_row_sum() {
  Judge judge("canonical_row_sum");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::vector<float> values = draw.floats(draw.from_to(0, 400));
    const std::size_t grain =
        number % 2 == 0 ? any_grain(values.size(), draw) : draw.from_to(1, 100);
    const float actual = canonical_row_sum(values, grain);
    const float expected = reference::canonical_row_sum(values, grain);
    judge.compare(number, {&actual, 1}, {&expected, 1});
  }
  return judge.verdict();
}

/// A kernel that gives each element of a matrix (rows, columns) its own value, given a second
/// matrix of that size and a row.
struct Elementwise {
  const char* name;
  void (*kernel)(std::span<float> matrix, std::span<const float> second,
                 std::span<const float> row);
  float (*definition)(float element, float second, float of_row);
};

const Elementwise kElementwise[] = {
    {"apply_epilogue",
     [](std::span<float> matrix, std::span<const float>, std::span<const float> row) {
       apply_epilogue({row, true}, matrix.size() / row.size(), matrix);
     },
     [](float element, float, float of_row) {
       const float y = element + of_row;
       return y <= 0.0F ? 0.0F : y;
     }},
    {"relu_backward",
     [](std::span<float> matrix, std::span<const float> second, std::span<const float>) {
       relu_backward(second, matrix);
     },
     [](float element, float second, float) { return second > 0.0F ? element : 0.0F; }},
    {"scale",
     [](std::span<float> matrix, std::span<const float> second, std::span<const float>) {
       scale(second, 0.1F, matrix);
     },
     [](float, float second, float) { return second * 0.1F; }},
    {"sgd_update",
     [](std::span<float> matrix, std::span<const float> second, std::span<const float>) {
       sgd_update(second, 1.0F, 0.1F, matrix);
     },
     [](float element, float second, float) { return std::fma(-0.1F, second, element); }},
};

PortabilityCheck check_elementwise(const Elementwise& kernel) {
  Judge judge(kernel.name);
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(1, 5);
    const std::size_t columns = draw.from_to(1, 70);
    std::vector<float> matrix = draw.floats(rows * columns);
    const std::vector<float> second = draw.floats(rows * columns);
    const std::vector<float> row = draw.floats(columns);
    std::vector<float> expected(matrix.size());
    for (std::size_t i = 0; i < matrix.size(); ++i) {
      expected[i] = kernel.definition(matrix[i], second[i], row[i % columns]);
    }
    kernel.kernel(matrix, second, row);
    judge.compare(number, matrix, expected);
  }
  return judge.verdict();
}

PortabilityCheck check_add_rows() {
  Judge judge("add_rows");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(0, 12);
    const std::size_t columns = draw.from_to(1, 70);
    const std::vector<float> matrix = draw.floats(rows * columns);
    std::vector<float> sums = draw.floats(columns);
    std::vector<float> expected = sums;
    for (std::size_t i = 0; i < matrix.size(); ++i) {
      expected[i % columns] = expected[i % columns] + matrix[i];
    }
    add_rows(matrix, rows, sums);
    judge.compare(number, sums, expected);
  }
  return judge.verdict();
}

/// gather_rows and scatter_add_rows.
PortabilityCheck check_rows_by_index() {
  Judge judge("rows by index");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(1, 12);
    const std::size_t columns = draw.from_to(1, 40);
    std::vector<float> table = draw.floats(rows * columns);
    std::vector<std::int32_t> indices(draw.from_to(0, 30));
    for (std::int32_t& index : indices) {
      index = static_cast<std::int32_t>(draw.from_to(0, rows - 1));
    }
    const std::vector<float> added = draw.floats(indices.size() * columns);
    std::vector<float> gathered(added.size());
    std::vector<float> expected;
    std::vector<float> expected_table = table;
    for (std::size_t i = 0; i < added.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(indices[i / columns]) * columns + i % columns;
      expected.push_back(table[at]);
      expected_table[at] = expected_table[at] + added[i];
    }
    gather_rows(table, columns, indices, gathered);
    judge.compare(number, gathered, expected);
    scatter_add_rows(added, columns, indices, table);
    judge.compare(number, table, expected_table);
  }
  return judge.verdict();
}

/// What the definition gives for one row of logits: probabilities, then the sum's logarithm.
std::vector<float> softmax_of(std::span<const float> logits, std::size_t grain) {
  float largest = logits[0];
  for (const float z : logits) largest = z > largest ? z : largest;
  std::vector<float> result;
  for (const float z : logits) result.push_back(portable_exp(z - largest));
  const float sum = reference::canonical_row_sum(result, grain);
  for (float& power : result) power = power / sum;
  result.push_back(portable_log(sum));
  return result;
}

/// The largest logit itself is not compared: +0 and -0 may both be it, which changes no other
/// result.
PortabilityCheck check_softmax() {
  Judge judge("softmax_rows");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::size_t rows = draw.from_to(1, 6);
    const std::size_t columns = draw.from_to(1, 60);
    const std::size_t grain = any_grain(columns, draw);
    std::vector<float> logits = draw.floats(rows * columns);
    for (float& z : logits) z = 20.0F * z;
    std::vector<float> probabilities(logits.size());
    std::vector<float> largest(rows);
    std::vector<float> log_sum(rows);
    softmax_rows(logits, rows, grain, probabilities, largest, log_sum);
    for (std::size_t r = 0; r < rows; ++r) {
      const auto row = [&](const std::vector<float>& matrix) {
        return std::span(matrix).subspan(r * columns, columns);
      };
      std::vector<float> actual(row(probabilities).begin(), row(probabilities).end());
      actual.push_back(log_sum[r]);
      judge.compare(number, actual, softmax_of(row(logits), grain));
    }
  }
  return judge.verdict();
}

/// The finaliser of MurmurHash3.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDULL;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53ULL;
  return x ^ (x >> 33);
}

PortabilityCheck check_digest() {
  Judge judge("digest");
  for (std::size_t number = 0; number < kCases; ++number) {
    Draw draw(number);
    const std::vector<float> values = draw.floats(draw.from_to(0, 100));
    std::uint64_t expected = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      expected += mixed(mixed(number + i) ^ std::bit_cast<std::uint32_t>(values[i]));
    }
    const std::uint64_t difference = digest(values, number) ^ expected;
    const float same = difference == 0 ? 1.0F : 0.0F;
    judge.compare(number, {&same, 1}, std::vector{1.0F});
  }
  return judge.verdict();
}

}  // namespace

std::vector<PortabilityCheck> check_portable_kernels() {
  std::vector<PortabilityCheck> checks = {check_product(),       check_row_sum(), check_add_rows(),
                                          check_rows_by_index(), check_softmax(), check_digest()};
  for (const Elementwise& kernel : kElementwise) checks.push_back(check_elementwise(kernel));
  for (PortabilityCheck& check : check_portable_transformer_kernels()) checks.push_back(check);
  return checks;
}

}  // namespace meshparity
