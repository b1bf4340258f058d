#include <algorithm>
#include <cmath>

#include "oracle/canonical_reference.h"
#include "oracle/literal.h"

namespace meshparity {
namespace {

/// One head of one sample: positions are counted in the sample.
class Head {
 public:
  Head(const Floats& qkv, const SelfAttentionSpec& spec, const MicroBatch& batch,
       const ElementaryFunctions& functions, std::size_t sample, std::size_t head)
      : qkv_(qkv),
        functions_(functions),
        parts_(equations::parts_of(batch.leaves)),
        dropped_(batch, spec.weights),
        sequence_(batch.leaves.sequence > 0 ? batch.leaves.sequence : batch.leaves.positions),
        positions_(batch.leaves.positions),
        first_row_(sample * positions_),
        head_(head),
        size_(qkv.columns / 3 / spec.heads),
        scale_(static_cast<float>(1 / std::sqrt(static_cast<double>(size_)))) {}

  void forward(Floats& output) const {
    for (std::size_t query = 0; query < positions_; ++query) {
      const std::vector<float> powers = powers_of(query);
      const float total = total_of(powers);
      std::vector<float> weights(powers.size());
      for (std::size_t key = 0; key <= query; ++key) {
        weights[key] = selected(query, key, powers[key]);
      }
      for (std::size_t j = 0; j < size_; ++j) {
        const float sum = over_parts(
            0, query + 1, [&](std::size_t key) { return weights[key]; },
            [&](std::size_t key) { return of(kValue, key, j); });
        output(first_row_ + query, head_ * size_ + j) = sum / total;
      }
    }
  }

  void backward(const Floats& output, const Floats& d_output, Floats& d_qkv) const {
    const auto d_out = [&](std::size_t t, std::size_t j) {
      return d_output(first_row_ + t, head_ * size_ + j);
    };
    Floats weights(positions_, positions_);   // P r, by query and key
    Floats d_scores(positions_, positions_);  // dS
    for (std::size_t query = 0; query < positions_; ++query) {
      const std::vector<float> powers = powers_of(query);
      const float total = total_of(powers);
      const float along = reference::canonical_row_dot(
          size_, size_, [&](std::size_t j) { return d_out(query, j); },
          [&](std::size_t j) { return output(first_row_ + query, head_ * size_ + j); });
      for (std::size_t key = 0; key <= query; ++key) {
        const float probability = powers[key] / total;
        const float to_value = reference::canonical_dot(
            size_, size_, [&](std::size_t j) { return d_out(query, j); },
            [&](std::size_t j) { return of(kValue, key, j); });
        weights(query, key) = selected(query, key, probability);
        d_scores(query, key) = probability * (selected(query, key, to_value) - along);
      }
    }
    for (std::size_t t = 0; t < positions_; ++t) {
      for (std::size_t j = 0; j < size_; ++j) {
        d_qkv(first_row_ + t, column(kQuery, j)) =
            over_parts(
                0, t + 1, [&](std::size_t key) { return d_scores(t, key); },
                [&](std::size_t key) { return of(kKey, key, j); }) *
            scale_;
        d_qkv(first_row_ + t, column(kKey, j)) =
            over_parts(
                t, positions_, [&](std::size_t query) { return d_scores(query, t); },
                [&](std::size_t query) { return of(kQuery, query, j); }) *
            scale_;
        d_qkv(first_row_ + t, column(kValue, j)) = over_parts(
            t, positions_, [&](std::size_t query) { return weights(query, t); },
            [&](std::size_t query) { return d_out(query, j); });
      }
    }
  }

 private:
  enum Which { kQuery, kKey, kValue };

  std::size_t column(Which which, std::size_t j) const { return (3 * head_ + which) * size_ + j; }
  float of(Which which, std::size_t t, std::size_t j) const {
    return qkv_(first_row_ + t, column(which, j));
  }

  /// value * r: dropped ones are +0.
  float selected(std::size_t query, std::size_t key, float value) const {
    if (!dropped_.active()) return value;
    const bool kept = dropped_.keeps(first_row_ + query, head_ * sequence_ + key);
    return kept ? value * dropped_.scale() : 0.0F;
  }

  /// exp(score - largest score) of the keys that a query sees.
  std::vector<float> powers_of(std::size_t query) const {
    std::vector<float> powers(query + 1);
    for (std::size_t key = 0; key <= query; ++key) {
      powers[key] = reference::canonical_dot(
                        size_, size_, [&](std::size_t j) { return of(kQuery, query, j); },
                        [&](std::size_t j) { return of(kKey, key, j); }) *
                    scale_;
    }
    const float largest = *std::ranges::max_element(powers);
    for (float& x : powers) x = functions_.exp(x - largest);
    return powers;
  }

  /// The sum of the powers: lanes are counted from the first position of each part.
  float total_of(const std::vector<float>& powers) const {
    std::vector<float> leaves;
    for (const Range part : parts_) {
      const std::size_t end = std::clamp(powers.size(), part.begin, part.end);
      const std::size_t terms = end - part.begin;
      leaves.push_back(
          reference::canonical_row_sum(terms, std::max<std::size_t>(terms, 1),
                                       [&](std::size_t i) { return powers[part.begin + i]; }) +
          0.0F);
    }
    return reference::canonical_tree(leaves);
  }

  /// The sum of a(t) * b(t) over positions [begin, end): every part is a leaf.
  template <typename A, typename B>
  float over_parts(std::size_t begin, std::size_t end, const A& a, const B& b) const {
    std::vector<float> leaves;
    for (const Range part : parts_) {
      float sum = 0.0F;
      for (std::size_t t = std::max(begin, part.begin); t < std::min(end, part.end); ++t) {
        sum = std::fma(a(t), b(t), sum);
      }
      leaves.push_back(sum + 0.0F);
    }
    return reference::canonical_tree(leaves);
  }

  const Floats& qkv_;
  const ElementaryFunctions& functions_;
  std::vector<Range> parts_;
  equations::Dropped dropped_;
  std::size_t sequence_;
  std::size_t positions_;
  std::size_t first_row_;
  std::size_t head_;
  std::size_t size_;  // d
  float scale_;
};

}  // namespace

Floats Literal::attention(const Floats& qkv, const SelfAttentionSpec& spec) const {
  Floats output(qkv.rows, qkv.columns / 3);
  for (std::size_t sample = 0; sample < batch_.samples(); ++sample) {
    for (std::size_t head = 0; head < spec.heads; ++head) {
      Head(qkv, spec, batch_, functions_, sample, head).forward(output);
    }
  }
  return output;
}

Floats Literal::attention_gradient(const Floats& qkv, const Floats& output, const Floats& d_output,
                                   const SelfAttentionSpec& spec) const {
  Floats d_qkv(qkv.rows, qkv.columns);
  for (std::size_t sample = 0; sample < batch_.samples(); ++sample) {
    for (std::size_t head = 0; head < spec.heads; ++head) {
      Head(qkv, spec, batch_, functions_, sample, head).backward(output, d_output, d_qkv);
    }
  }
  return d_qkv;
}

}  // namespace meshparity
