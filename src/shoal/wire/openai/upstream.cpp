#include "shoal/wire/openai/upstream.h"

#include <algorithm>
#include <array>
#include <utility>

#include "shoal/wire/json_walk.h"
#include "shoal/wire/read_answer.h"

namespace shoal::wire::openai {
namespace {

using types::AnswerDelta;
using types::FinishReason;

// Reasons that other servers of this dialect have names of their own for. vLLM: abort; Mistral: model_length, error;
// TGI: eos_token, stop_sequence; DeepSeek: insufficient_system_resource.
struct ReasonName {
  std::string_view name;
  std::optional<FinishReason> reason;  // none: the answer broke off
};
constexpr std::array kReasons = {
    ReasonName{"stop", FinishReason::kStop},
    ReasonName{"length", FinishReason::kLength},
    ReasonName{"tool_calls", FinishReason::kToolCalls},
    ReasonName{"function_call", FinishReason::kToolCalls},
    ReasonName{"content_filter", FinishReason::kContentFilter},
    ReasonName{"model_length", FinishReason::kLength},
    ReasonName{"max_tokens", FinishReason::kLength},
    ReasonName{"error", std::nullopt},
    ReasonName{"abort", std::nullopt},
    ReasonName{"insufficient_system_resource", std::nullopt},
};

// The reason; or the name of one that says that the answer broke off.
using Finish = std::variant<FinishReason, std::string>;
Result<Finish> read_finish(std::string_view value) {
  std::string name = SHOAL_TRY(read_text(value, "a finish_reason"));
  if (name.empty()) return bad_answer("a finish_reason", "null or a name", value);
  const auto* found = std::ranges::find(kReasons, name, &ReasonName::name);
  if (found == kReasons.end()) return Finish(FinishReason::kStop);
  if (!found->reason) return Finish(std::move(name));
  return Finish(*found->reason);
}

// {"name","arguments"}
Result<void> read_function(std::string_view value, types::ToolCallDelta& call) {
  if (!json_is_object(value)) return bad_answer("a function", "an object", value);
  JsonWalk walk(value);
  while (walk.next()) {
    if (walk.is("name")) {
      call.name = SHOAL_TRY(read_text(walk.value(), "a function's name"));
    } else if (walk.is("arguments")) {
      // A string by the standard; some servers send the object itself.
      call.arguments = json_is_object(walk.value()) ? std::string(walk.value())
                                                    : SHOAL_TRY(read_text(walk.value(), "a function's arguments"));
    }
  }
  return {};
}

Result<void> read_tool_calls(std::string_view value, AnswerDelta& delta) {
  if (json_is_null(value)) return {};
  if (!json_is_array(value)) return bad_answer("tool_calls", "an array", value);
  JsonWalk calls(value);
  for (std::size_t place = 0; calls.next(); ++place) {
    types::ToolCallDelta call;
    call.index = place;
    JsonWalk walk(calls.value());
    while (walk.next()) {
      if (walk.is("index") && !json_is_null(walk.value())) {
        call.index = SHOAL_TRY(read_index(walk.value(), "an index of a tool call"));
      } else if (walk.is("id")) {
        call.id = SHOAL_TRY(read_text(walk.value(), "an id of a tool call"));
      } else if (walk.is("function") && !json_is_null(walk.value())) {
        SHOAL_TRY(read_function(walk.value(), call));
      } else if (walk.is("extra_content")) {
        const std::string_view google = json_member(walk.value(), "google");
        call.thought_signature = json_string(json_member(google, "thought_signature")).value_or("");
      }
    }
    delta.tool_calls.push_back(std::move(call));
  }
  return {};
}

// As wire/signatures.h writes them, one index after the other. No part of OpenAI's API: what has another shape is
// somebody else's, and no fault.
void read_thinking_blocks(std::string_view value, AnswerDelta& delta) {
  if (!json_is_array(value)) return;
  JsonWalk blocks(value);
  while (blocks.next()) {
    types::ThinkingBlock block;
    JsonWalk walk(blocks.value());
    while (walk.next()) {
      if (walk.is("thinking")) block.thinking = json_string(walk.value()).value_or("");
      if (walk.is("signature")) block.signature = json_string(walk.value()).value_or("");
      if (walk.is("data")) block.redacted = json_string(walk.value()).value_or("");
      if (walk.is("index") && delta.thinking_blocks.empty()) {
        delta.first_thinking_block =
            static_cast<std::size_t>(std::max<std::int64_t>(0, json_integer(walk.value()).value_or(0)));
      }
    }
    delta.thinking_blocks.push_back(std::move(block));
  }
}

// Text, or Mistral's parts: [{"type":"text","text":""},{"type":"thinking","thinking":[{"type":"text","text":""}]}].
Result<void> read_content(std::string_view value, std::string& text, std::string& thought) {
  if (!json_is_array(value)) {
    text += SHOAL_TRY(read_text(value, "content"));
    return {};
  }
  JsonWalk parts(value);
  while (parts.next()) {
    JsonWalk walk(parts.value());
    while (walk.next()) {
      if (walk.is("text")) text += SHOAL_TRY(read_text(walk.value(), "a text part"));
      if (walk.is("thinking")) SHOAL_TRY(read_content(walk.value(), thought, thought));
    }
  }
  return {};
}

// The `delta` of a chunk, or the `message` of a whole answer.
Result<void> read_message(std::string_view value, AnswerDelta& delta) {
  if (json_is_null(value)) return {};
  if (!json_is_object(value)) return bad_answer("a message", "an object", value);
  JsonWalk walk(value);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("content")) {
      SHOAL_TRY(read_content(member, delta.text, delta.reasoning));
    } else if (walk.is("refusal")) {
      delta.refusal = SHOAL_TRY(read_text(member, "a refusal"));
    } else if (walk.is("reasoning_content") || walk.is("reasoning")) {
      // DeepSeek's name and OpenRouter's; who sends both says the same twice.
      if (delta.reasoning.empty()) delta.reasoning = SHOAL_TRY(read_text(member, "reasoning"));
    } else if (walk.is("tool_calls")) {
      SHOAL_TRY(read_tool_calls(member, delta));
    } else if (walk.is("thinking_blocks")) {
      read_thinking_blocks(member, delta);
    } else if (walk.is("function_call") && !json_is_null(member)) {
      SHOAL_TRY(read_function(member, delta.tool_calls.emplace_back()));
    }
  }
  return {};
}

