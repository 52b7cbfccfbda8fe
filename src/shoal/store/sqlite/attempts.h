// Attempts: the tables attempt and bill. What an attempt is counted with follows from all attempts of its request, in
// the order in which they ended, and from the receipt: so they are read together, changed, and what follows is written.
// Place: below ReceiptTables and reprice(), which change attempts; DaySums gets the difference.
// Use: auto rows = read(request); change some; update(rows, sums).
// Owned by ReceiptTables. Threads: as the database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/records.h"
#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/database.h"
#include "shoal/store/sqlite/day_sums.h"

namespace shoal::store::sqlite {

// What the receipt of a request says of where it is counted.
struct Answered {
  std::int64_t day = 0;  // midnight, unix seconds
  std::string model{};
  std::string provider{};  // empty: none
  bool compared = false;   // it has a baseline

  bool operator==(const Answered&) const = default;
};

// "openai/gpt-4o-mini" is a model of a provider when something was sent to "openai"; else it is the name of a local
// one. `compared` is for the caller to say.
[[nodiscard]] Answered answered_by(const audit::Receipt& receipt);
// Where the receipt is counted. What it gets outlives it.
[[nodiscard]] inline Place place_of(const audit::Receipt& receipt, const Answered& answered) {
  return {.day = answered.day,
          .taken = answered.day,
          .route = receipt.route,
          .principal = receipt.principal,
          .model = answered.model,
          .provider = answered.provider};
}

// How an attempt is counted. Written to `bill`.
struct Bill {
  ledger::Pico cost{};
  ledger::Micro committed{};
  bool alone = true;  // no other attempt of its request has ended: what it adds follows from its own cost
  std::optional<Answered> answered{};  // once its request has a receipt

  bool operator==(const Bill&) const = default;
};

// What counts of an attempt.
struct AttemptRow {
  std::int64_t sequence = 0;
  std::string id;
  std::int64_t unix_ms = 0;  // of its intent
  std::string principal;
  std::string route;
  std::string provider;
  std::string model;
  AttemptState state = AttemptState::kOpen;
  std::optional<std::int64_t> ended_sequence{};
  audit::TokenCounts tokens{};
  ledger::Pico reserved{};
  Bill bill{};

  // What it adds to the sums, and takes from them again: nothing while it is open, and when nothing was sent.
  void add_to(DaySums& sums) const;
  void take_from(DaySums& sums) const;

 private:
  // Where it is counted, and with what.
  [[nodiscard]] Place place() const;
  [[nodiscard]] Costs costs() const;
  // The same of what its request is compared by, which stands with whoever answered it.
  [[nodiscard]] Place place_compared() const;
  [[nodiscard]] Costs costs_compared() const;
};

class Attempts {
 public:
  // Errors: as the database.
  Result<void> prepare(Database& database);

  // By their intents.
  Result<std::vector<AttemptRow>> read(std::string_view request);
  // A row of kColumns, of attempt JOIN bill.
  static const std::string_view kColumns;
  static Result<AttemptRow> read_row(const Rows& rows);
  // Writes what follows for each now that it is `now`, and was `before`: state, end, tokens, cost and what the receipt
  // says are as they are to be. REQUIRES: all attempts of a request, in the same order.
  Result<void> update(const std::vector<AttemptRow>& before, std::vector<AttemptRow> now, DaySums& sums);

  // A new one, open. False: an attempt of that id is there, and not settled.
  Result<bool> insert(std::int64_t sequence, const audit::Intent& intent, const Bill& bill);
  // The columns of an outcome. The rest follows with update().
  Result<void> end(std::int64_t sequence, std::int64_t ended_sequence, const audit::Outcome& outcome);
  // Nobody will know any more what came of it.
  Result<void> give_up(std::int64_t sequence, std::int64_t now_ms);

  struct Found {
    std::int64_t sequence;
    std::string request;
  };
  // The attempt of that id for which an outcome may still come.
  Result<std::optional<Found>> unsettled(std::string_view id);

 private:
  Result<void> write(std::int64_t sequence, const Bill& bill, Statement& statement);

  Database* database_ = nullptr;
  Statement read_;
  Statement insert_;
  Statement insert_bill_;
  Statement update_bill_;
  Statement end_;
  Statement give_up_;
  Statement unsettled_;
};

}  // namespace shoal::store::sqlite
