#include "property_tests/parallel/transport/comm_test_common.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <span>

namespace meshparity {
namespace {

/// Element `i` of what rank `rank` contributes to exchange number `salt`: small whole numbers, so
/// that float sums of them are exact in any order.
float value(std::size_t salt, std::size_t rank, std::size_t i) {
  return static_cast<float>(1 + salt % 7 + 10 * i + 1000 * rank);
}

std::vector<float> values(std::size_t salt, std::size_t rank, std::size_t count) {
  std::vector<float> result(count);
  for (std::size_t i = 0; i < count; ++i) result[i] = value(salt, rank, i);
  return result;
}

class OperationChecks {
 public:
  OperationChecks(Comm& comm, std::uint64_t seed, std::vector<std::string>& wrong)
      : comm_(comm), engine_(seed), wrong_(wrong) {}

  void collectives() {
    broadcast();
    all_gather();
    all_to_all();
    comm_.barrier();
    all_reduce_integers();
    all_reduce_maximum();
    native_all_reduce();
    native_reduce_scatter();
  }

  void messages() {
    ring();
    order_of_messages();
    everyone_to_everyone();
    loans();
  }

  void split() {
    const std::size_t n = comm_.size();
    const std::size_t colours = 1 + draw(n);
    // Keys count down, so the order in a new group is the reverse of the old one.
    const auto part = comm_.split("part", comm_.rank() % colours, n - comm_.rank());
    std::vector<float> expected;
    for (std::size_t r = n; r-- > 0;) {
      if (r % colours == comm_.rank() % colours) expected.push_back(static_cast<float>(r));
    }
    equal("split name", part->name(), std::string("part"));
    equal("split size", part->size(), expected.size());
    if (part->size() != expected.size()) return;
    equal("split rank", expected[part->rank()], static_cast<float>(comm_.rank()));
    const std::vector<std::size_t> ones(part->size(), 1);
    const std::vector<float> mine = {static_cast<float>(comm_.rank())};
    std::vector<float> all(part->size());
    part->all_gather(mine, all, ones);
    equal("split members", all, expected);

    // Ranks of one key keep their order.
    const auto whole = comm_.split("whole", 3, 5);
    equal("split of one colour and one key", whole->rank(), comm_.rank());

    const std::uint64_t seed = engine_();
    OperationChecks in_part(*part, seed, wrong_);
    in_part.collectives();
    in_part.messages();
  }

 private:
  std::size_t draw(std::size_t below) { return engine_() % below; }

  /// A count for each rank: sometimes all 0, otherwise 0 .. 4.
  std::vector<std::size_t> draw_counts() {
    const std::size_t below = draw(5) == 0 ? 1 : 5;
    std::vector<std::size_t> counts(comm_.size());
    for (std::size_t& count : counts) count = draw(below);
    return counts;
  }

  void fail(const std::string& text) {
    wrong_.push_back("rank " + std::to_string(comm_.rank()) + " of " +
                     std::to_string(comm_.size()) + " in group " + comm_.name() + ": " + text);
  }

  template <typename T>
  void equal(const char* what, const T& actual, const T& expected) {
    if (!(actual == expected)) fail(std::string(what) + " is wrong");
  }

  template <typename T>
  void equal(const char* what, const std::vector<T>& actual, const std::vector<T>& expected) {
    const auto [a, e] = std::ranges::mismatch(actual, expected);
    if (a == actual.end() && e == expected.end()) return;
    const auto text = [](const auto& it, const auto& end) {
      return it == end ? std::string("nothing") : std::to_string(*it);
    };
    fail(std::string(what) + ": element " + std::to_string(a - actual.begin()) + " is " +
         text(a, actual.end()) + ", expected " + text(e, expected.end()));
  }

  void broadcast() {
    const std::size_t root = draw(comm_.size());
    const std::size_t count = draw(5);
    std::vector<float> data = values(1, comm_.rank(), count);
    comm_.broadcast(data, root);
    equal("broadcast", data, values(1, root, count));
  }

  void all_gather() {
    const std::vector<std::size_t> counts = draw_counts();
    std::vector<float> expected;
    for (std::size_t r = 0; r < counts.size(); ++r) {
      for (const float x : values(2, r, counts[r])) expected.push_back(x);
    }
    std::vector<float> all(expected.size(), -1.0F);
    comm_.all_gather(values(2, comm_.rank(), counts[comm_.rank()]), all, counts);
    equal("all_gather", all, expected);
  }

