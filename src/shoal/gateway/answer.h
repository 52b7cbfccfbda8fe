// What goes into the pipeline and what comes out, in no dialect: server/ makes an AnswerRequest from HTTP
// and JSON, and gives an AnswerSink that prints the answer back.
//
// The sink is *held* until commit(): nothing has reached the client, and fail() still gives a status of its
// own. Once *committed* the answer can only go on, or break off with a visible error; it is never replaced.
// Owned by the caller for one request. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"

namespace shoal::gateway {

struct AnswerRequest {
  std::string id;     // request id, for the log
  std::string model;  // as the client named it; empty: the default
  std::uint64_t principal = 0;
  base::Deadline deadline;              // absolute; the pipeline's own limit applies if it is sooner
  std::stop_token cancel;               // requested when the client goes away: ends in fail(kCancelled)
  std::vector<engine::Prompt> prompts;  // at least one
  types::GenerationParams params;       // params.n answers per prompt: answer i belongs to prompt i / n
};

// How the answer came about; printed in headers, in `x_shoal`, and kept.
struct Receipt {
  std::string model;
  std::string route = "local";
  std::string egress = "none";
  types::Usage usage;                         // prompt tokens once per prompt, completion tokens over all answers
  types::Timings timings;                     // of the slowest answer
  bool exact = false;                         // the engine's mode: no neighbour and no kept prefix made a difference
  std::vector<types::AnswerSignals> signals;  // by answer
  std::vector<std::vector<float>> hidden_states;  // by prompt, when asked for
};

class AnswerSink {
 public:
  virtual ~AnswerSink() = default;

  // The model and route were decided. REQUIRES: held.
  virtual void decided(const Receipt& receipt) = 0;
  // More of answer `index`. Errors (here and below): kCancelled, kRequestTimeout when the client is gone or stuck.
  virtual Result<void> token(std::size_t index, const types::Token& token, std::string_view text,
                             base::Yield yield) = 0;
  // Answer `index` is complete; `text` is its last piece.
  virtual Result<void> finished(std::size_t index, types::FinishReason reason, std::string_view text,
                                base::Yield yield) = 0;
  // Whether the client reads along; a sink that does not is committed by done().
  [[nodiscard]] virtual bool streams() const = 0;
  // From here on the client sees the answer. REQUIRES: held, streams().
  virtual Result<void> commit(base::Yield yield) = 0;
  [[nodiscard]] virtual bool committed() const = 0;
  // A sign of life that no client shows. REQUIRES: committed.
  virtual Result<void> ping(std::string_view note, base::Yield yield) = 0;
  // All answers are complete.
  virtual Result<void> done(const Receipt& receipt, base::Yield yield) = 0;
  // Held: the error's own status and body. Committed: an error frame, then the connection closes.
  virtual void fail(const Error& error, base::Yield yield) = 0;
};

}  // namespace shoal::gateway
