// Random walks: a Book beside a model that keeps every attempt and adds everything up anew. The model has no rounding
// of its own but that of a whole request.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/ledger/book.h"
#include "shoal/ledger/calendar.h"

namespace shoal::ledger {
namespace {

struct Budget {
  BucketKey key;
  Pico cap;
};
const std::array kBudgets{
    Budget{{.period = Period::kMonth}, Pico(Micro{6'000})},
    Budget{{.period = Period::kDay}, Pico(Micro{1'500})},
    Budget{{.period = Period::kMonth, .owner = Owner::kKey, .name = "one"}, Pico(Micro{2'000})},
    Budget{{.period = Period::kDay, .owner = Owner::kKey, .name = "one"}, Pico(Micro{500})},
    Budget{{.period = Period::kMonth, .owner = Owner::kKey, .name = "two"}, Pico(Micro{2'000})},
    Budget{{.period = Period::kDay, .owner = Owner::kKey, .name = "two"}, Pico(Micro{500})},
    Budget{{.period = Period::kMonth, .owner = Owner::kProvider, .name = "capped"}, Pico(Micro{3'000})}};
constexpr std::size_t kBuckets = std::tuple_size_v<decltype(kBudgets)>;

Pico rounded_up(Pico amount) {
  return Pico(round_up_to_micro(amount));
}

struct Account {
  std::size_t bucket = 0;
  std::int64_t start = 0;
  auto operator<=>(const Account&) const = default;
};

struct Attempt {
  std::string id;
  std::string request{};
  std::vector<Account> accounts{};
  std::vector<BucketId> chain{};
  std::int64_t taken_at = 0;
  std::int64_t expires = 0;
  Pico estimate;
};

struct Request {
  Pico spent;
  bool finished = false;
};

class Walk {
 public:
  explicit Walk(std::uint64_t seed) : random_(seed) { open_book(); }

  void step() {
    switch (pick(20)) {
      case 0:
        now_ += pick(60) == 0 ? 40 * 86'400 : pick(6'000);
        return expire();
      case 1:
        return expire();
      case 2:
        return pick(8) == 0 ? restart() : finish();
      case 3:
      case 4:
        return release();
      case 5:
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
        return settle();
      default:
        return reserve();
    }
  }

  // What must be true at every instant.
  void check() const {
    ASSERT_EQ(book_->holds(), open_.size());
    std::map<Account, Pico> held;
    for (const Attempt& attempt : open_) {
      for (const Account& account : attempt.accounts) held[account] += rounded_up(attempt.estimate);
    }
    std::size_t found = 0;
    for (const BucketState& state : book_->snapshot(now_)) {
      const Account account{bucket_of(state.key), state.start};
      const auto in = [&](const std::map<Account, Pico>& map) {
        const auto entry = map.find(account);
        return entry == map.end() ? Pico() : entry->second;
      };
      ASSERT_EQ(state.held, in(held));
      ASSERT_EQ(state.committed, in(committed_));
      ASSERT_GE(state.committed, Pico());
      ASSERT_LE(state.committed + state.held, *state.cap);
      found += held.contains(account) ? 1U : 0U;
    }
    ASSERT_EQ(found, held.size()) << "a period with holds was forgotten";
  }

  // Every attempt is in the month of all: what it has committed is each request, rounded up once.
  void check_sum() const {
    Pico requests;
    for (const auto& [id, request] : requests_) requests += rounded_up(request.spent);
    Pico months;
    for (const auto& [account, amount] : committed_) months += account.bucket == 0 ? amount : Pico();
    ASSERT_EQ(months, requests);
  }

  // When nothing is under way, all that is not committed can be had, to the last micro-dollar.
  void check_headroom() {
    while (!open_.empty()) settle();
    now_ = month_of(now_).end - 10;
    expire();
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      const Account account{bucket, period(bucket).start};
      const Pico left = kBudgets[bucket].cap - committed_[account];
      const BucketId id = ids_[bucket];
      Reservation all{
          .chain = std::span(&id, 1), .attempt = "all", .request = "all", .amount = left, .expires = now_ + 1};
      all.amount = left + Pico(Int128{1});
      ASSERT_FALSE(book_->reserve(all, now_).ok());
      all.amount = left;
      ASSERT_TRUE(book_->reserve(all, now_).ok());
      ASSERT_TRUE(book_->release("all"));
    }
    book_->finish("all");
  }

  [[nodiscard]] int passed() const { return passed_; }
  [[nodiscard]] int refused() const { return refused_; }
  [[nodiscard]] int expired() const { return expired_; }

 private:
  std::int64_t pick(std::int64_t below) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(below));
  }
  // Up to 60 micro-dollars, mostly not whole ones.
  Pico amount() { return Pico(Int128{pick(5) == 0 ? pick(60) * 1'000'000 : pick(60'000'000)}); }

  [[nodiscard]] Span period(std::size_t bucket) const {
    return kBudgets[bucket].key.period == Period::kDay ? day_of(now_) : month_of(now_);
  }
  static std::size_t bucket_of(const BucketKey& key) {
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      if (kBudgets[bucket].key == key) return bucket;
    }
    ADD_FAILURE() << "no such bucket";
    return 0;
  }

  void open_book() {
    book_ = std::make_unique<Book>();
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      ids_[bucket] = book_->bucket(kBudgets[bucket].key, kBudgets[bucket].cap);
    }
  }

  void reserve() {
    Attempt attempt{.id = "attempt " + std::to_string(++count_),
                    .taken_at = now_,
                    .expires = now_ + 1 + pick(9'000),
                    .estimate = amount()};
    // A third of the attempts are of a request that had some, if one is left.
    attempt.request = last_request_;
    if (last_request_.empty() || pick(3) != 0 || requests_[last_request_].finished) {
      attempt.request = "request " + std::to_string(count_);
    }
    std::vector<std::size_t> buckets{0, 1};
    if (const std::int64_t key = pick(3); key < 2) {
      buckets.insert(buckets.end(), {static_cast<std::size_t>(2 + 2 * key), static_cast<std::size_t>(3 + 2 * key)});
    }
    if (pick(2) == 0) buckets.push_back(kBuckets - 1);
    std::shuffle(buckets.begin(), buckets.end(), random_);
    bool fits = true;
    for (const std::size_t bucket : buckets) {
      const Account account{bucket, period(bucket).start};
      attempt.accounts.push_back(account);
      attempt.chain.push_back(ids_[bucket]);
      Pico taken = committed_[account] + rounded_up(attempt.estimate);
      for (const Attempt& other : open_) {
        if (std::ranges::find(other.accounts, account) != other.accounts.end()) taken += rounded_up(other.estimate);
      }
      fits = fits && taken <= kBudgets[bucket].cap;
    }
    const Result<void> reserved = book_->reserve(reservation(attempt), now_);
    ASSERT_EQ(reserved.ok(), fits);
    ++(fits ? passed_ : refused_);
    if (!fits) return;
    last_request_ = attempt.request;
    requests_[attempt.request];
    open_.push_back(attempt);
  }

  static Reservation reservation(const Attempt& attempt) {
    return {.chain = attempt.chain,
            .attempt = attempt.id,
            .request = attempt.request,
            .amount = attempt.estimate,
            .expires = attempt.expires};
  }

  void end(std::size_t index, Pico cost) {
    const Attempt attempt = open_[index];
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(index));
    Request& request = requests_[attempt.request];
    const Pico before = rounded_up(request.spent);
    request.spent += cost;
    for (const Account& account : attempt.accounts) committed_[account] += rounded_up(request.spent) - before;
  }

  void settle() {
    if (open_.empty()) return;
    const auto index = static_cast<std::size_t>(pick(static_cast<std::int64_t>(open_.size())));
    const Attempt& attempt = open_[index];
    const std::string id = attempt.id;
    const Pico cost = pick(4) == 0 ? attempt.estimate : std::min(amount(), attempt.estimate);
    const std::optional<Pico> settlement = book_->settle(id, cost);
    ASSERT_TRUE(settlement);
    ASSERT_EQ(book_->over(), 0U);
    end(index, cost);
    ASSERT_FALSE(book_->settle(id, cost));
  }

  void release() {
    if (open_.empty()) return;
    const auto index = static_cast<std::size_t>(pick(static_cast<std::int64_t>(open_.size())));
    ASSERT_TRUE(book_->release(open_[index].id));
    end(index, Pico());
  }

  void expire() {
    // In the Book's order: with fractions of micro-dollars it matters which attempt of a request is first.
    for (const ExpiredHold& hold : book_->expire(now_)) {
      const auto at = std::ranges::find(open_, hold.attempt, &Attempt::id);
      ASSERT_NE(at, open_.end());
      ASSERT_LE(at->expires, now_);
      ASSERT_EQ(hold.amount, at->estimate);
      ASSERT_EQ(hold.request, at->request);
      end(static_cast<std::size_t>(at - open_.begin()), hold.amount);
      ++expired_;
    }
    for (const Attempt& attempt : open_) ASSERT_GT(attempt.expires, now_);
  }

  void finish() {
    if (last_request_.empty() || requests_[last_request_].finished) return;
    Request& request = requests_[last_request_];
    const Bill bill = book_->finish(last_request_);
    ASSERT_EQ(bill.exact, request.spent);
    ASSERT_EQ(Pico(bill.billed), rounded_up(request.spent));
    ASSERT_EQ(bill.open, static_cast<std::size_t>(std::ranges::count(open_, last_request_, &Attempt::request)));
    request.finished = true;
  }

  // From what a journal would know: what was committed, and which holds are open.
  void restart() {
    open_book();
    for (std::size_t bucket = 0; bucket < kBuckets; ++bucket) {
      const Account account{bucket, period(bucket).start};
      book_->restore(ids_[bucket], now_, round_up_to_micro(committed_[account]));
    }
    for (Attempt& attempt : open_) {
      book_->restore_hold(reservation(attempt), attempt.taken_at, requests_[attempt.request].spent);
      for (const Account& account : attempt.accounts) {
        book_->restore(ids_[account.bucket], account.start, round_up_to_micro(committed_[account]));
      }
    }
    for (auto& [id, request] : requests_) request.finished = true;
  }

  std::mt19937_64 random_;
  std::unique_ptr<Book> book_;
  std::array<BucketId, kBuckets> ids_{};
  std::int64_t now_ = 1'795'305'600;
  std::vector<Attempt> open_;
  std::map<std::string, Request> requests_;
  std::map<Account, Pico> committed_;
  std::string last_request_;
  int count_ = 0;
  int passed_ = 0;
  int refused_ = 0;
  int expired_ = 0;
};

TEST(BookWalk, AddsUpWhateverHappens) {
  int passed = 0;
  int refused = 0;
  int expired = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    Walk walk(seed);
    for (int i = 0; i < 2'000; ++i) {
      walk.step();
      walk.check();
      if (i % 20 == 0) walk.check_sum();
      ASSERT_FALSE(HasFatalFailure()) << "seed " << seed << ", step " << i;
    }
    walk.check_headroom();
    walk.check_sum();
    ASSERT_FALSE(HasFatalFailure()) << "seed " << seed;
    passed += walk.passed();
    refused += walk.refused();
    expired += walk.expired();
  }
  // A walk that never comes near a cap would show nothing.
  EXPECT_GT(passed, 20'000);
  EXPECT_GT(refused, 20'000);
  EXPECT_GT(expired, 3'000);
}

}  // namespace
}  // namespace shoal::ledger
