#include "shoal/ledger/book.h"

#include <algorithm>
#include <cassert>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"

namespace shoal::ledger {
namespace {

// Periods that a bucket keeps though nothing is held in them: this one, and the one before, to which a clock that is
// set back may return.
constexpr std::size_t kKeptAccounts = 2;

Span period_of(Period period, std::int64_t at) {
  return period == Period::kDay ? day_of(at) : month_of(at);
}

Pico whole_micros(Pico amount) {
  return Pico(round_up_to_micro(amount));
}

std::string label(const BucketKey& key, std::string_view shown) {
  const std::string name = base::escape_control(shown.empty() ? key.name : shown);
  switch (key.owner) {
    case Owner::kTotal:
      return "the total budget";
    case Owner::kKey:
      return fmt::format("the budget of the key \"{}\"", name);
    case Owner::kProvider:
      return fmt::format("the budget for the provider \"{}\"", name);
  }
  return {};
}

}  // namespace

Book::Book() : holds_(&pool_), requests_(&pool_) {}
Book::~Book() = default;

BucketId Book::bucket(const BucketKey& key, std::optional<Pico> cap, std::string_view shown) {
  Bucket& found = bucket_of(key);
  found.cap = cap;
  found.shown = shown;
  return {static_cast<std::uint32_t>(&found - buckets_.data())};
}

Book::Bucket& Book::bucket_of(const BucketKey& key) {
  const auto found = std::ranges::find(buckets_, key, &Bucket::key);
  if (found != buckets_.end()) return *found;
  return *buckets_.insert(found, Bucket{.key = key, .cap = {}, .shown = {}, .accounts = {}});
}

Result<void> Book::check(std::span<const BucketId> chain, Pico amount, std::int64_t now) {
  const Pico held = whole_micros(amount);
  for (const BucketId id : chain) {
    const Account& account = account_at(id, now);
    const Bucket& bucket = at(id);
    if (bucket.cap && account.committed + account.held + held > *bucket.cap) return exhausted(bucket, account, held);
  }
  return {};
}

Result<void> Book::reserve(const Reservation& reservation, std::int64_t now) {
  if (holds_.find(reservation.attempt) != holds_.end()) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("the attempt {} has a reservation", base::escape_control(reservation.attempt)));
  }
  SHOAL_TRY(check(reservation.chain, reservation.amount, now));
  take(reservation, now, whole_micros(reservation.amount));
  return {};
}

void Book::take(const Reservation& reservation, std::int64_t at, Pico held) {
  assert(reservation.chain.size() <= kMaxChain);
  assert(reservation.amount >= Pico() && reservation.amount <= kMaxAmount);
  auto request = requests_.find(reservation.request);
  if (request == requests_.end()) request = requests_.try_emplace(std::pmr::string(reservation.request, &pool_)).first;
  ++request->second.open;

  Hold hold;
  hold.chain = reservation.chain.size();
  hold.estimate = reservation.amount;
  hold.held = held;
  hold.expires = reservation.expires;
  hold.request = &*request;
  for (std::size_t i = 0; i < hold.chain; ++i) {
    assert(std::ranges::count(reservation.chain, reservation.chain[i]) == 1);
    Account& account = account_at(reservation.chain[i], at);
    account.held += held;
    ++account.holds;
    hold.places[i] = {.bucket = reservation.chain[i], .start = account.start};
  }
  next_expiry_ = std::min(next_expiry_, hold.expires);
  const bool is_new = holds_.try_emplace(std::pmr::string(reservation.attempt, &pool_), hold).second;
  assert(is_new);
}

// Without a cost nothing is committed.
Pico Book::end(ById<Hold>::iterator found, std::optional<Pico> cost) {
  const Hold& hold = found->second;
  Request& request = hold.request->second;
  const Pico before = whole_micros(request.exact);
  if (cost) request.exact += *cost;
  const Pico committed = whole_micros(request.exact) - before;
  for (std::size_t i = 0; i < hold.chain; ++i) {
    Account& account = account_of(hold.places[i]);
    assert(account.held >= hold.held && account.holds > 0);
    account.held -= hold.held;
    --account.holds;
    account.committed += committed;
  }
  if (--request.open == 0 && request.finished) requests_.erase(requests_.find(hold.request->first));
  if (committed > hold.held) ++over_;
  holds_.erase(found);
  return committed;
}

std::optional<Pico> Book::settle(std::string_view attempt, Pico cost) {
  assert(cost >= Pico() && cost <= kMaxAmount);
  const auto hold = holds_.find(attempt);
  if (hold == holds_.end()) return std::nullopt;
  return end(hold, cost);
}

bool Book::release(std::string_view attempt) {
  const auto hold = holds_.find(attempt);
  if (hold == holds_.end()) return false;
  end(hold, std::nullopt);
  return true;
}

