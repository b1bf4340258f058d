#include "property_tests/oracle/any_form.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace meshparity {

BoundedMatrix exact(const FloatMatrix& x) { return exact_matrix(x.rows, x.columns, x.values); }

double worst_ratio(const std::vector<float>& actual, const BoundedMatrix& expected) {
  EXPECT_EQ(actual.size(), expected.value.size());
  double worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(static_cast<double>(actual[i]) - expected.value[i]);
    if (error > 0) worst = std::max(worst, error / expected.bound_of(i));
  }
  return worst;
}

FloatMatrix AnyForm::drawn(std::size_t rows, std::size_t columns, float deviation, float mean) {
  std::normal_distribution<float> normal(mean, deviation);
  FloatMatrix x{rows, columns, std::vector<float>(rows * columns)};
  for (float& value : x.values) value = normal(random_);
  return x;
}

float AnyForm::off(double exact) {
  auto value = static_cast<float>(exact);
  const auto steps = static_cast<int>(random_() % 7) - 3;
  for (int i = 0; i < std::abs(steps); ++i) {
    value = std::nextafter(value, steps < 0 ? -HUGE_VALF : HUGE_VALF);
  }
  return value;
}

float AnyForm::erf(float x) {
  if (coin()) return off(std::erf(static_cast<double>(x)));
  const float size = std::abs(x);
  const float t = 1 / (1 + 0.3275911F * size);
  float r = 1.061405429F;
  for (const float c : {-1.453152027F, 1.421413741F, -0.284496736F, 0.254829592F}) {
    r = r * t + c;
  }
  r = 1 - r * t * off(std::exp(static_cast<double>(-size * size)));
  return x < 0 ? -r : r;
}

float AnyForm::sum(std::vector<float> terms) {
  if (terms.empty()) return 0;
  if (coin()) std::shuffle(terms.begin(), terms.end(), random_);
  if (coin()) {  // a tree
    while (terms.size() > 1) {
      std::vector<float> sums;
      for (std::size_t i = 0; i + 1 < terms.size(); i += 2) sums.push_back(terms[i] + terms[i + 1]);
      if (terms.size() % 2 == 1) sums.push_back(terms.back());
      terms = std::move(sums);
    }
    return terms[0];
  }
  const std::size_t lanes = std::size_t{1} << (random_() % 5);
  std::vector<float> chains(std::min(lanes, terms.size()), 0.0F);
  for (std::size_t i = 0; i < terms.size(); ++i) chains[i % chains.size()] += terms[i];
  float total = chains[0];
  for (std::size_t i = 1; i < chains.size(); ++i) total += chains[i];
  return total;
}

float AnyForm::dot(const std::vector<float>& a, const std::vector<float>& b) {
  if (coin()) {
    float total = 0;
    for (std::size_t i = 0; i < a.size(); ++i) total = std::fma(a[i], b[i], total);
    return total;
  }
  std::vector<float> products(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) products[i] = a[i] * b[i];
  return sum(std::move(products));
}

std::vector<float> AnyForm::column(const FloatMatrix& x, std::size_t j) const {
  std::vector<float> values(x.rows);
  for (std::size_t i = 0; i < x.rows; ++i) values[i] = x(i, j);
  return values;
}

namespace {

std::vector<float> row_of(const FloatMatrix& x, std::size_t i, std::size_t first = 0,
                          std::size_t width = 0) {
  const auto begin = x.values.begin() + static_cast<std::ptrdiff_t>(i * x.columns + first);
  return {begin, begin + static_cast<std::ptrdiff_t>(width == 0 ? x.columns : width)};
}

FloatMatrix transposed(const FloatMatrix& x) {
  FloatMatrix y{x.columns, x.rows, std::vector<float>(x.values.size())};
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t j = 0; j < x.columns; ++j) y(j, i) = x(i, j);
  }
  return y;
}

}  // namespace

FloatMatrix AnyForm::linear(const FloatMatrix& x, const FloatMatrix& w, bool output_input,
                            const FloatMatrix* bias) {
  const FloatMatrix by_output = output_input ? w : transposed(w);
  FloatMatrix y{x.rows, by_output.rows, std::vector<float>(x.rows * by_output.rows)};
  for (std::size_t i = 0; i < y.rows; ++i) {
    for (std::size_t j = 0; j < y.columns; ++j) {
      std::vector<float> a = row_of(x, i);
      std::vector<float> b = row_of(by_output, j);
      if (bias != nullptr && coin()) {  // the bias is a term like the others
        a.push_back(1);
        b.push_back(bias->values[j]);
        y(i, j) = dot(a, b);
      } else {
        y(i, j) = dot(a, b) + (bias != nullptr ? bias->values[j] : 0);
      }
    }
  }
  return y;
}

