// Draft: the answers of one request while local models write them, as one stream of events. Each answer is
// started and read by a coroutine of its own, so that a model that is still loading, or n answers at once,
// look the same to the pipeline: it waits for what comes next, or until a wake-up. A single answer is read by who
// waits for it: each coroutine in between costs a token some microseconds.
// Owned by the pipeline for one request; destroying it cancels what still runs. Threads: the I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/answer_stream.h"

namespace shoal::gateway {

class Draft final : public AnswerStream {
 public:
  // Starts one answer per request, all at once. `cancel`, requested on the I/O thread, ends every answer: a next()
  // that waits returns kCancelled.
  Draft(engine::Engine& engine, std::vector<engine::GenerateRequest> requests, const std::stop_token& cancel,
        base::Yield yield);
  ~Draft() override;

  [[nodiscard]] std::optional<AnswerEvent> next(const base::Clock& clock, base::Deadline wake,
                                                base::Yield yield) override;

 private:
  struct State;

  void cancel();

  std::shared_ptr<State> state_;
  std::stop_callback<std::function<void()>> on_cancel_;
};

}  // namespace shoal::gateway
