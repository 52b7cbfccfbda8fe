#include "shoal/wire/openai/print.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>
#include <unordered_set>
#include <utility>

#include <fmt/compile.h>
#include <fmt/format.h>

#include "shoal/wire/json_text.h"
#include "shoal/wire/json_writer.h"
#include "shoal/wire/signatures.h"

namespace shoal::wire::openai {
namespace {

// OpenAI's own stand-in for a log-probability that JSON cannot say.
constexpr float kLowestLogprob = -9999.0F;

float lowest_shown(float value) {
  return std::isfinite(value) ? std::max(value, kLowestLogprob) : kLowestLogprob;
}

void append_logprob(std::string& out, float value) {
  append_json_number(out, lowest_shown(value));
}

void append_integer(std::string& out, std::size_t value) {
  append_json_number(out, static_cast<std::int64_t>(value));
}

// [72,105]
void append_bytes(std::string& out, std::string_view bytes) {
  out += '[';
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += ',';
    append_integer(out, static_cast<unsigned char>(bytes[i]));
  }
  out += ']';
}

// "x_shoal":{"entropy":1.5,"margin":0.25,"self_certainty":9.5}, after a comma.
void append_token_signals(std::string& out, const types::Token& token) {
  out += R"(,"x_shoal":{"entropy":)";
  append_json_number(out, token.entropy);
  out += R"(,"margin":)";
  append_json_number(out, token.margin);
  out += R"(,"self_certainty":)";
  append_json_number(out, token.self_certainty);
  out += '}';
}

// {"token":"...","logprob":-0.1,"bytes":[...]: the caller closes it.
void append_chat_token(std::string& out, std::string_view bytes, float logprob) {
  out += R"({"token":)";
  append_json_string(out, bytes);
  out += R"(,"logprob":)";
  append_logprob(out, logprob);
  out += R"(,"bytes":)";
  append_bytes(out, bytes);
}

// {"content":[...],"refusal":null}
void append_chat_logprobs(std::string& out, std::span<const types::Token> tokens, bool signals) {
  out += R"({"content":[)";
  bool first = true;
  for (const types::Token& token : tokens) {
    if (token.bytes.empty()) continue;  // it ended the answer and is no part of it
    if (!std::exchange(first, false)) out += ',';
    append_chat_token(out, token.bytes, token.logprob);
    out += R"(,"top_logprobs":[)";
    for (std::size_t i = 0; i < token.top.size(); ++i) {
      if (i > 0) out += ',';
      append_chat_token(out, token.top[i].bytes, token.top[i].logprob);
      out += '}';
    }
    out += ']';
    if (signals) append_token_signals(out, token);
    out += '}';
  }
  out += R"(],"refusal":null})";
}

// Part of a character has no text: OpenAI's text completions then name the bytes, so that keys stay apart.
std::string text_token(std::string_view bytes) {
  if (is_utf8(bytes)) return std::string(bytes);
  std::string name = "bytes:";
  for (const char c : bytes) name += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return name;
}

std::size_t count_characters(std::string_view bytes) {
  return static_cast<std::size_t>(
      std::ranges::count_if(bytes, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

void append_top_of_text(std::string& out, const types::Token& token) {
  out += '{';
  std::unordered_set<std::string> seen;  // two tokens may spell the same text; a key may stand only once
  for (const types::TopLogprob& top : token.top) {
    std::string name = text_token(top.bytes);
    if (seen.contains(name)) continue;
    if (!seen.empty()) out += ',';
    append_json_string(out, name);
    out += ':';
    append_logprob(out, top.logprob);
    seen.insert(std::move(name));
  }
  out += '}';
}

// {"tokens":[],"token_logprobs":[],"top_logprobs":[],"text_offset":[]}; `offset` moves past the tokens.
void append_text_logprobs(std::string& out, std::span<const types::Token> tokens, bool signals, std::size_t& offset) {
  const auto list = [&](std::string_view name, auto&& append_one) {
    out += name;
    bool first = true;
    for (const types::Token& token : tokens) {
      if (token.bytes.empty()) continue;
      if (!std::exchange(first, false)) out += ',';
      append_one(token);
    }
    out += ']';
  };
  list(R"({"tokens":[)", [&](const types::Token& t) { append_json_string(out, text_token(t.bytes)); });
  list(R"(,"token_logprobs":[)", [&](const types::Token& t) { append_logprob(out, t.logprob); });
  list(R"(,"top_logprobs":[)", [&](const types::Token& t) { append_top_of_text(out, t); });
  list(R"(,"text_offset":[)", [&](const types::Token& t) {
    append_integer(out, offset);
    offset += count_characters(t.bytes);
  });
  if (signals) {
    list(R"(,"x_shoal":{"entropy":[)", [&](const types::Token& t) { append_json_number(out, t.entropy); });
    list(R"(,"margin":[)", [&](const types::Token& t) { append_json_number(out, t.margin); });
    list(R"(,"self_certainty":[)", [&](const types::Token& t) { append_json_number(out, t.self_certainty); });
    out += '}';
  }
  out += '}';
}

void append_usage_object(std::string& out, const types::Usage& usage) {
  fmt::format_to(std::back_inserter(out),
                 R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                 R"("prompt_tokens_details":{{"cached_tokens":{}}})",
                 usage.prompt_tokens, usage.completion_tokens, usage.total_tokens(), usage.cached_tokens);
  if (usage.reasoning_tokens > 0) {
    fmt::format_to(std::back_inserter(out), R"(,"completion_tokens_details":{{"reasoning_tokens":{}}})",
                   usage.reasoning_tokens);
  }
  out += '}';
}

// "logprob":{"mean":-0.5,"min":-2.5,"worst_window":-1}
void append_summary(std::string& out, std::string_view name, const types::SignalSummary& summary,
                    std::string_view worst) {
  append_json_string(out, name);
  out += R"(:{"mean":)";
  append_json_number(out, lowest_shown(summary.mean));
  out += ',';
  append_json_string(out, worst);
  out += ':';
  append_json_number(out, lowest_shown(summary.worst));
  out += R"(,"worst_window":)";
  append_json_number(out, lowest_shown(summary.worst_window));
  out += '}';
}

// "signals":[{...}], after a comma; an answer without tokens has none.
void append_signals(std::string& out, std::span<const types::AnswerSignals> answers) {
  std::string_view before = R"(,"signals":[)";
  for (const types::AnswerSignals& signals : answers) {
    out += before;
    before = ",";
    out += R"({"tokens":)";
    append_json_number(out, std::int64_t{signals.tokens});
    if (signals.tokens > 0) {
      fmt::format_to(std::back_inserter(out), R"(,"window":{},)", types::kSignalWindow);
      append_summary(out, "logprob", signals.logprob, "min");
      out += ',';
      append_summary(out, "entropy", signals.entropy, "max");
      out += ',';
      append_summary(out, "margin", signals.margin, "min");
      out += ',';
      append_summary(out, "self_certainty", signals.self_certainty, "min");
    }
    if (signals.p_true) {
      out += R"(,"p_true":)";
      append_json_number(out, *signals.p_true);
    }
    out += '}';
  }
  if (!answers.empty()) out += ']';
}

void append_base64(std::string& out, std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8U | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) out += k <= count ? kAlphabet[group >> (18 - 6 * k) & 63U] : '=';
  }
}

// [1,2], or the base64 of little-endian float32.
void append_vector(std::string& out, std::span<const float> values, bool base64) {
  static_assert(std::endian::native == std::endian::little, "the bytes of a float go out as they lie in memory");
  if (base64) {
    out += '"';
    append_base64(out, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
    out += '"';
    return;
  }
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    append_json_number(out, values[i]);
  }
  out += ']';
}

// "hidden_states":[...], after a comma.
void append_hidden_states(std::string& out, std::span<const std::vector<float>> prompts, bool base64) {
  std::string_view before = R"(,"hidden_states":[)";
  for (const std::vector<float>& state : prompts) {
    out += before;
    before = ",";
    append_vector(out, state, base64);
  }
  if (!prompts.empty()) out += ']';
}

// ,"x_shoal":{...}
void append_x_shoal(std::string& out, const AnswerFacts& facts) {
  out += R"(,"x_shoal":)";
  append_x_shoal_value(out, facts);
}

// A whole number of micro-dollars as dollars, without a float in between.
void append_usd(std::string& out, std::string_view name, std::int64_t micro) {
  const std::int64_t amount = micro < 0 ? -micro : micro;
  fmt::format_to(std::back_inserter(out), FMT_COMPILE(R"(,"{}":"{}{}.{:06}")"), name, micro < 0 ? "-" : "",
                 amount / 1'000'000, amount % 1'000'000);
}

// What the engine tells of its own work.
void append_local_work(std::string& out, const types::Receipt& receipt) {
  out += receipt.exact ? R"(,"mode":"exact")" : R"(,"mode":"fast")";
  const auto milliseconds = [](std::uint64_t us) { return static_cast<double>(us) / 1000; };
  const types::Timings& timings = receipt.timings;
  fmt::format_to(std::back_inserter(out), R"(,"queue_ms":{},"prefill_ms":{},"decode_ms":{})",
                 milliseconds(timings.queue_us), milliseconds(timings.prefill_us), milliseconds(timings.decode_us));
  // decode_us runs from the first token to the last: one token fewer than there are.
  if (timings.decode_us > 0 && receipt.usage.completion_tokens > 1) {
    fmt::format_to(std::back_inserter(out), R"(,"tokens_per_second":{:.2f})",
                   1e6 * (receipt.usage.completion_tokens - 1) / static_cast<double>(timings.decode_us));
  }
}

void append_reasons(std::string& out, std::span<const types::Reason> reasons) {
  out += R"(,"reasons":[)";
  std::string_view before = R"({"signal":)";
  for (const types::Reason& reason : reasons) {
    out += before;
    before = R"(,{"signal":)";
    append_json_string(out, reason.signal);
    out += R"(,"value":)";
    append_json_string(out, reason.value);
    out += R"(,"rule":)";
    append_json_string(out, reason.rule);
    out += R"(,"effect":)";
    append_json_string(out, reason.effect);
    out += '}';
  }
  out += ']';
}

// The message of a whole chat answer. Without text and with something else in its place, content is null.
void append_message(std::string& out, const Choice& choice) {
  JsonWriter json(out);
  json.object().key("role").string("assistant").key("content");
  if (choice.text.empty() && !(choice.refusal.empty() && choice.tool_calls.empty())) {
    json.raw("null");
  } else {
    json.string(choice.text);
  }
  json.key("refusal");
  if (choice.refusal.empty()) {
    json.raw("null");
  } else {
    json.string(choice.refusal);
  }
  if (!choice.reasoning.empty()) json.key("reasoning_content").string(choice.reasoning);
  if (!choice.thinking_blocks.empty()) {
    json.key("thinking_blocks").array();
    for (const types::ThinkingBlock& block : choice.thinking_blocks) write_thinking_block(json, block);
    json.end_array();
  }
  if (!choice.tool_calls.empty()) {
    json.key("tool_calls").array();
    for (const types::ToolCall& call : choice.tool_calls) {
      json.object().key("id").string(call.id).key("type").string("function").key("function").object();
      json.key("name").string(call.name).key("arguments").string(call.arguments).end_object();
      write_extra_content(json, call.thought_signature);
      json.end_object();
    }
    json.end_array();
  }
  json.end_object();
}

// The clients of OpenAI's SDK join what comes twice, so that the id, the type and the name go out with the first piece
// of a call alone; the index with each.
void append_tool_piece(JsonWriter& json, const types::ToolCallDelta& piece) {
  json.object().key("index").integer(static_cast<std::int64_t>(piece.index));
  if (!piece.id.empty()) json.key("id").string(piece.id).key("type").string("function");
  json.key("function").object();
  if (!piece.name.empty()) json.key("name").string(piece.name);
  json.key("arguments").string(piece.arguments).end_object();
  write_extra_content(json, piece.thought_signature);
  json.end_object();
}

// One piece for each block: who joins nothing has them in whole as well.
void append_thinking_pieces(JsonWriter& json, const types::AnswerDelta& delta) {
  json.key("thinking_blocks").array();
  for (std::size_t i = 0; i < delta.thinking_blocks.size(); ++i) {
    write_thinking_block(json, delta.thinking_blocks[i], delta.first_thinking_block + i);
  }
  json.end_array();
}

std::string opening(const AnswerHead& head, std::string_view object) {
  std::string out = R"({"id":)";
  append_json_string(out, head.id);
  out += R"(,"object":")";
  out += object;
  out += R"(","created":)";
  append_json_number(out, head.created);
  out += R"(,"model":)";
  append_json_string(out, head.model);
  out += R"(,"system_fingerprint":"shoal-)" SHOAL_VERSION "\",\"choices\":";
  return out;
}

}  // namespace