FloatMatrix AnyForm::linear_input_gradient(const FloatMatrix& dy, const FloatMatrix& w,
                                           bool output_input) {
  return linear(dy, w, !output_input, nullptr);
}

float AnyForm::weighted_sum(const std::vector<float>& terms, const std::vector<double>& weights,
                            std::size_t parts) {
  std::vector<float> sums;
  for (std::size_t p = 0; p < parts; ++p) {
    const std::size_t begin = terms.size() * p / parts;
    const std::size_t end = terms.size() * (p + 1) / parts;
    std::vector<float> own(terms.begin() + static_cast<std::ptrdiff_t>(begin),
                           terms.begin() + static_cast<std::ptrdiff_t>(end));
    const auto weight = static_cast<float>(weights[begin]);
    const bool before = coin();
    if (before) {
      for (float& term : own) term *= weight;
    }
    const float total = sum(std::move(own));
    sums.push_back(before ? total : total * weight);
  }
  return sum(std::move(sums));
}

FloatMatrix AnyForm::linear_weight_gradient(const FloatMatrix& x, const FloatMatrix& dy,
                                            bool output_input, const std::vector<double>& weights,
                                            std::size_t parts) {
  FloatMatrix dw{x.columns, dy.columns, std::vector<float>(x.columns * dy.columns)};
  for (std::size_t i = 0; i < dw.rows; ++i) {
    for (std::size_t j = 0; j < dw.columns; ++j) {
      std::vector<float> products = column(x, i);
      for (std::size_t r = 0; r < products.size(); ++r) products[r] *= dy(r, j);
      dw(i, j) = weighted_sum(products, weights, parts);
    }
  }
  return output_input ? transposed(dw) : dw;
}

FloatMatrix AnyForm::bias_gradient(const FloatMatrix& dy, const std::vector<double>& weights,
                                   std::size_t parts) {
  FloatMatrix d{1, dy.columns, std::vector<float>(dy.columns)};
  for (std::size_t j = 0; j < dy.columns; ++j) {
    d.values[j] = weighted_sum(column(dy, j), weights, parts);
  }
  return d;
}

std::pair<float, float> AnyForm::statistics(std::span<const float> row, float epsilon) {
  const auto n = static_cast<float>(row.size());
  const float mean = sum({row.begin(), row.end()}) / n;
  std::vector<float> squares;
  float variance = 0;
  if (coin()) {
    for (const float x : row) squares.push_back((x - mean) * (x - mean));
    variance = sum(std::move(squares)) / n;
  } else {
    for (const float x : row) squares.push_back(x * x);
    variance = sum(std::move(squares)) / n - mean * mean;
  }
  const float inverse = coin() ? 1 / off(std::sqrt(static_cast<double>(variance + epsilon)))
                               : off(1 / std::sqrt(static_cast<double>(variance + epsilon)));
  return {mean, inverse};
}

FloatMatrix AnyForm::layer_norm(const FloatMatrix& x, const FloatMatrix& gain,
                                const FloatMatrix& bias, float epsilon) {
  FloatMatrix y = x;
  for (std::size_t i = 0; i < x.rows; ++i) {
    const auto [mean, inverse] = statistics(row_of(x, i), epsilon);
    const bool by_scale = coin();
    for (std::size_t j = 0; j < x.columns; ++j) {
      const float scale = inverse * gain.values[j];
      y(i, j) = by_scale ? x(i, j) * scale + (bias.values[j] - mean * scale)
                         : (x(i, j) - mean) * inverse * gain.values[j] + bias.values[j];
    }
  }
  return y;
}

FloatMatrix AnyForm::layer_norm_input_gradient(const FloatMatrix& x, const FloatMatrix& gain,
                                               const FloatMatrix& dy, float epsilon) {
  FloatMatrix dx = x;
  const auto n = static_cast<float>(x.columns);
  for (std::size_t i = 0; i < x.rows; ++i) {
    const auto [mean, r] = statistics(row_of(x, i), epsilon);
    std::vector<float> dn(x.columns), by_n(x.columns), by_x(x.columns);
    for (std::size_t j = 0; j < x.columns; ++j) {
      dn[j] = dy(i, j) * gain.values[j];
      by_n[j] = dn[j] * ((x(i, j) - mean) * r);
      by_x[j] = dn[j] * x(i, j);
    }
    const float sum_dn = sum(dn);
    if (coin()) {
      const float of_product = sum(by_n) / n;
      for (std::size_t j = 0; j < x.columns; ++j) {
        dx(i, j) = r * (dn[j] - sum_dn / n - (x(i, j) - mean) * r * of_product);
      }
    } else {
      const float b = (sum_dn * mean - sum(by_x)) * r * r * r / n;
      const float c = -b * mean - sum_dn * r / n;
      for (std::size_t j = 0; j < x.columns; ++j) dx(i, j) = r * dn[j] + b * x(i, j) + c;
    }
  }
  return dx;
}