// One of `choices`. The name of a finish reason that says that the answer broke off; else empty.
Result<std::string> read_choice(std::string_view choice, std::size_t place, AnswerKind kind, AnswerDelta& delta) {
  if (!json_is_object(choice)) return bad_answer("a choice", "an object", choice);
  delta.answer = place;
  std::string broken;
  JsonWalk walk(choice);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("index")) {
      delta.answer = SHOAL_TRY(read_index(member, "an index of a choice"));
    } else if (kind == AnswerKind::kText && walk.is("text")) {
      delta.text = SHOAL_TRY(read_text(member, "text"));
    } else if (kind == AnswerKind::kChat && (walk.is("delta") || walk.is("message"))) {
      SHOAL_TRY(read_message(member, delta));
    } else if (walk.is("finish_reason") && !json_is_null(member)) {
      Finish finish = SHOAL_TRY(read_finish(member));
      if (auto* name = std::get_if<std::string>(&finish)) {
        broken = std::move(*name);
      } else {
        delta.finish = std::get<FinishReason>(finish);
      }
    }
  }
  return broken;
}

// Beside OpenAI's names: prompt_cache_hit_tokens of DeepSeek, cached_tokens of Moonshot and Together, and
// prompt_tokens_details.cache_write_tokens of OpenRouter. xAI and Gemini leave reasoning out of completion_tokens, but
// count it in total_tokens; it is billed as output.
void read_usage(std::string_view value, types::RemoteEvent& event) {
  if (!json_is_object(value)) return;
  types::Usage usage;
  std::int64_t total = 0;
  bool counted = false;
  bool bad = false;
  JsonWalk walk(value);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("prompt_tokens")) {
      counted = true;
      usage.prompt_tokens = read_count(member, bad);
    } else if (walk.is("completion_tokens")) {
      counted = true;
      usage.completion_tokens = read_count(member, bad);
    } else if (walk.is("total_tokens")) {
      total = read_count(member, bad);
    } else if (walk.is("prompt_tokens_details")) {
      usage.cached_tokens = std::max(usage.cached_tokens, read_count(json_member(member, "cached_tokens"), bad));
      usage.cache_write_5m_tokens = read_count(json_member(member, "cache_write_tokens"), bad);
    } else if (walk.is("prompt_cache_hit_tokens") || walk.is("cached_tokens")) {
      usage.cached_tokens = std::max(usage.cached_tokens, read_count(member, bad));
    } else if (walk.is("completion_tokens_details")) {
      usage.reasoning_tokens = read_count(json_member(member, "reasoning_tokens"), bad);
    }
  }
  event.bad_usage = event.bad_usage || bad;
  if (!counted || bad) return;
  const std::int64_t beside = total - usage.prompt_tokens - usage.completion_tokens;
  if (beside > 0) {
    usage.completion_tokens += static_cast<std::int32_t>(beside);
    usage.reasoning_tokens = std::max(usage.reasoning_tokens, static_cast<std::int32_t>(beside));
  }
  keep_parts_within(usage);
  event.usage = usage;
}

