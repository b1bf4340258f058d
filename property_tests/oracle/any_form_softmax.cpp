// Softmax in attention and in the loss, in the forms that frameworks have.

#include <algorithm>
#include <cmath>

#include "property_tests/oracle/any_form.h"

namespace meshparity {
namespace {

double wide(float x) { return static_cast<double>(x); }

}  // namespace

std::vector<float> AnyForm::softmax(const std::vector<float>& scores) {
  const float most = *std::ranges::max_element(scores);
  std::vector<float> powers(scores.size());
  if (coin()) {  // by the logarithm of the sum
    for (std::size_t j = 0; j < scores.size(); ++j)
      powers[j] = off(std::exp(wide(scores[j] - most)));
    const float logarithm = most + off(std::log(wide(sum(powers))));
    for (std::size_t j = 0; j < scores.size(); ++j) {
      powers[j] = off(std::exp(wide(scores[j] - logarithm)));
    }
    return powers;
  }
  const bool by_two = coin();
  constexpr float kLog2E = 1.44269504F;
  for (std::size_t j = 0; j < scores.size(); ++j) {
    powers[j] = by_two ? off(std::exp2(wide(scores[j] * kLog2E - most * kLog2E)))
                       : off(std::exp(wide(scores[j] - most)));
  }
  const float total = sum(powers);
  const float inverse = 1 / total;
  for (float& power : powers) power = by_two ? power * inverse : power / total;
  return powers;
}

float AnyForm::score(const FloatMatrix& qkv, std::size_t q, std::size_t k, std::size_t own,
                     std::size_t width) {
  const std::size_t channels = qkv.columns / 3;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  const bool before = coin();
  std::vector<float> a(width), b(width);
  for (std::size_t c = 0; c < width; ++c) {
    a[c] = qkv(q, own + c) * (before ? scale : 1);
    b[c] = qkv(k, channels + own + c);
  }
  return dot(a, b) * (before ? 1 : scale);
}

FloatMatrix AnyForm::attention(const FloatMatrix& qkv, std::size_t positions, std::size_t heads) {
  const std::size_t channels = qkv.columns / 3;
  const std::size_t width = channels / heads;
  FloatMatrix y{qkv.rows, channels, std::vector<float>(qkv.rows * channels)};
  for (std::size_t i = 0; i < qkv.rows; ++i) {
    const std::size_t first = i / positions * positions;
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<float> scores;
      for (std::size_t k = first; k <= i; ++k) scores.push_back(score(qkv, i, k, h * width, width));
      const bool in_tiles = coin();
      if (in_tiles) {  // of 16 keys, what came before rescaled, divided in the end
        float most = -HUGE_VALF, total = 0;
        std::vector<float> sums(width, 0.0F);
        for (std::size_t t = 0; t < scores.size(); t += 16) {
          const std::size_t end = std::min(t + 16, scores.size());
          float next = most;
          for (std::size_t k = t; k < end; ++k) next = std::max(next, scores[k]);
          const float rescale = t == 0 ? 0 : off(std::exp(wide(most - next)));
          total *= rescale;
          for (float& s : sums) s *= rescale;
          for (std::size_t k = t; k < end; ++k) {
            const float power = off(std::exp(wide(scores[k] - next)));
            total += power;
            for (std::size_t c = 0; c < width; ++c) {
              sums[c] += power * qkv(first + k, 2 * channels + h * width + c);
            }
          }
          most = next;
        }
        for (std::size_t c = 0; c < width; ++c) y(i, h * width + c) = sums[c] / total;
        continue;
      }
      const std::vector<float> p = softmax(scores);
      for (std::size_t c = 0; c < width; ++c) {
        std::vector<float> v;
        for (std::size_t k = first; k <= i; ++k) v.push_back(qkv(k, 2 * channels + h * width + c));
        y(i, h * width + c) = dot(p, v);
      }
    }
  }
  return y;
}