FloatMatrix AnyForm::layer_norm_gain_gradient(const FloatMatrix& x, const FloatMatrix& dy,
                                              float epsilon, const std::vector<double>& weights,
                                              std::size_t parts) {
  FloatMatrix products = x;
  for (std::size_t i = 0; i < x.rows; ++i) {
    const auto [mean, r] = statistics(row_of(x, i), epsilon);
    const bool apart = coin();
    for (std::size_t j = 0; j < x.columns; ++j) {
      products(i, j) = dy(i, j) * (apart ? x(i, j) * r - mean * r : (x(i, j) - mean) * r);
    }
  }
  return bias_gradient(products, weights, parts);
}

FloatMatrix AnyForm::gelu(const FloatMatrix& x, bool by_tanh) {
  FloatMatrix y = x;
  constexpr float kFactor = 0.7978845608F;
  for (float& v : y.values) {
    const float inner =
        by_tanh ? kFactor * (v + 0.044715F * v * v * v) : v * std::numbers::sqrt2_v<float> * 0.5F;
    const float f = by_tanh ? off(std::tanh(static_cast<double>(inner))) : erf(inner);
    v = coin() ? 0.5F * v * (1 + f) : v * (0.5F * (1 + f));
  }
  return y;
}

FloatMatrix AnyForm::gelu_gradient(const FloatMatrix& x, const FloatMatrix& dy, bool by_tanh) {
  FloatMatrix dx = x;
  constexpr float kFactor = 0.7978845608F;
  for (std::size_t i = 0; i < x.values.size(); ++i) {
    const float v = x.values[i];
    float slope = 0;
    if (by_tanh) {
      const float t = off(std::tanh(static_cast<double>(kFactor * (v + 0.044715F * v * v * v))));
      slope = 0.5F * (1 + t) + 0.5F * v * ((1 - t * t) * (kFactor * (1 + 3 * 0.044715F * v * v)));
    } else {
      const float cdf = 0.5F * (1 + erf(v * 0.70710678F));
      slope = cdf + v * (0.39894228F * off(std::exp(static_cast<double>(-0.5F * v * v))));
    }
    dx.values[i] = dy.values[i] * slope;
  }
  return dx;
}

float AnyForm::norm(const std::vector<std::vector<float>>& gradients) {
  std::vector<float> squares;
  for (const auto& gradient : gradients) {
    std::vector<float> own;
    for (const float g : gradient) own.push_back(g * g);
    const float root = off(std::sqrt(static_cast<double>(sum(std::move(own)))));
    squares.push_back(root * root);
  }
  return off(std::sqrt(static_cast<double>(sum(std::move(squares)))));
}

void AnyForm::adamw(std::vector<float>& values, std::vector<float>& first,
                    std::vector<float>& second, const std::vector<float>& gradient, float clip,
                    const Adam& n) {
  const auto t = static_cast<double>(n.update);
  const bool rounded = coin();  // 1 - beta of a rounded beta
  const auto rest = [&](double beta) {
    return rounded ? 1 - static_cast<float>(beta) : static_cast<float>(1 - beta);
  };
  const auto beta1 = static_cast<double>(n.beta1);
  const auto beta2 = static_cast<double>(n.beta2);
  const auto bias1 = static_cast<float>(1 - std::pow(beta1, t));
  const auto bias2 = static_cast<float>(1 - std::pow(beta2, t));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float g = gradient[i] * clip;
    first[i] =
        coin() ? n.beta1 * first[i] + rest(beta1) * g : first[i] + rest(beta1) * (g - first[i]);
    second[i] = n.beta2 * second[i] + rest(beta2) * g * g;
    const float root = std::sqrt(second[i]);
    const float divisor =
        (coin() ? root / std::sqrt(bias2) : std::sqrt(second[i] / bias2)) + n.epsilon;
    const float step =
        coin() ? n.lr / bias1 * first[i] / divisor : n.lr * (first[i] / bias1) / divisor;
    values[i] = coin() ? values[i] * (1 - n.lr * n.decay) - step
                       : values[i] - (step + n.lr * n.decay * values[i]);
  }
}

}  // namespace meshparity
