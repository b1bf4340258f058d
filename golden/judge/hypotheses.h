#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

/// What is wrong with a tensor: hypotheses, fitted to the error itself and ranked.
namespace meshparity {

/// A tensor that is not what it should be, row-major, in memory that must outlive it.
struct Difference {
  std::vector<std::size_t> shape;
  std::span<const double> actual;
  std::span<const double> expected;
  std::span<const double> bound;  ///< of `expected`; empty: not known

  std::size_t size() const { return actual.size(); }
};

/// The name of a mistake.
struct Mistake {
  std::string id;           ///< stable: "summed-over-axis-again"
  std::string what{};       ///< what the tensor equals: "2.000000 x the right values"
  std::string why{};        ///< "added up once more over dp = 2"
  std::string catalogue{};  ///< entries of the catalogue of bugs: "A02, E13"
};

/// A mistake, and how well the tensor is what it would make of it.
struct Hypothesis {
  Mistake mistake;
  /// rms(actual - what the mistake would make) / rms(actual - expected): 0 explains everything.
  double unexplained = 1;
  /// Elements within the bound of what the mistake would make (without bounds: within a hundredth
  /// of the difference's root mean square).
  std::size_t within = 0;
  std::size_t elements = 0;
  std::size_t liberty = 0;  ///< how much of it was chosen so that it fits
};

/// A size that a framework splits or divides by.
struct NamedSize {
  double size = 1;
  std::string name;         ///< "dp = 2"
  bool of_targets = false;  ///< counts targets, rather than ranks or parts
};

/// One of the addends that a tensor is a sum of.
struct Term {
  std::string name;  ///< "samples 0..4"
  std::vector<double> values;
  double right = 1;  ///< how often it should be there: 0 or 1
};

/// How a sum goes wrong, as `try_sum` reads it from the multiples of its terms. What is said of the
/// terms is filled in.
struct SumMistakes {
  Mistake only;     ///< some terms, without the others
  Mistake missing;  ///< some terms are missing, fewer than half
  Mistake again;    ///< some are there another number of times
  Mistake weights;  ///< anything else
};

/// Multiples of the terms that a known mistake gives.
struct SumPattern {
  Mistake mistake;
  std::vector<double> multiples;
};

class Hypotheses {
 public:
  // A hypothesis that leaves a twentieth of the error has a correlation of 0.9987 with it, which a
  // wrong one reaches by chance with a probability of about 0.05^(n - 1) for n elements: never from
  // `kFew` on. Fewer elements must agree to a thousandth, or to a twentieth and within bounds.
  static constexpr double kLeft = 0.05;
  static constexpr double kLeftOfFew = 0.001;
  static constexpr std::size_t kFew = 16;
  /// Where all elements are within the bound of a mistake, roundings may be much of the error.
  static constexpr double kLeftWithinBounds = 0.3;
  /// What differs by less than this explains the same.
  static constexpr double kSame = 0.001;
  /// A fitted multiple this close to a number with a name may be that number.
  static constexpr double kNear = 0.03;

  /// `sizes` are what constant factors are named by, `cuts` into how many pieces tensors are cut.
  Hypotheses(Difference difference, std::vector<NamedSize> sizes, std::vector<std::size_t> cuts);

  /// Those that need no knowledge of the tensor: a constant factor, zero, sign, transposed, pieces
  /// in another order or missing, rounded to bfloat16.
  void try_simple();
  /// That the tensor has these values.
  void try_values(const Mistake& mistake, std::span<const double> values);
  /// That some of its pieces have these values, and the others are right.
  void try_values_in_pieces(const Mistake& mistake, std::span<const double> values);
  /// That it is `fixed` (empty: 0) and in each of its pieces another multiple of `term`.
  void try_multiples_in_pieces(const Mistake& mistake, std::span<const double> term,
                               std::span<const double> fixed = {});
  /// That some of its elements have these values, and the others are right.
  void try_values_by_element(const Mistake& mistake, std::span<const double> values);
  /// That each of its pieces, of all elements in a row, is one of these terms alone.
  void try_terms_in_pieces(Mistake mistake, const std::vector<Term>& terms);
  /// That it is `fixed` (empty: 0) and some multiples of these terms, other than the right ones.
  void try_sum(const SumMistakes& mistakes, const std::vector<Term>& terms,
               const std::vector<SumPattern>& patterns, std::span<const double> fixed = {});

  /// Those that fit, the best first: of the ones that explain about the same, those that take the
  /// least liberty.
  std::vector<Hypothesis> fitting() const;
  /// The closest of all; nullptr if none was tested.
  const Hypothesis* closest() const;
  std::size_t tested() const { return tested_; }

 private:
  /// How much liberty a hypothesis takes; sums also count their terms.
  enum Liberty : std::size_t { kNone = 0, kGiven = 10, kRead = 20, kFitted = 40, kAnyFactor = 80 };
  void test(const Mistake& mistake, std::span<const double> values, std::size_t liberty);
  /// rms(actual - values) / rms(actual - expected)
  double unexplained(std::span<const double> values) const;
  bool fits(const Hypothesis& hypothesis) const;
  void try_factor();
  void try_transposed();
  /// A tensor of (outer, number, inner) elements.
  struct Pieces {
    std::size_t outer, number, inner;
    std::string name;  ///< of what is cut: "rows"
    std::size_t at(std::size_t o, std::size_t piece) const { return (o * number + piece) * inner; }
  };
  std::vector<Pieces> all_pieces() const;
  void try_pieces(const Pieces& pieces);
  /// Sum of squares of a piece's difference from a piece of `values`; from 0 if they are null.
  double distance(const Pieces& pieces, std::size_t piece, const double* values,
                  std::size_t from) const;
  void try_bfloat16();
  /// The multiples as numbers that have a name, where they are close to one.
  std::vector<double> named(std::vector<double> multiples) const;
  /// Which of the mistakes these multiples are.
  Mistake read(const SumMistakes& mistakes, const std::vector<Term>& terms,
               const std::vector<double>& multiples) const;

  Difference difference_;
  std::vector<NamedSize> sizes_;
  std::vector<std::size_t> cuts_;
  double error_ = 0;  // sum of squares
  std::vector<Hypothesis> found_;
  std::size_t tested_ = 0;
};

/// What a tensor that differs was found to be.
struct Diagnosis {
  std::string tensor;
  std::vector<Hypothesis> fitting;  ///< the best first; may be empty
  std::size_t tested = 0;           ///< hypotheses
  std::string text;                 ///< all of it for a person, on some lines
};

/// "grad/x.weight equals 2.000000 x the right values in all 768 elements: ..." and on further lines
/// what else fits and how many were tested.
std::string describe(const std::string& tensor, const Hypotheses& hypotheses);

}  // namespace meshparity
