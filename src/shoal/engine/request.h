// One request in the engine: what was asked, as the frame that asks it, and what came back so far. Shared by the
// host that feeds it and the Generation (or embed call) that consumes it.
// Owned through shared_ptr by both. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/engine/engine.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {

enum class RequestState : std::uint8_t {
  kWaiting,   // for a worker that is ready
  kSent,      // the worker has it, and has not said that it fits
  kAccepted,  // tokenised and admitted by the worker
  kDone,      // finished, failed or cancelled; no frame about it is heard any more
};

enum class RequestKind : std::uint8_t { kWarmUp, kGenerate, kEmbed, kScore, kTokenize, kDetokenize };

struct Request {
  explicit Request(const base::Executor& executor) : wake(executor) {}

  std::uint64_t id = 0;
  RequestKind kind = RequestKind::kWarmUp;
  base::Deadline deadline;
  std::stop_token cancel;
  RequestState state = RequestState::kWaiting;
  std::string frame;         // encoded; dropped when it can no longer be sent again
  bool resubmitted = false;  // after a crash that it may have caused: not a second time
  std::int64_t submitted_ns = 0;

  // Generation.
  std::int32_t prompt_tokens = 0;
  std::uint32_t credits = 0;  // tokens that the worker may still send
  std::uint32_t taken = 0;    // tokens that the consumer took since the last grant
  std::uint64_t tokens = 0;   // received
  std::deque<GenerateEvent> events;
  std::vector<float> hidden_state;

  // Embedding.
  std::size_t inputs = 0;
  std::size_t received = 0;
  EmbedResult embedding;

  // Label scores; `inputs` of them.
  ScoreResult scored;

  // Tokens of a text, or the text of tokens.
  std::vector<std::int32_t> token_ids;
  bool lossless = false;
  std::string text;

  std::optional<Error> failure;
  base::Timer wake;  // cancelled whenever something above changed

  void notify() { wake.cancel(); }
  // Suspends until notify(), or until `until`. May return early: look at the state again.
  void wait(const base::Clock& clock, base::Deadline until, base::Yield yield);
};

// The side of a host that a Generation speaks to; gone when the supervisor is.
class RequestOwner {
 public:
  virtual ~RequestOwner() = default;
  // Ends the request with `why`; the worker is told to stop computing it.
  virtual void end(const std::shared_ptr<Request>& request, Error why) = 0;
  // The consumer took tokens: let the worker send more.
  virtual void top_up(const std::shared_ptr<Request>& request) = 0;
};

// Ends its request with kCancelled when it is destroyed, or as soon as the request is cancelled.
class WorkerGeneration final : public Generation {
 public:
  WorkerGeneration(std::shared_ptr<Request> request, std::weak_ptr<RequestOwner> owner, const base::Clock& clock)
      : request_(std::move(request)),
        owner_(std::move(owner)),
        clock_(clock),
        on_cancel_(request_->cancel, [this] { cancel(); }) {}
  WorkerGeneration(const WorkerGeneration&) = delete;
  WorkerGeneration& operator=(const WorkerGeneration&) = delete;
  ~WorkerGeneration() override;

  [[nodiscard]] std::int32_t prompt_tokens() const override { return request_->prompt_tokens; }
  Result<std::optional<GenerateEvent>> next(base::Yield yield, base::Deadline wake) override;

 private:
  void cancel();

  std::shared_ptr<Request> request_;
  std::weak_ptr<RequestOwner> owner_;
  const base::Clock& clock_;
  std::stop_callback<std::function<void()>> on_cancel_;
};

[[nodiscard]] Error deadline_error();
[[nodiscard]] Error cancelled_error();

}  // namespace shoal::engine
