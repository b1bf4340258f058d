#include "oracle/literal.h"

#include <algorithm>
#include <cmath>

#include "oracle/canonical_reference.h"

namespace meshparity {
namespace {

/// The matrix whose element (row, column) is `element(row, column)`.
template <typename Element>
Floats matrix(std::size_t rows, std::size_t columns, const Element& element) {
  Floats result(rows, columns);
  for (std::size_t i = 0; i < rows; ++i) {
    for (std::size_t j = 0; j < columns; ++j) result(i, j) = element(i, j);
  }
  return result;
}

}  // namespace

template <typename Leaf>
float Literal::over_rows(const Leaf& leaf) const {
  std::vector<float> sums;
  for (const Range rows : leaves_) sums.push_back(leaf(rows));
  return reference::canonical_tree(sums);
}

Floats Literal::gather(const Floats& table, equations::Read read) const {
  const std::vector<std::size_t> places = equations::places_of(batch_, read);
  const std::size_t width = places.size() / batch_.rows() * table.columns;
  return matrix(batch_.rows(), width, [&](std::size_t b, std::size_t j) {
    return table(places[(b * width + j) / table.columns], j % table.columns);
  });
}

Floats Literal::affine(const Floats& x, const Floats& weight, const Floats& bias,
                       std::size_t grain) const {
  return matrix(x.rows, weight.columns, [&](std::size_t b, std::size_t j) {
    const float sum = reference::canonical_dot(
        x.columns, grain, [&](std::size_t i) { return x(b, i); },
        [&](std::size_t i) { return weight(i, j); });
    return sum + bias.values[j];
  });
}

Floats Literal::times(const Floats& x, const Floats& weight, std::size_t grain) const {
  return matrix(x.rows, weight.columns, [&](std::size_t b, std::size_t j) {
    return reference::canonical_dot(
        x.columns, grain, [&](std::size_t i) { return x(b, i); },
        [&](std::size_t i) { return weight(i, j); });
  });
}

Floats Literal::times_transposed(const Floats& x, const Floats& weight, std::size_t grain,
                                 equations::Then /*then*/) const {
  return matrix(x.rows, weight.rows, [&](std::size_t b, std::size_t i) {
    return reference::canonical_dot(
        weight.columns, grain, [&](std::size_t j) { return x(b, j); },
        [&](std::size_t j) { return weight(i, j); });
  });
}

Floats Literal::add(const Floats& x, const Floats& y) const {
  return matrix(x.rows, x.columns, [&](std::size_t i, std::size_t j) { return x(i, j) + y(i, j); });
}

Floats Literal::relu(const Floats& x) const {
  return matrix(x.rows, x.columns,
                [&](std::size_t b, std::size_t j) { return x(b, j) <= 0.0F ? 0.0F : x(b, j); });
}

Floats Literal::relu_gradient(const Floats& dy, const Floats& y) const {
  return matrix(dy.rows, dy.columns,
                [&](std::size_t b, std::size_t j) { return y(b, j) > 0.0F ? dy(b, j) : 0.0F; });
}

Floats Literal::outer(const Floats& x, const Floats& dy) const {
  return matrix(x.columns, dy.columns, [&](std::size_t i, std::size_t j) {
    return over_rows([&](Range rows) {
      float sum = 0.0F;
      for (std::size_t b = rows.begin; b < rows.end; ++b) sum = std::fma(x(b, i), dy(b, j), sum);
      return sum;
    });
  });
}

Floats Literal::sum(const Floats& dy) const {
  return matrix(1, dy.columns, [&](std::size_t, std::size_t j) {
    return over_rows([&](Range rows) {
      float sum = 0.0F;
      for (std::size_t b = rows.begin; b < rows.end; ++b) sum += dy(b, j);
      return sum;
    });
  });
}

/// A leaf adds the pieces of its rows, and of a row its places, in order; the leaves of a token
/// that does not occur in them are +0.
Floats Literal::scatter(const Floats& dy, const Floats& table, equations::Read read) const {
  const std::vector<std::size_t> places = equations::places_of(batch_, read);
  const std::size_t of_row = places.size() / batch_.rows();
  return matrix(table.rows, table.columns, [&](std::size_t token, std::size_t e) {
    return over_rows([&](Range rows) {
      float sum = 0.0F;
      for (std::size_t place = rows.begin * of_row; place < rows.end * of_row; ++place) {
        if (places[place] == token) sum += dy.values[place * table.columns + e];
      }
      return sum;
    });
  });
}

std::pair<Floats, Floats> Literal::cross_entropy(const Floats& logits, std::size_t grain) const {
  const float scale = 1.0F / static_cast<float>(equations::divisor_of(batch_));
  Floats losses(logits.rows, 1);  // of a row without target: +0, which changes no sum
  Floats gradient(logits.rows, logits.columns);
  for (std::size_t b = 0; b < logits.rows; ++b) {
    if (batch_.targets[b] == kNoTarget) continue;
    const auto target = static_cast<std::size_t>(batch_.targets[b]);
    float maximum = logits(b, 0);
    for (std::size_t j = 0; j < logits.columns; ++j) maximum = std::max(maximum, logits(b, j));
    for (std::size_t j = 0; j < logits.columns; ++j) {
      gradient(b, j) = functions_.exp(logits(b, j) - maximum);
    }
    const float total = reference::canonical_row_sum(logits.columns, grain,
                                                     [&](std::size_t j) { return gradient(b, j); });
    losses(b, 0) = functions_.log(total) - (logits(b, target) - maximum);
    for (std::size_t j = 0; j < logits.columns; ++j) {
      const float probability = gradient(b, j) / total;
      gradient(b, j) = (probability - (j == target ? 1.0F : 0.0F)) * scale;
    }
  }
  Floats loss = sum(losses);
  loss(0, 0) *= scale;
  return {std::move(loss), std::move(gradient)};
}

/// The epsilon of layer norm.
constexpr float kEpsilon = 1e-5F;

/// n = (x - mean) / deviation, and 1 / deviation of each row.
std::pair<Floats, Floats> Literal::normalize(const Floats& x) const {
  const std::size_t channels = x.columns;
  const float inverse_channels = 1.0F / static_cast<float>(channels);
  Floats normalized(x.rows, channels);
  Floats inverse(x.rows, 1);
  for (std::size_t b = 0; b < x.rows; ++b) {
    const float mean =
        reference::canonical_row_sum(channels, channels, [&](std::size_t j) { return x(b, j); }) *
        inverse_channels;
    const auto away = [&](std::size_t j) { return x(b, j) - mean; };
    const float variance =
        reference::canonical_row_dot(channels, channels, away, away) * inverse_channels;
    inverse(b, 0) = 1.0F / std::sqrt(variance + kEpsilon);
    for (std::size_t j = 0; j < channels; ++j) normalized(b, j) = away(j) * inverse(b, 0);
  }
  return {std::move(normalized), std::move(inverse)};
}

Floats Literal::normalize_gradient(const Floats& dn, const Floats& n, const Floats& inverse) const {
  const std::size_t channels = n.columns;
  const float inverse_channels = 1.0F / static_cast<float>(channels);
  Floats result(n.rows, channels);
  for (std::size_t b = 0; b < n.rows; ++b) {
    const auto g = [&](std::size_t j) { return dn(b, j); };
    const auto of_row = [&](std::size_t j) { return n(b, j); };
    const float mean = reference::canonical_row_sum(channels, channels, g) * inverse_channels;
    const float along =
        reference::canonical_row_dot(channels, channels, g, of_row) * inverse_channels;
    for (std::size_t j = 0; j < channels; ++j) {
      const float product = n(b, j) * along;
      result(b, j) = ((g(j) - mean) - product) * inverse(b, 0);
    }
  }
  return result;
}

Floats Literal::scale(const Floats& x, const Floats& gain) const {
  return matrix(x.rows, x.columns,
                [&](std::size_t b, std::size_t j) { return x(b, j) * gain.values[j]; });
}

Floats Literal::scale_shift(const Floats& x, const Floats& gain, const Floats& bias) const {
  return matrix(x.rows, x.columns, [&](std::size_t b, std::size_t j) {
    const float scaled = x(b, j) * gain.values[j];
    return scaled + bias.values[j];
  });
}

Floats Literal::column_products(const Floats& dy, const Floats& n) const {
  return matrix(1, n.columns, [&](std::size_t, std::size_t j) {
    return over_rows([&](Range rows) {
      float sum = 0.0F;
      for (std::size_t b = rows.begin; b < rows.end; ++b) sum = std::fma(dy(b, j), n(b, j), sum);
      return sum;
    });
  });
}

Floats Literal::gelu(const Floats& x) const {
  return matrix(x.rows, x.columns,
                [&](std::size_t b, std::size_t j) { return functions_.gelu(x(b, j)); });
}

Floats Literal::gelu_gradient(const Floats& dh, const Floats& x) const {
  return matrix(x.rows, x.columns, [&](std::size_t b, std::size_t j) {
    return dh(b, j) * functions_.gelu_derivative(x(b, j));
  });
}

Floats Literal::dropout(const Floats& x, const DropoutSpec& spec) const {
  const equations::Dropped dropped(batch_, spec);
  if (!dropped.active()) return x;
  return matrix(x.rows, x.columns, [&](std::size_t b, std::size_t j) {
    return dropped.keeps(b, j) ? x(b, j) * dropped.scale() : 0.0F;
  });
}

}  // namespace meshparity
