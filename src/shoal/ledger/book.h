// Book: how much may still be spent. Buckets, each with a cap for a day or a month, hold apart what is committed and
// what attempts under way have reserved. An attempt takes its upper bound from every bucket of its chain or from none,
// before a byte of it leaves; what it did cost is committed when it ends, and the rest is given back.
//
//   SHOAL_TRY(book.reserve({.chain = chain, .attempt = id, .request = request, .amount = bound, .expires = e}, now));
//   ...
//   book.settle(id, cost);          // or book.release(id), when nothing was sent
//   Bill bill = book.finish(request);
//
// Rounding: buckets hold whole micro-dollars, and each request is rounded up once, whatever number of attempts it had.
// An attempt commits the difference that it makes to its request's sum rounded up: the differences add up to that, and
// each is at most the attempt's own cost rounded up. So reservations rounded up keep a cap exactly.
//
// Committed and held together are never more than the cap, unless a cap is lowered, or an attempt cost more than it
// reserved. A hold belongs to the period in which it was taken, also when it ends in the next.
//
// Times are unix seconds, UTC. It writes nothing down: audit/ keeps the journal, from which restore() fills it at
// start. Owned by cli/'s App. Threads: the I/O thread; no call suspends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory_resource>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/ledger/money.h"

namespace shoal::ledger {

enum class Period : std::uint8_t { kDay, kMonth };
enum class Owner : std::uint8_t { kTotal, kKey, kProvider };

struct BucketKey {
  Period period = Period::kMonth;
  Owner owner = Owner::kTotal;
  std::string name{};  // of the key or the provider

  auto operator<=>(const BucketKey&) const = default;
};

// Of one Book.
struct BucketId {
  std::uint32_t index = 0;

  bool operator==(const BucketId&) const = default;
};

// The most buckets of one chain: key, total and provider, by day and by month, and two to spare.
inline constexpr std::size_t kMaxChain = 8;

struct Reservation {
  std::span<const BucketId> chain;  // at most kMaxChain, none twice
  std::string_view attempt;         // an id of its own
  std::string_view request;
  Pico amount;               // the most that it can cost: bound(); from 0 to kMaxAmount
  std::int64_t expires = 0;  // when expire() takes it as spent
};

// A hold that nobody ended: what it cost is unknown, and its whole reservation was committed.
struct ExpiredHold {
  std::string attempt;
  std::string request;
  Pico amount;
};

// What a request cost, over all its attempts up to now.
struct Bill {
  Pico exact;
  Micro billed;          // rounded up once
  std::size_t open = 0;  // attempts that have not ended
};

// One bucket in one period.
struct BucketState {
  BucketKey key;
  std::int64_t start = 0;
  std::int64_t end = 0;
  std::optional<Pico> cap;
  Pico committed;
  Pico held;
  std::size_t holds = 0;
};

class Book {
 public:
  Book();
  Book(const Book&) = delete;
  Book& operator=(const Book&) = delete;
  ~Book();

  // The bucket of that key, made when there is none; its cap is the one given, or none. A cap lowered under what is
  // committed lets nothing more through. `shown` is what errors call its owner; empty: key.name. To be kept: it looks
  // through all buckets.
  BucketId bucket(const BucketKey& key, std::optional<Pico> cap, std::string_view shown = {});

  // Errors: kBudgetExhausted, which names the bucket that is short and its numbers; kAlreadyExists for an attempt that
  // has a hold. Nothing is taken then.
  [[nodiscard]] Result<void> reserve(const Reservation& reservation, std::int64_t now);

  // Whether so much is left in every bucket of the chain. Errors: kBudgetExhausted, as reserve(), which may find less.
  [[nodiscard]] Result<void> check(std::span<const BucketId> chain, Pico amount, std::int64_t now);

  // The attempt cost that much. Gives back what that commits, in whole micro-dollars. Nothing when it has no hold (any
  // more): settling twice changes nothing. REQUIRES: 0 <= cost <= kMaxAmount.
  std::optional<Pico> settle(std::string_view attempt, Pico cost);
  // Nothing of the attempt was sent. False when it has no hold.
  bool release(std::string_view attempt);
  // Ends the holds whose time is over.
  std::vector<ExpiredHold> expire(std::int64_t now);

  // The request ended. Attempts of it that are still open go on, and end as any other.
  Bill finish(std::string_view request);

  [[nodiscard]] std::vector<BucketState> snapshot(std::int64_t now) const;
  [[nodiscard]] std::size_t holds() const { return holds_.size(); }
  // Attempts that cost more than was reserved for them, since the start: a price or a bound is wrong.
  [[nodiscard]] std::uint64_t over() const { return over_; }

  // What the bucket has committed in the period in which `at` lies was so much more, or less, than was thought. Its cap
  // stays.
  void correct(const BucketKey& key, std::int64_t at, Micro difference);

  // At start. What the bucket has committed in the period in which `at` lies.
  void restore(BucketId bucket, std::int64_t at, Micro committed);
  // At start. A hold taken at `taken_at`, without a look at caps; what its request's earlier attempts had cost. The
  // request counts as finished: who had it is gone. REQUIRES: the attempt has no hold.
  void restore_hold(const Reservation& reservation, std::int64_t taken_at, Pico request_so_far);

 private:
  // A bucket in one period.
  struct Account {
    std::int64_t start = 0;
    std::int64_t end = 0;
    Pico committed{};
    Pico held{};
    std::size_t holds = 0;
  };
  struct Bucket {
    BucketKey key;
    std::optional<Pico> cap;
    std::string shown;
    std::vector<Account> accounts;  // by start; two, and those that still have holds
  };
  struct Request {
    Pico exact{};
    std::size_t open = 0;
    bool finished = false;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  template <class Value>
  using ById = std::pmr::unordered_map<std::pmr::string, Value, Hash, std::equal_to<>>;
  // Where a hold lies: a bucket, and the period in which it was taken.
  struct Place {
    BucketId bucket;
    std::int64_t start = 0;
  };
  struct Hold {
    Place places[kMaxChain];
    std::size_t chain = 0;
    Pico estimate{};  // as asked
    Pico held{};      // rounded up
    std::int64_t expires = 0;
    ById<Request>::value_type* request = nullptr;
  };

  Bucket& at(BucketId id);
  // Made without a cap when there is none.
  Bucket& bucket_of(const BucketKey& key);
  Account& account_at(BucketId id, std::int64_t now);
  Account& account_of(const Place& place);
  static Account& open_account(Bucket& bucket, std::int64_t at);
  static void forget_old(Bucket& bucket, std::int64_t start);
  void take(const Reservation& reservation, std::int64_t at, Pico held);
  Pico end(ById<Hold>::iterator hold, std::optional<Pico> cost);
  [[nodiscard]] static Error exhausted(const Bucket& bucket, const Account& account, Pico asked);

  std::vector<Bucket> buckets_;
  std::pmr::unsynchronized_pool_resource pool_;  // ids come and go: this keeps their memory
  ById<Hold> holds_;
  ById<Request> requests_;
  std::uint64_t over_ = 0;
  std::int64_t next_expiry_ = std::numeric_limits<std::int64_t>::max();  // no hold expires before
};

}  // namespace shoal::ledger
