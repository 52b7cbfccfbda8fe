// DaySums: the table day_sum, and what a transaction changes in it, collected until flush(). What a row of another
// table adds is taken away again, and added anew, when that row changes. Use: add() and subtract() for each row;
// flush() before the commit; clear() after a failure. Owned by ReceiptTables. Threads: as the database.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/store/rows.h"
#include "shoal/store/sqlite/database.h"

namespace shoal::store::sqlite {

// Where a row is counted.
struct Place {
  std::int64_t day = 0;    // midnight, unix seconds
  std::int64_t taken = 0;  // the day of the budgets that its money was taken from
  std::string_view route;
  std::string_view principal;
  std::string_view model;       // as the provider calls it
  std::string_view provider{};  // empty: none

  auto operator<=>(const Place&) const = default;
};

// False: it does not fit, and `into` is of no use any more.
[[nodiscard]] bool add_to(Costs& into, const Costs& more);
[[nodiscard]] bool subtract_from(Costs& from, const Costs& less);

class DaySums {
 public:
  // Errors: as the database.
  Result<void> prepare(Database& database);

  void add(const Place& place, const Costs& costs) { change(place, costs, add_to); }
  void subtract(const Place& place, const Costs& costs) { change(place, costs, subtract_from); }
  // Writes what changed. Rows that count nothing any more go.
  Result<void> flush();
  void clear() {
    changes_.clear();
    overflow_ = false;
  }

  // What it gets is good for the call.
  using Visit = std::function<Result<void>(const Place&, const Costs&)>;
  // Calls `visit` with each row of the days that begin in [from, to), by day.
  Result<void> visit(std::int64_t from, std::int64_t to, const Visit& visit);
  // The same of the days on which money was taken.
  Result<void> visit_taken(std::int64_t from, std::int64_t to, const Visit& visit);

 private:
  // A Place that has its own text.
  struct Key {
    std::int64_t day;
    std::int64_t taken;
    std::string route;
    std::string principal;
    std::string model;
    std::string provider;

    [[nodiscard]] Place place() const { return {day, taken, route, principal, model, provider}; }
  };
  struct Less {
    using is_transparent = void;
    bool operator()(const Key& a, const Key& b) const { return a.place() < b.place(); }
    bool operator()(const Key& a, const Place& b) const { return a.place() < b; }
    bool operator()(const Place& a, const Key& b) const { return a < b.place(); }
  };

  void change(const Place& place, const Costs& costs, bool (*how)(Costs&, const Costs&));
  Result<void> write(const Place& place, const Costs& costs);

  std::map<Key, Costs, Less> changes_;
  bool overflow_ = false;
  Statement find_;
  Statement put_;
  Statement remove_;
  Statement range_;
  Statement taken_range_;
};

}  // namespace shoal::store::sqlite