// `found`: whether there are choices at all.
Result<types::RemoteReply> read_object(std::string_view text, AnswerKind kind, bool& found) {
  SHOAL_TRY(check_answer(text));
  if (!is_json_object(text)) {
    JsonWalk items(text);  // Gemini sends its errors in an array
    if (items.next() && !json_member(items.value(), "error").empty()) return types::RemoteReply(parse_error(0, text));
    return bad_answer("a body or an event", "an object", text);
  }
  types::RemoteEvent event;
  std::string broken;
  bool failed = false;
  JsonWalk walk(text);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("choices") && !json_is_null(member)) {
      if (!json_is_array(member)) return bad_answer("choices", "an array", member);
      JsonWalk choices(member);
      for (std::size_t place = 0; choices.next(); ++place) {
        std::string name = SHOAL_TRY(read_choice(choices.value(), place, kind, event.deltas.emplace_back()));
        if (!name.empty()) broken = std::move(name);
      }
      found = !event.deltas.empty();
    } else if (walk.is("usage")) {
      read_usage(member, event);
    } else if (walk.is("x_groq")) {
      read_usage(json_member(member, "usage"), event);
    } else if (walk.is("service_tier")) {
      event.service_tier = read_service_tier(member);
    } else if (walk.is("id")) {
      event.id = json_string(member).value_or("");
    } else if (walk.is("model")) {
      event.model = json_string(member).value_or("");
    } else if (walk.is("error")) {
      failed = !json_is_null(member);
    } else if (walk.is("object")) {
      failed = failed || member == R"("error")";
    }
  }
  if (failed) return types::RemoteReply(parse_error(0, text));
  if (!broken.empty()) return types::RemoteReply(broken_off(std::move(broken)));
  return types::RemoteReply(std::move(event));
}

}  // namespace

Result<types::RemoteReply> parse_answer(std::string_view body, AnswerKind kind) {
  bool found = false;
  types::RemoteReply reply = SHOAL_TRY(read_object(body, kind, found));
  if (auto* event = std::get_if<types::RemoteEvent>(&reply)) {
    if (!found) return Error(ErrorCode::kBadAnswer, "the provider's answer has no choices");
    event->last = std::ranges::all_of(event->deltas, [](const AnswerDelta& d) { return d.finish.has_value(); });
  }
  return reply;
}

Result<types::RemoteReply> parse_chunk(std::string_view data, AnswerKind kind) {
  if (data == "[DONE]") {
    types::RemoteEvent end;
    end.last = true;
    return types::RemoteReply(std::move(end));
  }
  bool found = false;
  types::RemoteReply reply = SHOAL_TRY(read_object(data, kind, found));
  return reply;
}

// A call begins with an index that was not there, or with another id: some servers number all calls 0. Others say the
// id and the name with each piece.
void ChunkReader::number_call(std::vector<Call>& calls, types::ToolCallDelta& piece) {
  const auto same = [&piece](const Call& call) {
    return call.index == piece.index && (piece.id.empty() || call.id.empty() || call.id == piece.id);
  };
  auto found = std::ranges::find_if(calls.rbegin(), calls.rend(), same);
  if (found == calls.rend()) {
    calls.push_back({piece.index, {}, false});
    found = calls.rbegin();
  }
  piece.index = static_cast<std::size_t>(calls.rend() - found) - 1;
  if (!found->id.empty()) piece.id.clear();
  if (found->named) piece.name.clear();
  found->id += piece.id;
  found->named = found->named || !piece.name.empty();
}

Result<std::optional<types::RemoteReply>> ChunkReader::read(std::string_view /*name*/, std::string_view data) {
  types::RemoteReply reply = SHOAL_TRY(parse_chunk(data, kind_));
  if (auto* event = std::get_if<types::RemoteEvent>(&reply)) {
    for (AnswerDelta& delta : event->deltas) {
      if (delta.answer >= answers_.size()) return bad_answer("a choice", "one of those asked for", data);
      Answer& answer = answers_[delta.answer];
      for (types::ToolCallDelta& piece : delta.tool_calls) number_call(answer.calls, piece);
      answer.finished = answer.finished || delta.finish;
    }
  }
  return std::optional(std::move(reply));
}

bool ChunkReader::complete() const {
  return std::ranges::all_of(answers_, &Answer::finished);
}

}  // namespace shoal::wire::openai
