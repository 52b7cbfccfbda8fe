// RemoteAnswer: the answer of a provider while it comes, as events in no dialect. It is complete only when the provider
// has said so for each answer; a stream that ends before is an error, however cleanly it ends.
// Owned by whoever asked; destroying it before its end closes the connection. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/net/http_client.h"
#include "shoal/net/sse_reader.h"
#include "shoal/types/chat.h"
#include "shoal/types/remote.h"
#include "shoal/wire/stream_reader.h"

namespace shoal::provider {

// What is asked. Lives while the answer is read.
struct Question {
  types::Dialect dialect = types::Dialect::kOpenAi;  // of the answer: the provider's
  bool chat = true;                                  // else a text completion
  std::string_view body;                             // the client's own bytes, in OpenAI's dialect
  const types::ChatRequest* request = nullptr;       // what they say; for other dialects, and chat only
  std::string_view added_system_prompt;              // that `request` has and `body` does not; empty: none
  bool stream = false;
  std::size_t answers = 1;
  std::int32_t hops = 0;  // through so many Shoals it came, this one among them
};

struct ProviderOptions;

class RemoteAnswer {
 public:
  // `provider` outlives it.
  RemoteAnswer(std::unique_ptr<net::HttpExchange> exchange, const ProviderOptions& provider, const Question& question,
               const base::Clock& clock, std::shared_ptr<std::size_t> running);
  RemoteAnswer(const RemoteAnswer&) = delete;
  RemoteAnswer& operator=(const RemoteAnswer&) = delete;
  ~RemoteAnswer();

  // The next event, with the bytes as they came when they are OpenAI's dialect, or nothing when `wake` passes first.
  // The one with `last` ends it: all answers are complete. Errors, after which there is no other: error_of() for what
  // the provider says went wrong, kBadAnswer (what it sends is not its protocol, or ends early), kUnreachable (cut off,
  // or silent for too long), kDeadlineExceeded, kCancelled. REQUIRES: it has not ended.
  [[nodiscard]] Result<std::optional<types::RemoteEvent>> next(base::Deadline wake, base::Yield yield);

  // Of HTTP; 0: no answer has come.
  [[nodiscard]] int status() const { return status_.value_or(0); }
  // See net::HttpExchange::stale().
  [[nodiscard]] bool stale() const { return exchange_->stale(); }
  // Bytes of the answer's body that came.
  [[nodiscard]] std::size_t received() const { return received_; }
  // Reads what stands between the last event and the end of the response, if it is there, so that the connection can
  // serve again.
  void release(base::Yield yield);

 private:
  Result<std::optional<types::RemoteEvent>> read_whole(base::Deadline wake, base::Yield yield);
  Result<std::optional<types::RemoteEvent>> read_event(base::Deadline wake, base::Yield yield);
  [[nodiscard]] Error said(types::RemoteError error) const;
  [[nodiscard]] Error silent() const;
  [[nodiscard]] Result<types::RemoteReply> parse_whole() const;
  [[nodiscard]] Error unfinished() const;
  void note(const types::RemoteEvent& event);
  // false: `wake` passed.
  Result<net::HttpExchange::Read> read(std::string& out, base::Deadline wake, base::Yield yield);

  std::unique_ptr<net::HttpExchange> exchange_;
  const ProviderOptions& provider_;
  const wire::openai::AnswerKind kind_;
  const bool stream_;
  const std::size_t answers_;
  const base::Clock& clock_;
  const std::shared_ptr<std::size_t> running_;
  std::optional<int> status_;
  net::SseReader events_;
  std::string body_;
  std::unique_ptr<wire::StreamReader> reader_;
  base::Deadline content_by_;  // when something to show must have come; of an answer that is no stream, its end
  std::size_t received_ = 0;
  bool seen_content_ = false;
  bool ended_ = false;
};

}  // namespace shoal::provider