std::string_view state_name(types::ModelState state) {
  switch (state) {
    case types::ModelState::kStopped:
      return "stopped";
    case types::ModelState::kLoading:
      return "loading";
    case types::ModelState::kReady:
      return "ready";
    case types::ModelState::kFailed:
      return "failed";
  }
  return "stopped";
}

std::string_view finish_name(types::FinishReason reason) {
  switch (reason) {
    case types::FinishReason::kStop:
      return "stop";
    case types::FinishReason::kLength:
      return "length";
    case types::FinishReason::kToolCalls:
      return "tool_calls";
    case types::FinishReason::kContentFilter:
      return "content_filter";
  }
  return "stop";
}

Choice choice_of(const types::AnswerDelta& answer) {
  assert(answer.finish);
  Choice choice;
  choice.text = answer.text;
  choice.reason = *answer.finish;
  choice.reasoning = answer.reasoning;
  choice.thinking_blocks = answer.thinking_blocks;
  choice.refusal = answer.refusal;
  for (const types::ToolCallDelta& call : answer.tool_calls) {
    choice.tool_calls.push_back({call.id, call.name, call.arguments, call.thought_signature});
  }
  return choice;
}

void append_x_shoal_value(std::string& out, const AnswerFacts& facts) {
  const types::Receipt& receipt = facts.receipt;
  out += R"({"model":)";
  append_json_string(out, receipt.model);
  out += R"(,"route":")";
  out += types::decision_name(receipt.decision);
  out += R"(","decision_id":)";
  append_json_string(out, receipt.decision_id);
  out += R"(,"via":)";
  append_json_string(out, receipt.route);
  out += R"(,"egress":)";
  append_json_string(out, receipt.egress);
  out += R"(,"confidence":)";
  if (receipt.confidence) {
    append_json_number(out, *receipt.confidence);
  } else {
    out += "null";
  }
  if (receipt.threshold) {
    out += R"(,"threshold":)";
    append_json_number(out, *receipt.threshold);
  }
  if (receipt.egress != "none") {
    append_usd(out, "cost_usd", receipt.billed_micro);
    out += R"(,"durability":")";
    out += receipt.durability;
    out += '"';
  }
  if (receipt.local() || receipt.local_micro > 0) append_usd(out, "local_usd", receipt.local_micro);
  if (receipt.baseline_micro) {
    append_usd(out, "baseline_usd", *receipt.baseline_micro);
    append_usd(out, "saved_usd", *receipt.baseline_micro - receipt.billed_micro - receipt.local_micro);
  }
  if (receipt.local()) append_local_work(out, receipt);
  if (!receipt.reasons.empty()) append_reasons(out, receipt.reasons);
  append_signals(out, facts.signals);
  append_hidden_states(out, facts.hidden_states, facts.base64);
  out += '}';
}

