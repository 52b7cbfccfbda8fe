// Attempts: what was tried for one request, and whom to ask after a failure: nobody, the same target again, or the next
// candidate; and why. It decides from the error, the plan, what the route allows, the breaker and the retry budget; it
// asks nobody itself.
// Owned by the pipeline for one request. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/error.h"
#include "shoal/gateway/outside.h"
#include "shoal/gateway/remote_call.h"
#include "shoal/ledger/money.h"
#include "shoal/routing/plan.h"
#include "shoal/types/route.h"

namespace shoal::gateway {

struct NextAttempt {
  std::size_t at = 0;        // of the candidates
  std::string effect;        // for the receipt: "go on with openai/gpt-4o-mini"
  std::int64_t wait_ms = 0;  // before it
};

class Attempts {
 public:
  // All outlive it; what it leaves out is added to `reasons`. `outside` may be null where no candidate is remote.
  Attempts(const Outside* outside, const routing::Route& route, std::vector<types::Reason>& reasons)
      : outside_(outside), route_(route), reasons_(reasons) {}

  // One at a provider begins. Its options: its number, from 1; what is left of the route's cost cap; whether it needs a
  // connection of its own, and whether a failure counts against the target.
  struct Begun {
    std::int32_t number = 0;
    std::optional<std::int64_t> cost_cap_micro;
    bool fresh = false;
    bool counts = true;
  };
  Begun begin(std::size_t remote);
  void ended(std::size_t remote, const AttemptEnd& end, bool failed);

  // After candidate `at` failed. `thrown_away`: a local answer was, for it was not sure. Nothing: nobody is to be
  // asked.
  std::optional<NextAttempt> after(const Error& error, const std::vector<routing::Candidate>& all, std::size_t at,
                                   bool thrown_away, base::Deadline deadline, const base::Clock& clock);
  // Whether the target can be asked now; where not, the reason is added.
  bool ready(const routing::RemoteTarget& target);

  // What the client gets when nobody answers: the latest error of one that was asked. Why another attempt was not even
  // begun is no news to it. REQUIRES: candidates failed.
  void failed(const Error& error, bool local);
  [[nodiscard]] Error last_word() const;

  [[nodiscard]] std::int32_t at_providers() const { return number_; }
  // The journal tells of one of them.
  [[nodiscard]] bool journaled() const { return journaled_; }

 private:
  [[nodiscard]] bool may_go_on(const Error& error, const routing::Candidate& now, const routing::Candidate& next) const;
  bool may_ask(const routing::RemoteTarget& target, const Error& error);
  bool withdraw(const routing::RemoteTarget& target);
  std::optional<std::int64_t> wait_ms(const routing::RemoteTarget& target, const Error& error, base::Deadline deadline,
                                      const base::Clock& clock);

  const Outside* const outside_;
  const routing::Route& route_;
  std::vector<types::Reason>& reasons_;
  std::int32_t number_ = 0;
  std::optional<AttemptEnd> last_;    // of the candidate that failed last, when it was a provider
  ledger::Pico spent_;                // by all of them
  std::vector<std::string> asked_;    // providers
  std::vector<std::size_t> counted_;  // targets whose failure counts already, as indices into Route::remote
  std::optional<Error> told_;
  bool journaled_ = false;
  bool fresh_ = false;      // the next one needs a connection of its own
  bool no_budget_ = false;  // a retry was not made, for there were too many
};

}  // namespace shoal::gateway
