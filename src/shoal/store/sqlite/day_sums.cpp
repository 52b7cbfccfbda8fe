#include "shoal/store/sqlite/day_sums.h"

#include <fmt/format.h>

#include "shoal/store/sqlite/columns.h"

namespace shoal::store::sqlite {
namespace {

// The numbers of a row, in the order of their columns, each with the same of another row.
template <class First, class Second, class Each>
void each_count(First& a, Second& b, Each each) {
  each(a.requests, b.requests);
  each(a.local, b.local);
  each(a.remote, b.remote);
  each(a.escalated, b.escalated);
  each(a.failed_over, b.failed_over);
  each(a.refused, b.refused);
  each(a.prompt_tokens, b.prompt_tokens);
  each(a.completion_tokens, b.completion_tokens);
  each(a.local_ms, b.local_ms);
  each(a.attempts, b.attempts);
  each(a.tokens.input, b.tokens.input);
  each(a.tokens.cache_read, b.tokens.cache_read);
  each(a.tokens.cache_write_5m, b.tokens.cache_write_5m);
  each(a.tokens.cache_write_1h, b.tokens.cache_write_1h);
  each(a.tokens.output, b.tokens.output);
  each(a.tokens.reasoning, b.tokens.reasoning);
  each(a.committed.value, b.committed.value);
  each(a.unknown, b.unknown);
  each(a.with_baseline, b.with_baseline);
  each(a.baseline.value, b.baseline.value);
  each(a.with_baseline_committed.value, b.with_baseline_committed.value);
  each(a.with_baseline_local_ms, b.with_baseline_local_ms);
}

bool is_negative(const Costs& costs) {
  bool negative = costs.cost.value() < 0 || costs.unknown_cost.value() < 0;
  each_count(costs, costs, [&](std::int64_t count, std::int64_t) { negative = negative || count < 0; });
  return negative;
}

Error impossible(std::string_view what) {
  return {ErrorCode::kStoreDamaged, fmt::format("the sums of a day are {}", what)};
}

constexpr std::string_view kColumns =
    "requests, local, remote, escalated, failed_over, refused, prompt_tokens, completion_tokens, local_ms, attempts, "
    "input, "
    "cache_read, cache_write_5m, cache_write_1h, output, reasoning, cost_milli, cost_pico, committed_micro, unknown, "
    "unknown_milli, unknown_pico, with_baseline, baseline_micro, with_baseline_micro, "
    "with_baseline_local_ms";

Costs read_costs(const Rows& rows, int at) {
  Costs costs;
  const auto next = [&] { return rows.integer(at++); };
  costs.requests = next();
  costs.local = next();
  costs.remote = next();
  costs.escalated = next();
  costs.failed_over = next();
  costs.refused = next();
  costs.prompt_tokens = next();
  costs.completion_tokens = next();
  costs.local_ms = next();
  costs.attempts = next();
  costs.tokens.input = next();
  costs.tokens.cache_read = next();
  costs.tokens.cache_write_5m = next();
  costs.tokens.cache_write_1h = next();
  costs.tokens.output = next();
  costs.tokens.reasoning = next();
  const std::int64_t cost_milli = next();
  costs.cost = join(cost_milli, next());
  costs.committed.value = next();
  costs.unknown = next();
  const std::int64_t unknown_milli = next();
  costs.unknown_cost = join(unknown_milli, next());
  costs.with_baseline = next();
  costs.baseline.value = next();
  costs.with_baseline_committed.value = next();
  costs.with_baseline_local_ms = next();
  return costs;
}

Result<void> visit_rows(Statement& statement, std::int64_t from, std::int64_t to, const DaySums::Visit& visit) {
  Rows rows(statement, from, to);
  while (SHOAL_TRY(rows.next())) {
    const Place place{.day = rows.integer(0),
                      .taken = rows.integer(1),
                      .route = rows.text(2),
                      .principal = rows.text(3),
                      .model = rows.text(4),
                      .provider = rows.text(5)};
    SHOAL_TRY(visit(place, read_costs(rows, 6)));
  }
  return {};
}

}  // namespace

bool add_to(Costs& into, const Costs& more) {
  bool fits = true;
  each_count(into, more, [&](std::int64_t& a, std::int64_t b) { fits = !__builtin_add_overflow(a, b, &a) && fits; });
  into.cost += more.cost;
  into.unknown_cost += more.unknown_cost;
  return fits;
}

bool subtract_from(Costs& from, const Costs& less) {
  bool fits = true;
  each_count(from, less, [&](std::int64_t& a, std::int64_t b) { fits = !__builtin_sub_overflow(a, b, &a) && fits; });
  from.cost -= less.cost;
  from.unknown_cost -= less.unknown_cost;
  return fits;
}

Result<void> DaySums::prepare(Database& database) {
  constexpr std::string_view kPlace = "day, taken, route, principal, model, provider";
  constexpr std::string_view kWhere =
      "day = ? AND taken = ? AND route = ? AND principal = ? AND model = ? AND provider = ?";
  find_ = SHOAL_TRY(database.prepare(fmt::format("SELECT {} FROM day_sum WHERE {}", kColumns, kWhere)));
  put_ = SHOAL_TRY(database.prepare(
      fmt::format("INSERT OR REPLACE INTO day_sum ({}, {}) VALUES "
                  "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                  kPlace, kColumns)));
  remove_ = SHOAL_TRY(database.prepare(fmt::format("DELETE FROM day_sum WHERE {}", kWhere)));
  range_ = SHOAL_TRY(database.prepare(
      fmt::format("SELECT {0}, {1} FROM day_sum WHERE day >= ? AND day < ? ORDER BY {0}", kPlace, kColumns)));
  taken_range_ = SHOAL_TRY(
      database.prepare(fmt::format("SELECT {}, {} FROM day_sum WHERE taken >= ? AND taken < ?", kPlace, kColumns)));
  return {};
}

void DaySums::change(const Place& place, const Costs& costs, bool (*how)(Costs&, const Costs&)) {
  auto found = changes_.find(place);
  if (found == changes_.end()) {
    Key key{.day = place.day,
            .taken = place.taken,
            .route = std::string(place.route),
            .principal = std::string(place.principal),
            .model = std::string(place.model),
            .provider = std::string(place.provider)};
    found = changes_.emplace(std::move(key), Costs()).first;
  }
  overflow_ = !how(found->second, costs) || overflow_;
}

Result<void> DaySums::flush() {
  bool fits = !std::exchange(overflow_, false);
  for (const auto& [key, change] : changes_) {
    if (change == Costs()) continue;
    const Place place = key.place();
    Costs sum;
    {
      Rows rows(find_, place.day, place.taken, place.route, place.principal, place.model, place.provider);
      if (SHOAL_TRY(rows.next())) sum = read_costs(rows, 0);
    }
    fits = add_to(sum, change) && fits;
    if (!fits || is_negative(sum)) return impossible(fits ? "less than nothing" : "too large");
    SHOAL_TRY(write(place, sum));
  }
  changes_.clear();
  return {};
}

Result<void> DaySums::write(const Place& place, const Costs& costs) {
  if (costs == Costs())
    return run(remove_, place.day, place.taken, place.route, place.principal, place.model, place.provider);
  const SplitPico cost = split(costs.cost);
  const SplitPico unknown = split(costs.unknown_cost);
  return run(put_, place.day, place.taken, place.route, place.principal, place.model, place.provider, costs.requests,
             costs.local, costs.remote, costs.escalated, costs.failed_over, costs.refused, costs.prompt_tokens,
             costs.completion_tokens, costs.local_ms, costs.attempts, costs.tokens.input, costs.tokens.cache_read,
             costs.tokens.cache_write_5m, costs.tokens.cache_write_1h, costs.tokens.output, costs.tokens.reasoning,
             cost.milli, cost.pico, costs.committed.value, costs.unknown, unknown.milli, unknown.pico,
             costs.with_baseline, costs.baseline.value, costs.with_baseline_committed.value,
             costs.with_baseline_local_ms);
}

Result<void> DaySums::visit(std::int64_t from, std::int64_t to, const Visit& visit) {
  return visit_rows(range_, from, to, visit);
}

Result<void> DaySums::visit_taken(std::int64_t from, std::int64_t to, const Visit& visit) {
  return visit_rows(taken_range_, from, to, visit);
}

}  // namespace shoal::store::sqlite