void append_answer(std::string& out, const AnswerHead& head, std::span<const Choice> choices, TokenDetail detail,
                   const AnswerFacts& facts) {
  const bool chat = head.kind == AnswerKind::kChat;
  out += opening(head, chat ? "chat.completion" : "text_completion");
  out += '[';
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const Choice& choice = choices[i];
    out += i > 0 ? R"(,{"index":)" : R"({"index":)";
    append_integer(out, i);
    out += chat ? R"(,"message":)" : R"(,"text":)";
    if (chat) {
      append_message(out, choice);
    } else {
      append_json_string(out, choice.text);
    }
    out += R"(,"logprobs":)";
    std::size_t offset = 0;
    if (!detail.logprobs) {
      out += "null";
    } else if (chat) {
      append_chat_logprobs(out, choice.tokens, detail.signals);
    } else {
      append_text_logprobs(out, choice.tokens, detail.signals, offset);
    }
    out += R"(,"finish_reason":")";
    out += finish_name(choice.reason);
    out += "\"}";
  }
  out += R"(],"usage":)";
  append_usage_object(out, facts.receipt.usage);
  append_x_shoal(out, facts);
  out += '}';
}

ChunkPrinter::ChunkPrinter(AnswerHead head, std::size_t answers, TokenDetail detail, bool usage_chunk)
    : prefix_(opening(head, head.kind == AnswerKind::kChat ? "chat.completion.chunk" : "text_completion")),
      kind_(head.kind),
      text_offsets_(answers, 0),
      detail_(detail),
      usage_chunk_(usage_chunk) {}

