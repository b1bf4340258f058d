// Checks the Open MPI transport from inside: started by mpirun on any number of ranks, it runs
// every operation and prints what is wrong. Exit 0 if nothing is, 1 otherwise.
//
// With an argument it shows how a job ends that goes wrong: `hang` (a receive that nobody sends:
// the deadline ends it with status 3), `abort` (status 4), `throw` (an exception on one rank ends
// the job).
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>
#include <memory>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "model/numerics/aligned_floats.h"
#include "parallel/reducer.h"
#include "parallel/transport/comm_mpi.h"
#include "property_tests/parallel/transport/comm_mpi_calls.h"
#include "property_tests/parallel/transport/comm_mpi_memory.h"
#include "property_tests/parallel/transport/comm_test_common.h"

namespace meshparity {
namespace {

class MpiChecks {
 public:
  explicit MpiChecks(Comm& world) : world_(world) {}

  /// What no MPI world can be told, nor can there be a second one.
  void misuse(MpiWorld& mpi) {
    using std::chrono::milliseconds;
    const std::string refused = "the deadline of MPI operations must be positive, not ";
    expect_error("no deadline", {refused + "0 ms"}, [&] { mpi.set_deadline(milliseconds(0)); });
    expect_error("a deadline long ago", {refused + "-5 ms"},
                 [&] { const MpiWorld late(milliseconds(-5), [](const std::string&) {}); });
    expect_error("a second world", {"MPI can be started only once in a process"},
                 [&] { const MpiWorld second(milliseconds(5), [](const std::string&) {}); });
  }

  void run() {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      for (const std::string& text : check_every_operation(world_, seed)) fail(text);
    }
    large_messages();
    if (world_.size() > 1) loans();
    if (world_.size() > 1) loan_of_another_size();
    long_sums();
    counts();
    counts_beyond_mpi();
    for (const std::string& text : check_memory(world_)) fail(text);
    if (world_.size() > 1) message_of_another_size();
    if (world_.size() > 1) truncated_message();
    dropped_request();
  }

  bool failed() const { return failed_; }

 private:
  void fail(const std::string& text) {
    failed_ = true;
    std::cerr << "comm_mpi_program: " + text + "\n";
  }

  /// Expects a CommError whose message has all of `parts`.
  void expect_error(const char* what, const std::vector<std::string>& parts,
                    const std::function<void()>& action) {
    try {
      action();
      fail(std::string(what) + ": no error");
    } catch (const CommError& error) {
      for (const std::string& part : parts) {
        if (std::string_view(error.what()).find(part) == std::string_view::npos) {
          fail(std::string(what) + ": no \"" + part + "\" in " + error.what());
        }
      }
    }
  }

  /// Beyond what Open MPI sends eagerly.
  void large_messages() {
    const std::size_t size = 300'000;
    const std::size_t n = world_.size();
    const std::vector<float> mine(size, static_cast<float>(world_.rank()));
    std::vector<float> got(size, -1.0F);
    Request receive = world_.irecv(got, (world_.rank() + n - 1) % n, 2);
    Request send = world_.isend(mine, (world_.rank() + 1) % n, 2);
    world_.wait(receive);
    world_.wait(send);
    if (got != std::vector<float>(size, static_cast<float>((world_.rank() + n - 1) % n))) {
      fail("large message arrived wrong");
    }
  }

  /// Values of the library's own memory are read where they stand; others are shown in a copy.
  void loans() {
    const std::size_t size = 300'000;
    const std::size_t n = world_.size();
    const auto rank = static_cast<float>(world_.rank());
    const auto neighbour = static_cast<float>((world_.rank() + n - 1) % n);
    AlignedFloats own(size, rank);
    const std::vector<float> foreign(size, -rank);
    std::vector<float> room(size);
    for (int round = 0; round < 3; ++round) {
      for (const std::span<const float> mine :
           {std::span<const float>(own), std::span<const float>(foreign)}) {
        const float expected = mine.data() == own.data() ? neighbour : -neighbour;
        Request borrowed = world_.borrow(room, (world_.rank() + n - 1) % n, 2);
        Request lent = world_.lend(mine, (world_.rank() + 1) % n, 2);
        const std::span<const float> read = world_.read(borrowed);
        if (read.data() == room.data()) std::cerr << "note: loans are copied on this machine\n";
        if (read.size() != size || std::ranges::count(read, expected) != std::ssize(read)) {
          fail("loan arrived wrong");
        }
        world_.wait(borrowed);
        world_.wait(lent);
      }
    }
  }

