#include "golden/judge/hypotheses.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "golden/judge/bfloat16.h"
#include "golden/judge/dot.h"

namespace meshparity {
namespace {

constexpr std::size_t kMostPieces = 32;

std::string times(double factor) { return fmt::format("{:.6f}", factor); }

}  // namespace

Hypotheses::Hypotheses(Difference difference, std::vector<NamedSize> sizes,
                       std::vector<std::size_t> cuts)
    : difference_(std::move(difference)), cuts_(std::move(cuts)) {
  for (NamedSize& size : sizes) {
    if (size.size == 1) continue;
    const auto same = std::ranges::find(sizes_, size.size, &NamedSize::size);
    if (same == sizes_.end()) {
      sizes_.push_back(std::move(size));
    } else if (same->name.find(size.name) == std::string::npos) {
      same->name += ", " + size.name;
    }
  }
  std::ranges::sort(cuts_);
  cuts_.erase(std::unique(cuts_.begin(), cuts_.end()), cuts_.end());
  for (std::size_t i = 0; i < difference_.size(); ++i) {
    const double off = difference_.actual[i] - difference_.expected[i];
    error_ += off * off;
  }
}

double Hypotheses::unexplained(std::span<const double> values) const {
  double left = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double off = difference_.actual[i] - values[i];
    left += off * off;
  }
  return std::sqrt(left / error_);
}

void Hypotheses::test(const Mistake& mistake, std::span<const double> values, std::size_t liberty) {
  ++tested_;
  const std::size_t n = difference_.size();
  if (values.size() != n || error_ == 0) return;
  const double size = dot(difference_.expected, difference_.expected);
  const double grown = size > 0 ? std::max(1.0, std::sqrt(dot(values, values) / size))
                                : 1;  // of bounds, with values
  const double near = 0.01 * std::sqrt(error_ / static_cast<double>(n));
  Hypothesis hypothesis{.mistake = mistake, .elements = n, .liberty = liberty};
  for (std::size_t i = 0; i < n; ++i) {
    const double off = std::abs(difference_.actual[i] - values[i]);
    hypothesis.within += off <= (difference_.bound.empty() ? near : grown * difference_.bound[i]);
  }
  hypothesis.unexplained = unexplained(values);
  if (std::isfinite(hypothesis.unexplained)) found_.push_back(std::move(hypothesis));
}

bool Hypotheses::fits(const Hypothesis& hypothesis) const {
  const bool few = hypothesis.elements < kFew;
  if (few && hypothesis.liberty >= kFitted) return false;
  const bool all_within = !difference_.bound.empty() && hypothesis.within == hypothesis.elements;
  if (hypothesis.unexplained <= (few ? kLeftOfFew : kLeft)) return true;
  return all_within && hypothesis.unexplained <= (few ? kLeft : kLeftWithinBounds);
}

void Hypotheses::try_simple() {
  try_factor();
  try_transposed();
  try_bfloat16();
  for (const Pieces& pieces : all_pieces()) try_pieces(pieces);
  try_multiples_in_pieces({"shard-factor", "the right values",
                           "shards or heads have constant factors of their own", "E14, I01"},
                          difference_.expected);
}

std::vector<Hypotheses::Pieces> Hypotheses::all_pieces() const {
  std::vector<Pieces> all;
  const std::vector<std::size_t>& shape = difference_.shape;
  if (shape.empty() || difference_.size() == 0) return all;
  const std::size_t rows = shape.size() == 1 ? 1 : shape[0];
  const std::size_t columns = shape.back();
  for (const std::size_t number : cuts_) {
    if (number < 2 || number > kMostPieces) continue;
    if (rows % number == 0) all.push_back({1, number, difference_.size() / number, "rows"});
    if (columns % number == 0) {
      all.push_back({difference_.size() / columns, number, columns / number,
                     rows == 1 ? "elements" : "columns"});
    }
  }
  return all;
}

void Hypotheses::try_values(const Mistake& mistake, std::span<const double> values) {
  test(mistake, values, kGiven);
}

