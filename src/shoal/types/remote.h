// The vocabulary of answers that come from elsewhere: what one event of a provider's stream, or its whole body, says,
// in no dialect. wire/ reads them, provider/ hands them on, gateway/ relays them. Owned by value. Threads: any, as
// plain data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shoal/types/chat.h"
#include "shoal/types/completion.h"

namespace shoal::types {

// Which protocol a provider speaks.
enum class Dialect : std::uint8_t { kOpenAi, kAnthropic, kGemini };

// A piece of one call of a function. The first piece of a call has its id and name; arguments follow, to be joined.
struct ToolCallDelta {
  std::size_t index = 0;  // of the call within its answer, from 0, without gaps
  std::string id;
  std::string name;
  std::string arguments;
  std::string thought_signature{};  // see ToolCall; with the first piece

  bool operator==(const ToolCallDelta&) const = default;
};

// More of one answer.
struct AnswerDelta {
  std::size_t answer = 0;  // of n
  std::string text;
  std::string reasoning;  // thoughts that the provider shows
  std::string refusal;
  std::vector<ToolCallDelta> tool_calls;
  std::optional<FinishReason> finish;  // it is complete with this
  // Each in whole, with all of the thought that came before in `reasoning`.
  std::vector<ThinkingBlock> thinking_blocks{};
  std::size_t first_thinking_block = 0;  // the place of the first of them within the answer

  // Something that a client would show, or act on.
  [[nodiscard]] bool has_content() const {
    return !text.empty() || !reasoning.empty() || !refusal.empty() || !tool_calls.empty() || !thinking_blocks.empty();
  }
  bool operator==(const AnswerDelta&) const = default;
};

// One event of a stream, or a whole body.
struct RemoteEvent {
  std::string raw;  // the JSON as it came, without the framing of server-sent events
  std::vector<AnswerDelta> deltas;
  std::optional<Usage> usage;  // counted up to now; the last one holds
  bool bad_usage = false;      // what it counted is no number of tokens: nothing that was counted holds
  std::string model;           // that the provider says answered; empty: not said
  std::string id;              // the provider's own; empty: not said
  std::string service_tier{};  // that it says it answered in, when that is not the usual one
  bool last = false;           // the provider's mark of a complete answer: nothing follows

  bool operator==(const RemoteEvent&) const = default;
};

// What a provider says went wrong.
struct RemoteError {
  int status = 0;       // of HTTP; 0: it came within a stream
  std::string type;     // "invalid_request_error"
  std::string code;     // "context_length_exceeded"; empty: not said
  std::string message;  // the provider's words
  std::string param;
  std::optional<std::int64_t> retry_after_ms{};  // said in the body, as Gemini does

  bool operator==(const RemoteError&) const = default;
};

// What one event of a stream, or a body of status 200, may turn out to be: some providers send errors there, too.
using RemoteReply = std::variant<RemoteEvent, RemoteError>;

}  // namespace shoal::types
