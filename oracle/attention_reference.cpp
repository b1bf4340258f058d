#include "oracle/attention_reference.h"

#include <algorithm>
#include <cmath>

#include "oracle/canonical_reference.h"

namespace meshparity::reference {
namespace {

/// One head of one sample.
class Head {
 public:
  Head(const AttentionCase& given, std::span<const float> qkv, std::size_t sample, std::size_t head)
      : given_(given), qkv_(qkv), sample_(sample), head_(head) {}

  std::size_t row(std::size_t position) const { return sample_ * given_.positions + position; }
  /// Of a matrix (rows, heads).
  std::size_t of_head(std::size_t position) const { return row(position) * given_.heads + head_; }
  /// Of a matrix (rows, heads * head_size).
  std::size_t of_feature(std::size_t position, std::size_t feature) const {
    return of_head(position) * given_.head_size + feature;
  }
  /// Of qkv; `kind` 0, 1, 2: query, key, value.
  std::size_t of_qkv(std::size_t kind, std::size_t position, std::size_t feature) const {
    return (of_head(position) * 3 + kind) * given_.head_size + feature;
  }
  float query(std::size_t position, std::size_t f) const { return qkv_[of_qkv(0, position, f)]; }
  float key(std::size_t position, std::size_t f) const { return qkv_[of_qkv(1, position, f)]; }
  float value(std::size_t position, std::size_t f) const { return qkv_[of_qkv(2, position, f)]; }

  float score(std::size_t q, std::size_t k) const {
    const float chain = canonical_dot(
        given_.head_size, given_.head_size, [&](std::size_t f) { return query(q, f); },
        [&](std::size_t f) { return key(k, f); });
    return chain * given_.scale;
  }

  /// x, kept and scaled or dropped, as the probability of that key is.
  float dropped(float x, std::size_t q, std::size_t k) const {
    if (!given_.dropout) return x;
    const float factor = given_.dropout(row(q), head_, k);
    return factor == 0.0F ? 0.0F : x * factor;
  }

  /// The sum of a(i) * b(i) over positions begin <= i < end, with parts for leaves.
  float sum_over_parts(std::size_t begin, std::size_t end, const Term& a, const Term& b) const {
    std::vector<float> leaves(given_.parts, 0.0F);
    for (std::size_t i = begin; i < end; ++i) {
      float& leaf = leaves[part_of(i)];
      leaf = std::fma(a(i), b(i), leaf);
    }
    for (float& leaf : leaves) leaf = leaf + 0.0F;
    return canonical_tree(leaves);
  }

  /// The sum of the powers of the keys that a query sees: 16 lanes in each part.
  float sum_of_powers(std::span<const float> powers) const {
    std::vector<float> leaves;
    for (std::size_t part = 0; part < given_.parts; ++part) {
      std::vector<float> terms;
      for (std::size_t k = 0; k < powers.size(); ++k) {
        if (part_of(k) == part) terms.push_back(powers[k]);
      }
      leaves.push_back(canonical_row_sum(terms, terms.size() + 1));
    }
    return canonical_tree(leaves);
  }

 private:
  std::size_t part_of(std::size_t position) const {
    return std::min(position / given_.part, given_.parts - 1);
  }

  const AttentionCase& given_;
  std::span<const float> qkv_;
  std::size_t sample_;
  std::size_t head_;
};

template <typename Body>
void for_each_head(const AttentionCase& given, std::span<const float> qkv, Body body) {
  for (std::size_t sample = 0; sample < given.samples; ++sample) {
    for (std::size_t head = 0; head < given.heads; ++head) body(Head(given, qkv, sample, head));
  }
}

void attend(const AttentionCase& given, const Head& head, AttentionResult& result) {
  for (std::size_t q = 0; q < given.positions; ++q) {
    std::vector<float> powers;
    for (std::size_t k = 0; k <= q; ++k) powers.push_back(head.score(q, k));
    const float largest = *std::max_element(powers.begin(), powers.end());
    for (float& power : powers) power = given.exp(power - largest);
    const float sum = head.sum_of_powers(powers);
    result.largest[head.of_head(q)] = largest;
    result.sums[head.of_head(q)] = sum;
    for (std::size_t f = 0; f < given.head_size; ++f) {
      const float output = head.sum_over_parts(
          0, q + 1, [&](std::size_t k) { return head.dropped(powers[k], q, k); },
          [&](std::size_t k) { return head.value(k, f); });
      result.output[head.of_feature(q, f)] = output / sum;
    }
  }
}

/// (query, key), of those keys that the query sees.
using Triangle = std::vector<std::vector<float>>;

void differentiate(const AttentionCase& given, const Head& head, const AttentionResult& forward,
                   std::span<const float> output_gradient, std::span<float> gradient) {
  const std::size_t d = given.head_size;
  const auto output_gradient_of = [&](std::size_t q, std::size_t f) {
    return output_gradient[head.of_feature(q, f)];
  };
  Triangle weights(given.positions);
  Triangle score_gradients(given.positions);
  for (std::size_t q = 0; q < given.positions; ++q) {
    const float common = canonical_row_dot(
        d, d, [&](std::size_t f) { return output_gradient_of(q, f); },
        [&](std::size_t f) { return forward.output[head.of_feature(q, f)]; });
    for (std::size_t k = 0; k <= q; ++k) {
      const float power = given.exp(head.score(q, k) - forward.largest[head.of_head(q)]);
      const float probability = power / forward.sums[head.of_head(q)];
      const float chain = canonical_dot(
          d, d, [&](std::size_t f) { return output_gradient_of(q, f); },
          [&](std::size_t f) { return head.value(k, f); });
      weights[q].push_back(head.dropped(probability, q, k));
      score_gradients[q].push_back(probability * (head.dropped(chain, q, k) - common));
    }
  }
  for (std::size_t i = 0; i < given.positions; ++i) {
    for (std::size_t f = 0; f < d; ++f) {
      const float query = head.sum_over_parts(
          0, i + 1, [&](std::size_t k) { return score_gradients[i][k]; },
          [&](std::size_t k) { return head.key(k, f); });
      const float key = head.sum_over_parts(
          i, given.positions, [&](std::size_t q) { return score_gradients[q][i]; },
          [&](std::size_t q) { return head.query(q, f); });
      gradient[head.of_qkv(0, i, f)] = query * given.scale;
      gradient[head.of_qkv(1, i, f)] = key * given.scale;
      gradient[head.of_qkv(2, i, f)] = head.sum_over_parts(
          i, given.positions, [&](std::size_t q) { return weights[q][i]; },
          [&](std::size_t q) { return output_gradient_of(q, f); });
    }
  }
}

}  // namespace

AttentionResult attention(const AttentionCase& given, std::span<const float> qkv) {
  const std::size_t row_heads = given.samples * given.positions * given.heads;
  AttentionResult result{std::vector<float>(row_heads * given.head_size),
                         std::vector<float>(row_heads), std::vector<float>(row_heads)};
  for_each_head(given, qkv, [&](const Head& head) { attend(given, head, result); });
  return result;
}

std::vector<float> attention_backward(const AttentionCase& given, std::span<const float> qkv,
                                      const AttentionResult& forward,
                                      std::span<const float> output_gradient) {
  std::vector<float> gradient(qkv.size());
  for_each_head(given, qkv, [&](const Head& head) {
    differentiate(given, head, forward, output_gradient, gradient);
  });
  return gradient;
}

}  // namespace meshparity::reference
