#include "shoal/wire/openai/upstream.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/json_walk.h"

namespace shoal::wire::openai {
namespace {

using types::AnswerDelta;
using types::FinishReason;

constexpr std::int64_t kMaxIndex = 1023;  // of answers, and of calls of tools

Error bad_answer(std::string_view what, std::string_view wanted, std::string_view came) {
  return {ErrorCode::kBadAnswer, fmt::format("the provider's answer has {} {}, not {}", what, wanted, shortened(came))};
}

// Text, or nothing for null. Errors: kBadAnswer.
Result<std::string> read_text(std::string_view value, std::string_view what) {
  if (json_is_null(value)) return std::string();
  auto text = json_string(value);
  if (!text) return bad_answer(what, "that must be a string", value);
  return *std::move(text);
}

Result<std::size_t> read_index(std::string_view value, std::string_view what) {
  const auto index = json_integer(value);
  if (!index || *index < 0 || *index > kMaxIndex) return bad_answer(what, "that must be an index", value);
  return static_cast<std::size_t>(*index);
}

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
  if (name.empty()) return bad_answer("a finish_reason", "that must be null or a name", value);
  const auto* found = std::ranges::find(kReasons, name, &ReasonName::name);
  if (found == kReasons.end()) return Finish(FinishReason::kStop);
  if (!found->reason) return Finish(std::move(name));
  return Finish(*found->reason);
}

// {"name","arguments"}
Result<void> read_function(std::string_view value, types::ToolCallDelta& call) {
  if (!json_is_object(value)) return bad_answer("a function", "that must be an object", value);
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
  if (!json_is_array(value)) return bad_answer("tool_calls", "that must be an array", value);
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
      }
    }
    delta.tool_calls.push_back(std::move(call));
  }
  return {};
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
  if (!json_is_object(value)) return bad_answer("a message", "that must be an object", value);
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
    } else if (walk.is("function_call") && !json_is_null(member)) {
      SHOAL_TRY(read_function(member, delta.tool_calls.emplace_back()));
    }
  }
  return {};
}

// One of `choices`. The name of a finish reason that says that the answer broke off; else empty.
Result<std::string> read_choice(std::string_view choice, std::size_t place, AnswerKind kind, AnswerDelta& delta) {
  if (!json_is_object(choice)) return bad_answer("a choice", "that must be an object", choice);
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

// A count that may be absent.
Result<std::int32_t> read_count(std::string_view value, std::string_view what) {
  if (json_is_null(value)) return 0;
  const auto count = json_integer(value);
  if (!count || *count < 0 || *count > std::numeric_limits<std::int32_t>::max()) {
    return bad_answer(what, "that must be a number of tokens", value);
  }
  return static_cast<std::int32_t>(*count);
}

// Beside OpenAI's names: prompt_cache_hit_tokens of DeepSeek, cached_tokens of Moonshot and Together, and
// prompt_tokens_details.cache_write_tokens of OpenRouter. xAI and Gemini leave reasoning out of completion_tokens, but
// count it in total_tokens; it is billed as output.
Result<std::optional<types::Usage>> read_usage(std::string_view value) {
  if (!json_is_object(value)) return std::optional<types::Usage>();
  types::Usage usage;
  std::int64_t total = 0;
  bool counted = false;
  JsonWalk walk(value);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("prompt_tokens")) {
      counted = true;
      usage.prompt_tokens = SHOAL_TRY(read_count(member, "prompt_tokens"));
    } else if (walk.is("completion_tokens")) {
      counted = true;
      usage.completion_tokens = SHOAL_TRY(read_count(member, "completion_tokens"));
    } else if (walk.is("total_tokens")) {
      total = SHOAL_TRY(read_count(member, "total_tokens"));
    } else if (walk.is("prompt_tokens_details")) {
      const std::int32_t cached = SHOAL_TRY(read_count(json_member(member, "cached_tokens"), "cached_tokens"));
      usage.cached_tokens = std::max(usage.cached_tokens, cached);
      usage.cache_write_5m_tokens =
          SHOAL_TRY(read_count(json_member(member, "cache_write_tokens"), "cache_write_tokens"));
    } else if (walk.is("prompt_cache_hit_tokens") || walk.is("cached_tokens")) {
      usage.cached_tokens = std::max(usage.cached_tokens, SHOAL_TRY(read_count(member, "cached_tokens")));
    } else if (walk.is("completion_tokens_details")) {
      usage.reasoning_tokens = SHOAL_TRY(read_count(json_member(member, "reasoning_tokens"), "reasoning_tokens"));
    }
  }
  if (!counted) return std::optional<types::Usage>();
  const std::int64_t beside = total - usage.prompt_tokens - usage.completion_tokens;
  if (beside > 0) {
    usage.completion_tokens += static_cast<std::int32_t>(beside);
    usage.reasoning_tokens = std::max(usage.reasoning_tokens, static_cast<std::int32_t>(beside));
  }
  // A part is never more than its whole: what is priced by difference must not become negative.
  usage.cached_tokens = std::min(usage.cached_tokens, usage.prompt_tokens);
  usage.cache_write_5m_tokens = std::min(usage.cache_write_5m_tokens, usage.prompt_tokens - usage.cached_tokens);
  usage.reasoning_tokens = std::min(usage.reasoning_tokens, usage.completion_tokens);
  return std::optional(usage);
}

types::RemoteError broken_off(std::string name) {
  types::RemoteError error;
  error.type = "api_error";
  error.message = fmt::format("the answer broke off: finish_reason is \"{}\"", name);
  error.code = std::move(name);
  return error;
}

// `found`: whether there are choices at all.
Result<types::RemoteReply> read_object(std::string_view text, AnswerKind kind, bool& found) {
  if (const auto json = check_json(text); !json.ok()) {
    return Error(ErrorCode::kBadAnswer, "the provider's answer is broken: " + json.error().message());
  }
  if (!json_is_object(text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size())))) {
    JsonWalk items(text);  // Gemini sends its errors in an array
    if (items.next() && !json_member(items.value(), "error").empty()) return types::RemoteReply(parse_error(0, text));
    return bad_answer("a body or an event", "that must be an object", text);
  }
  types::RemoteEvent event;
  std::string broken;
  bool failed = false;
  JsonWalk walk(text);
  while (walk.next()) {
    const std::string_view member = walk.value();
    if (walk.is("choices") && !json_is_null(member)) {
      if (!json_is_array(member)) return bad_answer("choices", "that must be an array", member);
      JsonWalk choices(member);
      for (std::size_t place = 0; choices.next(); ++place) {
        std::string name = SHOAL_TRY(read_choice(choices.value(), place, kind, event.deltas.emplace_back()));
        if (!name.empty()) broken = std::move(name);
      }
      found = !event.deltas.empty();
    } else if (walk.is("usage")) {
      if (auto usage = SHOAL_TRY(read_usage(member))) event.usage = usage;
    } else if (walk.is("x_groq")) {
      if (auto usage = SHOAL_TRY(read_usage(json_member(member, "usage")))) event.usage = usage;
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

}  // namespace shoal::wire::openai
