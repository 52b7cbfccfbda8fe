#include <string>

#include "shoal/cli/app.h"

namespace shoal::cli {
namespace {

constexpr const char* kClasses[] = {"transient", "hard_down", "context_length", "client_fault", "ours"};

double number_of(provider::Breaker::State state) {
  switch (state) {
    case provider::Breaker::State::kClosed:
      return 0;
    case provider::Breaker::State::kHalfOpen:
      return 1;
    case provider::Breaker::State::kOpen:
      break;
  }
  return 2;
}

// Of what local models answer and a judge looks at.
void add_judging_metrics(telemetry::Registry& registry, const gateway::Outside& outside) {
  auto& judged =
      registry.counters("shoal_judged_total", "Local answers that were judged, by what became of them.", {"action"});
  auto& late =
      registry.counters("shoal_late_misses_total", "Streams that were kept, and when they were whole not sure enough.");
  auto& audits =
      registry.counters("shoal_audits_total", "Kept answers that a provider was to be asked for, too.", {"outcome"});
  auto& waiting = registry.gauges("shoal_audits_waiting", "Audits that have not ended.");
  auto& drift = registry.gauges("shoal_drift_alarms",
                                "Alarms of drift that moved a threshold, of all certificates that are loaded.");
  auto& over_rate = registry.counters("shoal_escalations_refused_total",
                                      "Unsure answers that did not escalate, for their key had done so too often.");
  registry.on_render([&] {
    judged.with({"kept"}).set(static_cast<double>(outside.judged.kept));
    judged.with({"kept_unsure"}).set(static_cast<double>(outside.judged.kept_unsure));
    judged.with({"escalated"}).set(static_cast<double>(outside.judged.escalated));
    judged.with({"refused"}).set(static_cast<double>(outside.judged.refused));
    over_rate.with({}).set(static_cast<double>(outside.escalations.refused()));
    late.with({}).set(static_cast<double>(outside.judged.late_misses));
    drift.with({}).set(outside.drift != nullptr ? static_cast<double>(outside.drift->alarms()) : 0);
    if (outside.audits != nullptr) {
      const gateway::AuditCounts& counts = outside.audits->counts();
      audits.with({"right"}).set(static_cast<double>(counts.right));
      audits.with({"wrong"}).set(static_cast<double>(counts.wrong));
      audits.with({"failed"}).set(static_cast<double>(counts.failed));
      audits.with({"dropped"}).set(static_cast<double>(counts.dropped));
      waiting.with({}).set(static_cast<double>(outside.audits->waiting()));
    }
  });
}

}  // namespace

// Everything is counted where it happens, without a lock or a label, and read when somebody asks.
void add_outside_metrics(telemetry::Registry& registry, const gateway::Outside& outside, const store::Feeder* feeder) {
  add_judging_metrics(registry, outside);
  auto& attempts = registry.counters("shoal_provider_attempts_total", "Attempts at a provider's model.", {"target"});
  auto& failures = registry.counters("shoal_provider_failures_total", "Attempts that failed, by what that says.",
                                     {"target", "class"});
  auto& breakers = registry.gauges("shoal_provider_breaker_state", "0: closed; 1: half-open; 2: open.", {"target"});
  auto& keys = registry.gauges("shoal_provider_keys_usable", "Keys that the provider did not refuse.", {"provider"});
  auto& retries = registry.counters("shoal_provider_retries_total", "Second and further attempts of a request.",
                                    {"provider", "outcome"});
  auto& running = registry.gauges("shoal_provider_running", "Answers that have not ended.", {"provider"});
  auto& holds = registry.gauges("shoal_ledger_holds", "Reservations of attempts that have not ended.");
  auto& over = registry.counters("shoal_ledger_over_total", "Attempts that cost more than was reserved for them.");
  auto& drains =
      registry.counters("shoal_provider_drains_total", "Streams whose client left before their end.", {"outcome"});
  auto& journal = registry.gauges("shoal_journal_failed", "1: it cannot be written, and nothing is sent to providers.");
  auto& behind = registry.gauges("shoal_store_records_behind", "Records of the journal that are not in the store yet.");
  auto& failures_of_store =
      registry.counters("shoal_store_failures_total", "Times that the store could not be written.");
  registry.on_render([&, feeder] {
    journal.with({}).set(outside.journal == nullptr || outside.journal->poisoned() ? 1 : 0);
    if (feeder != nullptr) {
      const store::FeederStatus status = feeder->status();
      behind.with({}).set(static_cast<double>(status.durable_sequence - status.applied_sequence));
      failures_of_store.with({}).set(static_cast<double>(status.failures));
    }
    for (const auto& one : outside.config->providers.all()) {
      const std::string& name = one->options().name;
      const provider::Health& health = one->health();
      for (const auto& target : health.targets()) {
        const std::string label = name + "/" + target.model;
        attempts.with({label}).set(static_cast<double>(target.counts.attempts));
        for (std::size_t i = 0; i < std::size(kClasses); ++i) {
          if (target.counts.failures[i] > 0)
            failures.with({label, kClasses[i]}).set(static_cast<double>(target.counts.failures[i]));
        }
        breakers.with({label}).set(number_of(target.breaker));
      }
      running.with({name}).set(static_cast<double>(one->running()));
      if (!health.keys().empty()) keys.with({name}).set(static_cast<double>(health.keys().accepted()));
      retries.with({name, "made"}).set(static_cast<double>(health.retries().made()));
      retries.with({name, "refused"}).set(static_cast<double>(health.retries().refused()));
    }
    holds.with({}).set(static_cast<double>(outside.book.holds()));
    over.with({}).set(static_cast<double>(outside.book.over()));
    drains.with({"settled"}).set(static_cast<double>(outside.drains.settled));
    drains.with({"given_up"}).set(static_cast<double>(outside.drains.given_up));
    drains.with({"cancelled"}).set(static_cast<double>(outside.drains.cancelled));
  });
}

}  // namespace shoal::cli
