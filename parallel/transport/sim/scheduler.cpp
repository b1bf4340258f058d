#include "parallel/transport/sim/scheduler.h"

#include <algorithm>
#include <utility>

namespace meshparity::sim {

Scheduler::Scheduler(const SimOptions& options, Random& random, std::function<void()> stalled)
    : random_(random),
      stalled_(std::move(stalled)),
      patience_(options.patience ? *options.patience : random.up_to(3)),
      order_(options.turns),
      turns_(options.ranks) {
  ready_.reserve(options.ranks);
  for (std::size_t rank = 0; rank < options.ranks; ++rank) make_ready(rank);
}

void Scheduler::run(const std::function<void(std::size_t rank)>& body) {
  for (std::size_t rank = 0; rank < turns_.size(); ++rank) {
    turns_[rank].fiber.emplace([this, &body, rank]() -> Fiber& {
      body(rank);
      return leave(rank);
    });
  }
  caller_.switch_to(*turns_[next()].fiber);
}

void Scheduler::pause(std::size_t rank) {
  if (random_.up_to(patience_) == 0) return switch_from(rank);
  ++turn_;
  fire_due_events();
  throw_if_stopped();
}

void Scheduler::block(std::size_t rank) {
  make_unready(rank);
  switch_from(rank);
}

void Scheduler::wake(std::size_t rank) { make_ready(rank); }

/// Returns who goes on.
Fiber& Scheduler::leave(std::size_t rank) {
  make_unready(rank);
  turns_[rank].left = true;
  return ++left_ < turns_.size() ? *turns_[next()].fiber : caller_;
}

void Scheduler::switch_from(std::size_t rank) {
  const std::size_t chosen = next();
  if (chosen != rank) turns_[rank].fiber->switch_to(*turns_[chosen].fiber);
  throw_if_stopped();
}

std::size_t Scheduler::next() {
  ++turn_;
  fire_due_events();
  while (ready_.empty()) {
    if (events_.empty()) {
      stalled_();
    } else {
      turn_ = events_.front().turn;
      fire_due_events();
    }
  }
  return chosen();
}

std::size_t Scheduler::chosen() const {
  switch (order_) {
    case SimOptions::Turns::lowest_first:
      return *std::ranges::min_element(ready_);
    case SimOptions::Turns::highest_first:
      return *std::ranges::max_element(ready_);
    default:
      return ready_[random_.up_to(ready_.size() - 1)];
  }
}

namespace {

constexpr auto later = [](const auto& a, const auto& b) {
  return std::pair(a.turn, a.sequence) > std::pair(b.turn, b.sequence);
};

}  // namespace

void Scheduler::schedule(Event& event, std::size_t delay) {
  events_.push_back({turn_ + delay, sequence_++, &event});
  std::push_heap(events_.begin(), events_.end(), later);
}

void Scheduler::fire_due_events() {
  // Once the world has stopped, ranks are being unwound and the buffers of events are gone.
  while (!stopped_ && !events_.empty() && events_.front().turn <= turn_) {
    std::pop_heap(events_.begin(), events_.end(), later);
    Event* event = events_.back().event;
    events_.pop_back();
    event->happen();
  }
}

void Scheduler::stop() {
  stopped_ = true;
  for (std::size_t rank = 0; rank < turns_.size(); ++rank) {
    if (!turns_[rank].left && turns_[rank].position == nowhere) make_ready(rank);
  }
}

void Scheduler::make_ready(std::size_t rank) {
  turns_[rank].position = ready_.size();
  ready_.push_back(rank);
}

void Scheduler::make_unready(std::size_t rank) {
  const std::size_t position = turns_[rank].position;
  const std::size_t last = ready_.back();
  ready_[position] = last;
  turns_[last].position = position;
  ready_.pop_back();
  turns_[rank].position = nowhere;
}

}  // namespace meshparity::sim