void ChunkPrinter::open(std::string& out, std::size_t index) const {
  assert(index < text_offsets_.size());
  out += prefix_;
  out += R"([{"index":)";
  append_integer(out, index);
}

void ChunkPrinter::close(std::string& out) const {
  if (usage_chunk_) out += R"(,"usage":null)";
  out += '}';
}

void ChunkPrinter::append_role(std::string& out, std::size_t index) const {
  assert(kind_ == AnswerKind::kChat);
  open(out, index);
  out += R"(,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}])";
  close(out);
}

void ChunkPrinter::append_piece(std::string& out, std::size_t index, std::string_view text, const types::Token* token) {
  open(out, index);
  const bool chat = kind_ == AnswerKind::kChat;
  out += chat ? R"(,"delta":{"content":)" : R"(,"text":)";
  append_json_string(out, text);
  out += chat ? R"(},"logprobs":)" : R"(,"logprobs":)";
  if (!detail_.logprobs || token == nullptr) {
    out += "null";
  } else if (chat) {
    append_chat_logprobs(out, {token, 1}, detail_.signals);
  } else {
    append_text_logprobs(out, {token, 1}, detail_.signals, text_offsets_[index]);
  }
  out += R"(,"finish_reason":null}])";
  close(out);
}

void ChunkPrinter::append_delta(std::string& out, const types::AnswerDelta& delta) const {
  open(out, delta.answer);
  JsonWriter json(out);
  if (kind_ == AnswerKind::kText) {
    out += R"(,"text":)";
    json.string(delta.text);
  } else {
    out += R"(,"delta":)";
    json.object();
    if (!delta.text.empty()) json.key("content").string(delta.text);
    if (!delta.reasoning.empty()) json.key("reasoning_content").string(delta.reasoning);
    if (!delta.thinking_blocks.empty()) append_thinking_pieces(json, delta);
    if (!delta.refusal.empty()) json.key("refusal").string(delta.refusal);
    if (!delta.tool_calls.empty()) {
      json.key("tool_calls").array();
      for (const types::ToolCallDelta& piece : delta.tool_calls) append_tool_piece(json, piece);
      json.end_array();
    }
    json.end_object();
  }
  out += R"(,"logprobs":null,"finish_reason":)";
  if (delta.finish) {
    out.append("\"").append(finish_name(*delta.finish)).append("\"");
  } else {
    out += "null";
  }
  out += "}]";
  close(out);
}

