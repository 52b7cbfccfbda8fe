// Who may compute on how many cores: told step by step, and over random lives of many workers with messages that
// cross, where the cores in use are counted at the workers.
#include "shoal/engine/core_lease.h"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int64_t kMs = 1'000'000;

class CoreArbiterTest : public testing::Test {
 protected:
  void make(std::uint32_t cores) {
    CoreOptions options;
    options.cores = cores;
    options.linger_ns = 0;
    options.late_ns = 1'000 * kMs;
    arbiter = std::make_unique<CoreArbiter>(options);
  }
  // A worker that is ready.
  CoreArbiter::Id add(const std::string& name, std::uint32_t threads = 8) {
    const auto id = loading(name, threads);
    arbiter->loaded(id, now);
    EXPECT_EQ(sent.back(), name + "0") << "it must not begin by itself";
    sent.pop_back();
    return id;
  }
  CoreArbiter::Id loading(const std::string& name, std::uint32_t threads = 8) {
    return arbiter->add(
        threads,
        [this, name](const ipc::Lease& lease, std::int64_t waited_ns) {
          sent.push_back(name + std::to_string(lease.threads));
          number[name] = lease.number;
          waited[name] = waited_ns;
        },
        now);
  }
  void want(CoreArbiter::Id id, bool wants = true) { arbiter->want(id, wants, now); }
  void gives(CoreArbiter::Id id, const std::string& name, std::uint32_t left) {
    const auto result = arbiter->held(id, {left, number[name]}, now);
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message());
  }
  void after_ms(std::int64_t ms) {
    now += ms * kMs;
    arbiter->tick(now);
  }
  std::vector<std::string> took() { return std::exchange(sent, {}); }

  std::unique_ptr<CoreArbiter> arbiter;
  std::int64_t now = 1'000 * kMs;
  std::vector<std::string> sent;
  std::map<std::string, std::uint64_t> number;
  std::map<std::string, std::int64_t> waited;
};

TEST_F(CoreArbiterTest, OneWorkerWithWorkHasAllItsThreadsAtOnce) {
  make(4);
  const auto a = add("a");
  add("b");
  EXPECT_THAT(took(), IsEmpty());
  want(a);
  EXPECT_THAT(took(), ElementsAre("a4"));
  EXPECT_EQ(arbiter->use(a).threads, 4U);
  EXPECT_FALSE(arbiter->due_ns()) << "nobody waits, so no timer runs";
  want(a, false);
  EXPECT_THAT(took(), IsEmpty()) << "it gives back by itself";
  EXPECT_EQ(arbiter->use(a).threads, 4U) << "and has not yet";
  gives(a, "a", 0);
  EXPECT_EQ(arbiter->use(a).threads, 0U);
  EXPECT_FALSE(arbiter->use(a).waits);
}

TEST_F(CoreArbiterTest, NoWorkerHasMoreThreadsThanItWasStartedWith) {
  make(8);
  const auto a = add("a", 3);
  const auto b = add("b", 1);
  want(a);
  want(b);
  EXPECT_THAT(took(), ElementsAre("a3", "b1"));
}

TEST_F(CoreArbiterTest, ASecondWorkerHasCoresOnlyWhenTheFirstGaveThemBack) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  EXPECT_THAT(took(), ElementsAre("a2", "a1"));
  EXPECT_TRUE(arbiter->use(b).waits);
  now += 7 * kMs;
  gives(a, "a", 1);
  EXPECT_THAT(took(), ElementsAre("b1"));
  EXPECT_EQ(waited["b"], 7 * kMs);
  want(b, false);
  EXPECT_THAT(took(), IsEmpty());
  gives(b, "b", 0);
  EXPECT_THAT(took(), ElementsAre("a2"));
}

