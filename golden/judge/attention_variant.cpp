#include "golden/judge/attention_variant.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace meshparity {
namespace {

/// Where a head's query, key and value columns begin.
struct Columns {
  std::size_t query, key, value;
};

Columns columns_of(const AttentionVariant& variant, std::size_t head, std::size_t size) {
  const std::size_t heads = variant.sizes.heads / variant.groups;
  const std::size_t width = heads * size;
  const std::size_t query = head / heads * 3 * width + head % heads * size;
  return {query, query + width, query + 2 * width};
}

/// One head of one sample.
struct Head {
  const AttentionVariant& variant;
  const BoundedMatrix& qkv;
  std::size_t first_row;
  Columns at;
  std::size_t size;

  const double* row(std::size_t position, std::size_t column) const {
    return qkv.value.data() + (first_row + position) * qkv.columns + column;
  }
  std::size_t seen(std::size_t query) const {
    return std::min(variant.sizes.positions, query + 1 + variant.future);
  }
  double scale() const { return variant.score_factor / std::sqrt(static_cast<double>(size)); }
  double product(const double* x, const double* y) const {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) sum += x[i] * y[i];
    return sum;
  }
  /// The weights of a query.
  std::vector<double> weights(std::size_t query) const {
    std::vector<double> w(seen(query));
    for (std::size_t k = 0; k < w.size(); ++k) {
      w[k] = scale() * product(row(query, at.query), row(k, at.key));
    }
    const double largest = *std::ranges::max_element(w);
    double sum = 0;
    for (double& x : w) sum += x = std::exp(x - largest);
    for (double& x : w) x /= sum;
    return w;
  }
};

template <typename Visit>
void each_head(const AttentionVariant& variant, const BoundedMatrix& qkv, Visit visit) {
  const std::size_t size = qkv.columns / 3 / variant.sizes.heads;
  for (std::size_t row = 0; row < qkv.rows; row += variant.sizes.positions) {
    for (std::size_t head = 0; head < variant.sizes.heads; ++head) {
      visit(Head{variant, qkv, row, columns_of(variant, head, size), size}, head * size);
    }
  }
}

}  // namespace

BoundedMatrix AttentionVariant::forward(const BoundedMatrix& qkv) const {
  const std::size_t channels = qkv.columns / 3;
  BoundedMatrix y{qkv.rows, channels, std::vector<double>(qkv.rows * channels), {}};
  each_head(*this, qkv, [&](const Head& head, std::size_t column) {
    for (std::size_t q = 0; q < sizes.positions; ++q) {
      double* const out = y.value.data() + (head.first_row + q) * channels + column;
      const std::vector<double> w = head.weights(q);
      for (std::size_t k = 0; k < w.size(); ++k) {
        const double* const value = head.row(k, head.at.value);
        for (std::size_t i = 0; i < head.size; ++i) out[i] += w[k] * value[i];
      }
    }
  });
  return y;
}

BoundedMatrix AttentionVariant::backward(const BoundedMatrix& qkv, const BoundedMatrix& dy) const {
  BoundedMatrix dx{qkv.rows, qkv.columns, std::vector<double>(qkv.rows * qkv.columns), {}};
  each_head(*this, qkv, [&](const Head& head, std::size_t column) {
    const auto gradient = [&](std::size_t position, std::size_t at) {
      return dx.value.data() + (head.first_row + position) * qkv.columns + at;
    };
    for (std::size_t q = 0; q < sizes.positions; ++q) {
      const double* const d_out = dy.value.data() + (head.first_row + q) * dy.columns + column;
      const std::vector<double> w = head.weights(q);
      std::vector<double> dw(w.size());
      double mean = 0;
      for (std::size_t k = 0; k < w.size(); ++k) {
        dw[k] = head.product(d_out, head.row(k, head.at.value));
        mean += w[k] * dw[k];
      }
      for (std::size_t k = 0; k < w.size(); ++k) {
        const double d_score = head.scale() * w[k] * (dw[k] - mean);
        for (std::size_t i = 0; i < head.size; ++i) {
          gradient(q, head.at.query)[i] += d_score * head.row(k, head.at.key)[i];
          gradient(k, head.at.key)[i] += d_score * head.row(q, head.at.query)[i];
          gradient(k, head.at.value)[i] += w[k] * d_out[i];
        }
      }
    }
  });
  return dx;
}

}  // namespace meshparity
