// Records as a journal would give them, made by hand or by chance.
#pragma once

#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "shoal/audit/record.h"
#include "shoal/audit/records.h"

namespace shoal::store {

// 2026-11-22, 12:00:00 UTC, and its day and month.
inline constexpr std::int64_t kNoonMs = 1'795'348'800'000;
inline constexpr std::int64_t kDayMs = 86'400'000;
inline constexpr std::int64_t kDay = 1'795'305'600;    // 2026-11-22
inline constexpr std::int64_t kMonth = 1'793'491'200;  // 2026-11-01

class History {
 public:
  explicit History(std::uint64_t first = 1) : first_(first) {}
  History(const History&) = delete;
  History& operator=(const History&) = delete;

  std::uint64_t add(std::uint8_t type, std::string payload) {
    payloads_.push_back(std::move(payload));
    records_.push_back({.sequence = first_ + records_.size(), .type = type, .payload = payloads_.back()});
    return records_.back().sequence;
  }
  std::uint64_t add(const audit::Intent& intent) { return add_printed(audit::RecordType::kIntent, intent); }
  std::uint64_t add(const audit::Outcome& outcome) { return add_printed(audit::RecordType::kOutcome, outcome); }
  std::uint64_t add(const audit::Receipt& receipt) { return add_printed(audit::RecordType::kReceipt, receipt); }

  std::uint64_t add(const audit::Label& label) { return add_printed(audit::RecordType::kLabel, label); }

  [[nodiscard]] std::span<const audit::Record> all() const { return records_; }
  // Those from a sequence number on.
  [[nodiscard]] std::span<const audit::Record> since(std::uint64_t sequence) const {
    return all().subspan(sequence - first_);
  }
  [[nodiscard]] std::uint64_t last() const { return first_ + records_.size() - 1; }

 private:
  template <class Value>
  std::uint64_t add_printed(audit::RecordType type, const Value& value) {
    std::string text;
    audit::print(value, text);
    return add(static_cast<std::uint8_t>(type), std::move(text));
  }

  const std::uint64_t first_;
  std::deque<std::string> payloads_;  // which stay where they are
  std::vector<audit::Record> records_;
};

inline audit::Intent intent(const std::string& attempt, const std::string& request, std::int64_t reserved_pico,
                            std::int64_t unix_ms = kNoonMs) {
  return {.attempt = attempt,
          .request = request,
          .unix_ms = unix_ms,
          .principal = "alice",
          .provider = "openai",
          .model = "gpt-4o-mini",
          .purpose = "answer",
          .body_sha256 = std::string(64, 'a'),
          .body_bytes = 1234,
          .reserved_pico = reserved_pico,
          .price = "openai/gpt-4o-mini@2026-03-01",
          .route = "chat"};
}

inline audit::Outcome outcome(const std::string& attempt, std::int64_t cost_pico,
                              audit::OutcomeKind kind = audit::OutcomeKind::kSettled,
                              std::int64_t unix_ms = kNoonMs + 900) {
  return {
      .attempt = attempt,
      .unix_ms = unix_ms,
      .kind = kind,
      .tokens = {.input = 10, .cache_read = 4, .cache_write_5m = 3, .cache_write_1h = 2, .output = 7, .reasoning = 1},
      .cost_pico = cost_pico,
      .status = 200,
      .failure = "",
      .upstream_id = "req_1"};
}

inline audit::Receipt receipt(const std::string& request, audit::Decision decision = audit::Decision::kLocal,
                              std::int64_t unix_ms = kNoonMs + 1000) {
  return {.request = request,
          .unix_ms = unix_ms,
          .principal = "alice",
          .route = "chat",
          .model = decision == audit::Decision::kLocal ? "smollm2" : "gpt-4o-mini",
          .decision = decision,
          .egress = decision == audit::Decision::kLocal ? "" : "openai",
          .billed_micro = 3,
          .baseline_micro = 50,
          .prompt_tokens = 19,
          .completion_tokens = 8,
          .local_ms = 120,
          .durability = "batch",
          .status = 200,
          .confidence = 0.75,
          .detail = R"({"why":["sure"]})",
          .baseline = {}};
}

inline audit::Baseline baseline(std::int64_t input, std::int64_t output) {
  return {.provider = "openai", .model = "gpt-4o", .tokens = {.input = input, .output = output}};
}

// So many records as chance, begun with `seed`, makes them: the same ones each time.
inline void fill(History& history, unsigned seed, std::size_t count) {
  std::mt19937 random(seed);
  const auto below = [&](int end) { return std::uniform_int_distribution<int>(0, end - 1)(random); };
  int attempts = 0;
  int requests = 0;
  while (history.all().size() < count) {
    const std::string id = std::to_string(random()) + std::to_string(++requests);
    const std::int64_t at = kNoonMs + requests * 1000;
    const int tries = below(3);
    for (int i = 0; i < tries; ++i) {
      const std::string attempt = "a" + std::to_string(++attempts);
      audit::Intent begin = intent(attempt, id, below(5'000'000), at);
      begin.provider = below(2) == 0 ? "openai" : "anthropic";
      begin.principal = "key" + std::to_string(below(5));
      history.add(begin);
      if (below(10) == 0) continue;
      history.add(outcome(attempt, below(4'000'000), static_cast<audit::OutcomeKind>(below(3)), at + 500));
    }
    if (below(10) == 0) continue;
    audit::Receipt end = receipt(id, static_cast<audit::Decision>(below(5)), at + 900);
    end.principal = "key" + std::to_string(below(5));
    end.route = "route" + std::to_string(below(4));
    if (below(3) != 0) end.baseline = baseline(below(1000), below(1000));
    end.detail = '"' + std::string(static_cast<std::size_t>(below(300)), 'd') + '"';
    history.add(end);
  }
}

}  // namespace shoal::store