TEST_F(CoreArbiterTest, CoresAreDividedAndWhatIsLeftGoesByArrival) {
  make(8);
  const auto a = add("a");
  const auto b = add("b");
  const auto c = add("c");
  want(b);
  want(a);
  want(c);
  gives(b, "b", 4);
  EXPECT_THAT(took(), ElementsAre("b8", "b4", "b3", "a3", "c1"));
  gives(b, "b", 3);
  EXPECT_THAT(took(), ElementsAre("c2"));
}

TEST_F(CoreArbiterTest, MoreWorkersThanCoresTakeTurns) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  const auto c = add("c");
  want(a);
  want(b);
  now += 5 * kMs;
  gives(a, "a", 1);
  want(c);
  EXPECT_THAT(took(), ElementsAre("a2", "a1", "b1"));
  ASSERT_TRUE(arbiter->due_ns());
  EXPECT_EQ(*arbiter->due_ns(), now + 20 * kMs) << "a began 5 ms before b";
  EXPECT_LE(CoreOptions().slice_ns, 50 * kMs);
  after_ms(20);
  EXPECT_THAT(took(), ElementsAre("a0")) << "one waits, so one has to go";
  now += 5 * kMs;
  gives(a, "a", 0);
  EXPECT_THAT(took(), ElementsAre("b0", "c1")) << "a waits now, and b's turn is over too";
  gives(b, "b", 0);
  EXPECT_THAT(took(), ElementsAre("a1"));
  after_ms(24);
  EXPECT_THAT(took(), IsEmpty());
  after_ms(1);
  EXPECT_THAT(took(), ElementsAre("c0"));
  want(c, false);
  gives(c, "c", 0);
  EXPECT_THAT(took(), ElementsAre("b1"));
  EXPECT_FALSE(arbiter->due_ns()) << "as many workers as cores: no turns";
}

TEST_F(CoreArbiterTest, ATurnThatIsOverIsAskedForOnceAndTheTimerRests) {
  make(1);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  after_ms(30);
  after_ms(30);
  EXPECT_THAT(took(), ElementsAre("a1", "a0"));
  EXPECT_EQ(*arbiter->due_ns(), now - 30 * kMs + 1'000 * kMs) << "only whether it is late is of interest now";
}

TEST_F(CoreArbiterTest, OneThatDoesNotGiveBackIsNotWaitedForForEver) {
  make(1);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  after_ms(25);
  after_ms(999);
  EXPECT_THAT(took(), ElementsAre("a1", "a0"));
  after_ms(1);
  EXPECT_THAT(took(), ElementsAre("b1"));
  EXPECT_FALSE(arbiter->use(a).waits) << "so its watchdog goes on counting";
  EXPECT_FALSE(arbiter->due_ns());
  // It comes back: its core is given back at last, and it has its turn like the others.
  gives(a, "a", 0);
  EXPECT_TRUE(arbiter->use(a).waits);
  after_ms(25);
  gives(b, "b", 0);
  EXPECT_THAT(took(), ElementsAre("b0", "a1"));
}

TEST_F(CoreArbiterTest, OneThatHasNoWorkAndKeepsItsCoresIsNotWaitedForEither) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(a, false);
  want(b);
  EXPECT_THAT(took(), ElementsAre("a2"));
  after_ms(1'000);
  EXPECT_THAT(took(), ElementsAre("b2"));
  want(a);
  EXPECT_THAT(took(), ElementsAre("b1", "a1")) << "it has cores still, and is counted again";
}

TEST_F(CoreArbiterTest, ADeadHolderLeavesItsCoresToTheOthers) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  took();
  arbiter->remove(a, now);
  EXPECT_THAT(took(), ElementsAre("b2"));
  EXPECT_TRUE(arbiter->held(a, {0, 1}, now).ok()) << "its last words";
  want(a);
  EXPECT_THAT(took(), IsEmpty());
}

TEST_F(CoreArbiterTest, AReleaseThatCrossesASmallerLeaseEndsTheWait) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  const auto first = number["a"];
  want(b);  // a is asked for one of its two
  took();
  EXPECT_TRUE(arbiter->held(a, {0, first}, now).ok());
  EXPECT_EQ(arbiter->use(a).threads, 1U) << "the lease for one is still on its way to it";
  EXPECT_THAT(took(), ElementsAre("b1"));
}

