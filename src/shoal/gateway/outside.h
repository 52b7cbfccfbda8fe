// Outside: all that is needed to ask a provider: who there is, what it costs, what may still be spent, and the gate
// that every byte passes. Owned by cli/'s App, which outlives every request. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/journal.h"
#include "shoal/base/clock.h"
#include "shoal/egress/gate.h"
#include "shoal/gateway/escalations.h"
#include "shoal/learning/class_model.h"
#include "shoal/ledger/book.h"
#include "shoal/ledger/prices.h"
#include "shoal/provider/provider.h"
#include "shoal/routing/calibration.h"
#include "shoal/routing/certificate.h"
#include "shoal/routing/gain_model.h"
#include "shoal/routing/route.h"
#include "shoal/routing/tasks.h"

namespace shoal::gateway {

// The most that may be spent; none: no limit.
struct Caps {
  std::optional<ledger::Pico> daily;
  std::optional<ledger::Pico> monthly;
  std::map<std::string, ledger::Pico, std::less<>> provider_daily;  // by provider
};
struct KeyCaps {
  std::optional<ledger::Pico> daily;
  std::optional<ledger::Pico> monthly;
  std::string name;  // of the key, as its owner knows it
};
using CapsOfKeys = std::map<std::string, KeyCaps, std::less<>>;  // by the id of the principal

// The buckets that an attempt draws from. Looks each up once.
class BudgetChains {
 public:
  BudgetChains(ledger::Book& book, Caps caps);

  // Total, provider and key. Valid until the next call.
  [[nodiscard]] std::span<const ledger::BucketId> of(std::string_view provider, std::string_view principal);
  // After a reload.
  void set_caps(Caps caps);
  // After a key was made or revoked. Those that are not in it have no cap.
  void set_key_caps(CapsOfKeys caps);

 private:
  struct OfKey {
    ledger::BucketId day;
    ledger::BucketId month;
  };
  const OfKey& of_key(std::string_view principal);
  ledger::BucketId bucket(ledger::Period period, ledger::Owner owner, std::string_view name,
                          std::optional<ledger::Pico> cap, std::string_view shown = {});

  ledger::Book& book_;
  Caps caps_;
  std::vector<ledger::BucketId> total_;
  std::map<std::string, ledger::BucketId, std::less<>> providers_;
  CapsOfKeys key_caps_;
  std::map<std::string, OfKey, std::less<>> keys_;
  std::vector<ledger::BucketId> chain_;  // reused
};

// What of the configuration a reload replaces.
struct OutsideConfig {
  provider::Providers providers;
  std::vector<routing::Route> routes;
  ledger::PriceTable prices;
  bool all_receipts = true;                         // false: only where an attempt was journaled
  ledger::Pico local_per_hour;                      // what an hour of computing here is taken to cost
  std::optional<routing::RemoteTarget> baseline{};  // that savings are counted against; none: a route's first provider
  std::shared_ptr<const std::vector<routing::Table>> calibrations = std::make_shared<std::vector<routing::Table>>();
  std::shared_ptr<const std::vector<routing::Certificate>> certificates =
      std::make_shared<std::vector<routing::Certificate>>();
  std::shared_ptr<const routing::Tasks> tasks = std::make_shared<routing::Tasks>();
};

// Streams whose client left before their end: they are read on, for what they cost is told at their end.
struct Drains {
  std::size_t running = 0;
  std::uint64_t settled = 0;    // came to their end
  std::uint64_t given_up = 0;   // did not, within their bounds
  std::uint64_t cancelled = 0;  // were not begun: too many at once, or the provider has drain = false
};

// Judged local answers, by what became of them.
struct JudgedCounts {
  std::uint64_t kept = 0;
  std::uint64_t kept_unsure = 0;
  std::uint64_t escalated = 0;
  std::uint64_t refused = 0;
  std::uint64_t late_misses = 0;  // of those that were kept
};

class Audits;  // audits.h
class Drift;   // drift.h

struct Outside {
  egress::Gate& gate;
  ledger::Book& book;
  BudgetChains& budgets;
  audit::Journal* journal;  // null: it could not be opened
  std::shared_ptr<const OutsideConfig> config;
  Drains drains{};
  JudgedCounts judged{};
  Escalations escalations{};
  Audits* audits = nullptr;                         // null: nobody is asked afterwards
  Drift* drift = nullptr;                           // null: thresholds stay where certificates have them
  routing::GainModel::Scratch scratch{};            // of the routers
  std::unique_ptr<learning::ClassScorer> scorer{};  // of tasks; made when the first route needs it

  [[nodiscard]] learning::ClassScorer& task_scorer() {
    if (scorer == nullptr) scorer = std::make_unique<learning::ClassScorer>();
    return *scorer;
  }
};

}  // namespace shoal::gateway
