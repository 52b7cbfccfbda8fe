// CoreArbiter: who computes on which cores. ggml's threads wait for each other by spinning, so two workers on the
// same cores make each other's steps ten to fifty times slower; here no more threads compute than there are cores.
// One worker with work has all the threads that it wants; a few share the cores, at least one each; when there are
// more workers than cores, as many as there are cores hold one thread at a time, and they take turns.
// A worker gives back at the end of a step, and only then is its core another's; one that does not give back is not
// waited for longer than late_ns. Counted too: a worker that loads, as one thread. Not counted: the gateway's own
// thread, which is busy for some 40 us per token; a core kept for it would cost two cores half of what they can do,
// while now and then it pushes a compute thread aside for that long. Nor the reading of text in a worker.
// Use: add() with the process, want() whenever that changes, held() with its frames, tick() when due_ns() is there.
// Owned by the Supervisor. Threads: one. Pure: time comes in, leases go out through the callback of the worker.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {

struct CoreOptions {
  std::uint32_t cores = 1;               // at least 1
  std::int64_t slice_ns = 25'000'000;    // of a turn, when workers take turns
  std::int64_t late_ns = 2'000'000'000;  // asked to give back for this long: not waited for any more
  // What a worker has left is kept for it this long, unless another has nothing: a client that asks again at once
  // would wait for the end of a step.
  std::int64_t linger_ns = 5'000'000;
};

class CoreArbiter {
 public:
  using Id = std::uint64_t;
  // A lease for the worker. `waited_ns`: since it wanted cores and had none; 0 when it had one. Must not
  // change the arbiter.
  using Send = std::function<void(const ipc::Lease& lease, std::int64_t waited_ns)>;

  explicit CoreArbiter(CoreOptions options) : options_(options) {}

  // A worker that loads, on one thread, and may later compute on `threads`.
  [[nodiscard]] Id add(std::uint32_t threads, Send send, std::int64_t now_ns);
  // It waits for work from now on. Its first lease is one for no threads.
  void loaded(Id id, std::int64_t now_ns);
  // The process has ended, or is killed. Unknown ids are ignored here and below.
  void remove(Id id, std::int64_t now_ns);

  // Whether there is something to compute for it. To be said again with all that is sent to it: a worker that gives a
  // lease back whole, because clients that do not read hold all that it has, gets the next one after that.
  void want(Id id, bool wants, std::int64_t now_ns);
  // Errors: kInternal when it says what cannot be.
  Result<void> held(Id id, const ipc::LeaseHeld& held, std::int64_t now_ns);

  // Turns that end, and workers that are late.
  void tick(std::int64_t now_ns);
  // When tick() has something to do; nothing while no worker waits for another.
  [[nodiscard]] std::optional<std::int64_t> due_ns() const;

  struct Use {
    std::uint32_t threads = 0;  // that it may compute on
    bool waits = false;         // wants cores and has none
    bool declined = false;      // was given some, and had nothing to compute
  };
  [[nodiscard]] Use use(Id id) const;

 private:
  // The lease that is to make a worker smaller, until it answers.
  struct Shrink {
    std::uint64_t number = 0;
    std::uint32_t threads = 0;
  };
  struct Worker {
    Id id = 0;
    std::uint32_t most = 1;
    Send send;
    bool loading = true;
    bool wants = false;
    std::uint32_t level = 0;   // threads that it may compute on at this moment, at most
    std::uint32_t target = 0;  // threads that it should have
    std::uint64_t number = 0;  // of its last lease
    std::uint64_t raised = 0;  // of the last one that made it larger
    std::optional<Shrink> shrink;
    std::optional<std::int64_t> asked_ns;  // to give back, and has not
    bool late = false;                     // counts as nothing until it says something
    bool news = false;                     // something was sent to it after its last lease
    bool declined = false;                 // it gave back all of a lease, and has read all that was sent before
    std::int64_t turn_began_ns = 0;
    std::int64_t waits_since_ns = 0;
    std::int64_t lingers_until_ns = 0;

    [[nodiscard]] bool claims() const { return wants && !late && !declined; }
  };
  using Claims = std::vector<Worker*>;

  [[nodiscard]] Worker* find(Id id);
  [[nodiscard]] std::uint32_t free_cores() const;
  void rebalance(std::int64_t now_ns);
  void divide(const Claims& claims, std::uint32_t cores);
  void take_turns(Claims claims, std::uint32_t cores, std::int64_t now_ns);
  void due_by(std::int64_t at_ns) { change_due_ = std::min(change_due_.value_or(at_ns), at_ns); }
  void ask_back(Worker& worker, std::int64_t now_ns);
  void grant(std::int64_t now_ns, bool turns);

  CoreOptions options_;
  std::vector<Worker> workers_;  // in order of arrival of their work
  Id last_id_ = 0;
  // When the first turn ends that is not over, and until when somebody keeps what another could use.
  std::optional<std::int64_t> change_due_;
};

}  // namespace shoal::engine
