// AnswerStream: the answers of one request while somebody writes them, as one stream of events: a local draft, or a
// provider's answer. The pipeline reads both alike.
// Owned by the pipeline for one attempt; destroying it cancels what still runs. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/engine/engine.h"
#include "shoal/types/remote.h"
#include "shoal/types/route.h"

namespace shoal::gateway {

// The model accepted the prompt.
struct Started {
  std::int32_t prompt_tokens = 0;
};

// How sure a trained task is of the answer that follows.
struct Scored {
  std::optional<double> confidence;  // none: not known
  std::string unknown;               // then: what was wanted
  std::vector<types::Reason> notes;  // for the receipt
  types::Usage estimated;            // what a provider would count of it, about
};

struct AnswerEvent {
  std::size_t answer = 0;  // of a local model; a RemoteEvent names its own
  std::variant<Started, Scored, engine::TokenEvent, engine::FinishEvent, types::RemoteEvent, Error> what;
};

class AnswerStream {
 public:
  AnswerStream() = default;
  AnswerStream(const AnswerStream&) = delete;
  AnswerStream& operator=(const AnswerStream&) = delete;
  virtual ~AnswerStream() = default;

  // The next event of any answer, or nothing when `wake` passes first. REQUIRES: not every answer has ended.
  [[nodiscard]] virtual std::optional<AnswerEvent> next(const base::Clock& clock, base::Deadline wake,
                                                        base::Yield yield) = 0;
};

}  // namespace shoal::gateway