TEST_F(CoreArbiterTest, AReleaseThatCrossesALargerLeaseFreesNothing) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  gives(a, "a", 1);
  const auto second = number["a"];
  want(b, false);
  gives(b, "b", 0);
  EXPECT_EQ(arbiter->use(a).threads, 2U);
  EXPECT_TRUE(arbiter->held(a, {0, second}, now).ok());
  EXPECT_EQ(arbiter->use(a).threads, 2U);
  want(b);  // asked for one back before the larger lease was read
  EXPECT_TRUE(arbiter->held(a, {0, second}, now).ok());
  EXPECT_EQ(arbiter->use(a).threads, 2U) << "it may compute one step on two";
  gives(a, "a", 1);
  EXPECT_EQ(arbiter->use(a).threads + arbiter->use(b).threads, 2U);
}

TEST_F(CoreArbiterTest, AReleaseThatCrossesARequestIsFollowedByANewLease) {
  make(2);
  const auto a = add("a");
  want(a);
  want(a);           // the next request was sent
  gives(a, "a", 0);  // before it came the worker had finished
  EXPECT_THAT(took(), ElementsAre("a2", "a2"));
}

TEST_F(CoreArbiterTest, WhoHasNothingToComputeIsAskedAgainOnlyWithSomethingNew) {
  make(2);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  gives(a, "a", 0);  // clients that do not read hold all that it has
  EXPECT_THAT(took(), ElementsAre("a2"));
  EXPECT_TRUE(arbiter->use(a).declined);
  EXPECT_FALSE(arbiter->use(a).waits);
  want(b);
  EXPECT_THAT(took(), ElementsAre("b2")) << "the others do not share with it";
  want(b, false);
  gives(b, "b", 0);
  want(a);  // somebody has read
  EXPECT_THAT(took(), ElementsAre("a2"));
  EXPECT_FALSE(arbiter->use(a).declined);
}

TEST_F(CoreArbiterTest, AWorkerThatWasAskedToGiveBackAllHasDeclinedNothing) {
  make(1);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  after_ms(25);
  gives(a, "a", 0);
  EXPECT_FALSE(arbiter->use(a).declined);
  EXPECT_TRUE(arbiter->use(a).waits);
}

TEST_F(CoreArbiterTest, WhatCannotBeIsRefused) {
  make(2);
  const auto a = add("a");
  want(a);
  EXPECT_FALSE(arbiter->held(a, {3, number["a"]}, now).ok()) << "more than it had";
  EXPECT_FALSE(arbiter->held(a, {0, number["a"] + 1}, now).ok()) << "a lease that was not given";
  EXPECT_EQ(arbiter->use(a).threads, 2U);
}

TEST_F(CoreArbiterTest, WorkersThatLoadTakeACoreEachButNotTheLast) {
  make(3);
  const auto a = add("a");
  want(a);
  const auto b = loading("b");
  gives(a, "a", 2);
  loading("c");
  gives(a, "a", 1);
  loading("d");
  EXPECT_THAT(took(), ElementsAre("a3", "a2", "a1"));
  arbiter->loaded(b, now);
  EXPECT_THAT(took(), ElementsAre("b0")) << "two load still, one core is left";
  want(b);
  after_ms(25);
  EXPECT_THAT(took(), ElementsAre("a0"));
}

TEST_F(CoreArbiterTest, AShareIsKeptForAMomentForAWorkerThatAsksAgain) {
  CoreOptions options;
  options.cores = 2;
  arbiter = std::make_unique<CoreArbiter>(options);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  gives(a, "a", 1);
  took();
  want(b, false);
  gives(b, "b", 0);
  EXPECT_THAT(took(), IsEmpty());
  after_ms(4);
  want(b);
  EXPECT_THAT(took(), ElementsAre("b1")) << "without a wait for a's step";
  want(b, false);
  gives(b, "b", 0);
  ASSERT_TRUE(arbiter->due_ns());
  EXPECT_EQ(*arbiter->due_ns(), now + options.linger_ns);
  after_ms(5);
  EXPECT_THAT(took(), ElementsAre("a2"));
  EXPECT_FALSE(arbiter->due_ns());
}

