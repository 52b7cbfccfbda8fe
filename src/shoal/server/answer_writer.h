// AnswerWriter: the sink that prints an answer in the OpenAI dialect, whole or as server-sent events. Before
// commit everything is held in the response writer and an error replaces it; after commit only more of the
// same answer may follow, or an error frame and a close, without [DONE].
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
  AnswerWriter(Exchange& exchange, ServerMetrics& metrics, const base::Clock& clock, wire::openai::AnswerHead head,
               const types::GenerationParams& params, std::size_t answers, std::vector<std::string> echo);

  void decided(const gateway::Receipt& receipt) override;
  Result<void> token(std::size_t index, const types::Token& token, std::string_view text, base::Yield yield) override;
  Result<void> finished(std::size_t index, types::FinishReason reason, std::string_view text,
                        base::Yield yield) override;
  [[nodiscard]] bool streams() const override { return streams_; }
  Result<void> commit(base::Yield yield) override;
  [[nodiscard]] bool committed() const override;
  Result<void> ping(std::string_view note, base::Yield yield) override;
  Result<void> done(const gateway::Receipt& receipt, base::Yield yield) override;
  void fail(const Error& error, base::Yield yield) override;

 private:
  Result<void> write_chunk(base::Yield yield);

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
  bool seen_token_ = false;
};

}  // namespace shoal::server
