// The vocabulary of a decision: how a request was answered, and why. Made by routing/ and gateway/, printed by wire/,
// kept by audit/. Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/types/completion.h"

namespace shoal::types {

// One step of a decision: what was looked at, what it was, against what, and what came of it.
struct Reason {
  std::string signal;  // "confidence", "needs", "budget"
  std::string value;   // "0.41"
  std::string rule;    // "at least 0.80"
  std::string effect;  // "escalate", "skip openai/gpt-4o-mini"

  bool operator==(const Reason&) const = default;
};

enum class Decision : std::uint8_t {
  kLocal,       // a local model answered, as the route has it
  kRemote,      // a provider did, as the route has it
  kEscalated,   // a provider did, for the local answer was not sure enough, or could not be had
  kFailedOver,  // a local model did, for no provider could
};

[[nodiscard]] constexpr std::string_view decision_name(Decision decision) {
  switch (decision) {
    case Decision::kLocal:
      return "local";
    case Decision::kRemote:
      return "remote";
    case Decision::kEscalated:
      return "escalated";
    case Decision::kFailedOver:
      break;
  }
  return "failed_over";
}

// How an answer came about; printed in headers and in `x_shoal`, and kept.
struct Receipt {
  std::string decision_id;  // of this request, ours alone
  std::string route;        // as the client named it, or its default
  std::string model;        // that answered: "smollm2-135m-instruct", "openai/gpt-4o-mini"
  Decision decision = Decision::kLocal;
  std::string egress = "none";         // or the providers that bytes went to
  Usage usage;                         // prompt tokens once per prompt, completion tokens over all answers
  std::optional<Usage> estimated;      // what a provider would count, of an answer that nothing here counts tokens of
  Timings timings;                     // of the slowest local answer
  bool exact = false;                  // the engine's mode: no neighbour and no kept prefix made a difference
  std::vector<AnswerSignals> signals;  // by local answer
  std::vector<std::vector<float>> hidden_states;  // by prompt, when asked for
  std::vector<Reason> reasons;
  std::optional<double> confidence;            // calibrated, of the local answer; none: not known
  std::optional<double> threshold;             // that it was held against
  std::int64_t billed_micro = 0;               // of a dollar: paid to providers for this request, rounded up once
  std::int64_t local_micro = 0;                // what the time of computing here is taken to cost
  std::optional<std::int64_t> baseline_micro;  // what a provider would have cost in place of all this; none: not known
  std::string durability = "batch";
  bool raw = false;  // the answer is a provider's, in the client's own dialect, and goes out as it comes

  [[nodiscard]] bool local() const { return decision == Decision::kLocal || decision == Decision::kFailedOver; }
};

}  // namespace shoal::types
