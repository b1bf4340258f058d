#include "oracle/literal.h"

#include <algorithm>

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

Floats Literal::gather(const Floats& table) const {
  const std::size_t width = batch_.tokens.size() / batch_.rows() * table.columns;
  return matrix(batch_.rows(), width, [&](std::size_t b, std::size_t j) {
    const std::size_t place = (b * width + j) / table.columns;
    return table(static_cast<std::size_t>(batch_.tokens[place]), j % table.columns);
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
    return reference::canonical_dot(
        x.rows, grain(), [&](std::size_t b) { return x(b, i); },
        [&](std::size_t b) { return dy(b, j); });
  });
}

Floats Literal::sum(const Floats& dy) const {
  return matrix(1, dy.columns, [&](std::size_t, std::size_t j) {
    return reference::canonical_sum(dy.rows, grain(), [&](std::size_t b) { return dy(b, j); });
  });
}

/// A leaf adds the pieces of its rows, and of a row its places, in order; the leaves of a token
/// that does not occur in them are +0.
Floats Literal::scatter(const Floats& dy, const Floats& table) const {
  const std::size_t tokens = batch_.tokens.size() / batch_.rows();
  const std::size_t leaves = (batch_.rows() + grain() - 1) / grain();
  return matrix(table.rows, table.columns, [&](std::size_t token, std::size_t e) {
    std::vector<float> leaf(leaves, 0.0F);
    for (std::size_t place = 0; place < batch_.tokens.size(); ++place) {
      if (static_cast<std::size_t>(batch_.tokens[place]) == token) {
        leaf[place / tokens / grain()] += dy.values[place * table.columns + e];
      }
    }
    return reference::canonical_tree(leaf);
  });
}

std::pair<Floats, Floats> Literal::cross_entropy(const Floats& logits, std::size_t grain) const {
  const auto absent = static_cast<std::size_t>(std::ranges::count(batch_.targets, kNoTarget));
  const std::size_t targets = std::max<std::size_t>(batch_.rows() - absent, 1);
  const float scale = 1.0F / static_cast<float>(targets);
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

}  // namespace meshparity