void Hypotheses::try_factor() {
  const std::span<const double> e = difference_.expected;
  const double size = dot(e, e);
  const std::vector<double> zeros(e.size(), 0.0);
  test({"zero", "0", "never computed, or cleared", "E12, E23"}, zeros, kNone);
  if (size == 0) return;
  const double fitted = dot(e, difference_.actual) / size;
  std::vector<double> scaled(e.size());
  const auto test_factor = [&](double factor, const Mistake& mistake, std::size_t liberty) {
    if (std::abs(fitted - factor) > kNear * std::abs(factor)) {
      ++tested_;  // cannot fit
      return;
    }
    for (std::size_t i = 0; i < e.size(); ++i) scaled[i] = factor * e[i];
    test(mistake, scaled, liberty);
  };
  const auto equals = [](double factor) { return times(factor) + " x the right values"; };
  test_factor(-1, {"sign", "minus the right values", "the sign is turned", ""}, kNone);
  for (const NamedSize& s : sizes_) {
    if (s.of_targets) {
      test_factor(s.size,
                  {"not-divided-by-tokens", equals(s.size),
                   "not divided by the number of targets (" + s.name + ")", "A02, A03"},
                  kNone);
      test_factor(1 / s.size,
                  {"divided-by-tokens-again", equals(1 / s.size),
                   "divided once more by the number of targets (" + s.name + ")", ""},
                  kNone);
      continue;
    }
    test_factor(s.size,
                {"summed-over-axis-again", equals(s.size),
                 "added up once more over " + s.name + ", or not divided by it",
                 "A02, A06, A14, D05, D13, E13, I09"},
                kNone);
    test_factor(1 / s.size,
                {"divided-twice", equals(1 / s.size),
                 "divided once more by " + s.name + ", or averaged where it is to be added up",
                 "A05, A07, A08, B02, C02, H01"},
                kNone);
  }
  const double whole = std::round(fitted > 1 ? fitted : 1 / fitted);
  constexpr double kMostCounted = 64;
  if (whole >= 2 && whole <= kMostCounted) {
    test_factor(
        fitted > 1 ? whole : 1 / whole,
        {"factor", equals(fitted > 1 ? whole : 1 / whole),
         fmt::format("counted, or divided, {:.0f} times, which is no size of this run", whole),
         "D13, E13"},
        kGiven);
  }
  test_factor(fitted,
              {"fitted-factor", equals(fitted),
               "a constant factor, which no size of this run explains", ""},
              kAnyFactor);
}

void Hypotheses::try_transposed() {
  const std::vector<std::size_t>& shape = difference_.shape;
  if (shape.size() != 2 || shape[0] < 2 || shape[1] < 2) return;
  std::vector<double> transposed(difference_.size());
  for (std::size_t r = 0; r < shape[0]; ++r) {
    for (std::size_t c = 0; c < shape[1]; ++c) {
      transposed[c * shape[0] + r] = difference_.expected[r * shape[1] + c];
    }
  }
  test({"transposed", "the right values, transposed", "rows are taken for columns", "C06"},
       transposed, kGiven);
}

void Hypotheses::try_bfloat16() {
  std::vector<double> values(difference_.size());
  for (const auto& [convert, verb] :
       {std::pair(&rounded_to_bfloat16, "rounded"), std::pair(&cut_to_bfloat16, "cut off")}) {
    std::ranges::transform(difference_.expected, values.begin(), convert);
    test({"rounded-to-bf16", fmt::format("the right values, {} to bfloat16", verb),
          "kept or sent in bfloat16", "B10, E03, E19"},
         values, kGiven);
  }
}

double Hypotheses::distance(const Pieces& pieces, std::size_t piece, const double* values,
                            std::size_t from) const {
  double sum = 0;
  for (std::size_t o = 0; o < pieces.outer; ++o) {
    const double* const a = difference_.actual.data() + pieces.at(o, piece);
    const double* const e = values == nullptr ? nullptr : values + pieces.at(o, from);
    for (std::size_t i = 0; i < pieces.inner; ++i) {
      const double off = a[i] - (e == nullptr ? 0 : e[i]);
      sum += off * off;
    }
  }
  return sum;
}

void Hypotheses::try_pieces(const Pieces& pieces) {
  const double* const expected = difference_.expected.data();
  std::vector<double> values(difference_.size(), 0.0);
  std::vector<std::string> order;
  bool moved = false;
  bool missing = false;
  for (std::size_t piece = 0; piece < pieces.number; ++piece) {
    const double own = distance(pieces, piece, expected, piece);
    std::size_t best = piece;
    // A piece without a share in the error stays where it is.
    double least = own <= 1e-6 * error_ ? 0 : kLeft * kLeft * own;
    for (std::size_t from = 0; least > 0 && from <= pieces.number; ++from) {
      const bool zero = from == pieces.number;
      const double off = distance(pieces, piece, zero ? nullptr : expected, from);
      if (off >= least) continue;
      least = off;
      best = from;
    }
    missing = missing || best == pieces.number;
    moved = moved || (best != piece && best != pieces.number);
    order.push_back(best == pieces.number ? "0" : fmt::format("{}", best + 1));
    if (best == pieces.number) continue;
    for (std::size_t o = 0; o < pieces.outer; ++o) {
      std::copy_n(expected + pieces.at(o, best), pieces.inner, values.data() + pieces.at(o, piece));
    }
  }
  if (!moved && !missing) {
    ++tested_;
    return;
  }
  const std::string what = fmt::format("the right values with {} pieces of its {} as {}",
                                       pieces.number, pieces.name, fmt::join(order, " "));
  test(moved ? Mistake{"shard-misplaced", what, "shards or heads stand in each other's places",
                       "B04, E04, E06, E07, E11, G01, G05"}
             : Mistake{"shard-missing", what + " (0: zeros)", "a shard was left out",
                       "A16, B09, E11, G02"},
       values, kRead + pieces.number);
}

