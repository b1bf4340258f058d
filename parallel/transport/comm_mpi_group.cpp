#include "parallel/transport/comm_mpi_group.h"

#include <atomic>
#include <bit>
#include <exception>
#include <utility>
#include <vector>

#include "parallel/transport/float_order.h"

namespace meshparity {
namespace {

// A loan of fewer values is faster as a message than as an address and a read.
constexpr std::size_t kLeastShown = 1 << 11;

int rank_in(MPI_Comm communicator) {
  int rank = 0;
  MPI_Comm_rank(communicator, &rank);
  return rank;
}

std::size_t size_of(MPI_Comm communicator) {
  int size = 0;
  MPI_Comm_size(communicator, &size);
  return static_cast<std::size_t>(size);
}

/// A group of MPI processes.
class MpiComm final : public Comm {
 public:
  MpiComm(std::string name, MPI_Comm communicator, MpiProcess& process)
      : Comm(std::move(name), static_cast<std::size_t>(rank_in(communicator)),
             size_of(communicator)),
        communicator_(communicator),
        process_(process),
        exceptions_(std::uncaught_exceptions()),
        blocks_(size()),
        incoming_(size()),
        neighbours_(size()) {
    MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN);
    check_mpi(MPI_Comm_dup(communicator_, &returns_), collective("split", CallSite::here()));
    find_neighbours();
  }

  ~MpiComm() override {
    // Freeing is collective: while an exception is under way, the others may never get here.
    if (std::uncaught_exceptions() != exceptions_) return;
    MPI_Comm_free(&returns_);
    if (communicator_ != MPI_COMM_WORLD) MPI_Comm_free(&communicator_);
  }

 private:
  /// The sizes and starts of the ranks' blocks in a buffer, as MPI takes them; kept to be used
  /// again.
  struct Blocks {
    explicit Blocks(std::size_t ranks) : sizes(ranks), starts(ranks) {}

    void set(std::span<const std::size_t> counts) {
      std::size_t start = 0;
      for (std::size_t r = 0; r < counts.size(); ++r) {
        sizes[r] = checked_count(counts[r]);
        starts[r] = checked_count(start);
        start += counts[r];
      }
    }

    std::vector<int> sizes;
    std::vector<int> starts;
  };

  void find_neighbours() {
    std::vector<int> ranks(size());
    std::vector<int> in_world(size());
    for (std::size_t r = 0; r < size(); ++r) ranks[r] = static_cast<int>(r);
    MPI_Group mine = MPI_GROUP_NULL;
    MPI_Group world = MPI_GROUP_NULL;
    MPI_Comm_group(communicator_, &mine);
    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_translate_ranks(mine, static_cast<int>(size()), ranks.data(), world, in_world.data());
    MPI_Group_free(&mine);
    MPI_Group_free(&world);
    for (std::size_t r = 0; r < size(); ++r) {
      neighbours_[r] = process_.neighbour(static_cast<std::size_t>(in_world[r]));
    }
  }

  CommOperation collective(const char* name, CallSite site) const {
    return {.name = name, .group = &this->name(), .rank = rank(), .site = site};
  }

  CommOperation with_peer(const char* name, const char* role, std::size_t peer, int tag,
                          CallSite site) const {
    return {.name = name,
            .group = &this->name(),
            .rank = rank(),
            .site = site,
            .peer_role = role,
            .peer = peer,
            .tag = tag};
  }

  /// Makes an MPI call: under watch, its error turned into an exception.
  template <typename Call>
  void run(const CommOperation& operation, Call call) {
    const std::string dropped = process_.dropped_requests();
    if (!dropped.empty()) throw CommError(dropped);
    const MpiProcess::Watched watched(process_, operation);
    check_mpi(call(), operation);
  }

  void do_send(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    const int count = checked_count(values.size());
    run(with_peer("send", "to", to, tag, site), [&] {
      return MPI_Send(values.data(), count, MPI_FLOAT, checked_count(to), tag, communicator_);
    });
  }

  void do_recv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    const int count = checked_count(values.size());
    const CommOperation operation = with_peer("recv", "from", from, tag, site);
    MPI_Status status;
    run(operation, [&] {
      return MPI_Recv(values.data(), count, MPI_FLOAT, checked_count(from), tag, communicator_,
                      &status);
    });
    check_size(status, values.size(), operation);
  }

