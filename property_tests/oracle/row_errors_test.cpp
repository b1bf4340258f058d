// Linear forms of errors, with rows of diagonals and of generators, against the same forms written
// out: a row of numbers for each unknown.

#include "oracle/row_errors.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

namespace meshparity::rounding {
namespace {

using Row = RowErrors::Row;

/// A form and what it should be.
struct Both {
  explicit Both(Index width) : errors(width), bound(Row::Zero(width)) {}

  RowErrors errors;
  std::map<Unknown, Row> written_out;
  Row bound;

  void find_bound() {
    bound.setZero();
    for (const auto& [name, row] : written_out) bound += row.cwiseAbs();
  }
};

class RowErrorsTest : public testing::Test {
 protected:
  static constexpr Index kWidth = 5;

  Row row(double low, double high) {
    std::uniform_real_distribution<double> number(low, high);
    Row result(kWidth);
    for (double& x : result) x = random_() % 4 == 0 ? 0 : number(random_);
    return result;
  }
  Unknown name(Index width) { return std::exchange(names_, names_ + width); }

  void add(Both& form) {
    const Unknown first = name(kWidth);
    const Row sizes = row(0, 1);
    form.errors.add(sizes, first);
    for (Index j = 0; j < kWidth; ++j) {
      Row one = Row::Zero(kWidth);
      one(j) = sizes(j);
      form.written_out[first + j] = one;
    }
  }
  void scale(Both& form) {
    const Row factors = row(-1, 1);
    form.errors.scale(factors);
    for (auto& [unknown, numbers] : form.written_out) numbers = numbers.cwiseProduct(factors);
  }
  void project(Both& form) {
    const Row n = row(-1, 1);
    const double factor = row(-1, 1)(0);
    form.errors.project(factor, n);
    for (auto& [unknown, numbers] : form.written_out) {
      const double along = numbers.dot(n) / kWidth;
      numbers = factor * (numbers.array() - numbers.mean() - n.array() * along);
    }
  }
  Both times(const Both& form) {
    Both result(kWidth);
    Matrix weight(kWidth, kWidth);
    for (Index i = 0; i < kWidth; ++i) weight.row(i) = row(-1, 1);
    result.errors = form.errors.times(weight, name(kWidth));
    for (const auto& [unknown, numbers] : form.written_out) {
      result.written_out[unknown] = numbers * weight;
    }
    return result;
  }
  Both combined(const Both& x, const Both& y) {
    Both result(kWidth);
    const Row a = row(-1, 1);
    const Row b = row(-1, 1);
    result.errors = RowErrors::combined(a, x.errors, b, y.errors, name(kWidth));
    for (const auto& [unknown, numbers] : x.written_out) {
      result.written_out[unknown] = numbers.cwiseProduct(a);
    }
    for (const auto& [unknown, numbers] : y.written_out) {
      Row& sum = result.written_out.try_emplace(unknown, Row::Zero(kWidth)).first->second;
      sum += numbers.cwiseProduct(b);
    }
    return result;
  }

  std::mt19937_64 random_{7};

 private:
  Unknown names_ = 0;
};

TEST_F(RowErrorsTest, AnyOperationsGiveTheFormsWrittenOut) {
  std::size_t shared = 0;
  for (int turn = 0; turn < 3000; ++turn) {
    std::vector<Both> forms{Both(kWidth)};
    for (int step = 0; step < 12; ++step) {
      const auto any = [&]() -> const Both& { return forms[random_() % forms.size()]; };
      Both next = any();
      switch (random_() % 6) {
        case 0:
          add(next);
          break;
        case 1:
          scale(next);
          break;
        case 2:
          project(next);
          break;
        case 3:
          next = times(next);
          break;
        case 4:
          next.errors.settle();
          break;
        default: {
          const Both& other = any();
          for (const auto& [unknown, numbers] : next.written_out) {
            shared += other.written_out.contains(unknown) ? 1 : 0;
          }
          next = combined(next, other);
        }
      }
      next.find_bound();
      // The forms' own roundings are unknowns of theirs, around 2^-53.
      const Row off = next.errors.bound() - next.bound;
      ASSERT_GE(off.minCoeff(), -1e-14) << "turn " << turn << ", step " << step;
      ASSERT_LE(off.maxCoeff(), 1e-12) << "turn " << turn << ", step " << step;
      forms.push_back(std::move(next));
    }
  }
  EXPECT_GT(shared, 1000U) << "unknowns that two forms of a sum share";
}

TEST_F(RowErrorsTest, TheNewestGrowWhateverTheirSigns) {
  Both form(kWidth);
  form.errors.add(Row::Constant(kWidth, 2), 0);
  form.errors.scale(Row::Constant(kWidth, -1));
  form.errors.grow(Row::Constant(kWidth, 1));
  EXPECT_EQ(form.errors.bound(), Row::Constant(kWidth, 3));
  form.errors.settle();
  EXPECT_EQ(form.errors.generators(), (-3 * Matrix::Identity(kWidth, kWidth)).eval());
}

}  // namespace
}  // namespace meshparity::rounding
