// AnswerWriter: the sink that prints an answer in the OpenAI dialect, whole or as server-sent events. What a provider
// said in that dialect goes out as it came, and only the receipt is added. Before commit everything is held in the
// response writer and an error replaces it; after commit only more of the same answer may follow, or an error frame and
// a close, without [DONE].
// Owned by the route for one request. Threads: the I/O thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/gateway/answer.h"
#include "shoal/server/exchange.h"
#include "shoal/server/metrics.h"
#include "shoal/types/chat.h"
#include "shoal/wire/openai/print.h"

namespace shoal::server {

class AnswerWriter final : public gateway::AnswerSink {
 public:
  // `echo`: the text that each answer starts with, one per answer; empty: none.
  AnswerWriter(Exchange& exchange, ServerMetrics& metrics, const base::Clock& clock, wire::openai::AnswerKind kind,
               const types::GenerationParams& params, std::size_t answers, std::vector<std::string> echo);

  Result<void> token(std::size_t index, const types::Token& token, std::string_view text, base::Yield yield) override;
  Result<void> finished(std::size_t index, types::FinishReason reason, std::string_view text,
                        base::Yield yield) override;
  Result<void> relay(types::RemoteEvent event, base::Yield yield) override;
  [[nodiscard]] bool streams() const override { return streams_; }
  Result<void> open_stream(const types::Receipt& receipt, base::Yield yield) override;
  [[nodiscard]] bool open() const override;
  Result<void> commit(const types::Receipt& receipt, base::Yield yield) override;
  [[nodiscard]] bool committed() const override { return committed_; }
  void discard() override;
  Result<void> ping(std::string_view note, base::Yield yield) override;
  Result<void> done(const types::Receipt& receipt, base::Yield yield) override;
  void fail(const Error& error, const types::Receipt& receipt, base::Yield yield) override;

 private:
  Result<void> write_chunk(base::Yield yield);
  Result<void> relay_deltas(types::RemoteEvent& event, base::Yield yield);
  void note_first_token();
  Result<void> finish_local(const wire::openai::AnswerFacts& facts, base::Yield yield);
  Result<void> finish_remote(const wire::openai::AnswerFacts& facts, base::Yield yield);

  Exchange& exchange_;
  ServerMetrics& metrics_;
  const base::Clock& clock_;
  wire::openai::AnswerHead head_;
  const bool streams_;
  const wire::openai::TokenDetail detail_;
  const bool p_true_;
  const bool hidden_base64_;
  const bool usage_chunk_;
  const std::vector<std::string> echo_;
  std::vector<wire::openai::Choice> choices_;                        // whole answers
  std::optional<wire::openai::ChunkPrinter> chunks_;                 // streams, once the model is decided
  std::size_t open_;                                                 // answers that have not finished
  std::optional<std::pair<std::size_t, types::FinishReason>> last_;  // held back for done(): it carries x_shoal
  std::string text_;                                                 // of the chunk being written, reused
  // Of a provider, in its own bytes: the whole answer, or of a stream what done() is to send: the last chunk with a
  // finish reason, which carries x_shoal, and the one with the usage.
  std::string remote_body_;
  std::string remote_finish_;
  std::string remote_usage_;
  bool remote_ = false;
  bool committed_ = false;
  bool seen_token_ = false;
};

}  // namespace shoal::server