  /// Long enough to be lent: the bits of one stream, however the memory of others is read.
  void long_sums() {
    const std::size_t n = world_.size();
    const std::size_t width = 2 * Reducer::longest_message(n) + 30'011;
    const auto leaf_of = [&](std::size_t rank) {
      AlignedFloats leaf(width);
      for (std::size_t i = 0; i < width; ++i) {
        leaf[i] = 1.0F / static_cast<float>(1 + rank + i % 977);
      }
      return leaf;
    };
    const std::vector<Range> runs = shares_of({0, n}, n);
    PartialSum expected(n, Range{0, n}, width);
    for (std::size_t r = 0; r < n; ++r) expected.push(runs[r], leaf_of(r));
    Reducer reducer(world_, Reduction::canonical, n);
    reducer.reserve(runs, width);
    for (int round = 0; round < 2; ++round) {
      PartialSum mine(n, runs[world_.rank()], width);
      mine.push(runs[world_.rank()], leaf_of(world_.rank()));
      PartialSum scattered = mine;
      reducer.reduce_scatter(scattered, runs, scattered);
      reducer.begin_all_gather(scattered.total());
      reducer.finish_all_gather();
      reducer.all_reduce(mine, runs, mine);
      for (PartialSum* sum : {&scattered, &mine}) {
        if (!std::ranges::equal(sum->total(), expected.total())) fail("long sum is wrong");
      }
    }
  }

  void counts() {
    const std::size_t most = std::numeric_limits<int>::max();
    if (checked_count(0) != 0 || checked_count(most) != std::numeric_limits<int>::max()) {
      fail("checked_count changes a count");
    }
    expect_error("count", {"2147483648"}, [&] { checked_count(most + 1); });
    expect_error("count", {"18446744073709551615"},
                 [&] { checked_count(std::numeric_limits<std::size_t>::max()); });
  }

  /// No operation lets a count through that MPI would take for another one. The values are
  /// addresses without memory: nobody looks at them.
  void counts_beyond_mpi() {
    const std::size_t n = world_.size();
    const std::size_t me = world_.rank();
    const std::size_t beyond = std::size_t{std::numeric_limits<int>::max()} + 1;
    const std::size_t room = 4 * (beyond + n) * sizeof(float);
    void* const addresses =
        mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (addresses == MAP_FAILED) return fail("no addresses for large counts");
    auto* const begin = static_cast<float*>(addresses);
    const std::span<float> values(begin, beyond);
    float* const apart = begin + beyond;
    const auto refused = [&](const char* what, const std::function<void()>& operation) {
      expect_error(what, {"MPI cannot take 2147483648"}, operation);
    };
    refused("send", [&] { world_.send(values, me, 7); });
    refused("recv", [&] { world_.recv(values, me, 7); });
    refused("isend", [&] { world_.isend(values, me, 7); });
    refused("irecv", [&] { world_.irecv(values, me, 7); });
    refused("lend", [&] { world_.lend(values, me, 7); });
    refused("borrow", [&] { world_.borrow(values, me, 7); });
    refused("broadcast", [&] { world_.broadcast(values, 0); });
    refused("all_reduce_integers", [&] {
      world_.all_reduce_integers({static_cast<std::uint64_t*>(addresses), beyond});
    });
    refused("all_reduce_maximum", [&] { world_.all_reduce_maximum(values); });
    refused("native_all_reduce", [&] { world_.native_all_reduce(values); });
    // A block too long, or one that begins too far away. (The first begins at 0.)
    std::vector<std::size_t> counts(n, 0);
    counts.front() = beyond;
    std::vector<std::size_t> far(n, 1);
    far.front() = beyond - 1;
    for (const std::vector<std::size_t>& sizes : {counts, far}) {
      if (n < 3 && sizes == far) continue;
      const std::span<float> all(apart, std::accumulate(sizes.begin(), sizes.end(), 0UL));
      const std::span<float> mine(begin, sizes[me]);
      refused("all_gather", [&] { world_.all_gather(mine, all, sizes); });
      refused("native_reduce_scatter", [&] { world_.native_reduce_scatter(all, mine, sizes); });
    }
    std::vector<std::size_t> to_myself(n, 0);
    to_myself[me] = beyond;
    refused("all_to_all", [&] {
      world_.all_to_all(values, to_myself, {apart, beyond}, to_myself);
    });
    munmap(addresses, room);
  }