void ChunkPrinter::append_finish(std::string& out, std::size_t index, types::FinishReason reason,
                                 const AnswerFacts* facts) const {
  open(out, index);
  out += kind_ == AnswerKind::kChat ? R"(,"delta":{},"logprobs":null,"finish_reason":")"
                                    : R"(,"text":"","logprobs":null,"finish_reason":")";
  out += finish_name(reason);
  out += "\"}]";
  if (facts != nullptr) append_x_shoal(out, *facts);
  close(out);
}

void ChunkPrinter::append_usage(std::string& out, const types::Usage& usage) const {
  out += prefix_;
  out += R"([],"usage":)";
  append_usage_object(out, usage);
  out += '}';
}

void append_embeddings_open(std::string& out) {
  out += R"({"object":"list","data":[)";
}

void append_embedding(std::string& out, std::size_t index, std::span<const float> values, bool base64) {
  out += index > 0 ? R"(,{"object":"embedding","index":)" : R"({"object":"embedding","index":)";
  append_integer(out, index);
  out += R"(,"embedding":)";
  append_vector(out, values, base64);
  out += '}';
}

void append_embeddings_close(std::string& out, std::string_view model, const types::Usage& usage) {
  out += R"(],"model":)";
  append_json_string(out, model);
  fmt::format_to(std::back_inserter(out), R"(,"usage":{{"prompt_tokens":{},"total_tokens":{}}}}})", usage.prompt_tokens,
                 usage.prompt_tokens);
}

