// The OpenAI dialect, upward: what goes to a provider that speaks it and what comes back. A client that speaks it, too,
// has its own bytes passed on, both ways, with only what must change changed: nothing here makes a document.
// Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/remote.h"
#include "shoal/wire/openai/answer_kind.h"
#include "shoal/wire/outgoing.h"
#include "shoal/wire/remote_error.h"
#include "shoal/wire/stream_reader.h"

namespace shoal::wire::openai {

using wire::parse_error;

// --- what comes

// A whole chat.completion or text_completion; `raw` stays empty, and `last` says whether each answer has its
// finish_reason. A body of status 200 may be an error as well. Errors: kBadAnswer when it is no such JSON.
[[nodiscard]] Result<types::RemoteReply> parse_answer(std::string_view body, AnswerKind kind);

// The data of one event of a stream; `raw` stays empty. "[DONE]" has `last`; whether the answers are complete is told
// by their finish reasons, and "[DONE]" alone is not enough. A call of a tool without an index has its place in this
// event. Errors: as parse_answer.
[[nodiscard]] Result<types::RemoteReply> parse_chunk(std::string_view data, AnswerKind kind);

// The chunks of one stream, to "[DONE]". It is complete when each answer has its finish_reason.
class ChunkReader final : public StreamReader {
 public:
  ChunkReader(AnswerKind kind, std::size_t answers) : kind_(kind), answers_(answers) {}
  [[nodiscard]] Result<std::optional<types::RemoteReply>> read(std::string_view name, std::string_view data) override;
  [[nodiscard]] bool complete() const override;

 private:
  struct Call {
    std::size_t index = 0;  // as the provider numbers it
    std::string id;
    bool named = false;
  };
  struct Answer {
    std::vector<Call> calls;
    bool finished = false;
  };

  static void number_call(std::vector<Call>& calls, types::ToolCallDelta& piece);

  AnswerKind kind_;
  std::vector<Answer> answers_;
};

// --- what goes

struct RequestPatch {
  using Limit = LimitName;

  std::string_view model;                  // as the provider names it
  std::optional<std::int32_t> max_tokens;  // when the client set no limit under either name
  Limit limit = Limit::kMaxTokens;         // the name that the provider knows
  bool include_usage = false;              // set stream_options.include_usage: for streams only
  std::string_view system_prompt = {};     // a message of the system before the others; empty: none
};

// The client's own bytes with the model replaced, what is Shoal's alone (x_shoal, ignore_eos) cut out, and the rest of
// the patch put in; every other byte as it came. What is cut asks for nothing: where it does, it is a need of kSignals,
// which no provider meets. REQUIRES: one of the parsers in parse.h accepted `body`.
[[nodiscard]] std::string patch_request(std::string_view body, const RequestPatch& patch);

// --- what is handed on

// `object` with a member x_shoal, whose value is the JSON text `x_shoal`, before its last brace, and in place of one
// that is there already. REQUIRES: check_json accepted both; `object` is one.
[[nodiscard]] std::string with_x_shoal(std::string_view object, std::string_view x_shoal);

// `chunk` without the member usage, for a client that did not ask for it. REQUIRES: parse_chunk accepted it.
[[nodiscard]] std::string without_usage(std::string chunk);

}  // namespace shoal::wire::openai