  void message_of_another_size() {
    std::array<float, 5> values{};
    if (world_.rank() == 0) world_.send({values.data(), 2}, 1, 3);
    if (world_.rank() == 1) {
      expect_error("short message",
                   {"recv on rank 1 of group world, from rank 0 (tag 3)",
                    "expected 5 values, received 2", "comm_mpi_program.cpp:"},
                   [&] { world_.recv(values, 0, 3); });
    }
    if (world_.rank() == 0) world_.send({values.data(), 2}, 1, 4);
    if (world_.rank() == 1) {
      Request request = world_.irecv(values, 0, 4);
      expect_error("short message", {"wait for irecv on rank 1", "expected 5 values, received 2"},
                   [&] { world_.wait(request); });
    }
    world_.barrier();
  }

  void loan_of_another_size() {
    const AlignedFloats values(40'000);
    AlignedFloats room(50'000);
    if (world_.rank() == 0) {
      Request lent = world_.lend(values, 1, 5);
      world_.wait(lent);
    }
    if (world_.rank() == 1) {
      Request borrowed = world_.borrow(room, 0, 5);
      expect_error("loan of another size",
                   {"wait for borrow on rank 1 of group world, from rank 0 (tag 5)",
                    "expected 50000 values, received 40000"},
                   [&] { (void)world_.read(borrowed); });
    }
    world_.barrier();
  }

  void truncated_message() {
    std::array<float, 5> values{};
    if (world_.rank() == 0) world_.send(values, 1, 3);
    if (world_.rank() == 1) {
      expect_error("long message", {"recv on rank 1 of group world", "MPI_ERR_TRUNCATE"}, [&] {
        world_.recv({values.data(), 2}, 0, 3);
      });
    }
    world_.barrier();
  }

  void dropped_request() {
    // Both live on, so that the dropped receive can still be served; the request does not.
    static float got = 0.0F;
    static const float sent = 1.0F;
    { Request dropped = world_.irecv({&got, 1}, world_.rank(), 6); }
    expect_error("dropped request",
                 {"irecv on rank", "(tag 6)", "comm_mpi_program.cpp:", "dropped without a wait"},
                 [&] {
                   world_.send({&sent, 1}, world_.rank(), 6);
                 });
  }

  Comm& world_;
  bool failed_ = false;
};

int run(std::string_view how) {
  using std::chrono::milliseconds;
  bool told_of_dropped = false;
  const bool hangs = how == "hang";
  int status = 0;
  {
    MpiWorld mpi(MpiWorld::default_deadline, [&](const std::string& report) {
      told_of_dropped = report.find("dropped without a wait") != std::string::npos;
      if (told_of_dropped) return;
      std::cerr << "comm_mpi_program: " + report + "\n";
      std::_Exit(3);
    });
    if (hangs) {
      mpi.set_deadline(milliseconds(300));
      float value = 0.0F;
      mpi.comm().recv({&value, 1}, mpi.comm().rank(), 0);
    }
    if (how == "abort") {
      if (mpi.comm().rank() == 0) mpi.abort(4);
      mpi.comm().barrier();
    }
    if (how == "throw") {
      const auto group = mpi.comm().split("pair", 0, 0);
      if (mpi.comm().rank() == 0) throw std::runtime_error("rank 0 is unhappy");
      group->barrier();
    }
    MpiChecks checks(mpi.comm());
    checks.misuse(mpi);
    checks.run();
    status = checks.failed() ? 1 : 0;
  }
  if (const CommunicatorCalls calls = communicator_calls(); calls.made != calls.freed) {
    std::cerr << "comm_mpi_program: " + std::to_string(calls.made) + " communicators made, " +
                     std::to_string(calls.freed) + " freed\n";
    status = 1;
  }
  if (!told_of_dropped) {
    std::cerr << "comm_mpi_program: the end of MPI did not tell of the dropped request\n";
    status = 1;
  }
  return status;
}

}  // namespace
}  // namespace meshparity

int main(int argc, char** argv) {
  try {
    return meshparity::run(argc > 1 ? argv[1] : "");
  } catch (const std::exception& error) {
    std::cerr << std::string("comm_mpi_program: ") + error.what() + "\n";
    return 5;
  }
}
