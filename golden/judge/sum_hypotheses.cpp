#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "golden/judge/dot.h"
#include "golden/judge/hypotheses.h"

/// Hypotheses about tensors that are sums: which terms are there, and how often.
namespace meshparity {
namespace {

const std::string kEverything = "the sum with all of it";

std::string times(double factor) { return fmt::format("{:.6f}", factor); }

/// x of a symmetric system, by Cholesky; empty if its rows are all but dependent.
std::vector<double> solved(std::vector<std::vector<double>> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t j = 0; j < n; ++j) {
    const double diagonal = a[j][j];
    for (std::size_t k = 0; k < j; ++k) a[j][j] -= a[j][k] * a[j][k];
    if (!(a[j][j] > 1e-9 * diagonal)) return {};
    a[j][j] = std::sqrt(a[j][j]);
    for (std::size_t i = j + 1; i < n; ++i) {
      for (std::size_t k = 0; k < j; ++k) a[i][j] -= a[i][k] * a[j][k];
      a[i][j] /= a[j][j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) b[i] -= a[k][i] * b[k];
    b[i] /= a[i][i];
  }
  return b;
}

/// Multiples that fit `rest` best; empty if the terms do not tell them apart.
std::vector<double> fitted_multiples(const std::vector<Term>& terms, std::span<const double> rest) {
  std::vector<std::vector<double>> products(terms.size(), std::vector<double>(terms.size()));
  std::vector<double> right_side;
  for (std::size_t s = 0; s < terms.size(); ++s) {
    for (std::size_t t = 0; t <= s; ++t) {
      products[s][t] = products[t][s] = dot(terms[s].values, terms[t].values);
    }
    right_side.push_back(dot(terms[s].values, rest));
  }
  return solved(std::move(products), std::move(right_side));
}

/// The terms for which `chosen` is true, neighbours as "first to last".
template <typename Chosen>
std::string names_of(const std::vector<Term>& terms, Chosen chosen) {
  std::string text;
  for (std::size_t begin = 0; begin < terms.size(); ++begin) {
    if (!chosen(begin)) continue;
    std::size_t end = begin + 1;
    while (end < terms.size() && chosen(end)) ++end;
    text += (text.empty() ? "" : ", ") + terms[begin].name;
    if (end - begin > 1) text += (end - begin == 2 ? ", " : " to ") + terms[end - 1].name;
    begin = end - 1;
  }
  return text;
}

/// The one multiple that all these terms have; NaN if there are several, or none.
template <typename Among>
double common_multiple(const std::vector<double>& multiples, Among among) {
  double common = std::nan("");
  for (std::size_t t = 0; t < multiples.size(); ++t) {
    if (!among(t)) continue;
    if (!std::isnan(common) && common != multiples[t]) return std::nan("");
    common = multiples[t];
  }
  return common;
}

}  // namespace

void Hypotheses::try_multiples_in_pieces(const Mistake& mistake, std::span<const double> term,
                                         std::span<const double> fixed) {
  for (const Pieces& pieces : all_pieces()) {
    std::vector<double> values(difference_.size(), 0.0);
    std::ranges::copy(fixed, values.begin());
    const auto each = [&](std::size_t piece, const auto& visit) {
      for (std::size_t o = 0; o < pieces.outer; ++o) {
        const std::size_t begin = pieces.at(o, piece);
        for (std::size_t i = begin; i < begin + pieces.inner; ++i) visit(i);
      }
    };
    std::vector<std::string> multiples;
    double least = std::numeric_limits<double>::infinity();
    double most = -least;
    for (std::size_t piece = 0; piece < pieces.number; ++piece) {
      double above = 0;
      double below = 0;
      each(piece, [&](std::size_t i) {
        above += term[i] * (difference_.actual[i] - values[i]);
        below += term[i] * term[i];
      });
      const double multiple = below == 0 ? 1 : above / below;
      each(piece, [&](std::size_t i) { values[i] += multiple * term[i]; });
      multiples.push_back(times(multiple));
      least = std::min(least, multiple);
      most = std::max(most, multiple);
    }
    if (most - least <= kNear * std::abs(most) || difference_.size() < 4 * pieces.number) {
      ++tested_;  // one factor, or as many as elements
      continue;
    }
    Mistake in_pieces = mistake;
    in_pieces.what = fmt::format("{} x {} in {} pieces of its {}", fmt::join(multiples, ", "),
                                 mistake.what, pieces.number, pieces.name);
    test(in_pieces, values, kFitted + pieces.number);
  }
}

void Hypotheses::try_values_by_element(const Mistake& mistake, std::span<const double> values) {
  std::vector<double> mixed(difference_.expected.begin(), difference_.expected.end());
  for (std::size_t i = 0; i < mixed.size(); ++i) {
    const double actual = difference_.actual[i];
    if (std::abs(values[i] - actual) < std::abs(mixed[i] - actual)) mixed[i] = values[i];
  }
  test(mistake, mixed, kFitted);
}

void Hypotheses::try_terms_in_pieces(Mistake mistake, const std::vector<Term>& terms) {
  const std::size_t size = difference_.size();
  for (const std::size_t number : cuts_) {
    if (number < 2 || size % number != 0) continue;
    const Pieces pieces{1, number, size / number, "elements"};
    std::vector<double> values(size);
    std::vector<std::string> which;
    for (std::size_t piece = 0; piece < number; ++piece) {
      const Term& nearest = *std::ranges::min_element(terms, {}, [&](const Term& term) {
        return distance(pieces, piece, term.values.data(), piece);
      });
      which.push_back(nearest.name);
      std::copy_n(nearest.values.begin() + static_cast<std::ptrdiff_t>(pieces.at(0, piece)),
                  pieces.inner, values.begin() + static_cast<std::ptrdiff_t>(pieces.at(0, piece)));
    }
    mistake.what = fmt::format("in its {} shards {} alone", number, fmt::join(which, ", "));
    test(mistake, values, kRead + number);
  }
}

void Hypotheses::try_sum(const SumMistakes& mistakes, const std::vector<Term>& terms,
                         const std::vector<SumPattern>& patterns, std::span<const double> fixed) {
  std::vector<double> values(difference_.size());
  const auto add_up = [&](const std::vector<double>& multiples) {
    std::ranges::fill(values, 0.0);
    std::ranges::copy(fixed, values.begin());
    for (std::size_t t = 0; t < terms.size(); ++t) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] += multiples[t] * terms[t].values[i];
      }
    }
  };
  for (const SumPattern& pattern : patterns) {
    add_up(pattern.multiples);
    test(pattern.mistake, values, kGiven);
  }
  ++tested_;
  if (values.size() < 2 * terms.size() || error_ == 0) return;  // anything would fit
  std::vector<double> rest(difference_.actual.begin(), difference_.actual.end());
  for (std::size_t i = 0; i < fixed.size(); ++i) rest[i] -= fixed[i];
  const std::vector<double> fitted = fitted_multiples(terms, rest);
  if (fitted.empty()) return;
  add_up(fitted);
  const double best = unexplained(values);
  if (best > kLeftWithinBounds) return;
  const std::vector<double> names = named(fitted);
  add_up(names);
  const bool have_names = unexplained(values) <= std::max(4 * best, kSame);
  if (!have_names) add_up(fitted);
  --tested_;
  const Mistake mistake = read(mistakes, terms, have_names ? names : fitted);
  const bool is_factor = fixed.empty() && mistake.what.starts_with(kEverything);
  if (mistake.what.empty() || is_factor) {  // that has a hypothesis of its own
    ++tested_;
    return;
  }
  const bool is_read = have_names && mistake.id != mistakes.weights.id;
  test(mistake, values, (is_read ? kRead : kFitted) + terms.size());
}

