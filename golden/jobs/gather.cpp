#include "golden/jobs/gather.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace meshparity {
namespace {

/// Where a rank's part of a parameter lies: rows, columns and flat range, each a begin and an end.
constexpr std::size_t kPlaceWords = 6;

const ShardView* find(std::span<const ShardView> shards, const ParameterSpec& spec) {
  for (const ShardView& view : shards) {
    if (view.counted && view.shard->spec.name == spec.name) return &view;
  }
  return nullptr;
}

/// Of a piece: boundary, is it a gradient, first row, values, width, first and last feature.
constexpr std::size_t kPieceWords = 7;
using PieceWords = std::array<std::uint64_t, kPieceWords>;

PieceWords words_of(const BoundaryPiece& piece) {
  return {piece.boundary,     piece.is_gradient ? 1U : 0U, piece.first_row, piece.values.size(),
          piece.features.end, piece.features.begin,        piece.width};
}

BoundaryPiece piece_of(const std::uint64_t* words) {
  return {words[0], words[1] == 1,        words[2],
          words[6], {words[5], words[4]}, std::vector<float>(words[3])};
}

/// A piece goes to its place.
void put(const BoundaryPiece& piece, std::size_t rows, Boundaries& boundaries) {
  auto& all = piece.is_gradient ? boundaries.gradients : boundaries.values;
  all.resize(std::max(all.size(), piece.boundary + 1));
  std::vector<float>& whole = all[piece.boundary];
  whole.resize(rows * piece.width);
  const std::size_t here = piece.features.size();
  for (std::size_t at = 0, row = piece.first_row; at < piece.values.size(); at += here, ++row) {
    std::copy_n(
        piece.values.begin() + static_cast<std::ptrdiff_t>(at), here,
        whole.begin() + static_cast<std::ptrdiff_t>(row * piece.width + piece.features.begin));
  }
}

}  // namespace

Boundaries join_boundaries(std::span<const BoundaryPiece> pieces, std::size_t rows) {
  Boundaries boundaries;
  for (const BoundaryPiece& piece : pieces) put(piece, rows, boundaries);
  return boundaries;
}

Boundaries gather_boundaries(std::span<const BoundaryPiece> pieces, std::size_t rows, Comm& world) {
  std::vector<std::uint64_t> counts(world.size(), 0);
  counts[world.rank()] = pieces.size();
  world.all_reduce_integers(counts);
  std::size_t first = 0;  // of this rank's pieces among all
  for (std::size_t r = 0; r < world.rank(); ++r) first += counts[r];
  std::size_t total = 0;
  for (const std::uint64_t count : counts) total += count;
  std::vector<std::uint64_t> words(kPieceWords * total, 0);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    std::ranges::copy(words_of(pieces[i]),
                      words.begin() + static_cast<std::ptrdiff_t>(kPieceWords * (first + i)));
  }
  world.all_reduce_integers(words);

  if (world.rank() != 0) {
    for (const BoundaryPiece& piece : pieces) {
      if (!piece.values.empty()) world.send(piece.values, 0, 0);
    }
    return {};
  }
  Boundaries boundaries = join_boundaries(pieces, rows);
  const std::uint64_t* next = words.data() + kPieceWords * pieces.size();
  for (std::size_t r = 1; r < world.size(); ++r) {
    for (std::size_t i = 0; i < counts[r]; ++i, next += kPieceWords) {
      BoundaryPiece piece = piece_of(next);
      if (piece.values.empty()) continue;
      world.recv(piece.values, r, 0);
      put(piece, rows, boundaries);
    }
  }
  return boundaries;
}

std::span<const float> part_of(const ShardView& view, Gathered what) {
  switch (what) {
    case Gathered::values:
      return view.values;
    case Gathered::gradients:
      return view.gradient;
    case Gathered::first_moments:
      return view.first_moment;
    case Gathered::second_moments:
      return view.second_moment;
  }
  return {};
}

std::vector<std::vector<float>> gather_parameters(std::span<const ParameterSpec> specs,
                                                  std::span<const ShardView> shards, Gathered what,
                                                  Comm& world) {
  const bool root = world.rank() == 0;
  std::vector<std::vector<float>> whole;
  for (const ParameterSpec& spec : specs) {
    // Everyone learns where everyone's part lies: six words a rank, 0 where another rank wrote.
    std::vector<std::uint64_t> places(kPlaceWords * world.size(), 0);
    const ShardView* const mine = find(shards, spec);
    if (mine != nullptr) {
      const Shard& shard = *mine->shard;
      const std::array<std::size_t, kPlaceWords> words = {shard.rows.begin,    shard.rows.end,
                                                          shard.columns.begin, shard.columns.end,
                                                          shard.flat.begin,    shard.flat.end};
      std::copy(words.begin(), words.end(),
                places.begin() + static_cast<std::ptrdiff_t>(kPlaceWords * world.rank()));
    }
    world.all_reduce_integers(places);

    const std::span<const float> values =
        mine == nullptr ? std::span<const float>() : part_of(*mine, what);
    if (mine != nullptr && values.size() != mine->shard->size()) {
      throw std::logic_error(
          "gather_parameters: after the last step there are no gradients, and moments only where "
          "the optimizer has any");
    }
    if (!root) {
      if (!values.empty()) world.send(values, 0, 0);
      continue;
    }
    std::vector<float>& target = whole.emplace_back(spec.size());
    std::vector<float> part;
    for (std::size_t r = 0; r < world.size(); ++r) {
      const std::uint64_t* const place = places.data() + kPlaceWords * r;
      Shard shard(spec, {place[0], place[1]}, {place[2], place[3]});
      shard.flat = {place[4], place[5]};
      if (shard.size() == 0) continue;
      part.resize(shard.size());
      if (r == 0) {
        std::copy(values.begin(), values.end(), part.begin());
      } else {
        world.recv(part, r, 0);
      }
      for (std::size_t i = 0; i < part.size(); ++i) target[shard.global_index(i)] = part[i];
    }
  }
  return whole;
}

}  // namespace meshparity
