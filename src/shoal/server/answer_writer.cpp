#include "shoal/server/answer_writer.h"

#include <algorithm>
#include <cassert>

namespace shoal::server {
namespace openai = wire::openai;

AnswerWriter::AnswerWriter(Exchange& exchange, ServerMetrics& metrics, const base::Clock& clock,
                           openai::AnswerHead head, const types::GenerationParams& params, std::size_t answers,
                           std::vector<std::string> echo)
    : exchange_(exchange),
      metrics_(metrics),
      clock_(clock),
      head_(std::move(head)),
      streams_(params.stream),
      detail_{params.logprobs, params.signals},
      p_true_(params.p_true),
      hidden_base64_(params.hidden_base64),
      usage_chunk_(params.include_usage),
      echo_(std::move(echo)),
      choices_(answers),
      open_(answers) {
  assert(answers > 0 && (echo_.empty() || echo_.size() == answers));
  for (std::size_t i = 0; i < echo_.size(); ++i) choices_[i].text = echo_[i];
}

void AnswerWriter::decided(const gateway::Receipt& receipt) {
  assert(!committed());
  head_.model = receipt.model;
  exchange_.writer.set_header("x-shoal-model", receipt.model);
  exchange_.writer.set_header("x-shoal-route", receipt.route);
  exchange_.writer.set_header("x-shoal-egress", receipt.egress);
  if (!streams_) return;
  chunks_.emplace(head_, choices_.size(), detail_, usage_chunk_);
  exchange_.writer.begin_event_stream();
}

bool AnswerWriter::committed() const {
  return exchange_.writer.state() != net::ResponseWriter::State::kHeld;
}

Result<void> AnswerWriter::write_chunk(base::Yield yield) {
  auto written = exchange_.writer.write_event(text_, yield);
  text_.clear();
  return written;
}

Result<void> AnswerWriter::commit(base::Yield yield) {
  assert(streams_ && chunks_ && !committed());
  // The first event of each answer goes out with the status line.
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    if (head_.kind == openai::AnswerKind::kChat) {
      chunks_->append_role(text_, i);
    } else if (!echo_.empty() && !echo_[i].empty()) {
      chunks_->append_piece(text_, i, echo_[i], nullptr);
    } else {
      continue;
    }
    SHOAL_TRY(write_chunk(yield));
  }
  exchange_.status = 200;
  return exchange_.writer.commit(yield);
}

Result<void> AnswerWriter::token(std::size_t index, const types::Token& token, std::string_view text,
                                 base::Yield yield) {
  assert(index < choices_.size());
  if (!seen_token_) {
    seen_token_ = true;
    metrics_.first_token(head_.model, static_cast<double>(clock_.monotonic_ns() - exchange_.started_ns) / 1e9);
  }
  if (!streams_) {
    choices_[index].text += text;
    if (detail_.logprobs) choices_[index].tokens.push_back(token);
    return {};
  }
  // A token may release no text yet: half a character, or what may become a stop string.
  if (text.empty() && (!detail_.logprobs || token.bytes.empty())) return {};
  chunks_->append_piece(text_, index, text, &token);
  return write_chunk(yield);
}

Result<void> AnswerWriter::finished(std::size_t index, types::FinishReason reason, std::string_view text,
                                    base::Yield yield) {
  assert(index < choices_.size() && open_ > 0);
  --open_;
  if (!streams_) {
    choices_[index].text += text;
    choices_[index].reason = reason;
    return {};
  }
  if (!text.empty()) {
    chunks_->append_piece(text_, index, text, nullptr);
    SHOAL_TRY(write_chunk(yield));
  }
  if (open_ == 0) {
    last_.emplace(index, reason);
    return {};
  }
  chunks_->append_finish(text_, index, reason, nullptr);
  return write_chunk(yield);
}

Result<void> AnswerWriter::ping(std::string_view note, base::Yield yield) {
  assert(committed());
  // The note may name a model as the client spelled it: one line, whatever it holds.
  std::string line(note);
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return exchange_.writer.write_comment(line, yield);
}

Result<void> AnswerWriter::done(const gateway::Receipt& receipt, base::Yield yield) {
  assert(open_ == 0);
  metrics_.answered(receipt.model, receipt.usage);
  openai::AnswerFacts facts{receipt.route, receipt.usage, receipt.timings, receipt.exact, {}, {}, false};
  if (detail_.signals || p_true_) facts.signals = receipt.signals;
  facts.hidden_states = receipt.hidden_states;
  facts.base64 = hidden_base64_;
  if (!streams_) {
    openai::append_answer(text_, head_, choices_, detail_, facts);
    exchange_.status = 200;
    return exchange_.writer.send(200, "application/json", text_, yield);
  }
  assert(committed() && last_);
  chunks_->append_finish(text_, last_->first, last_->second, &facts);
  SHOAL_TRY(write_chunk(yield));
  if (usage_chunk_) {
    chunks_->append_usage(text_, receipt.usage);
    SHOAL_TRY(write_chunk(yield));
  }
  SHOAL_TRY(exchange_.writer.write_event("[DONE]", yield));
  return exchange_.writer.end_stream(yield);
}

void AnswerWriter::fail(const Error& error, base::Yield yield) {
  if (!committed()) {
    exchange_.writer.discard();
    exchange_.send_error(error);
    return;
  }
  exchange_.code = error.info().slug;
  metrics_.stream_broken(error.info().slug);
  exchange_.writer.close_after();
  if (exchange_.writer.client_gone() || exchange_.writer.state() != net::ResponseWriter::State::kCommitted) return;
  text_.clear();
  openai::append_error(text_, error);
  if (write_chunk(yield).ok()) exchange_.writer.end_stream(yield).ignore("the client is gone; nothing more to say");
}

}  // namespace shoal::server
