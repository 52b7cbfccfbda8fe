// What a provider said, as one line of JSON that tests compare: whatever the dialect, and however the bytes were cut.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/net/sse_reader.h"
#include "shoal/types/remote.h"
#include "shoal/wire/json_writer.h"
#include "shoal/wire/openai/print.h"
#include "shoal/wire/stream_reader.h"

namespace shoal::tests {

inline std::optional<types::Dialect> dialect_of(std::string_view name) {
  if (name == "openai") return types::Dialect::kOpenAi;
  if (name == "anthropic") return types::Dialect::kAnthropic;
  if (name == "gemini") return types::Dialect::kGemini;
  return std::nullopt;
}

// Joins the pieces of one stream, or of a whole body.
class Summary {
 public:
  void add(const types::RemoteEvent& event) {
    if (event.usage) usage_ = event.usage;
    if (!event.id.empty()) id_ = event.id;
    if (!event.model.empty()) model_ = event.model;
    last_ = last_ || event.last;
    for (const types::AnswerDelta& delta : event.deltas) add(delta);
  }
  void fail(std::string error) { error_ = std::move(error); }
  void set_complete(bool complete) { complete_ = complete; }

  [[nodiscard]] bool complete() const { return complete_; }
  // By index. What is told of an answer; without usage, marks and errors.
  [[nodiscard]] std::string answers() const {
    std::string out;
    wire::JsonWriter json(out);
    json.array();
    for (const auto& [index, answer] : answers_) {
      json.object().key("text").string(answer.text).key("reasoning").string(answer.reasoning);
      json.key("refusal").string(answer.refusal).key("tool_calls").array();
      for (const types::ToolCallDelta& call : answer.tool_calls) {
        json.object().key("id").string(call.id).key("name").string(call.name);
        json.key("arguments").string(call.arguments).end_object();
      }
      json.end_array().key("finish");
      if (answer.finish) {
        json.string(wire::openai::finish_name(*answer.finish));
      } else {
        json.raw("null");
      }
      json.end_object();
    }
    json.end_array();
    return out;
  }
  [[nodiscard]] std::string text() const {
    std::string out;
    wire::JsonWriter json(out);
    json.object().key("answers").raw(answers()).key("usage");
    if (usage_) {
      json.array();
      for (const std::int32_t count :
           {usage_->prompt_tokens, usage_->completion_tokens, usage_->cached_tokens, usage_->cache_write_5m_tokens,
            usage_->cache_write_1h_tokens, usage_->reasoning_tokens}) {
        json.integer(count);
      }
      json.end_array();
    } else {
      json.raw("null");
    }
    json.key("id").string(id_).key("model").string(model_).key("last").boolean(last_);
    json.key("complete").boolean(complete_).key("error").string(error_).end_object();
    return out;
  }

 private:
  void add(const types::AnswerDelta& delta) {
    types::AnswerDelta& answer = answers_[delta.answer];
    answer.text += delta.text;
    answer.reasoning += delta.reasoning;
    answer.refusal += delta.refusal;
    if (delta.finish && answer.finish) error_ += "a second end; ";
    if (delta.finish) answer.finish = delta.finish;
    for (const types::ToolCallDelta& piece : delta.tool_calls) {
      const bool begins = piece.index == answer.tool_calls.size();
      if (piece.index > answer.tool_calls.size()) error_ += "a gap between calls; ";
      if (!begins && !(piece.id.empty() && piece.name.empty())) error_ += "a name said twice; ";
      if (begins) {
        answer.tool_calls.push_back(piece);
      } else if (piece.index < answer.tool_calls.size()) {
        answer.tool_calls[piece.index].arguments += piece.arguments;
      }
    }
  }

  std::map<std::size_t, types::AnswerDelta> answers_;
  std::optional<types::Usage> usage_;
  std::string id_;
  std::string model_;
  std::string error_;
  bool last_ = false;
  bool complete_ = false;
};

// Reads a stream whose bytes come in `pieces`. `see` is called with each event that says something.
template <class See>
Summary read_stream(types::Dialect dialect, std::size_t answers, const std::vector<std::string_view>& pieces, See see) {
  Summary summary;
  net::SseReader events;
  const auto reader = wire::make_stream_reader(dialect, wire::openai::AnswerKind::kChat, answers);
  for (const std::string_view piece : pieces) {
    events.input() += piece;
    while (true) {
      const auto event = events.next();
      if (!event.ok()) {
        summary.fail(event.error().message());
        return summary;
      }
      if (!*event) break;
      const auto reply = reader->read((*event)->name, (*event)->data);
      if (!reply.ok()) {
        summary.fail(reply.error().message());
        return summary;
      }
      if (!*reply) continue;
      if (const auto* error = std::get_if<types::RemoteError>(&**reply)) {
        summary.fail(error->type + "/" + error->code + "/" + error->message);
        return summary;
      }
      summary.add(std::get<types::RemoteEvent>(**reply));
      see(std::get<types::RemoteEvent>(**reply));
    }
  }
  summary.set_complete(reader->complete());
  return summary;
}

inline Summary read_stream(types::Dialect dialect, std::size_t answers, const std::vector<std::string_view>& pieces) {
  return read_stream(dialect, answers, pieces, [](const types::RemoteEvent&) {});
}

}  // namespace shoal::tests
