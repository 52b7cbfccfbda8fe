#include "shoal/engine/core_lease.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

namespace shoal::engine {

CoreArbiter::Id CoreArbiter::add(std::uint32_t threads, Send send, std::int64_t now_ns) {
  Worker worker;
  worker.id = ++last_id_;
  worker.most = std::max(threads, 1U);
  worker.send = std::move(send);
  workers_.push_back(std::move(worker));
  rebalance(now_ns);
  return last_id_;
}

void CoreArbiter::loaded(Id id, std::int64_t now_ns) {
  Worker* const worker = find(id);
  if (worker == nullptr) return;
  worker->loading = false;
  worker->send({0, ++worker->number}, 0);
  rebalance(now_ns);
}

void CoreArbiter::remove(Id id, std::int64_t now_ns) {
  if (std::erase_if(workers_, [id](const Worker& worker) { return worker.id == id; }) > 0) rebalance(now_ns);
}

void CoreArbiter::want(Id id, bool wants, std::int64_t now_ns) {
  Worker* worker = find(id);
  if (worker == nullptr) return;
  worker->news = worker->news || wants;
  const bool again = std::exchange(worker->declined, false) && wants;
  if (worker->wants == wants) {
    if (again) rebalance(now_ns);
    return;
  }
  worker->wants = wants;
  if (!wants) {
    worker->lingers_until_ns = now_ns + options_.linger_ns;
    // It gives back by itself; only if that takes too long is it not waited for.
    if (worker->level > 0 && !worker->asked_ns) worker->asked_ns = now_ns;
  } else {
    worker->waits_since_ns = now_ns;
    if (!worker->shrink) {
      worker->asked_ns.reset();
      worker->late = false;
    }
    if (now_ns >= worker->lingers_until_ns) {
      const auto place = workers_.begin() + (worker - workers_.data());
      std::rotate(place, place + 1, workers_.end());
    }
  }
  rebalance(now_ns);
}

// Leases and what is given back may cross on their way. `number` tells which lease the worker had read: one that it
// reads later makes it that large again.
Result<void> CoreArbiter::held(Id id, const ipc::LeaseHeld& held, std::int64_t now_ns) {
  Worker* const worker = find(id);
  if (worker == nullptr) return {};
  if (held.number > worker->number || held.threads > worker->level) {
    return Error(ErrorCode::kInternal, fmt::format("{} threads held by lease {}; the last lease was {}, for {} threads",
                                                   held.threads, held.number, worker->number, worker->level));
  }
  if (held.number < worker->raised) return {};  // a larger lease is on its way, and has been counted
  const bool crossed = held.number < worker->number;
  worker->level = crossed && worker->shrink ? worker->shrink->threads : held.threads;
  worker->shrink.reset();
  worker->asked_ns.reset();
  worker->late = false;
  if (worker->level == 0) worker->waits_since_ns = now_ns;
  worker->declined = worker->level == 0 && worker->wants && !worker->news && held.number == worker->raised &&
                     held.number == worker->number;
  rebalance(now_ns);
  return {};
}

void CoreArbiter::tick(std::int64_t now_ns) {
  for (Worker& worker : workers_) {
    if (worker.asked_ns && now_ns - *worker.asked_ns >= options_.late_ns) worker.late = true;
  }
  rebalance(now_ns);
}

std::optional<std::int64_t> CoreArbiter::due_ns() const {
  std::optional<std::int64_t> due = change_due_;
  const bool hungry = std::ranges::any_of(
      workers_, [](const Worker& worker) { return worker.claims() && worker.level < worker.target; });
  if (!hungry) return due;
  for (const Worker& worker : workers_) {
    if (!worker.asked_ns || worker.late) continue;
    const std::int64_t late_ns = *worker.asked_ns + options_.late_ns;
    due = std::min(due.value_or(late_ns), late_ns);
  }
  return due;
}

CoreArbiter::Use CoreArbiter::use(Id id) const {
  const auto found = std::ranges::find(workers_, id, &Worker::id);
  if (found == workers_.end()) return {};
  return {found->level, found->wants && found->level == 0 && !found->declined, found->declined};
}

CoreArbiter::Worker* CoreArbiter::find(Id id) {
  const auto found = std::ranges::find(workers_, id, &Worker::id);
  return found == workers_.end() ? nullptr : &*found;
}

// Those that load cannot be told to wait, and are many when a server starts; one core is never theirs, so that
// answers go on.
std::uint32_t CoreArbiter::free_cores() const {
  const std::uint32_t cores = std::max(options_.cores, 1U);
  const auto loading = static_cast<std::uint32_t>(std::ranges::count_if(workers_, &Worker::loading));
  return cores - std::min(loading, cores - 1);
}

void CoreArbiter::rebalance(std::int64_t now_ns) {
  const std::uint32_t cores = free_cores();
  Claims claims;
  Claims with_lingering;
  std::int64_t lingers_until_ns = std::numeric_limits<std::int64_t>::max();
  change_due_.reset();
  for (Worker& worker : workers_) {
    worker.target = 0;
    const bool lingers = !worker.wants && !worker.late && now_ns < worker.lingers_until_ns;
    if (worker.claims()) claims.push_back(&worker);
    if (worker.claims() || lingers) with_lingering.push_back(&worker);
    if (lingers) lingers_until_ns = std::min(lingers_until_ns, worker.lingers_until_ns);
  }
  if (claims.size() > cores) {
    take_turns(claims, cores, now_ns);
  } else if (with_lingering.size() > claims.size() && with_lingering.size() <= cores && !claims.empty()) {
    divide(with_lingering, cores);
    due_by(lingers_until_ns);
  } else {
    divide(claims, cores);
  }
  for (Worker& worker : workers_) ask_back(worker, now_ns);
  grant(now_ns, claims.size() > cores);
}

// One each, then one more each in order of arrival, until the cores or the threads are used up.
void CoreArbiter::divide(const Claims& claims, std::uint32_t cores) {
  for (bool gave = true; gave && cores > 0;) {
    gave = false;
    for (Worker* worker : claims) {
      if (cores == 0 || worker->target == worker->most) continue;
      ++worker->target;
      --cores;
      gave = true;
    }
  }
}

// First those whose turn is not over, then those that wait, the longest first, then those whose turn is over, the
// last to begin first.
void CoreArbiter::take_turns(Claims claims, std::uint32_t cores, std::int64_t now_ns) {
  const auto rank = [&](const Worker* worker) {
    // A turn that is being given back is over, and has not been waited for.
    if (worker->shrink && worker->shrink->threads == 0) return std::pair{std::int64_t{1}, now_ns};
    if (worker->level == 0) return std::pair{std::int64_t{1}, worker->waits_since_ns};
    const bool over = now_ns - worker->turn_began_ns >= options_.slice_ns;
    return std::pair{std::int64_t{over ? 2 : 0}, -worker->turn_began_ns};
  };
  std::ranges::stable_sort(claims, {}, rank);
  claims.resize(cores);
  for (Worker* worker : claims) worker->target = 1;
  for (const Worker* worker : claims) {
    const std::int64_t ends_ns = worker->turn_began_ns + options_.slice_ns;
    if (worker->level > 0 && ends_ns > now_ns) due_by(ends_ns);
  }
}

// One lease of that kind at a time: what is on its way must stay countable.
void CoreArbiter::ask_back(Worker& worker, std::int64_t now_ns) {
  if (!worker.claims() || worker.shrink || worker.level <= worker.target) return;
  worker.shrink = Shrink{++worker.number, worker.target};
  worker.asked_ns = now_ns;
  worker.send({worker.target, worker.number}, 0);
}

void CoreArbiter::grant(std::int64_t now_ns, bool turns) {
  std::uint32_t cores = free_cores();
  for (const Worker& worker : workers_) cores -= std::min(worker.late ? 0 : worker.level, cores);
  Claims hungry;
  for (Worker& worker : workers_) {
    if (worker.claims() && !worker.shrink && worker.level < worker.target) hungry.push_back(&worker);
  }
  // Who has nothing comes first. Who has something is made larger in one go.
  std::ranges::stable_sort(hungry, {}, [](const Worker* worker) {
    return std::pair{worker->level > 0, worker->level > 0 ? 0 : worker->waits_since_ns};
  });
  for (Worker* worker : hungry) {
    const std::uint32_t more = std::min(worker->target - worker->level, cores);
    if (more == 0 || (worker->level > 0 && worker->level + more < worker->target)) continue;
    const std::int64_t waited_ns = worker->level == 0 ? now_ns - worker->waits_since_ns : 0;
    if (worker->level == 0) {
      worker->turn_began_ns = now_ns;
      if (turns) due_by(now_ns + options_.slice_ns);
    }
    worker->level += more;
    cores -= more;
    worker->raised = ++worker->number;
    worker->news = false;
    worker->send({worker->level, worker->number}, waited_ns);
  }
}

}  // namespace shoal::engine
