#pragma once

#include "oracle/judged.h"

/// What the files of Judged share.
namespace meshparity::rounding {

/// What one more operation on each element adds.
inline Matrix own_roundings(const Matrix& values, const Matrix& bounds,
                            const Arithmetic& arithmetic) {
  return values.binaryExpr(
      bounds, [&](double value, double bound) { return own_rounding(value, bound, arithmetic); });
}

/// Values, and for row b the errors that `errors_of(b)` gives.
template <typename ErrorsOf>
Judged::Rows rows_of(const Matrix& values, const ErrorsOf& errors_of) {
  Judged::Rows result{exactly(values), {}};
  for (Index b = 0; b < result.value.rows(); ++b) {
    result.errors.push_back(errors_of(b));
    result.bound.row(b) = result.errors.back().bound();
  }
  return result;
}

/// Throws std::out_of_range if only bounds were kept.
inline const RowErrors& errors_of(const Judged::Rows& rows, Index b) {
  return rows.errors.at(static_cast<std::size_t>(b));
}

}  // namespace meshparity::rounding
