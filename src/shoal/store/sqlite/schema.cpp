#include "shoal/store/sqlite/schema.h"

#include <array>
#include <string>

#include <fmt/format.h>

namespace shoal::store::sqlite {
namespace {

// Amounts in pico-dollars have 128 bits, so they stand in two columns: x_milli, whole thousandths of a dollar, and
// x_pico, the rest, below 10^9. Rows are numbered as the journal numbers its records.
//
// Version 1 counted otherwise, and no release had it: its tables go, and the journal fills those of version 2.
constexpr std::array<std::string_view, 3> kReceiptsVersions = {"", R"sql(
DROP TABLE IF EXISTS feed;
DROP TABLE IF EXISTS lost;
DROP TABLE IF EXISTS aside;
DROP TABLE IF EXISTS bill;
DROP TABLE IF EXISTS attempt;
DROP TABLE IF EXISTS receipt;
DROP TABLE IF EXISTS day_sum;
DROP TABLE IF EXISTS last_used;

-- One row: which record was applied last. The records of an earlier journal end at `before`, and those of this one are
-- counted on from there.
CREATE TABLE feed (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  journal TEXT NOT NULL,
  before INTEGER NOT NULL,
  last INTEGER NOT NULL
) STRICT;
INSERT INTO feed VALUES (1, '', 0, 0);

-- Records that were gone from the journal before they were read.
CREATE TABLE lost (first INTEGER PRIMARY KEY, last INTEGER NOT NULL) STRICT;

-- Records that count nowhere, as they came.
CREATE TABLE aside (
  sequence INTEGER PRIMARY KEY,
  type INTEGER NOT NULL,
  payload BLOB NOT NULL,
  why TEXT NOT NULL
) STRICT;

-- What the journal says of an attempt: its intent, and what came of it. ended_sequence is that of the outcome; without
-- one, a state that is not 'open' was found at a start.
CREATE TABLE attempt (
  sequence INTEGER PRIMARY KEY,
  id TEXT NOT NULL,
  request TEXT NOT NULL,
  unix_ms INTEGER NOT NULL,
  principal TEXT NOT NULL,
  route TEXT NOT NULL,
  provider TEXT NOT NULL,
  model TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'not_sent', 'unknown')),
  ended_sequence INTEGER,
  input INTEGER NOT NULL DEFAULT 0,
  cache_read INTEGER NOT NULL DEFAULT 0,
  cache_write_5m INTEGER NOT NULL DEFAULT 0,
  cache_write_1h INTEGER NOT NULL DEFAULT 0,
  output INTEGER NOT NULL DEFAULT 0,
  reasoning INTEGER NOT NULL DEFAULT 0,
  reserved_milli INTEGER NOT NULL,
  reserved_pico INTEGER NOT NULL,
  said_milli INTEGER NOT NULL DEFAULT 0,  -- what the outcome says that it costs
  said_pico INTEGER NOT NULL DEFAULT 0,
  ended_ms INTEGER NOT NULL DEFAULT 0,
  status INTEGER NOT NULL DEFAULT 0,
  price TEXT NOT NULL,
  purpose TEXT NOT NULL,
  body_bytes INTEGER NOT NULL,
  body_sha256 TEXT NOT NULL,
  failure TEXT NOT NULL DEFAULT '',
  upstream_id TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX attempt_request ON attempt (request);
-- The few that an outcome may still come for.
CREATE UNIQUE INDEX attempt_unsettled ON attempt (id) WHERE state IN ('open', 'unknown');

-- What follows for it: what it costs by the prices of now, what that adds to its request rounded up, and what the
-- receipt says, once there is one: the day on which all of the request is counted, who answered it, and whether it is
-- known what it would have cost without Shoal.
CREATE TABLE bill (
  sequence INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE,
  cost_milli INTEGER NOT NULL,
  cost_pico INTEGER NOT NULL,
  committed_micro INTEGER NOT NULL,
  alone INTEGER NOT NULL,  -- 1: no other attempt of its request has ended, so what it adds follows from its own cost
  answered_day INTEGER,
  answered_model TEXT,
  answered_provider TEXT,  -- empty: none
  compared INTEGER NOT NULL
) STRICT;

-- baseline_micro is what the journal says; without_micro is the same by the prices of now. -1: not known. What stands
-- below it is what it is the price of.
CREATE TABLE receipt (
  sequence INTEGER PRIMARY KEY,
  request TEXT NOT NULL,
  unix_ms INTEGER NOT NULL,
  principal TEXT NOT NULL,
  route TEXT NOT NULL,
  model TEXT NOT NULL,
  decision TEXT NOT NULL,
  egress TEXT NOT NULL,
  billed_micro INTEGER NOT NULL,
  baseline_micro INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  local_ms INTEGER NOT NULL,
  durability TEXT NOT NULL,
  status INTEGER NOT NULL,
  confidence REAL,
  detail TEXT NOT NULL,
  without_micro INTEGER NOT NULL,
  compared_provider TEXT,
  compared_model TEXT,
  input INTEGER NOT NULL DEFAULT 0,
  cache_read INTEGER NOT NULL DEFAULT 0,
  cache_write_5m INTEGER NOT NULL DEFAULT 0,
  cache_write_1h INTEGER NOT NULL DEFAULT 0,
  output INTEGER NOT NULL DEFAULT 0,
  reasoning INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX receipt_request ON receipt (request);
-- Each ends with the sequence, so that the newest come first.
CREATE INDEX receipt_principal ON receipt (principal);
CREATE INDEX receipt_route ON receipt (route);
CREATE INDEX receipt_model ON receipt (model);

-- Sums of all receipts and all attempts of a day, those that were pruned too. Money is also summed by the day on which
-- the budgets were taken, which is another one for a request over midnight.
CREATE TABLE day_sum (
  day INTEGER NOT NULL,  -- its midnight
  taken INTEGER NOT NULL,
  route TEXT NOT NULL,
  principal TEXT NOT NULL,
  model TEXT NOT NULL,
  provider TEXT NOT NULL,
  requests INTEGER NOT NULL,
  local INTEGER NOT NULL,
  remote INTEGER NOT NULL,
  escalated INTEGER NOT NULL,
  failed_over INTEGER NOT NULL,
  refused INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL,
  completion_tokens INTEGER NOT NULL,
  local_ms INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  input INTEGER NOT NULL,
  cache_read INTEGER NOT NULL,
  cache_write_5m INTEGER NOT NULL,
  cache_write_1h INTEGER NOT NULL,
  output INTEGER NOT NULL,
  reasoning INTEGER NOT NULL,
  cost_milli INTEGER NOT NULL,
  cost_pico INTEGER NOT NULL,
  committed_micro INTEGER NOT NULL,
  unknown INTEGER NOT NULL,
  unknown_milli INTEGER NOT NULL,
  unknown_pico INTEGER NOT NULL,
  with_baseline INTEGER NOT NULL,
  baseline_micro INTEGER NOT NULL,
  with_baseline_micro INTEGER NOT NULL,
  with_baseline_local_ms INTEGER NOT NULL,
  PRIMARY KEY (day, taken, route, principal, model, provider)
) STRICT, WITHOUT ROWID;
CREATE INDEX day_sum_taken ON day_sum (taken);

CREATE TABLE last_used (principal TEXT PRIMARY KEY, unix_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
)sql",
                                                               R"sql(
-- What a receipt says of a local answer that was judged; of the others there is no row.
CREATE TABLE judged (
  sequence INTEGER PRIMARY KEY REFERENCES receipt ON DELETE CASCADE,
  route TEXT NOT NULL,
  action TEXT NOT NULL,
  threshold REAL NOT NULL,
  propensity REAL NOT NULL,
  drawn INTEGER NOT NULL,
  late INTEGER NOT NULL,
  stratum TEXT NOT NULL,
  certificate TEXT NOT NULL,
  model TEXT NOT NULL
) STRICT;
CREATE INDEX judged_route ON judged (route);

-- What somebody says of whether an answer was right; of each source what it said last.
CREATE TABLE label (
  sequence INTEGER PRIMARY KEY,
  request TEXT NOT NULL,
  unix_ms INTEGER NOT NULL,
  kind TEXT NOT NULL,
  is_right INTEGER NOT NULL,
  source TEXT NOT NULL,
  how TEXT NOT NULL,
  note TEXT NOT NULL,
  principal TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX label_source ON label (request, kind, source);
)sql"};

constexpr std::array<std::string_view, 1> kKeysVersions = {R"sql(
-- A row is never deleted, so no principal is given twice. Caps are decimal text, in USD.
CREATE TABLE key (
  principal TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash BLOB NOT NULL UNIQUE,
  day_cap_usd TEXT,
  month_cap_usd TEXT,
  created_ms INTEGER NOT NULL,
  revoked_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX key_living ON key (name) WHERE revoked_ms IS NULL;
)sql"};

}  // namespace

std::span<const std::string_view> receipts_versions() {
  return kReceiptsVersions;
}

std::span<const std::string_view> keys_versions() {
  return kKeysVersions;
}

Result<void> migrate(Database& database, std::span<const std::string_view> versions) {
  const auto known = static_cast<std::int64_t>(versions.size());
  const std::int64_t found = SHOAL_TRY(database.number("PRAGMA user_version"));
  if (found < 0 || found > known) {
    return Error(ErrorCode::kUnimplemented, fmt::format("{} was written by a later Shoal: it has version {}, and this "
                                                        "one knows {}",
                                                        database.path().string(), found, known));
  }
  for (std::int64_t version = found; version < known; ++version) {
    auto transaction = SHOAL_TRY(Transaction::begin(database));
    SHOAL_TRY(database.execute(std::string(versions[static_cast<std::size_t>(version)])));
    SHOAL_TRY(database.execute(fmt::format("PRAGMA user_version = {}", version + 1)));
    SHOAL_TRY(transaction.commit());
  }
  return {};
}

}  // namespace shoal::store::sqlite