namespace {

void append_score_head(std::string& out, const ScoreHead& head) {
  out += R"({"id":)";
  append_json_string(out, head.id);
  out += R"(,"object":"list","created":)";
  append_json_number(out, head.created);
  out += R"(,"model":)";
  append_json_string(out, head.model);
}

// [a,b], each by `append_one`.
template <class Range, class Append>
void append_list(std::string& out, const Range& values, Append append_one) {
  out += '[';
  bool first = true;
  for (const auto& value : values) {
    if (!std::exchange(first, false)) out += ',';
    append_one(value);
  }
  out += ']';
}

void append_double(std::string& out, double value) {
  append_json_number(out, std::isfinite(value) ? std::max(value, static_cast<double>(kLowestLogprob)) : kLowestLogprob);
}

}  // namespace

void append_scores(std::string& out, const ScoreHead& head, std::span<const std::string> labels,
                   std::span<const types::LabelScore> scores, const types::Usage& usage) {
  assert(labels.size() == scores.size());
  append_score_head(out, head);
  out += R"(,"data":[)";
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const types::LabelScore& score = scores[i];
    out += i > 0 ? R"(,{"index":)" : R"({"index":)";
    append_integer(out, i);
    out += R"(,"object":"score","label":)";
    append_json_string(out, labels[i]);
    out += R"(,"logprob":)";
    append_double(out, score.logprob);
    if (score.content_free_logprob) {
      out += R"(,"content_free_logprob":)";
      append_double(out, *score.content_free_logprob);
    }
    out += R"(,"probability":)";
    append_json_number(out, score.probability);
    out += R"(,"tokens":)";
    append_list(out, score.label.tokens, [&](std::int32_t id) { append_json_number(out, std::int64_t{id}); });
    out += R"(,"token_logprobs":)";
    append_list(out, score.label.logprobs, [&](float logprob) { append_logprob(out, logprob); });
    out += '}';
  }
  out += R"(],"usage":)";
  append_usage_object(out, usage);
  out += '}';
}

void append_classes(std::string& out, const ScoreHead& head, std::span<const std::string> labels,
                    std::span<const std::vector<types::LabelScore>> inputs, const types::Usage& usage) {
  append_score_head(out, head);
  out += R"(,"labels":)";
  append_list(out, labels, [&](const std::string& label) { append_json_string(out, label); });
  out += R"(,"data":[)";
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<types::LabelScore>& scores = inputs[i];
    assert(scores.size() == labels.size() && scores.size() >= 2);
    const auto best = std::ranges::max_element(scores, {}, &types::LabelScore::probability);
    double second = 0;
    for (auto at = scores.begin(); at != scores.end(); ++at) {
      if (at != best) second = std::max(second, at->probability);
    }
    out += i > 0 ? R"(,{"index":)" : R"({"index":)";
    append_integer(out, i);
    out += R"(,"label":)";
    append_json_string(out, labels[static_cast<std::size_t>(best - scores.begin())]);
    out += R"(,"probs":)";
    append_list(out, scores, [&](const types::LabelScore& score) { append_json_number(out, score.probability); });
    out += R"(,"num_classes":)";
    append_integer(out, scores.size());
    out += R"(,"margin":)";
    append_json_number(out, best->probability - second);
    out += R"(,"logprobs":)";
    append_list(out, scores, [&](const types::LabelScore& score) { append_double(out, score.logprob); });
    out += '}';
  }
  out += R"(],"usage":)";
  append_usage_object(out, usage);
  out += '}';
}

