// The checks of arguments that every transport shares, and what its messages name.
#include "parallel/transport/comm.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "parallel/transport/call_site.h"
#include "parallel/transport/sim/comm_sim.h"

namespace meshparity {
namespace {

using Counts = std::vector<std::size_t>;

/// What rank 1 of a world of 3 says about a wrong call; the call must not reach the transport.
std::string error_of(const std::function<void(Comm& world)>& call) {
  std::string message = "no error";
  run_simulated({.ranks = 3}, [&](Comm& world) {
    if (world.rank() != 1) return;
    try {
      call(world);
    } catch (const CommError& error) {
      message = error.what();
    }
  });
  return message;
}

void expect_error(const std::string& operation, const std::string& reason,
                  const std::function<void(Comm& world)>& call) {
  const std::string message = error_of(call);
  EXPECT_EQ(message.find(operation + " on rank 1 of group world (3 ranks), called at "
                                     "property_tests/parallel/transport/comm_test.cpp:"),
            0U)
      << message;
  EXPECT_NE(message.find(": " + reason), std::string::npos) << message;
}

TEST(Comm, PeersOutsideTheGroup) {
  std::array<float, 2> values{};
  expect_error("send", "destination rank 3 is not in the group",
               [&](Comm& world) { world.send(values, 3, 0); });
  expect_error("isend", "destination rank 7 is not in the group",
               [&](Comm& world) { world.isend(values, 7, 0); });
  expect_error("recv", "source rank 3 is not in the group",
               [&](Comm& world) { world.recv(values, 3, 0); });
  expect_error("irecv", "source rank 4 is not in the group",
               [&](Comm& world) { world.irecv(values, 4, 0); });
  expect_error("lend", "destination rank 3 is not in the group",
               [&](Comm& world) { world.lend(values, 3, 0); });
  expect_error("borrow", "source rank 5 is not in the group",
               [&](Comm& world) { world.borrow(values, 5, 0); });
  expect_error("broadcast", "root rank 3 is not in the group",
               [&](Comm& world) { world.broadcast(values, 3); });
}

TEST(Comm, TagsOutOfRange) {
  std::array<float, 2> values{};
  expect_error("send", "tag -1 is not in 0..32767",
               [&](Comm& world) { world.send(values, 0, -1); });
  expect_error("recv", "tag 32768 is not in 0..32767",
               [&](Comm& world) { world.recv(values, 0, Comm::max_tag + 1); });
  expect_error("isend", "tag 99999 is not in 0..32767",
               [&](Comm& world) { world.isend(values, 0, 99999); });
  expect_error("irecv", "tag -5 is not in 0..32767",
               [&](Comm& world) { world.irecv(values, 0, -5); });
  expect_error("lend", "tag -2 is not in 0..32767",
               [&](Comm& world) { world.lend(values, 0, -2); });
  expect_error("borrow", "tag 40000 is not in 0..32767",
               [&](Comm& world) { world.borrow(values, 0, 40000); });
}

TEST(Comm, ReadOfNothing) {
  Request nothing;
  expect_error("read", "the request is not pending", [&](Comm& world) { world.read(nothing); });
}

TEST(Comm, CountsOfAllGather) {
  std::array<float, 2> mine{};
  std::array<float, 6> all{};
  expect_error("all_gather", "2 gathered counts for 3 ranks", [&](Comm& world) {
    world.all_gather(mine, all, Counts{4, 2});
  });
  expect_error("all_gather", "gathered counts add up to 7, but the span has 6 values",
               [&](Comm& world) {
                 world.all_gather(mine, all, Counts{4, 2, 1});
               });
  expect_error("all_gather", "the count of this rank is 1, but its span has 2 values",
               [&](Comm& world) {
                 world.all_gather(mine, all, Counts{4, 1, 1});
               });
  expect_error("all_gather", "gathered counts overflow at 2", [&](Comm& world) {
    const Counts counts = {std::numeric_limits<std::size_t>::max(), 2, 5};
    world.all_gather(mine, all, counts);
  });
}

TEST(Comm, CountsOfAllToAll) {
  std::array<float, 3> out{};
  std::array<float, 3> in{};
  const Counts ones = {1, 1, 1};
  expect_error("all_to_all", "4 outgoing counts for 3 ranks", [&](Comm& world) {
    world.all_to_all(out, Counts{1, 1, 1, 0}, in, ones);
  });
  expect_error("all_to_all", "outgoing counts add up to 2, but the span has 3 values",
               [&](Comm& world) {
                 world.all_to_all(out, Counts{1, 1, 0}, in, ones);
               });
  expect_error("all_to_all", "incoming counts add up to 4, but the span has 3 values",
               [&](Comm& world) {
                 world.all_to_all(out, ones, in, Counts{1, 1, 2});
               });
  expect_error("all_to_all", "sends itself 1 values but expects 2", [&](Comm& world) {
    world.all_to_all(out, ones, in, Counts{1, 2, 0});
  });
}

TEST(Comm, CountsOfReduceScatter) {
  std::array<float, 4> values{};
  std::array<float, 1> mine{};
  expect_error("native_reduce_scatter", "1 scattered counts for 3 ranks",
               [&](Comm& world) { world.native_reduce_scatter(values, mine, Counts{4}); });
  expect_error("native_reduce_scatter", "scattered counts add up to 3, but the span has 4 values",
               [&](Comm& world) {
                 world.native_reduce_scatter(values, mine, Counts{1, 1, 1});
               });
  expect_error("native_reduce_scatter", "the count of this rank is 2, but its span has 1 values",
               [&](Comm& world) {
                 world.native_reduce_scatter(values, mine, Counts{1, 2, 1});
               });
}

TEST(Comm, BuffersThatOverlap) {
  std::array<float, 6> values{};
  const std::span<float> all(values);
  const Counts counts = {2, 2, 2};
  const std::string reason = "its input (2 values) and its output (6 values) overlap";
  expect_error("all_gather", reason,
               [&](Comm& world) { world.all_gather(all.subspan(2, 2), all, counts); });
  expect_error("all_to_all", "its input (6 values) and its output (6 values) overlap",
               [&](Comm& world) { world.all_to_all(all, counts, all, counts); });
  expect_error("native_reduce_scatter", "its input (6 values) and its output (2 values) overlap",
               [&](Comm& world) { world.native_reduce_scatter(all, all.last(2), counts); });
}

TEST(Comm, NeighbouringAndEmptyBuffersDoNotOverlap) {
  run_simulated({.ranks = 1}, [](Comm& world) {
    std::array<float, 4> values = {1.0F, 2.0F, 0.0F, 0.0F};
    const std::span<float> all(values);
    world.all_gather(all.first(2), all.last(2), Counts{2});
    EXPECT_EQ(values, (std::array<float, 4>{1.0F, 2.0F, 1.0F, 2.0F}));
    world.all_gather(all.subspan(1, 0), all.subspan(1, 0), Counts{0});
  });
}

TEST(Comm, WaitOfNothingReturns) {
  EXPECT_EQ(error_of([](Comm& world) {
              Request request;
              EXPECT_FALSE(request.pending());
              world.wait(request);
            }),
            "no error");
}

TEST(Comm, RequestOfAnotherTransportIsRefused) {
  struct Foreign : Request::State {};
  const std::string message = error_of([](Comm& world) {
    Request request(std::make_shared<Foreign>());
    world.wait(request);
  });
  EXPECT_NE(message.find("belongs to another"), std::string::npos) << message;
}

TEST(Comm, CallSitesArePathsInTheProject) {
  const std::string site = to_string(CallSite::here());
  EXPECT_TRUE(site.starts_with("property_tests/parallel/transport/comm_test.cpp:")) << site;
  EXPECT_EQ(to_string(CallSite{"mesh.cpp", 1, "f"}), "mesh.cpp:1 (f)");
}

}  // namespace
}  // namespace meshparity