TEST_F(CoreArbiterTest, AShareIsNotKeptWhileSomebodyHasNothing) {
  CoreOptions options;
  options.cores = 1;
  arbiter = std::make_unique<CoreArbiter>(options);
  const auto a = add("a");
  const auto b = add("b");
  want(a);
  want(b);
  want(a, false);
  gives(a, "a", 0);
  EXPECT_THAT(took(), ElementsAre("a1", "b1"));
}

// Workers of the kind of worker/lease.h with steps of random length, and messages that take their time both ways.
class World {
 public:
  World(std::uint32_t seed, std::uint32_t cores, std::size_t workers) : random_(seed) {
    CoreOptions options;
    options.cores = cores;
    options.late_ns = 1'000 * kMs;
    arbiter_ = std::make_unique<CoreArbiter>(options);
    for (std::size_t i = 0; i < workers; ++i) workers_.push_back(std::make_unique<Sim>());
    for (auto& worker : workers_) start(*worker);
  }

  void run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      now_ += pick(1, 3) * kMs;
      Sim& one = *workers_[static_cast<std::size_t>(pick(0, static_cast<int>(workers_.size()) - 1))];
      if (pick(0, 2'000) == 0) {
        restart(one);
      } else if (pick(0, 30) == 0) {
        set_work(one, !one.work);
      }
      advance();
    }
  }
  // Nothing changes any more; everything that is under way arrives.
  void pass_ms(int ms) {
    for (int i = 0; i < ms; ++i) {
      now_ += kMs;
      advance();
    }
  }
  void all_work(bool work) {
    for (auto& worker : workers_) set_work(*worker, work);
  }
  void hang(std::size_t index) { workers_[index]->hung = true; }
  [[nodiscard]] std::uint32_t computing() const {
    std::uint32_t sum = 0;
    for (const auto& worker : workers_) sum += worker->hung ? 0 : worker->computes;
    return sum;
  }
  [[nodiscard]] std::vector<std::int64_t> core_ms() const {
    std::vector<std::int64_t> out;
    for (const auto& worker : workers_) out.push_back(worker->core_ms);
    return out;
  }
  void forget_times() {
    for (auto& worker : workers_) worker->core_ms = 0;
  }
  [[nodiscard]] std::uint32_t most_at_once() const { return most_; }

 private:
  struct Sim {
    CoreArbiter::Id id = 0;
    bool work = false;
    bool hung = false;
    std::uint32_t computes = 0;  // on so many threads, until the step ends
    std::int64_t step_ends = 0;
    std::uint32_t granted = 0;
    std::uint32_t told = 0;
    std::uint64_t number = 0;
    std::int64_t core_ms = 0;
    std::deque<std::pair<std::int64_t, ipc::Lease>> in;
    std::deque<std::pair<std::int64_t, ipc::LeaseHeld>> out;
  };

  int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  std::int64_t arrives(std::int64_t last) { return std::max(last, now_ + pick(0, 4) * kMs); }

  void start(Sim& sim) {
    sim.id = arbiter_->add(
        8,
        [this, &sim](const ipc::Lease& lease, std::int64_t) {
          sim.in.emplace_back(arrives(sim.in.empty() ? 0 : sim.in.back().first), lease);
        },
        now_);
    arbiter_->loaded(sim.id, now_);
  }
  void restart(Sim& sim) {
    arbiter_->remove(sim.id, now_);
    sim = Sim();
    start(sim);
  }
  void set_work(Sim& sim, bool work) {
    sim.work = work;
    arbiter_->want(sim.id, work, now_);
  }
  void advance() {
    for (auto& worker : workers_) {
      if (!worker->hung) live(*worker);
    }
    for (auto& worker : workers_) {
      while (!worker->out.empty() && worker->out.front().first <= now_) {
        const auto held = worker->out.front().second;
        worker->out.pop_front();
        EXPECT_TRUE(arbiter_->held(worker->id, held, now_).ok());
      }
    }
    if (const auto due = arbiter_->due_ns(); due && *due <= now_) arbiter_->tick(now_);
    if (const auto due = arbiter_->due_ns()) {
      EXPECT_GT(*due, now_) << "a timer that rings without end";
    }
    most_ = std::max(most_, computing());
  }
  void live(Sim& sim) {
    sim.core_ms += sim.computes;
    while (!sim.in.empty() && sim.in.front().first <= now_) {
      sim.number = sim.in.front().second.number;
      sim.granted = sim.in.front().second.threads;
      sim.told = std::max(sim.told, sim.granted);
      sim.in.pop_front();
    }
    if (sim.computes > 0 && now_ < sim.step_ends) return;
    sim.computes = sim.work ? sim.granted : 0;
    sim.granted = sim.computes;
    if (sim.computes > 0) sim.step_ends = now_ + pick(1, 12) * kMs;
    if (sim.computes < sim.told) {
      sim.told = sim.computes;
      sim.out.emplace_back(arrives(sim.out.empty() ? 0 : sim.out.back().first),
                           ipc::LeaseHeld{sim.computes, sim.number});
    }
  }

  std::mt19937 random_;
  std::int64_t now_ = 1'000 * kMs;
  std::uint32_t most_ = 0;
  std::unique_ptr<CoreArbiter> arbiter_;
  std::vector<std::unique_ptr<Sim>> workers_;
};