  void all_to_all() {
    const std::size_t n = comm_.size();
    const std::size_t me = comm_.rank();
    std::vector<std::vector<std::size_t>> counts(n);  // [from][to]
    for (auto& row : counts) row = draw_counts();
    std::vector<std::size_t> incoming_counts(n);
    std::vector<float> outgoing;
    std::vector<float> expected;
    for (std::size_t r = 0; r < n; ++r) {
      incoming_counts[r] = counts[r][me];
      for (const float x : values(r, me, counts[me][r])) outgoing.push_back(x);
      for (const float x : values(me, r, counts[r][me])) expected.push_back(x);
    }
    std::vector<float> incoming(expected.size(), -1.0F);
    comm_.all_to_all(outgoing, counts[me], incoming, incoming_counts);
    equal("all_to_all", incoming, expected);
  }

  void all_reduce_integers() {
    // 2^64 - 1 - rank: the sum wraps around. -n - (0 + 1 + ... + n - 1), modulo 2^64.
    const std::uint64_t n = comm_.size();
    const std::size_t count = draw(4);
    std::vector<std::uint64_t> data(count, ~std::uint64_t{0} - comm_.rank());
    comm_.all_reduce_integers(data);
    equal("all_reduce_integers", data,
          std::vector<std::uint64_t>(count, std::uint64_t{0} - n - n * (n - 1) / 2));
  }

  /// Of n neighbours in a list of floats in ascending order: the last one. Rank `first` has the
  /// first of them.
  void all_reduce_maximum() {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr float kTiny = std::numeric_limits<float>::denorm_min();
    std::vector<float> ascending = {
        -kInfinity, -2.0F, -1.0F, -kTiny,    -0.0F,
        0.0F,       kTiny, 1.0F,  kInfinity, std::numeric_limits<float>::quiet_NaN()};
    const std::size_t n = comm_.size();
    const std::size_t first = draw(n);
    const std::size_t place = (comm_.rank() + n - first) % n;
    std::vector<float> data(draw(2) * ascending.size());
    std::vector<float> expected(data.size());
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i] = ascending[std::min(i + place, ascending.size() - 1)];
      if (draw(2) == 0 && std::isnan(data[i])) data[i] = -data[i];  // the sign says nothing
      expected[i] = ascending[std::min(i + n - 1, ascending.size() - 1)];
    }
    comm_.all_reduce_maximum(data);
    for (std::size_t i = 0; i < data.size(); ++i) {
      const bool same = std::isnan(expected[i]) ? std::isnan(data[i])
                                                : std::bit_cast<std::uint32_t>(data[i]) ==
                                                      std::bit_cast<std::uint32_t>(expected[i]);
      if (!same) fail("all_reduce_maximum: element " + std::to_string(i) + " is wrong");
    }
  }

  void native_all_reduce() {
    const std::size_t n = comm_.size();
    std::vector<float> data = values(3, comm_.rank(), draw(5));
    std::vector<float> expected(data.size());
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = sum_over_ranks(n, i);
    comm_.native_all_reduce(data);
    equal("native_all_reduce", data, expected);
  }

  void native_reduce_scatter() {
    const std::vector<std::size_t> counts = draw_counts();
    const auto mine_at = counts.begin() + static_cast<std::ptrdiff_t>(comm_.rank());
    const std::size_t start = std::accumulate(counts.begin(), mine_at, std::size_t{0});
    const std::size_t total = std::accumulate(counts.begin(), counts.end(), std::size_t{0});
    std::vector<float> expected;
    for (std::size_t i = 0; i < *mine_at; ++i) {
      expected.push_back(sum_over_ranks(comm_.size(), start + i));
    }
    std::vector<float> mine(*mine_at, -1.0F);
    comm_.native_reduce_scatter(values(3, comm_.rank(), total), mine, counts);
    equal("native_reduce_scatter", mine, expected);
  }

  /// Sum of value(3, r, i) over ranks r: n (4 + 10 i) + 1000 n (n - 1) / 2.
  static float sum_over_ranks(std::size_t n, std::size_t i) {
    return static_cast<float>(n * (4 + 10 * i) + 500 * n * (n - 1));
  }

  /// Blocking messages to the right neighbour, rank 0 receiving last so that the ring cannot lock.
  void ring() {
    const std::size_t n = comm_.size();
    if (n == 1) return;
    const std::size_t left = (comm_.rank() + n - 1) % n;
    const std::size_t right = (comm_.rank() + 1) % n;
    const std::size_t count = draw(5);
    const std::vector<float> mine = values(4, comm_.rank(), count);
    std::vector<float> got(count, -1.0F);
    if (comm_.rank() == 0) comm_.send(mine, right, 1);
    comm_.recv(got, left, 1);
    if (comm_.rank() != 0) comm_.send(mine, right, 1);
    equal("ring", got, values(4, left, count));
  }

