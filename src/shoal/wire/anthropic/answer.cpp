// Source of names: the types of Anthropic's SDK for Python, 2.12 (2026), and its API reference.
#include "shoal/wire/anthropic/answer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "shoal/wire/json_walk.h"
#include "shoal/wire/read_answer.h"

namespace shoal::wire::anthropic {
namespace {

using types::AnswerDelta;
using types::FinishReason;
using types::RemoteError;
using types::RemoteEvent;
using types::RemoteReply;

// The reason; or none, when the answer broke off. pause_turn is for tools that run at Anthropic, which are not asked
// for.
std::optional<FinishReason> finish_of(std::string_view reason) {
  if (reason == "max_tokens" || reason == "model_context_window_exceeded") return FinishReason::kLength;
  if (reason == "tool_use") return FinishReason::kToolCalls;
  if (reason == "refusal") return FinishReason::kContentFilter;
  if (reason == "pause_turn" || reason == "error") return std::nullopt;
  return FinishReason::kStop;  // end_turn, stop_sequence
}

// stop_reason and stop_details of a message, or of the delta of message_delta. No reason yet: `delta` has none.
Result<std::optional<RemoteError>> read_stop(std::string_view object, AnswerDelta& delta) {
  std::string reason = SHOAL_TRY(read_text(json_member(object, "stop_reason"), "a stop_reason"));
  if (reason.empty()) return std::optional<RemoteError>();
  delta.finish = finish_of(reason);
  if (!delta.finish) return std::optional(broken_off(std::move(reason)));
  if (delta.finish == FinishReason::kContentFilter) {
    const std::string_view details = json_member(object, "stop_details");
    delta.refusal = SHOAL_TRY(read_text(json_member(details, "explanation"), "an explanation"));
  }
  return std::optional<RemoteError>();
}

void add_thought(types::ThinkingBlock thought, AnswerDelta& delta) {
  const bool says = !thought.thinking.empty() || !thought.signature.empty() || !thought.redacted.empty();
  if (says) delta.thinking_blocks.push_back(std::move(thought));
}

// One block of a whole message.
Result<void> read_block(std::string_view block, AnswerDelta& delta) {
  const std::string type = SHOAL_TRY(read_text(json_member(block, "type"), "a type"));
  if (type == "text") {
    delta.text += SHOAL_TRY(read_text(json_member(block, "text"), "a text"));
  } else if (type == "thinking") {
    types::ThinkingBlock thought;
    thought.thinking = SHOAL_TRY(read_text(json_member(block, "thinking"), "a thought"));
    thought.signature = SHOAL_TRY(read_text(json_member(block, "signature"), "a signature"));
    delta.reasoning += thought.thinking;
    add_thought(std::move(thought), delta);
  } else if (type == "redacted_thinking") {
    types::ThinkingBlock thought;
    thought.redacted = SHOAL_TRY(read_text(json_member(block, "data"), "a redacted thought"));
    add_thought(std::move(thought), delta);
  } else if (type == "tool_use") {
    types::ToolCallDelta call;
    call.index = delta.tool_calls.size();
    call.id = SHOAL_TRY(read_text(json_member(block, "id"), "an id of a tool call"));
    call.name = SHOAL_TRY(read_text(json_member(block, "name"), "a tool's name"));
    const std::string_view input = json_member(block, "input");
    if (!json_is_object(input)) return bad_answer("a tool's input", "an object", input);
    call.arguments = compact_json(input);
    delta.tool_calls.push_back(std::move(call));
  }
  return {};
}

}  // namespace

// Input, reading and writing are apart from each other; the pieces of what is written are said at the start only.
void Counts::add(std::string_view object, RemoteEvent& event) {
  JsonWalk walk(object);
  while (walk.next()) {
    const std::string_view value = walk.value();
    if (json_is_null(value)) continue;
    if (walk.is("input_tokens")) {
      input_ = read_count(value, bad_);
    } else if (walk.is("output_tokens")) {
      usage_.completion_tokens = read_count(value, bad_);
    } else if (walk.is("cache_read_input_tokens")) {
      usage_.cached_tokens = read_count(value, bad_);
    } else if (walk.is("cache_creation_input_tokens")) {
      written_ = read_count(value, bad_);
    } else if (walk.is("cache_creation")) {
      usage_.cache_write_1h_tokens = read_count(json_member(value, "ephemeral_1h_input_tokens"), bad_);
    } else if (walk.is("output_tokens_details")) {
      usage_.reasoning_tokens = read_count(json_member(value, "thinking_tokens"), bad_);
    } else if (walk.is("service_tier")) {
      event.service_tier = read_service_tier(value);
    }
  }
  usage_.cache_write_1h_tokens = std::min(usage_.cache_write_1h_tokens, written_);
  usage_.cache_write_5m_tokens = written_ - usage_.cache_write_1h_tokens;
  const std::int64_t prompt = std::int64_t{input_} + usage_.cached_tokens + written_;
  bad_ = bad_ || prompt > std::numeric_limits<std::int32_t>::max();
  event.bad_usage = bad_;
  if (bad_) return;
  usage_.prompt_tokens = static_cast<std::int32_t>(prompt);
  usage_.reasoning_tokens = std::min(usage_.reasoning_tokens, usage_.completion_tokens);
  event.usage = usage_;
}

Result<RemoteReply> parse_answer(std::string_view body) {
  SHOAL_TRY(check_answer(body));
  if (json_member(body, "type") == R"("error")") return RemoteReply(parse_error(0, body));
  RemoteEvent event;
  AnswerDelta& delta = event.deltas.emplace_back();
  const std::string_view content = json_member(body, "content");
  if (!json_is_array(content)) return bad_answer("content", "an array", content);
  JsonWalk blocks(content);
  while (blocks.next()) SHOAL_TRY(read_block(blocks.value(), delta));
  if (auto error = SHOAL_TRY(read_stop(body, delta))) return RemoteReply(*std::move(error));
  event.id = SHOAL_TRY(read_text(json_member(body, "id"), "an id"));
  event.model = SHOAL_TRY(read_text(json_member(body, "model"), "a model"));
  if (const std::string_view counts = json_member(body, "usage"); json_is_object(counts)) {
    Counts().add(counts, event);
  }
  event.last = delta.finish.has_value();
  return RemoteReply(std::move(event));
}

// --- a stream

Result<void> EventReader::start(std::string_view message, RemoteEvent& event) {
  if (started_) return Error(ErrorCode::kBadAnswer, "the provider's stream has a second message_start");
  if (!json_is_object(message)) return bad_answer("a message", "an object", message);
  started_ = true;
  event.id = SHOAL_TRY(read_text(json_member(message, "id"), "an id"));
  event.model = SHOAL_TRY(read_text(json_member(message, "model"), "a model"));
  counts_.add(json_member(message, "usage"), event);
  return {};
}

// That `data` is about the block that is open, and that this is of the right type.
Result<void> EventReader::check_block(std::string_view data, Block wanted) const {
  const std::string_view index = json_member(data, "index");
  const bool right = block_ != Block::kNone && SHOAL_TRY(read_index(index, "an index of a block")) == block_index_;
  if (right && (wanted == block_ || wanted == Block::kNone)) return {};
  return bad_answer("an event", "about the block that is open", data);
}

// What the start of a block says of its thought: signed at its end, and said in whole only then.
void EventReader::hold_thought(AnswerDelta& delta) {
  thought_ = {};
  if (block_ == Block::kThinking && !delta.thinking_blocks.empty()) {
    thought_ = std::move(delta.thinking_blocks.back());
    delta.thinking_blocks.pop_back();
  }
  delta.first_thinking_block = thoughts_;
  thoughts_ += delta.thinking_blocks.size();
}

Result<void> EventReader::start_block(std::string_view data, AnswerDelta& delta) {
  block_index_ = SHOAL_TRY(read_index(json_member(data, "index"), "an index of a block"));
  if (block_ != Block::kNone || block_index_ != next_block_) {
    return bad_answer("content_block_start", "of the next block", data);
  }
  ++next_block_;
  const std::string_view block = json_member(data, "content_block");
  if (!json_is_object(block)) return bad_answer("content_block", "an object", block);
  const std::string type = SHOAL_TRY(read_text(json_member(block, "type"), "a type"));
  block_ = type == "text"       ? Block::kText
           : type == "thinking" ? Block::kThinking
           : type == "tool_use" ? Block::kTool
                                : Block::kOther;
  SHOAL_TRY(read_block(block, delta));
  hold_thought(delta);
  if (block_ != Block::kTool) return {};
  types::ToolCallDelta& call = delta.tool_calls.back();
  call.index = calls_++;
  // {} stands for what follows in pieces.
  if (call.arguments == "{}") call.arguments.clear();
  has_arguments_ = !call.arguments.empty();
  return {};
}

Result<void> EventReader::add_to_block(std::string_view data, AnswerDelta& delta) {
  const std::string_view piece = json_member(data, "delta");
  const std::string type = SHOAL_TRY(read_text(json_member(piece, "type"), "a type"));
  if (type == "text_delta") {
    SHOAL_TRY(check_block(data, Block::kText));
    delta.text = SHOAL_TRY(read_text(json_member(piece, "text"), "a text"));
  } else if (type == "thinking_delta") {
    SHOAL_TRY(check_block(data, Block::kThinking));
    delta.reasoning = SHOAL_TRY(read_text(json_member(piece, "thinking"), "a thought"));
    thought_.thinking += delta.reasoning;
  } else if (type == "signature_delta") {
    SHOAL_TRY(check_block(data, Block::kThinking));
    thought_.signature += SHOAL_TRY(read_text(json_member(piece, "signature"), "a signature"));
  } else if (type == "input_json_delta") {
    SHOAL_TRY(check_block(data, Block::kNone));
    std::string arguments = SHOAL_TRY(read_text(json_member(piece, "partial_json"), "partial_json"));
    if (block_ != Block::kTool || arguments.empty()) return {};  // of a tool that runs there
    has_arguments_ = true;
    delta.tool_calls.push_back({calls_ - 1, "", "", std::move(arguments)});
  } else {
    SHOAL_TRY(check_block(data, Block::kNone));  // a citation
  }
  return {};
}

Result<void> EventReader::stop_block(std::string_view data, AnswerDelta& delta) {
  SHOAL_TRY(check_block(data, Block::kNone));
  if (block_ == Block::kTool && !has_arguments_) delta.tool_calls.push_back({calls_ - 1, "", "", "{}"});
  add_thought(std::exchange(thought_, {}), delta);
  delta.first_thinking_block = thoughts_;
  thoughts_ += delta.thinking_blocks.size();
  block_ = Block::kNone;
  return {};
}

// message_delta
Result<std::optional<RemoteError>> EventReader::end(std::string_view data, RemoteEvent& event) {
  counts_.add(json_member(data, "usage"), event);
  AnswerDelta delta;
  if (auto error = SHOAL_TRY(read_stop(json_member(data, "delta"), delta))) return error;
  if (delta.finish) {
    finished_ = true;
    event.deltas.push_back(std::move(delta));
  }
  return std::optional<RemoteError>();
}

Result<std::optional<RemoteReply>> EventReader::read(std::string_view /*name*/, std::string_view data) {
  SHOAL_TRY(check_answer(data));
  if (!is_json_object(data)) return bad_answer("an event", "an object", data);
  const std::string type = SHOAL_TRY(read_text(json_member(data, "type"), "a type"));
  if (type == "error") return std::optional(RemoteReply(parse_error(0, data)));
  const bool known = type.starts_with("message_") || type.starts_with("content_block_");
  if (!known) return std::optional<RemoteReply>();  // a ping, or what is new
  if (stopped_ || (!started_ && type != "message_start")) {
    return bad_answer("an event", "between message_start and message_stop", type);
  }
  RemoteEvent event;
  AnswerDelta delta;
  if (type == "message_start") {
    SHOAL_TRY(start(json_member(data, "message"), event));
  } else if (type == "content_block_start") {
    SHOAL_TRY(start_block(data, delta));
  } else if (type == "content_block_delta") {
    SHOAL_TRY(add_to_block(data, delta));
  } else if (type == "content_block_stop") {
    SHOAL_TRY(stop_block(data, delta));
  } else if (type == "message_delta") {
    if (auto error = SHOAL_TRY(end(data, event))) return std::optional(RemoteReply(*std::move(error)));
  } else if (type == "message_stop") {
    if (!finished_) return Error(ErrorCode::kBadAnswer, "the provider's message stopped without a reason");
    stopped_ = true;
    event.last = true;
  }
  if (delta.has_content()) event.deltas.push_back(std::move(delta));
  return std::optional(RemoteReply(std::move(event)));
}

}  // namespace shoal::wire::anthropic