TEST(CoreArbiterLife, NeverMoreThreadsThanCoresAndInTheEndNoCoreIsIdle) {
  for (std::uint32_t seed = 0; seed < 300; ++seed) {
    const std::uint32_t cores = 1 + seed % 5;
    const std::size_t workers = 1 + seed % 7;
    World world(seed, cores, workers);
    world.run(1'000);
    world.pass_ms(300);
    EXPECT_LE(world.most_at_once(), cores) << "seed " << seed;
    world.all_work(true);
    world.pass_ms(300);
    // In turns a core may be on its way from one to another at the moment of looking.
    if (workers <= cores) {
      EXPECT_EQ(world.computing(), cores) << "seed " << seed;
    }
    world.all_work(false);
    world.pass_ms(300);
    EXPECT_EQ(world.computing(), 0U) << "seed " << seed;
    world.all_work(true);
    world.forget_times();
    world.pass_ms(300);
    const auto times = world.core_ms();
    EXPECT_GT(std::reduce(times.begin(), times.end()), 150 * std::min<std::int64_t>(cores, std::ssize(times)));
  }
}

TEST(CoreArbiterLife, TurnsAreEqualWithinATenth) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    World world(seed, 2, 5);
    world.all_work(true);
    world.pass_ms(300);
    world.forget_times();
    world.pass_ms(9'000);
    const auto times = world.core_ms();
    const auto [least, most] = std::ranges::minmax(times);
    EXPECT_GE(static_cast<double>(least), 0.9 * static_cast<double>(most)) << "seed " << seed;
    EXPECT_EQ(world.most_at_once(), 2U);
  }
}

TEST(CoreArbiterLife, TheOthersGoOnBesideOneThatHangs) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    World world(seed, 2, 4);
    world.all_work(true);
    world.pass_ms(10);
    world.hang(0);
    world.pass_ms(1'500);
    world.forget_times();
    world.pass_ms(1'500);
    const auto times = world.core_ms();
    for (std::size_t i = 1; i < times.size(); ++i) EXPECT_GT(times[i], 800) << "seed " << seed << ", worker " << i;
  }
}

}  // namespace
}  // namespace shoal::engine