  Request do_isend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    return start_send(values, with_peer("isend", "to", to, tag, site));
  }

  Request do_irecv(std::span<float> values, std::size_t from, int tag, CallSite site) override {
    return start_receive(values, with_peer("irecv", "from", from, tag, site));
  }

  Request start_send(std::span<const float> values, const CommOperation& operation) {
    const int count = checked_count(values.size());
    auto transfer = process_.new_transfer(operation);
    run(operation, [&] {
      return MPI_Isend(values.data(), count, MPI_FLOAT, checked_count(operation.peer),
                       operation.tag, communicator_, &transfer->request);
    });
    transfer->active = true;
    return Request(std::move(transfer));
  }

  Request start_receive(std::span<float> room, const CommOperation& operation) {
    const int count = checked_count(room.size());
    auto transfer = process_.new_transfer(operation);
    run(operation, [&] {
      return MPI_Irecv(room.data(), count, MPI_FLOAT, checked_count(operation.peer), operation.tag,
                       communicator_, &transfer->request);
    });
    transfer->receives = true;
    transfer->room = room;
    transfer->active = true;
    return Request(std::move(transfer));
  }

  /// Whether a loan of `size` values is read in place. Lender and borrower come to the same answer.
  bool shows(std::size_t size, std::size_t peer) const {
    return size >= kLeastShown && neighbours_[peer] != nullptr;
  }

  // The lender sends the place of the values; an empty message gives them back.

  Request do_lend(std::span<const float> values, std::size_t to, int tag, CallSite site) override {
    const CommOperation operation = with_peer("lend", "to", to, tag, site);
    if (!shows(values.size(), to)) return start_send(values, operation);
    auto transfer = process_.new_transfer(operation);
    transfer->place = {process_.show(values, *transfer), values.size()};
    std::atomic_thread_fence(std::memory_order_release);
    run(operation, [&] {
      const int rank = checked_count(to);
      const int result =
          MPI_Irecv(nullptr, 0, MPI_FLOAT, rank, tag, returns_, &transfer->given_back);
      if (result != MPI_SUCCESS) return result;
      return MPI_Isend(transfer->place.data(), 2, MPI_UINT64_T, rank, tag, communicator_,
                       &transfer->request);
    });
    transfer->active = true;
    return Request(std::move(transfer));
  }

  Request do_borrow(std::span<float> room, std::size_t from, int tag, CallSite site) override {
    const CommOperation operation = with_peer("borrow", "from", from, tag, site);
    if (!shows(room.size(), from)) return start_receive(room, operation);
    auto transfer = process_.new_transfer(operation);
    transfer->lender = neighbours_[from];
    transfer->returns = returns_;
    transfer->room = room;
    transfer->receives = true;
    run(operation, [&] {
      return MPI_Irecv(transfer->place.data(), 2, MPI_UINT64_T, checked_count(from), tag,
                       communicator_, &transfer->request);
    });
    transfer->active = true;
    return Request(std::move(transfer));
  }

  Transfer& transfer_of(const char* operation, Request& request, CallSite site) const {
    auto* transfer = dynamic_cast<Transfer*>(request.state());
    if (transfer == nullptr) {
      throw CommError(describe(collective(operation, site)) +
                      ": the request belongs to another transport");
    }
    return *transfer;
  }

  /// Waits for the message, or for the place of the lent values.
  void arrive(Transfer& transfer, CommOperation operation) {
    if (transfer.arrived) return;
    const std::string name = std::string("wait for ") + operation.name;
    operation.name = name.c_str();
    MPI_Status status;
    // NOLINTNEXTLINE(clang-analyzer-optin.mpi.MPI-Checker): begun by do_isend, do_irecv or a loan
    run(operation, [&] { return MPI_Wait(&transfer.request, &status); });
    transfer.arrived = true;
    if (!transfer.receives) return;
    // A wrong size throws: the transfer is then over.
    transfer.active = false;
    if (transfer.lender == nullptr) {
      check_size(status, transfer.room.size(), operation);
    } else {
      std::atomic_thread_fence(std::memory_order_acquire);
      if (transfer.place[1] != transfer.room.size()) give_back(transfer, operation);
      check_count(transfer.place[1], transfer.room.size(), operation);
    }
    transfer.active = true;
  }

  void give_back(const Transfer& loan, CommOperation operation) {
    operation.name = "give back";
    run(operation, [&] {
      return MPI_Send(nullptr, 0, MPI_FLOAT, checked_count(operation.peer), operation.tag,
                      loan.returns);
    });
  }

  std::span<const float> do_read(Request& incoming, CallSite site) override {
    Transfer& transfer = transfer_of("read", incoming, site);
    CommOperation operation = transfer.operation;
    operation.site = site;
    if (!transfer.receives) throw CommError(describe(operation) + ": brings nothing to read");
    arrive(transfer, operation);
    if (transfer.lender == nullptr) return transfer.room;
    return transfer.lender->values(transfer.place[0], transfer.place[1]);
  }

  void do_wait(Request& request, CallSite site) override {
    Transfer& transfer = transfer_of("wait", request, site);
    CommOperation operation = transfer.operation;
    operation.site = site;
    arrive(transfer, operation);
    if (transfer.lender != nullptr) give_back(transfer, operation);
    if (transfer.given_back != MPI_REQUEST_NULL) {
      operation.name = "wait for the return of lend";
      run(operation, [&] { return MPI_Wait(&transfer.given_back, MPI_STATUS_IGNORE); });
    }
    transfer.active = false;
    request.clear();
  }

  void do_broadcast(std::span<float> values, std::size_t root, CallSite site) override {
    const int count = checked_count(values.size());
    run(collective("broadcast", site), [&] {
      return MPI_Bcast(values.data(), count, MPI_FLOAT, checked_count(root), communicator_);
    });
  }

  void do_all_gather(std::span<const float> mine, std::span<float> all,
                     std::span<const std::size_t> counts, CallSite site) override {
    blocks_.set(counts);
    run(collective("all_gather", site), [&] {
      return MPI_Allgatherv(mine.data(), blocks_.sizes[rank()], MPI_FLOAT, all.data(),
                            blocks_.sizes.data(), blocks_.starts.data(), MPI_FLOAT, communicator_);
    });
  }

  void do_all_to_all(std::span<const float> outgoing, std::span<const std::size_t> outgoing_counts,
                     std::span<float> incoming, std::span<const std::size_t> incoming_counts,
                     CallSite site) override {
    blocks_.set(outgoing_counts);
    incoming_.set(incoming_counts);
    run(collective("all_to_all", site), [&] {
      return MPI_Alltoallv(outgoing.data(), blocks_.sizes.data(), blocks_.starts.data(), MPI_FLOAT,
                           incoming.data(), incoming_.sizes.data(), incoming_.starts.data(),
                           MPI_FLOAT, communicator_);
    });
  }

  void do_barrier(CallSite site) override {
    run(collective("barrier", site), [&] { return MPI_Barrier(communicator_); });
  }

  void do_all_reduce_integers(std::span<std::uint64_t> values, CallSite site) override {
    const int count = checked_count(values.size());
    run(collective("all_reduce_integers", site), [&] {
      return MPI_Allreduce(MPI_IN_PLACE, values.data(), count, MPI_UINT64_T, MPI_SUM,
                           communicator_);
    });
  }

  void do_all_reduce_maximum(std::span<float> values, CallSite site) override {
    const int count = checked_count(values.size());
    // MPI's maximum of floats is free in what it makes of zeros and NaN. Integers have one order.
    for (float& value : values) value = std::bit_cast<float>(place_in_order(value));
    run(collective("all_reduce_maximum", site), [&] {
      return MPI_Allreduce(MPI_IN_PLACE, values.data(), count, MPI_INT32_T, MPI_MAX, communicator_);
    });
    for (float& value : values) value = float_at_place(std::bit_cast<std::int32_t>(value));
  }

  void do_native_all_reduce(std::span<float> values, CallSite site) override {
    const int count = checked_count(values.size());
    run(collective("native_all_reduce", site), [&] {
      return MPI_Allreduce(MPI_IN_PLACE, values.data(), count, MPI_FLOAT, MPI_SUM, communicator_);
    });
  }

  void do_native_reduce_scatter(std::span<const float> values, std::span<float> mine,
                                std::span<const std::size_t> counts, CallSite site) override {
    blocks_.set(counts);
    run(collective("native_reduce_scatter", site), [&] {
      return MPI_Reduce_scatter(values.data(), mine.data(), blocks_.sizes.data(), MPI_FLOAT,
                                MPI_SUM, communicator_);
    });
  }

  std::unique_ptr<Comm> do_split(const std::string& name, std::size_t colour, std::size_t key,
                                 CallSite site) override {
    MPI_Comm made = MPI_COMM_NULL;
    run(collective("split", site), [&] {
      return MPI_Comm_split(communicator_, checked_count(colour), checked_count(key), &made);
    });
    return std::make_unique<MpiComm>(name, made, process_);
  }

  MPI_Comm communicator_;
  MpiProcess& process_;
  const int exceptions_;
  MPI_Comm returns_ = MPI_COMM_NULL;  // for loans that are given back
  Blocks blocks_;                     // gathered, scattered or outgoing
  Blocks incoming_;
  std::vector<const PeerArena*> neighbours_;  // [rank]; null where memory is not shown
};

}  // namespace

std::unique_ptr<Comm> mpi_group(std::string name, MPI_Comm communicator, MpiProcess& process) {
  return std::make_unique<MpiComm>(std::move(name), communicator, process);
}

}  // namespace meshparity