FloatMatrix AnyForm::attention_gradient(const FloatMatrix& qkv, const FloatMatrix& dy,
                                        std::size_t positions, std::size_t heads) {
  const std::size_t channels = qkv.columns / 3;
  const std::size_t width = channels / heads;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(width)));
  const FloatMatrix y = attention(qkv, positions, heads);
  FloatMatrix d{qkv.rows, qkv.columns, std::vector<float>(qkv.values.size(), 0.0F)};
  for (std::size_t h = 0; h < heads; ++h) {
    for (std::size_t first = 0; first < qkv.rows; first += positions) {
      for (std::size_t i = first; i < first + positions; ++i) {
        std::vector<float> scores;
        for (std::size_t k = first; k <= i; ++k) {
          scores.push_back(score(qkv, i, k, h * width, width));
        }
        const std::vector<float> p = softmax(scores);
        std::vector<float> own_dy(width), own_y(width);
        for (std::size_t c = 0; c < width; ++c) {
          own_dy[c] = dy(i, h * width + c);
          own_y[c] = y(i, h * width + c);
        }
        std::vector<float> dp(p.size());
        for (std::size_t k = 0; k < p.size(); ++k) {
          std::vector<float> v(width);
          for (std::size_t c = 0; c < width; ++c) {
            v[c] = qkv(first + k, 2 * channels + h * width + c);
          }
          dp[k] = dot(own_dy, v);
        }
        const float all = coin() ? dot(p, dp) : dot(own_dy, own_y);
        const bool before = coin();
        for (std::size_t k = 0; k < p.size(); ++k) {
          const float ds = coin() ? p[k] * (dp[k] - all) : p[k] * dp[k] - p[k] * all;
          for (std::size_t c = 0; c < width; ++c) {
            const std::size_t at = h * width + c;
            const float key = qkv(first + k, channels + at);
            d(i, at) += before ? ds * scale * key : ds * (key * scale);
            d(first + k, channels + at) +=
                before ? ds * scale * qkv(i, at) : ds * (qkv(i, at) * scale);
            d(first + k, 2 * channels + at) += p[k] * own_dy[c];
          }
        }
      }
    }
  }
  return d;
}

FloatMatrix AnyForm::cross_entropy(const FloatMatrix& logits, const std::vector<int>& targets) {
  FloatMatrix losses{logits.rows, 1, std::vector<float>(logits.rows, 0.0F)};
  for (std::size_t i = 0; i < logits.rows; ++i) {
    if (targets[i] < 0) continue;
    std::vector<float> powers(logits.columns);
    float most = logits(i, 0);
    for (std::size_t j = 0; j < logits.columns; ++j) most = std::max(most, logits(i, j));
    for (std::size_t j = 0; j < logits.columns; ++j) {
      powers[j] = off(std::exp(wide(logits(i, j) - most)));
    }
    const float logarithm = off(std::log(wide(sum(std::move(powers)))));
    const float z = logits(i, static_cast<std::size_t>(targets[i]));
    losses.values[i] = coin() ? -((z - most) - logarithm) : (logarithm + most) - z;
  }
  return losses;
}

FloatMatrix AnyForm::cross_entropy_gradient(const FloatMatrix& logits,
                                            const std::vector<int>& targets,
                                            const std::vector<double>& scales) {
  FloatMatrix d{logits.rows, logits.columns, std::vector<float>(logits.values.size(), 0.0F)};
  for (std::size_t i = 0; i < logits.rows; ++i) {
    if (targets[i] < 0) continue;
    std::vector<float> row(logits.columns);
    for (std::size_t j = 0; j < logits.columns; ++j) row[j] = logits(i, j);
    const std::vector<float> p = softmax(row);
    const auto scale = static_cast<float>(scales[i]);
    for (std::size_t j = 0; j < logits.columns; ++j) {
      d(i, j) = (p[j] - (j == static_cast<std::size_t>(targets[i]) ? 1.0F : 0.0F)) * scale;
    }
  }
  return d;
}

}  // namespace meshparity