std::vector<ExpiredHold> Book::expire(std::int64_t now) {
  std::vector<ExpiredHold> expired;
  if (now < next_expiry_) return expired;
  next_expiry_ = std::numeric_limits<std::int64_t>::max();
  for (auto hold = holds_.begin(); hold != holds_.end();) {
    const auto next = std::next(hold);
    if (hold->second.expires <= now) {
      const Pico amount = hold->second.estimate;
      expired.push_back(
          {.attempt = std::string(hold->first), .request = std::string(hold->second.request->first), .amount = amount});
      end(hold, amount);
    } else {
      next_expiry_ = std::min(next_expiry_, hold->second.expires);
    }
    hold = next;
  }
  return expired;
}

Bill Book::finish(std::string_view request) {
  const auto found = requests_.find(request);
  if (found == requests_.end()) return {};
  const Bill bill{
      .exact = found->second.exact, .billed = round_up_to_micro(found->second.exact), .open = found->second.open};
  found->second.finished = true;
  if (bill.open == 0) requests_.erase(found);
  return bill;
}

std::vector<BucketState> Book::snapshot(std::int64_t now) const {
  std::vector<BucketState> states;
  for (const Bucket& bucket : buckets_) {
    const Span period = period_of(bucket.key.period, now);
    const auto add = [&](const Account& account) {
      states.push_back({.key = bucket.key,
                        .start = account.start,
                        .end = account.end,
                        .cap = bucket.cap,
                        .committed = account.committed,
                        .held = account.held,
                        .holds = account.holds});
    };
    bool has_current = false;
    for (const Account& account : bucket.accounts) {
      has_current = has_current || account.start == period.start;
      if (account.start == period.start || account.holds > 0) add(account);
    }
    if (!has_current) add({.start = period.start, .end = period.end});
  }
  return states;
}

void Book::restore(BucketId bucket, std::int64_t at, Micro committed) {
  assert(committed.value >= 0);
  open_account(this->at(bucket), at).committed = Pico(committed);
}

void Book::correct(const BucketKey& key, std::int64_t at, Micro difference) {
  Pico& committed = open_account(bucket_of(key), at).committed;
  committed = std::max(committed + Pico(difference), Pico());
}

void Book::restore_hold(const Reservation& reservation, std::int64_t taken_at, Pico request_so_far) {
  for (const BucketId id : reservation.chain) open_account(at(id), taken_at);
  take(reservation, taken_at, whole_micros(reservation.amount));
  Request& request = requests_.find(reservation.request)->second;
  request.exact = request_so_far;
  request.finished = true;
}

Book::Bucket& Book::at(BucketId id) {
  assert(id.index < buckets_.size());
  return buckets_[id.index];
}

// The account that something of `now` goes to.
Book::Account& Book::account_at(BucketId id, std::int64_t now) {
  Bucket& bucket = at(id);
  std::vector<Account>& accounts = bucket.accounts;
  for (auto account = accounts.rbegin(); account != accounts.rend(); ++account) {
    if (account->start <= now && now < account->end) return *account;
  }
  // A clock that was set back behind all that is known gets no new budget.
  if (!accounts.empty() && now < accounts.front().start) return accounts.front();
  const std::int64_t start = open_account(bucket, now).start;
  forget_old(bucket, start);
  return *std::ranges::find(accounts, start, &Account::start);
}

Book::Account& Book::account_of(const Place& place) {
  const auto found = std::ranges::find(at(place.bucket).accounts, place.start, &Account::start);
  assert(found != at(place.bucket).accounts.end());
  return *found;
}

// The account of the period of `at`, made when there is none.
Book::Account& Book::open_account(Bucket& bucket, std::int64_t at) {
  const Span period = period_of(bucket.key.period, at);
  const auto place = std::ranges::lower_bound(bucket.accounts, period.start, {}, &Account::start);
  if (place != bucket.accounts.end() && place->start == period.start) return *place;
  return *bucket.accounts.insert(place, Account{.start = period.start, .end = period.end});
}

// Forgets periods that hold nothing, those farthest from `start` first.
void Book::forget_old(Bucket& bucket, std::int64_t start) {
  const auto distance = [&](const Account& account) {
    return account.start < start ? start - account.start : account.start - start;
  };
  while (bucket.accounts.size() > kKeptAccounts) {
    auto farthest = bucket.accounts.end();
    for (auto account = bucket.accounts.begin(); account != bucket.accounts.end(); ++account) {
      if (account->holds > 0 || account->start == start) continue;
      if (farthest == bucket.accounts.end() || distance(*account) > distance(*farthest)) farthest = account;
    }
    if (farthest == bucket.accounts.end()) return;
    bucket.accounts.erase(farthest);
  }
}

Error Book::exhausted(const Bucket& bucket, const Account& account, Pico asked) {
  return Error(
      ErrorCode::kBudgetExhausted,
      fmt::format("{} of {} USD for the {} from {} is used up: {} USD are committed, {} USD are held, and this "
                  "request needs {} USD; the next begins on {}",
                  label(bucket.key, bucket.shown), usd(*bucket.cap),
                  bucket.key.period == Period::kDay ? "day" : "month", date_text(account.start), usd(account.committed),
                  usd(account.held), usd(asked), date_text(account.end)));
}

}  // namespace shoal::ledger
