// Anthropic's Messages API, upward: what comes back. Threads: any; pure, but for the reader of one stream.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/remote.h"
#include "shoal/wire/remote_error.h"
#include "shoal/wire/stream_reader.h"

namespace shoal::wire::anthropic {

using wire::parse_error;

// A whole message. The prompt of `usage` is input_tokens and what was read from the cache and written to it, which
// Anthropic counts apart. A refusal is content_filter, its explanation `refusal`. Errors: kBadAnswer.
[[nodiscard]] Result<types::RemoteReply> parse_answer(std::string_view body);

// What a message counts, and in which tier it was answered: said again when it changes, and cumulative.
class Counts {
 public:
  // `object`: `usage` of a message or of its delta.
  void add(std::string_view object, types::RemoteEvent& event);

 private:
  types::Usage usage_;
  std::int32_t input_ = 0;  // those that were neither read from the cache nor written to it
  std::int32_t written_ = 0;
  bool bad_ = false;
};

// The events from message_start to message_stop, which alone makes a stream complete. Events of a type that is not
// known say nothing, as the API demands.
class EventReader final : public StreamReader {
 public:
  [[nodiscard]] Result<std::optional<types::RemoteReply>> read(std::string_view name, std::string_view data) override;
  [[nodiscard]] bool complete() const override { return stopped_; }

 private:
  enum class Block : std::uint8_t { kNone, kText, kThinking, kTool, kOther };

  Result<void> start(std::string_view message, types::RemoteEvent& event);
  Result<void> start_block(std::string_view data, types::AnswerDelta& delta);
  Result<void> add_to_block(std::string_view data, types::AnswerDelta& delta);
  Result<void> stop_block(std::string_view data, types::AnswerDelta& delta);
  Result<std::optional<types::RemoteError>> end(std::string_view data, types::RemoteEvent& event);
  void hold_thought(types::AnswerDelta& delta);
  Result<void> check_block(std::string_view data, Block wanted) const;

  bool started_ = false;
  bool finished_ = false;  // the reason came
  bool stopped_ = false;
  Counts counts_;
  Block block_ = Block::kNone;  // that is open
  std::size_t block_index_ = 0;
  std::size_t next_block_ = 0;
  std::size_t calls_ = 0;
  bool has_arguments_ = false;    // of the call that is open
  types::ThinkingBlock thought_;  // that is open
  std::size_t thoughts_ = 0;
};

}  // namespace shoal::wire::anthropic