std::vector<double> Hypotheses::named(std::vector<double> multiples) const {
  std::vector<double> names = {0, 1, -1, 2, 0.5};
  for (const NamedSize& size : sizes_) names.insert(names.end(), {size.size, 1 / size.size});
  for (double& multiple : multiples) {
    const double nearest = *std::ranges::min_element(
        names, {}, [&](double name) { return std::abs(multiple - name); });
    if (std::abs(multiple - nearest) <= kNear * std::max(std::abs(nearest), 1.0)) {
      multiple = nearest;
    }
  }
  return multiples;
}

Mistake Hypotheses::read(const SumMistakes& mistakes, const std::vector<Term>& terms,
                         const std::vector<double>& multiples) const {
  const auto is_wrong = [&](std::size_t t) { return multiples[t] != terms[t].right; };
  const auto is_there = [&](std::size_t t) { return multiples[t] != 0; };
  const auto is_absent = [&](std::size_t t) { return multiples[t] == 0 && terms[t].right != 0; };
  const auto count = [&](const auto& which) {
    std::size_t number = 0;
    for (std::size_t t = 0; t < terms.size(); ++t) number += which(t);
    return number;
  };
  const auto said = [](Mistake mistake, std::string what) {
    mistake.what = std::move(what);
    return mistake;
  };
  const double of_wrong = common_multiple(multiples, is_wrong);
  const double of_there = common_multiple(multiples, is_there);
  const std::size_t wrong = count(is_wrong);
  const std::size_t absent = count(is_absent);
  if (wrong == 0) return {};
  if (terms.size() > 1 && wrong == terms.size() && !std::isnan(of_wrong)) {
    return said(mistakes.again, kEverything + fmt::format(" counted {} times", times(of_wrong)));
  }
  if (of_wrong == 0 && 2 * absent < terms.size()) {
    return said(mistakes.missing, "the sum without " + names_of(terms, is_absent));
  }
  if (absent > 0 && of_there > 0) {
    const std::string factor = of_there == 1 ? "" : times(of_there) + " x ";
    return said(mistakes.only, factor + names_of(terms, is_there) + " alone");
  }
  if (!std::isnan(of_wrong)) {
    return said(mistakes.again, fmt::format("the sum with {} counted {} times",
                                            names_of(terms, is_wrong), times(of_wrong)));
  }
  std::string what = "the sum of";
  for (std::size_t t = 0; t < terms.size(); ++t) {
    what += fmt::format("{} {} x {}", t == 0 ? "" : ",", times(multiples[t]), terms[t].name);
  }
  return said(mistakes.weights, what);
}

}  // namespace meshparity
