// Source of names: the types of google-genai for Python, 3.4 (2026), and Google's API reference.
#include "shoal/wire/gemini/answer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json_walk.h"
#include "shoal/wire/read_answer.h"

namespace shoal::wire::gemini {
namespace {

using types::AnswerDelta;
using types::FinishReason;
using types::RemoteError;
using types::RemoteEvent;
using types::RemoteReply;

// The reason; or none, when the answer broke off: malformed calls, thoughts without signature, an account that is off.
std::optional<FinishReason> finish_of(std::string_view reason) {
  constexpr std::array<std::string_view, 11> kFiltered = {
      "SAFETY",
      "RECITATION",
      "LANGUAGE",
      "BLOCKLIST",
      "SPII",
      "PROHIBITED_CONTENT",
      "IMAGE_SAFETY",
      "MODEL_ARMOR",
      "IMAGE_PROHIBITED_CONTENT",
      "ESCALATION",
      "IMAGE_RECITATION",
  };
  if (reason == "STOP") return FinishReason::kStop;
  if (reason == "MAX_TOKENS" || reason == "CONTINUATION") return FinishReason::kLength;
  if (std::ranges::count(kFiltered, reason) > 0) return FinishReason::kContentFilter;
  return std::nullopt;
}

void read_usage(std::string_view object, RemoteEvent& event) {
  if (!json_is_object(object)) return;
  bool bad = false;
  std::int64_t prompt = 0;
  std::int64_t completion = 0;
  types::Usage usage;
  JsonWalk walk(object);
  while (walk.next()) {
    const std::string_view value = walk.value();
    if (walk.is("promptTokenCount") || walk.is("toolUsePromptTokenCount")) {
      prompt += read_count(value, bad);
    } else if (walk.is("candidatesTokenCount")) {
      completion += read_count(value, bad);
    } else if (walk.is("thoughtsTokenCount")) {
      usage.reasoning_tokens = read_count(value, bad);
      completion += usage.reasoning_tokens;
    } else if (walk.is("cachedContentTokenCount")) {
      usage.cached_tokens = read_count(value, bad);
    }
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  event.bad_usage = bad || prompt > kMost || completion > kMost;
  if (event.bad_usage) return;
  usage.prompt_tokens = static_cast<std::int32_t>(prompt);
  usage.completion_tokens = static_cast<std::int32_t>(completion);
  keep_parts_within(usage);
  event.usage = usage;
}

}  // namespace

// A call without an id gets one of its response and place, so that its result can name it.
Result<void> ChunkReader::read_part(std::string_view part, std::string_view response_id, Candidate& candidate,
                                    AnswerDelta& delta) {
  const bool thought = json_member(part, "thought") == "true";
  JsonWalk walk(part);
  while (walk.next()) {
    if (walk.is("text")) {
      (thought ? delta.reasoning : delta.text) += SHOAL_TRY(read_text(walk.value(), "a text"));
    } else if (walk.is("functionCall")) {
      const std::string_view called = walk.value();
      types::ToolCallDelta call;
      call.index = candidate.calls++;
      call.id = SHOAL_TRY(read_text(json_member(called, "id"), "an id of a call"));
      if (call.id.empty()) call.id = fmt::format("call_{}_{}_{}", response_id, delta.answer, call.index);
      call.name = SHOAL_TRY(read_text(json_member(called, "name"), "a function's name"));
      const std::string_view arguments = json_member(called, "args");
      if (!json_is_null(arguments) && !json_is_object(arguments)) return bad_answer("args", "an object", arguments);
      call.arguments = json_is_null(arguments) ? "{}" : compact_json(arguments);
      call.thought_signature = SHOAL_TRY(read_text(json_member(part, "thoughtSignature"), "a thoughtSignature"));
      delta.tool_calls.push_back(std::move(call));
    }
  }
  return {};
}

Result<std::optional<RemoteError>> ChunkReader::read_candidate(std::string_view text, std::string_view response_id,
                                                               RemoteEvent& event) {
  if (!json_is_object(text)) return bad_answer("a candidate", "an object", text);
  AnswerDelta delta;
  const std::string_view index = json_member(text, "index");
  if (!json_is_null(index)) delta.answer = SHOAL_TRY(read_index(index, "an index of a candidate"));
  if (delta.answer >= candidates_.size()) return bad_answer("a candidate", "one of those asked for", text);
  Candidate& candidate = candidates_[delta.answer];
  JsonWalk parts(json_member(json_member(text, "content"), "parts"));
  while (parts.next()) SHOAL_TRY(read_part(parts.value(), response_id, candidate, delta));
  if (candidate.finished && delta.has_content()) return bad_answer("a candidate", "at its end", text);
  std::string reason = SHOAL_TRY(read_text(json_member(text, "finishReason"), "a finishReason"));
  if (!reason.empty() && reason != "FINISH_REASON_UNSPECIFIED") {
    delta.finish = finish_of(reason);
    if (!delta.finish) return std::optional(broken_off(std::move(reason)));
    if (delta.finish == FinishReason::kStop && candidate.calls > 0) delta.finish = FinishReason::kToolCalls;
    candidate.finished = true;
  }
  event.deltas.push_back(std::move(delta));
  return std::optional<RemoteError>();
}

bool ChunkReader::complete() const {
  return std::ranges::all_of(candidates_, &Candidate::finished);
}

Result<RemoteReply> ChunkReader::read_object(std::string_view text) {
  SHOAL_TRY(check_answer(text));
  const bool error = !json_is_null(json_member(text, "error"));
  if (error || json_is_array(text)) return RemoteReply(parse_error(0, text));
  if (!is_json_object(text)) return bad_answer("a body or an event", "an object", text);
  RemoteEvent event;
  event.id = SHOAL_TRY(read_text(json_member(text, "responseId"), "a responseId"));
  event.model = SHOAL_TRY(read_text(json_member(text, "modelVersion"), "a modelVersion"));
  read_usage(json_member(text, "usageMetadata"), event);
  JsonWalk candidates(json_member(text, "candidates"));
  while (candidates.next()) {
    if (auto broken = SHOAL_TRY(read_candidate(candidates.value(), event.id, event))) {
      return RemoteReply(*std::move(broken));
    }
  }
  const std::string_view feedback = json_member(text, "promptFeedback");
  const std::string blocked = SHOAL_TRY(read_text(json_member(feedback, "blockReason"), "a blockReason"));
  if (!blocked.empty() && event.deltas.empty()) {
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      AnswerDelta& delta = event.deltas.emplace_back();
      delta.answer = i;
      delta.finish = FinishReason::kContentFilter;
      candidates_[i].finished = true;
    }
  }
  event.last = complete();
  return RemoteReply(std::move(event));
}

Result<std::optional<RemoteReply>> ChunkReader::read(std::string_view /*name*/, std::string_view data) {
  return std::optional(SHOAL_TRY(read_object(data)));
}

Result<RemoteReply> parse_answer(std::string_view body, std::size_t answers) {
  // A whole answer is a stream of one chunk.
  ChunkReader reader(answers);
  auto reply = SHOAL_TRY(reader.read({}, body));
  auto* event = std::get_if<RemoteEvent>(&*reply);
  if (event != nullptr && event->deltas.empty()) {
    return Error(ErrorCode::kBadAnswer, "the provider's answer has no candidates");
  }
  return *std::move(reply);
}

}  // namespace shoal::wire::gemini
