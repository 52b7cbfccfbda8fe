// The life of a request. Read it from the top: admit, route, draft locally, keep, reply.
#include "shoal/gateway/pipeline.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "shoal/gateway/draft.h"

namespace shoal::gateway {
namespace {

// params.n answers for each prompt; with a seed, answer i of a prompt uses seed + i, so that they differ and repeat.
std::vector<engine::GenerateRequest> local_requests(const AnswerRequest& request, const std::string& model,
                                                    base::Deadline deadline, bool streams) {
  std::vector<engine::GenerateRequest> requests;
  for (const engine::Prompt& prompt : request.prompts) {
    for (std::int32_t i = 0; i < request.params.n; ++i) {
      engine::GenerateRequest& one = requests.emplace_back();
      one.model = model;
      one.principal = request.principal;
      one.deadline = deadline;
      one.prompt = prompt;
      one.sampling = request.params.sampling;
      if (one.sampling.seed) *one.sampling.seed += static_cast<std::uint64_t>(i);
      one.max_tokens = request.params.max_tokens;
      one.stop = request.params.stop;
      one.top_logprobs = request.params.top_logprobs;
      one.ignore_eos = request.params.ignore_eos;
      one.p_true = request.params.p_true;
      one.streams = streams;
      one.hidden_state = request.params.hidden_state && i == 0;  // the answers to one prompt share it
    }
  }
  return requests;
}

void add_finished(Receipt& receipt, const AnswerRequest& request, std::size_t answer, engine::FinishEvent& finish) {
  // The answers to one prompt share it: count it once.
  if (answer % static_cast<std::size_t>(request.params.n) == 0) {
    receipt.usage.prompt_tokens += finish.usage.prompt_tokens;
    receipt.usage.cached_tokens += finish.usage.cached_tokens;
  }
  receipt.usage.completion_tokens += finish.usage.completion_tokens;
  receipt.exact = finish.exact;
  receipt.timings.queue_us = std::max(receipt.timings.queue_us, finish.timings.queue_us);
  receipt.timings.prefill_us = std::max(receipt.timings.prefill_us, finish.timings.prefill_us);
  receipt.timings.decode_us = std::max(receipt.timings.decode_us, finish.timings.decode_us);
  receipt.signals[answer] = finish.signals;
  if (!finish.hidden_state.empty())
    receipt.hidden_states[answer / static_cast<std::size_t>(request.params.n)] = std::move(finish.hidden_state);
}

}  // namespace

Pipeline::Pipeline(engine::Engine& engine, const base::Clock& clock, base::Log& log, PipelineOptions options)
    : engine_(engine), clock_(clock), log_(log), options_(std::move(options)) {}

void Pipeline::answer(AnswerRequest request, AnswerSink& sink, base::Yield yield) {
  // --- admit: one deadline for everything that follows.
  base::Deadline deadline = base::Deadline::after_ms(clock_, options_.request_timeout_ms);
  deadline.at_ns = std::min(deadline.at_ns, request.deadline.at_ns);
  assert(!request.prompts.empty() && request.params.n >= 1);

  // --- route: the model that the client named, or the default; what was chosen is always shown.
  Receipt receipt;
  const std::string& named = request.model.empty() ? options_.default_model : request.model;
  if (named.empty()) {
    sink.fail(Error(ErrorCode::kModelNotFound,
                    "the request names no model and no default is configured; name one, or set engine.default_model")
                  .with_param("model"),
              yield);
    return;
  }
  auto model = engine_.resolve(named);
  if (!model.ok()) return sink.fail(model.error(), yield);
  receipt.model = std::move(model->name);  // its own name, whatever alias the client used
  sink.decided(receipt);

  // --- draft locally.
  Draft draft(engine_, local_requests(request, receipt.model, deadline, sink.streams()), request.cancel, yield);

  // --- keep: the answer goes out while it is written.
  auto kept = stream_answers(request, draft, std::move(receipt), sink, yield);

  // --- reply.
  if (!kept.ok()) {
    const Error& error = kept.error();
    log_.info("request failed",
              {{"request", request.id}, {"code", error.info().slug}, {"committed", sink.committed()}});
    sink.fail(error, yield);
    return;
  }
  if (auto sent = sink.done(*kept, yield); !sent.ok()) {
    log_.info("client gone at the end of its answer", {{"request", request.id}});
  }
}

Result<Receipt> Pipeline::stream_answers(const AnswerRequest& request, Draft& draft, Receipt receipt, AnswerSink& sink,
                                         base::Yield yield) {
  std::size_t open = request.prompts.size() * static_cast<std::size_t>(request.params.n);
  std::size_t started = 0;
  receipt.signals.resize(open);
  if (request.params.hidden_state) receipt.hidden_states.resize(request.prompts.size());
  base::Deadline wake = sink.streams() ? base::Deadline::after_ms(clock_, options_.hold_ms) : base::Deadline{};
  while (open > 0) {
    std::optional<DraftEvent> event = draft.next(clock_, wake, yield);
    if (!event) {
      // FENCE: the status line leaves now; what fails after this is an error frame in a 200.
      if (!sink.committed()) SHOAL_TRY(sink.commit(yield));
      SHOAL_TRY(sink.ping(started == 0 ? "loading " + receipt.model : std::string("ping"), yield));
      wake = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
      continue;
    }
    if (auto* error = std::get_if<Error>(&event->what)) return std::move(*error);
    if (std::holds_alternative<Started>(event->what)) {
      ++started;
      continue;
    }
    // FENCE: the first token commits. A prompt that does not fit or a worker that cannot start has failed before
    // this line, with a status of its own; what fails after it is an error frame.
    assert(started > 0);
    if (sink.streams() && !sink.committed()) SHOAL_TRY(sink.commit(yield));
    if (auto* token = std::get_if<engine::TokenEvent>(&event->what)) {
      SHOAL_TRY(sink.token(event->answer, token->token, token->text, yield));
    } else {
      auto& finish = std::get<engine::FinishEvent>(event->what);
      SHOAL_TRY(sink.finished(event->answer, finish.reason, finish.text, yield));
      add_finished(receipt, request, event->answer, finish);
      --open;
    }
    if (sink.streams()) wake = base::Deadline::after_ms(clock_, options_.ping_interval_ms);
  }
  assert(receipt.usage.completion_tokens >= 0);
  return receipt;
}

}  // namespace shoal::gateway
