// The pipeline: the life of a request, top to bottom, in pipeline.cpp. All branching is there; the steps are
// leaves that know nothing of each other. It speaks types/ only: no HTTP, no JSON.
// Owned by cli/'s App, which outlives every request. Threads: the I/O thread, one coroutine per request.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/explain.h"
#include "shoal/gateway/outside.h"
#include "shoal/types/model.h"

namespace shoal::gateway {

struct PipelineOptions {
  std::string default_model;                  // for requests that name none
  std::int64_t request_timeout_ms = 600'000;  // the longest that a request may take, whatever it asks for
  // A streamed answer keeps its status line back this long, so that a failure to start still has a status of
  // its own: SDKs retry a status, never a broken stream.
  std::int64_t hold_ms = 1'000;
  std::int64_t ping_interval_ms = 10'000;  // proxies cut streams that are silent for longer (nginx: 60 s)
};

class Pipeline {
 public:
  // `outside` may be null: then there are local models only.
  Pipeline(engine::Engine& engine, Outside* outside, const base::Clock& clock, base::Log& log, PipelineOptions options);

  // Answers through the sink; every way ends in sink.done() or sink.fail().
  void answer(AnswerRequest request, AnswerSink& sink, base::Yield yield);

  // What may be named beside local models: routes, and what providers are configured to offer.
  [[nodiscard]] std::vector<types::OtherModel> other_models() const;

  // Who would answer it now, and why; nothing is computed or sent. Errors: kModelNotFound.
  [[nodiscard]] Result<Explanation> explain(const AnswerRequest& request) const;

 private:
  engine::Engine& engine_;
  Outside* const outside_;
  const base::Clock& clock_;
  base::Log& log_;
  const PipelineOptions options_;
};

}  // namespace shoal::gateway