  /// Messages of one tag arrive in the order of sending; those of another tag may be taken earlier.
  void order_of_messages() {
    const std::size_t n = comm_.size();
    const std::size_t to = (comm_.rank() + 1) % n;
    const std::size_t from = (comm_.rank() + n - 1) % n;
    std::vector<std::vector<float>> sent;
    std::vector<Request> requests;
    for (std::size_t i = 0; i < 3; ++i) sent.push_back(values(i, comm_.rank(), i));
    const int tags[] = {5, 5, 6};
    for (std::size_t i = 0; i < 3; ++i) requests.push_back(comm_.isend(sent[i], to, tags[i]));
    std::vector<float> got[3] = {std::vector<float>(0), std::vector<float>(1),
                                 std::vector<float>(2)};
    comm_.recv(got[2], from, 6);
    comm_.recv(got[0], from, 5);
    comm_.recv(got[1], from, 5);
    for (Request& request : requests) comm_.wait(request);
    for (std::size_t i = 0; i < 3; ++i) equal("message", got[i], values(i, from, i));
    if (requests[0].pending()) fail("a request is pending after its wait");
    comm_.wait(requests[0]);
  }

  void everyone_to_everyone() {
    const std::size_t n = comm_.size();
    const std::vector<std::size_t> counts = draw_counts();  // by sender
    const std::vector<float> mine = values(6, comm_.rank(), counts[comm_.rank()]);
    std::vector<std::vector<float>> got(n);
    std::vector<Request> requests;
    for (std::size_t r = 0; r < n; ++r) {
      got[r].assign(counts[r], -1.0F);
      requests.push_back(comm_.irecv(got[r], r, 7));
    }
    for (std::size_t r = n; r-- > 0;) requests.push_back(comm_.isend(mine, r, 7));
    for (std::size_t i = requests.size(); i-- > 0;) comm_.wait(requests[i]);
    for (std::size_t r = 0; r < n; ++r) {
      equal("message from everyone", got[r], values(6, r, counts[r]));
    }
  }

  /// Two loans of one tag and a message to the right; what the lender changes afterwards is new.
  void loans() {
    const std::size_t n = comm_.size();
    const std::size_t to = (comm_.rank() + 1) % n;
    const std::size_t from = (comm_.rank() + n - 1) % n;
    const bool long_ones = draw(8) == 0;  // long enough to stay where they stand
    const std::size_t sizes[] = {draw(5), (long_ones ? 20'000 : 0) + draw(5)};
    std::vector<float> mine[2];
    std::vector<float> room[2];
    std::vector<Request> lent;
    std::vector<Request> borrowed;
    for (std::size_t i = 0; i < 2; ++i) {
      mine[i] = values(i, comm_.rank(), sizes[i]);
      room[i].assign(sizes[i], -1.0F);
      borrowed.push_back(comm_.borrow(room[i], from, 8));
      lent.push_back(comm_.lend(mine[i], to, 8));
    }
    float told = -1.0F;
    borrowed.push_back(comm_.irecv({&told, 1}, from, 8));  // of the same tag, and no loan
    const float said = value(2, comm_.rank(), 0);
    lent.push_back(comm_.isend({&said, 1}, to, 8));
    for (std::size_t i = 0; i < 2; ++i) {
      for (int again = 0; again < 2; ++again) {
        const std::span<const float> read = comm_.read(borrowed[i]);
        equal("loan", std::vector<float>(read.begin(), read.end()), values(i, from, sizes[i]));
      }
    }
    equal("message to be read", comm_.read(borrowed[2])[0], value(2, from, 0));
    for (Request& request : borrowed) comm_.wait(request);
    for (Request& request : lent) comm_.wait(request);
    if (borrowed[0].pending() || lent[0].pending()) fail("a loan is pending after its wait");
  }

  Comm& comm_;
  std::mt19937_64 engine_;  // the same draws in the same order on every rank
  std::vector<std::string>& wrong_;
};

}  // namespace

std::vector<std::string> check_every_operation(Comm& comm, std::uint64_t seed) {
  std::vector<std::string> wrong;
  OperationChecks checks(comm, seed, wrong);
  checks.collectives();
  checks.messages();
  checks.split();
  return wrong;
}

}  // namespace meshparity
