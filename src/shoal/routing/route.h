// Route: what a client may name as its model: a local model, a provider's, or a policy over them. Made from the
// configuration by cli/. Immutable; a reload makes new ones. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::routing {

enum class Policy : std::uint8_t {
  kSlmOnly,   // local models alone
  kSlmFirst,  // a local model, and a provider when the answer is not sure enough
  kLlmFirst,  // a provider, and a local model when none can
};

enum class Latency : std::uint8_t { kInteractive, kRelaxed };

// What to do where a local answer has no calibrated confidence.
enum class NullConfidence : std::uint8_t { kKeep, kEscalate };

// Of routes that name none.
inline constexpr std::string_view kGeneralTask = "general";

struct LoadedGain;  // gain_file.h
struct Domains;     // domains.h
struct Task;        // tasks.h

struct RemoteTarget {
  std::string provider;
  std::string model;  // as the provider names it

  bool operator==(const RemoteTarget&) const = default;
};

struct Route {
  std::string name;
  Policy policy = Policy::kSlmOnly;
  std::string local;                       // empty: no local model takes part; with `local_task`, its name
  std::shared_ptr<const Task> local_task;  // of classes, answers in place of a local model; null: none
  std::vector<RemoteTarget> remote;        // in the order of trying
  double threshold = 0.80;                 // the least confidence of a local answer that is kept
  double risk = 0;                  // of kept answers, so many may be wrong: a certificate has the threshold; 0: none
  double risk_confidence = 0.95;    // that this holds
  std::int32_t commit_tokens = 16;  // the decision falls at the latest after so many tokens,
  std::int64_t commit_ms = 1'500;   // or so long after the request came
  Latency latency = Latency::kInteractive;
  std::optional<std::int64_t> cost_cap_micro;  // of a dollar, per request
  bool local_only = false;                     // nothing may leave
  NullConfidence on_null_confidence = NullConfidence::kKeep;
  bool escalate_local_errors = true;
  bool local_on_remote_errors = true;
  bool local_on_budget = true;
  std::int32_t max_attempts = 3;             // at providers
  std::shared_ptr<const LoadedGain> router;  // says before a draft what `remote` would gain; null: none
  std::string router_name;
  double least_gain = 0.2;                 // from which on `remote` is asked at once
  std::shared_ptr<const Domains> domains;  // whose routes answer what is of one domain; null: none
  std::string system_prompt;               // for chats that have none of their own; empty: none
  double audit_share = 0;       // of judged answers that are kept: so many are asked of `remote` too, afterwards
  std::int64_t audit_seed = 1;  // of the draw
  std::int64_t escalations_per_hour = 0;  // of each key, for low confidence; 0: any number
  std::string task;                       // which calibration its answers have; empty: kGeneralTask
};

// "provider/model". Nothing when there is no slash between two names.
[[nodiscard]] std::optional<RemoteTarget> parse_target(std::string_view text);

}  // namespace shoal::routing
