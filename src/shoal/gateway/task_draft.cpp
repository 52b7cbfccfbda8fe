#include "shoal/gateway/task_draft.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/gateway/judgement.h"
#include "shoal/types/unsupported.h"

namespace shoal::gateway {
namespace {

// Whose end it is whether or not there are embeddings.
bool ends_all(ErrorCode code) {
  return code == ErrorCode::kCancelled || code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kShuttingDown;
}

// A task counts no tokens, a provider would: about one for each four bytes of English.
types::Usage estimated_usage(const AnswerRequest& request, std::string_view label) {
  constexpr std::size_t kBytesOfToken = 4;
  const auto tokens = [](std::size_t bytes) {
    return static_cast<std::int32_t>((bytes + kBytesOfToken - 1) / kBytesOfToken);
  };
  std::size_t bytes = 0;
  if (request.chat != nullptr) {
    for (const types::Message& message : request.chat->messages) bytes += message.content.size();
  } else {
    bytes = asked_of(request).front().size();
  }
  return {.prompt_tokens = tokens(bytes), .completion_tokens = tokens(label.size())};
}

// What a client said of how to write, which a label is not.
std::string without_effect(const types::GenerationParams& params) {
  const types::SamplingParams& sampling = params.sampling;
  const std::array<std::pair<const char*, bool>, 11> all = {{
      {"max_tokens", params.max_tokens.has_value()},
      {"stop", !params.stop.empty()},
      {"temperature", sampling.given.temperature},
      {"top_p", sampling.given.top_p},
      {"top_k", sampling.given.top_k},
      {"min_p", sampling.min_p != 0},
      {"presence_penalty", sampling.presence_penalty != 0},
      {"frequency_penalty", sampling.frequency_penalty != 0},
      {"repetition_penalty", sampling.repetition_penalty != 1},
      {"seed", sampling.seed.has_value()},
      {"logit_bias", !sampling.logit_bias.empty()},
  }};
  std::vector<const char*> names;
  for (const auto& [name, given] : all) {
    if (given) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Result<TaskEmbeddings> embed_for_task(engine::Engine& engine, const learning::ClassModel& model,
                                      std::span<const std::string_view> texts, engine::EmbedRequest request,
                                      base::Yield yield) {
  TaskEmbeddings out;
  if (!model.embedder) return out;
  const auto info = engine.resolve(model.embedder->name);
  if (!info.ok()) {
    out.degraded = fmt::format("the embedder {} is not here", model.embedder->name);
    return out;
  }
  if (!learning::same_embedder(*model.embedder, {info->name, info->sha256, info->bytes, info->embedding_length})) {
    out.degraded =
        fmt::format("the embedder {} is another one than the task was trained with; train it again", info->name);
    return out;
  }
  request.model = info->name;
  for (const std::string_view text : texts) request.inputs.emplace_back(std::string(learning::embedded_part(text)));
  auto done = engine.embed(std::move(request), yield);
  if (!done.ok() && ends_all(done.error().code())) return std::move(done).error();
  if (done.ok()) {
    out.result = std::move(done).value();
    out.embedder = info->name;
  } else {
    out.degraded = fmt::format("no embedding: {}", done.error().message());
  }
  return out;
}

std::optional<Error> why_no_task(const AnswerRequest& request) {
  const auto wrong = [](std::string what, const char* param) {
    return Error(ErrorCode::kUnsupportedParameter, std::move(what)).with_param(param);
  };
  if (!request.needs.empty()) return types::unsupported(request.needs.front());
  if (request.answers() != 1) return wrong("a trained task gives one answer to one text", "n");
  if (request.params.logprobs) return wrong("a trained task has no log-probabilities of tokens", "logprobs");
  if (asked_of(request).front().empty()) return wrong("a trained task answers text, and there is none", "messages");
  return std::nullopt;
}

TaskDraft::TaskDraft(engine::Engine& engine, learning::ClassScorer& scorer, const routing::Task& task,
                     const AnswerRequest& request, TaskDraftOptions options)
    : engine_(engine), scorer_(scorer), task_(task), request_(request), options_(options) {
  assert(std::holds_alternative<learning::ClassModel>(task.model) && !why_no_task(request));
}

Result<void> TaskDraft::answer(const base::Clock& clock, base::Yield yield) {
  const auto& model = std::get<learning::ClassModel>(task_.model);
  const std::array<std::string_view, 1> text{asked_of(request_).front()};
  const std::int64_t began_ns = clock.monotonic_ns();
  auto embedded = embed_for_task(engine_, model, text,
                                 {.model = {},
                                  .principal = request_.principal.number,
                                  .deadline = options_.embed_by,
                                  .cancel = request_.cancel,
                                  .inputs = {}},
                                 yield);
  if (!embedded.ok()) {
    if (embedded.error().code() != ErrorCode::kDeadlineExceeded) return std::move(embedded).error();
    embedded = TaskEmbeddings{.result = {}, .embedder = {}, .degraded = "no embedding in time"};
  }
  const auto& vectors = embedded->result.embeddings;
  const learning::ClassAnswer found =
      scorer_.classify(model, text.front(), vectors.empty() ? std::span<const float>() : vectors.front());
  Scored scored{.confidence = found.score, .unknown = {}, .notes = {}, .estimated = {}};
  scored.estimated = estimated_usage(request_, model.labels[found.best]);
  if (!embedded->degraded.empty()) {
    scored.notes.push_back({"embedding", "none", std::move(embedded->degraded), "the hashed part answers alone"});
  }
  if (std::string names = without_effect(request_.params); !names.empty()) {
    scored.notes.push_back(
        {"parameters", std::move(names), "a trained task chooses a label and writes nothing", "ignored"});
  }
  if (options_.certified_only) {
    if (std::string why = routing::why_void(task_, found.fused ? "fused" : "hashed"); !why.empty()) {
      scored.confidence.reset();
      scored.unknown = "a certificate: " + why;
    }
  }
  engine::FinishEvent finish;
  finish.usage = embedded->result.usage;
  finish.timings.decode_us = static_cast<std::uint64_t>(clock.monotonic_ns() - began_ns) / 1000;
  waiting_.push_back({0, Started{finish.usage.prompt_tokens}});
  waiting_.push_back({0, std::move(scored)});
  waiting_.push_back({0, engine::TokenEvent{.token = {}, .text = model.labels[found.best]}});
  waiting_.push_back({0, std::move(finish)});
  return {};
}

std::optional<AnswerEvent> TaskDraft::next(const base::Clock& clock, base::Deadline, base::Yield yield) {
  if (waiting_.empty()) {
    if (auto done = answer(clock, yield); !done.ok()) return AnswerEvent{0, std::move(done).error()};
  }
  AnswerEvent event = std::move(waiting_.front());
  waiting_.pop_front();
  return event;
}

}  // namespace shoal::gateway
