// Audits: asks a provider, after the answer was given, what it would have answered to some questions that a local model
// answered: as a request of its own, with a permit, a reservation and an intent and outcome in the journal, whose
// purpose is "audit". Whether the two answers agree is written down as a label by that model. No client waits for it.
// Questions wait in a queue with an end; what does not fit is dropped and counted, and so is what a provider did not
// answer: the label is missing then, and the receipt still says that the answer was drawn.
// Owned by cli/'s OutsideParts. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "shoal/audit/records.h"
#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/outside.h"
#include "shoal/routing/route.h"

namespace shoal::gateway {

struct AuditOptions {
  std::size_t at_once = 2;
  std::size_t max_waiting = 64;
  std::size_t max_waiting_bytes = std::size_t{8} << 20;  // of questions
  std::int64_t deadline_ms = 120'000;                    // of one, from its turn on
};

struct AuditCounts {
  std::uint64_t right = 0;
  std::uint64_t wrong = 0;
  std::uint64_t failed = 0;   // the provider did not answer, or was not to be asked
  std::uint64_t dropped = 0;  // too many waited
};

class Audits {
 public:
  // Whether two answers say the same.
  using Agrees = std::function<bool(std::string_view, std::string_view)>;
  // What it is called in labels, and how it is done.
  struct Comparison {
    std::string name;
    Agrees agrees;
  };

  // Everything passed by reference outlives it, and its coroutines.
  Audits(base::Executor executor, Outside& outside, const base::Clock& clock, base::Log& log, Comparison comparison,
         AuditOptions options = {});
  Audits(const Audits&) = delete;
  Audits& operator=(const Audits&) = delete;
  ~Audits();

  // Asks the first provider of the route, some time. `kept`: what the client was given. Copies what it needs.
  void ask(const AnswerRequest& request, const routing::Route& route, std::string_view decision, std::string kept);
  // Writes down whether a draft that was thrown away said what the answer that took its place says.
  void compare(std::string_view decision, const types::Principal& principal, std::string_view draft,
               std::string_view answer, const std::string& by);

  // The server ends: nobody is asked any more, and who is being asked is left.
  void stop();

  [[nodiscard]] const AuditCounts& counts() const;
  [[nodiscard]] std::size_t waiting() const;  // those that are being asked, too

 private:
  struct State;
  struct Question;
  static void work(const std::shared_ptr<State>& state, const base::Yield& yield);
  static Result<std::string> answer_of(State& state, const Question& question, const base::Yield& yield);

  const base::Executor executor_;
  const std::shared_ptr<State> state_;
};

}  // namespace shoal::gateway
