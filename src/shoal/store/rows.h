// What the store tells: receipts and attempts as the journal has them, what they cost by the prices of now, sums of
// many, and the keys. Money is exact: pico-dollars in 128 bits; and in micro-dollars as a budget counts it, where each
// request is rounded up once.
// Owned by value. Threads: any.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shoal/audit/records.h"
#include "shoal/ledger/book.h"
#include "shoal/ledger/money.h"

namespace shoal::store {

enum class AttemptState : std::uint8_t {
  kOpen,     // nobody knows yet
  kSettled,  // the provider said what it counted
  kNotSent,  // no byte left
  kUnknown,  // nobody will know any more, or the journal says so; it costs what was reserved
};

// "open", "not_sent".
[[nodiscard]] std::string_view name_of(AttemptState state);

struct Attempt {
  std::uint64_t sequence = 0;  // of the intent
  audit::Intent intent{};
  AttemptState state = AttemptState::kOpen;
  std::int64_t ended_ms = 0;                // unix; 0 while it is open
  std::optional<audit::Outcome> outcome{};  // what the journal says; none: open, or given up at a start
  ledger::Pico cost{};                      // by the last reprice(); before one as the journal says
  ledger::Micro committed{};                // what it adds to its request rounded up, in the order in which they ended

  bool operator==(const Attempt&) const = default;
};

// What somebody says of whether a local answer was right.
struct LabelRow {
  std::uint64_t sequence = 0;
  audit::Label label{};

  bool operator==(const LabelRow&) const = default;
};

// A local answer that was judged, as its receipt has it, and what is said of it.
struct JudgedAnswer {
  std::uint64_t sequence = 0;  // of the receipt
  std::string request{};
  std::optional<double> confidence{};
  audit::Judged judged{};
  std::vector<LabelRow> labels{};  // in the order of the journal

  bool operator==(const JudgedAnswer&) const = default;
};

struct JudgedFilter {
  std::string route{};
  std::int64_t from_ms = 0;                  // unix; when the request came
  std::int64_t to_ms = 253'402'300'799'999;  // not included
};

// All that is known of a request. Either half may be missing: while it runs, when it was answered here, or when the
// server died.
struct Request {
  std::optional<audit::Receipt> receipt{};
  std::uint64_t sequence = 0;       // of the receipt; 0: none
  std::vector<Attempt> attempts{};  // in the order of their intents
  std::vector<LabelRow> labels{};   // in the order of the journal
  ledger::Pico cost{};              // of all of them
  ledger::Micro committed{};        // that, rounded up once
  // What it would have cost without Shoal, by the last reprice(); receipt->baseline_micro is what was said then. None:
  // not known.
  std::optional<ledger::Micro> baseline{};

  bool operator==(const Request&) const = default;
};

struct ReceiptRow {
  std::uint64_t sequence = 0;
  audit::Receipt receipt{};  // without its detail
  // By the prices of now; receipt.billed_micro and receipt.baseline_micro are what was said then.
  ledger::Micro committed{};                // what its attempts cost
  std::optional<ledger::Micro> baseline{};  // what it would have cost without Shoal; none: not known

  bool operator==(const ReceiptRow&) const = default;
};

// Those that are set must match.
struct ReceiptFilter {
  std::size_t limit = 50;    // at most 1000
  std::uint64_t before = 0;  // a sequence number, of the last row of the page before; 0: from the newest
  std::optional<std::string> principal{};
  std::optional<std::string> route{};
  std::optional<std::string> model{};
};

enum class CostsBy : std::uint8_t { kRoute, kKey, kModel, kProvider, kDay };

// Sums over requests. All of a request is counted on the day of its receipt; the money of one without a receipt on the
// day of the attempt. A request and what it saved stand with the model and the provider that answered, what an attempt
// cost with those that were asked.
struct Costs {
  std::int64_t requests = 0;
  std::int64_t local = 0;  // by decision, all five together are `requests`
  std::int64_t remote = 0;
  std::int64_t escalated = 0;
  std::int64_t failed_over = 0;
  std::int64_t refused = 0;
  std::int64_t prompt_tokens = 0;           // as receipts have them
  std::int64_t completion_tokens = 0;       // local ones too
  std::int64_t local_ms = 0;                // of computing here
  std::int64_t attempts = 0;                // that cost something, or may have
  audit::TokenCounts tokens{};              // as providers counted them
  ledger::Pico cost{};                      // with what is unknown
  ledger::Micro committed{};                // the same, with each request rounded up
  std::int64_t unknown = 0;                 // attempts of which nobody knows what they cost
  ledger::Pico unknown_cost{};              // what was reserved for them
  std::int64_t with_baseline = 0;           // requests of which it is known what they would have cost without Shoal
  ledger::Micro baseline{};                 // what they would have cost
  ledger::Micro with_baseline_committed{};  // what they did cost
  std::int64_t with_baseline_local_ms = 0;  // and took to compute here

  // `here`: what computing here cost for those with a baseline.
  [[nodiscard]] ledger::Micro saved(ledger::Micro here) const {
    return {baseline.value - with_baseline_committed.value - here.value};
  }
  bool operator==(const Costs&) const = default;
};

struct CostRow {
  // Of the route or the provider, the id of the principal, "smollm2", "openai/gpt-4o-mini", or "2026-11-22". Empty:
  // none.
  std::string name{};
  Costs costs{};
  std::string key{};  // the id of the principal, where `name` is what its owner calls it

  bool operator==(const CostRow&) const = default;
};

struct CostReport {
  std::vector<CostRow> rows{};  // by name
  Costs total{};
};

struct OpenIntent {
  std::uint64_t sequence = 0;
  audit::Intent intent{};

  bool operator==(const OpenIntent&) const = default;
};

// What a bucket of the Book has committed.
struct Committed {
  ledger::BucketKey bucket{};  // of a key: the id of its principal
  ledger::Micro amount{};

  bool operator==(const Committed&) const = default;
};

// What reprice() asks the price of.
struct PricedUse {
  std::string_view provider{};
  std::string_view model{};
  std::int64_t at = 0;  // unix seconds
  audit::TokenCounts tokens{};
};

struct RepriceProgress {
  std::uint64_t looked_at = 0;  // attempts; those that are settled get a price
  std::uint64_t of = 0;
  std::uint64_t changed = 0;
  std::uint64_t unpriced = 0;   // without a price: they cost what they did
  std::uint64_t baselines = 0;  // requests that would cost something else now without Shoal
};

// A keyed hash of a key (key_hash.h), never the key.
using KeyHash = std::array<unsigned char, 32>;

struct NewKey {
  std::string name{};
  KeyHash hash{};
  std::optional<ledger::Pico> day_cap{};
  std::optional<ledger::Pico> month_cap{};
};

struct Key {
  std::string principal{};  // id: one for ever
  std::string name{};       // no two that live have the same
  KeyHash hash{};
  std::optional<ledger::Pico> day_cap{};
  std::optional<ledger::Pico> month_cap{};
  std::int64_t created_ms = 0;  // unix
  std::optional<std::int64_t> revoked_ms{};
  std::optional<std::int64_t> last_used_ms{};

  bool operator==(const Key&) const = default;
};

struct StoreStats {
  std::uint64_t last_sequence = 0;
  std::uint64_t set_aside = 0;  // records that count nowhere, and are kept as they came
  std::uint64_t lost = 0;       // records that were gone from the journal before they were read
};

}  // namespace shoal::store