void append_tokens(std::string& out, std::string_view model, std::span<const std::int32_t> tokens,
                   std::uint32_t context_length, bool lossless) {
  out += R"({"count":)";
  append_integer(out, tokens.size());
  out += R"(,"max_model_len":)";
  append_integer(out, context_length);
  out += R"(,"model":)";
  append_json_string(out, model);
  out += lossless ? R"(,"lossless":true,"tokens":[)" : R"(,"lossless":false,"tokens":[)";
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ',';
    append_integer(out, static_cast<std::size_t>(tokens[i]));
  }
  out += "]}";
}

void append_detokenized(std::string& out, std::string_view model, std::string_view bytes) {
  out += R"({"model":)";
  append_json_string(out, model);
  out += R"(,"prompt":)";
  append_json_string(out, bytes);
  if (!is_utf8(bytes)) {
    out += R"(,"bytes":)";
    append_bytes(out, bytes);
  }
  out += '}';
}

void append_model(std::string& out, const ModelEntry& entry) {
  const types::ModelInfo& info = entry.info;
  out += R"({"id":)";
  append_json_string(out, info.name);
  out += R"(,"object":"model","created":0,"owned_by":"shoal","x_shoal":{"state":")";
  out += state_name(entry.state);
  out += R"(","reason":)";
  if (entry.reason.empty()) {
    out += "null";
  } else {
    append_json_string(out, entry.reason);
  }
  out += R"(,"ctx":)";
  append_json_number(out,
                     static_cast<std::int64_t>(entry.context_length > 0 ? entry.context_length : info.context_length));
  out += R"(,"capabilities":[)";
  std::string_view comma;
  const auto capability = [&](bool has, std::string_view name) {
    if (!has) return;
    out += comma;
    out += name;
    comma = ",";
  };
  capability(info.generates && info.has_chat_template, R"("chat")");
  capability(info.generates, R"("completions")");
  capability(info.embeds, R"("embeddings")");
  out += "]}}";
}

void append_model(std::string& out, const types::OtherModel& other) {
  out += R"({"id":)";
  append_json_string(out, other.name);
  out += R"(,"object":"model","created":0,"owned_by":)";
  append_json_string(out, other.owner.empty() ? "shoal" : other.owner);
  out += other.owner.empty() ? R"(,"x_shoal":{"kind":"route"}})" : R"(,"x_shoal":{"kind":"provider"}})";
}

void append_models(std::string& out, std::span<const ModelEntry> entries, std::span<const types::OtherModel> others) {
  out += R"({"object":"list","data":[)";
  std::string_view comma;
  const auto append_all = [&](const auto& models) {
    for (const auto& model : models) {
      out += std::exchange(comma, ",");
      append_model(out, model);
    }
  };
  append_all(entries);
  append_all(others);
  out += "]}";
}

void append_error(std::string& out, const Error& error) {
  out += R"({"error":{"message":)";
  append_json_string(out, error.message().empty() ? error.info().text : std::string_view(error.message()));
  out += R"(,"type":)";
  append_json_string(out, error.info().openai_type);
  out += R"(,"param":)";
  if (error.param().empty()) {
    out += "null";
  } else {
    append_json_string(out, error.param());
  }
  out += R"(,"code":)";
  append_json_string(out, error.info().slug);
  if (!error.suggestion().empty()) {
    out += R"(,"did_you_mean":)";
    append_json_string(out, error.suggestion());
  }
  out += "}}";
}

}  // namespace shoal::wire::openai