void Hypotheses::try_values_in_pieces(const Mistake& mistake, std::span<const double> values) {
  for (const Pieces& pieces : all_pieces()) {
    std::vector<double> mixed(difference_.expected.begin(), difference_.expected.end());
    std::vector<std::string> which;
    for (std::size_t piece = 0; piece < pieces.number; ++piece) {
      const double own = distance(pieces, piece, difference_.expected.data(), piece);
      if (distance(pieces, piece, values.data(), piece) >= own) continue;
      which.push_back(fmt::format("{}", piece + 1));
      for (std::size_t o = 0; o < pieces.outer; ++o) {
        std::copy_n(values.data() + pieces.at(o, piece), pieces.inner,
                    mixed.data() + pieces.at(o, piece));
      }
    }
    if (which.empty() || which.size() == pieces.number) {
      ++tested_;
      continue;
    }
    Mistake in_pieces = mistake;
    in_pieces.what += fmt::format(", in pieces {} of {} of its {}", fmt::join(which, " "),
                                  pieces.number, pieces.name);
    in_pieces.why += ", on some ranks alone";
    test(in_pieces, mixed, kRead + pieces.number);
  }
}

std::vector<Hypothesis> Hypotheses::fitting() const {
  std::vector<Hypothesis> fitting;
  double best = 1;
  for (const Hypothesis& hypothesis : found_) {
    if (!fits(hypothesis)) continue;
    fitting.push_back(hypothesis);
    best = std::min(best, hypothesis.unexplained);
  }
  const double same = std::max(4 * best, kSame);
  std::ranges::stable_sort(fitting, [&](const Hypothesis& a, const Hypothesis& b) {
    const bool a_best = a.unexplained <= same;
    const bool b_best = b.unexplained <= same;
    if (a_best != b_best) return a_best;
    if (a_best && a.liberty != b.liberty) return a.liberty < b.liberty;
    return a.unexplained < b.unexplained;
  });
  // Several may say the same of a tensor; the first of them is the simplest.
  for (auto h = fitting.begin(); h != fitting.end();) {
    const bool known = std::any_of(fitting.begin(), h, [&](const Hypothesis& before) {
      return before.mistake.what == h->mistake.what;
    });
    h = known ? fitting.erase(h) : std::next(h);
  }
  return fitting;
}

const Hypothesis* Hypotheses::closest() const {
  const auto closest = std::ranges::min_element(found_, {}, &Hypothesis::unexplained);
  return closest == found_.end() ? nullptr : &*closest;
}

std::string describe(const std::string& tensor, const Hypotheses& hypotheses) {
  const auto sentence = [](const Hypothesis& h) {
    const std::string which = h.within == h.elements
                                  ? fmt::format("all {} elements", h.elements)
                                  : fmt::format("{} of {} elements", h.within, h.elements);
    const Mistake& m = h.mistake;
    return fmt::format("{} in {}: {}{} [{}; {:.2g} of the difference is left]", m.what, which,
                       m.why, m.catalogue.empty() ? "" : " (catalogue " + m.catalogue + ")", m.id,
                       h.unexplained);
  };
  const std::vector<Hypothesis> fitting = hypotheses.fitting();
  if (fitting.empty()) {
    const Hypothesis* const closest = hypotheses.closest();
    std::string text =
        fmt::format("{}: none of the {} hypotheses tested fits", tensor, hypotheses.tested());
    if (closest != nullptr && closest->unexplained < 1) {
      text += fmt::format("\n  closest: {}", sentence(*closest));
    }
    return text;
  }
  std::string text = fmt::format("{} equals {}", tensor, sentence(fitting[0]));
  constexpr std::size_t kMostShown = 4;
  for (std::size_t i = 1; i < std::min(fitting.size(), kMostShown); ++i) {
    text += fmt::format("\n  also fits: {}", sentence(fitting[i]));
  }
  return text + fmt::format("\n  {} hypotheses tested, {} fit{}", hypotheses.tested(),
                            fitting.size(), fitting.size() == 1 ? "s" : "");
}

}  // namespace meshparity
