// What goes into the pipeline and what comes out, in no dialect: server/ makes an AnswerRequest from HTTP
// and JSON, and gives an AnswerSink that prints the answer back.
//
// The sink is *held* until open_stream() or commit(): nothing has reached the client, and fail() still gives a status
// of its own. An *open* stream shows signs of life, and no model yet. Once *committed* the answer can only go on, or
// break off with a visible error; it is never replaced. Owned by the caller for one request. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"
#include "shoal/routing/plan.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"
#include "shoal/types/principal.h"
#include "shoal/types/remote.h"
#include "shoal/types/route.h"

namespace shoal::gateway {

struct AnswerRequest {
  std::string id;     // request id, for the log
  std::string model;  // as the client named it; empty: the default
  types::Principal principal;
  base::Deadline deadline;              // absolute; the pipeline's own limit applies if it is sooner
  std::stop_token cancel;               // requested when the client goes away: ends in fail(kCancelled)
  std::vector<engine::Prompt> prompts;  // of a chat: none, its messages are one
  types::GenerationParams params;       // params.n answers per prompt: answer i belongs to prompt i / n
  std::vector<types::Need> needs;       // what not every model can do
  bool local_only = false;              // nothing of it may leave this machine
  routing::Prefer prefer = routing::Prefer::kNone;
  std::int32_t hops = 0;  // through so many other Shoals it came
  // The client's own bytes in OpenAI's dialect, and what they say when they are a chat: seen, not owned.
  std::string_view body;
  const types::ChatRequest* chat = nullptr;
  std::string_view added_system_prompt;  // the route's, which `chat` has and `body` does not; empty: none

  [[nodiscard]] std::size_t prompt_count() const { return chat != nullptr ? 1 : prompts.size(); }
  [[nodiscard]] std::size_t answers() const { return prompt_count() * static_cast<std::size_t>(params.n); }
};

class AnswerSink {
 public:
  virtual ~AnswerSink() = default;

  // Whether the client reads along. One that does not gets all of it with done().
  [[nodiscard]] virtual bool streams() const = 0;
  // Sends the status line, which names no model, so that signs of life can follow. REQUIRES: held, streams().
  virtual Result<void> open_stream(const types::Receipt& receipt, base::Yield yield) = 0;
  [[nodiscard]] virtual bool open() const = 0;  // or committed
  // From here on the client sees this answer. REQUIRES: not committed.
  // Errors (here and below): kCancelled, kRequestTimeout when the client is gone or stuck.
  virtual Result<void> commit(const types::Receipt& receipt, base::Yield yield) = 0;
  [[nodiscard]] virtual bool committed() const = 0;
  // More of answer `index`, of a local model. REQUIRES (here and in the next two): committed, or !streams().
  virtual Result<void> token(std::size_t index, const types::Token& token, std::string_view text,
                             base::Yield yield) = 0;
  // Answer `index` is complete; `text` is its last piece.
  virtual Result<void> finished(std::size_t index, types::FinishReason reason, std::string_view text,
                                base::Yield yield) = 0;
  // More of the answers of a provider; in OpenAI's own bytes when event.raw is there.
  virtual Result<void> relay(types::RemoteEvent event, base::Yield yield) = 0;
  // Forgets what it was given: another candidate answers. REQUIRES: not committed.
  virtual void discard() = 0;
  // A sign of life that no client shows. REQUIRES: open().
  virtual Result<void> ping(std::string_view note, base::Yield yield) = 0;
  // All answers are complete. REQUIRES: committed.
  virtual Result<void> done(const types::Receipt& receipt, base::Yield yield) = 0;
  // Held: the error's own status and body. Open: an error frame, then the connection closes.
  virtual void fail(const Error& error, const types::Receipt& receipt, base::Yield yield) = 0;
};

}  // namespace shoal::gateway
