#include "shoal/server/answer_writer.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "shoal/base/text.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::server {
namespace openai = wire::openai;
namespace {

constexpr std::size_t kUsualReceiptBytes = 512;

}  // namespace

AnswerWriter::AnswerWriter(Exchange& exchange, ServerMetrics& metrics, const base::Clock& clock,
                           openai::AnswerKind kind, const types::GenerationParams& params, std::size_t answers,
                           std::vector<std::string> echo)
    : exchange_(exchange),
      metrics_(metrics),
      clock_(clock),
      head_{.kind = kind, .id = {}, .created = 0, .model = {}},
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

bool AnswerWriter::open() const {
  return exchange_.writer.state() != net::ResponseWriter::State::kHeld;
}

Result<void> AnswerWriter::open_stream(const types::Receipt& receipt, base::Yield yield) {
  assert(streams_ && !open());
  exchange_.writer.set_header("x-shoal-decision-id", receipt.decision_id);
  exchange_.writer.begin_event_stream();
  exchange_.status = 200;
  return exchange_.writer.commit(yield);
}

Result<void> AnswerWriter::write_chunk(base::Yield yield) {
  auto written = exchange_.writer.write_event(text_, yield);
  text_.clear();
  return written;
}

Result<void> AnswerWriter::commit(const types::Receipt& receipt, base::Yield yield) {
  assert(!committed_);
  committed_ = true;
  head_.model = receipt.model;
  if (!receipt.raw) {
    head_.id = (head_.kind == openai::AnswerKind::kChat ? "chatcmpl-" : "cmpl-") + receipt.decision_id;
    head_.created = clock_.unix_seconds();
  }
  const bool begins = !open();
  if (begins) {
    exchange_.writer.set_header("x-shoal-decision-id", receipt.decision_id);
    exchange_.writer.set_header("x-shoal-model", receipt.model);
    exchange_.writer.set_header("x-shoal-route", std::string(types::decision_name(receipt.decision)));
    exchange_.writer.set_header("x-shoal-egress", receipt.egress);
    // Of a route that promises a risk: what shows it, or why it is not shown.
    const auto proof = std::ranges::find(receipt.reasons, "certificate", &types::Reason::signal);
    if (proof != receipt.reasons.end()) {
      exchange_.writer.set_header("x-shoal-certificate", base::escape_control(proof->value + ", " + proof->rule));
    }
  }
  if (!streams_) return {};
  if (begins) exchange_.writer.begin_event_stream();
  if (!receipt.raw) {
    chunks_.emplace(head_, choices_.size(), detail_, usage_chunk_);
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
  }
  exchange_.status = 200;
  return begins ? exchange_.writer.commit(yield) : Result<void>();
}

void AnswerWriter::discard() {
  assert(!committed_);
  for (std::size_t i = 0; i < choices_.size(); ++i) {
    choices_[i] = {};
    if (!echo_.empty()) choices_[i].text = echo_[i];
  }
  open_ = choices_.size();
  remote_body_.clear();
  remote_ = false;
  seen_token_ = false;
}

Result<void> AnswerWriter::token(std::size_t index, const types::Token& token, std::string_view text,
                                 base::Yield yield) {
  assert(index < choices_.size());
  note_first_token();
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

Result<void> AnswerWriter::relay(types::RemoteEvent event, base::Yield yield) {
  note_first_token();
  if (event.raw.empty()) return relay_deltas(event, yield);
  remote_ = true;
  if (!streams_) {
    remote_body_ = std::move(event.raw);
    return {};
  }
  const bool finishes = std::ranges::any_of(event.deltas, [](const auto& delta) { return delta.finish.has_value(); });
  const bool says = std::ranges::any_of(event.deltas, [](const auto& delta) { return delta.has_content(); });
  // Some put an answer with nothing in it beside the usage.
  if (event.usage && !finishes && !says && (event.deltas.empty() || !remote_finish_.empty())) {
    remote_usage_ = std::move(event.raw);
    return {};
  }
  if (finishes) {
    // The last of them waits for the receipt; what a provider sends after it goes out before it.
    if (!remote_finish_.empty()) SHOAL_TRY(exchange_.writer.write_event(std::exchange(remote_finish_, {}), yield));
    remote_finish_ = std::move(event.raw);
    return {};
  }
  return exchange_.writer.write_event(event.raw, yield);
}

// Of another dialect: printed anew.
Result<void> AnswerWriter::relay_deltas(types::RemoteEvent& event, base::Yield yield) {
  for (types::AnswerDelta& delta : event.deltas) {
    if (delta.answer >= choices_.size() || open_ == 0)
      return Error(ErrorCode::kBadAnswer, "the provider sent more answers than it was asked for");
    if (!streams_) {
      if (!delta.finish) return Error(ErrorCode::kBadAnswer, "the provider sent an answer without its end");
      choices_[delta.answer] = openai::choice_of(delta);
      --open_;
      continue;
    }
    const std::optional<types::FinishReason> reason = std::exchange(delta.finish, std::nullopt);
    if (delta.has_content()) {
      chunks_->append_delta(text_, delta);
      SHOAL_TRY(write_chunk(yield));
    }
    if (reason) SHOAL_TRY(finished(delta.answer, *reason, {}, yield));
  }
  return {};
}

void AnswerWriter::note_first_token() {
  if (std::exchange(seen_token_, true)) return;
  // Of the model that answers: an attempt that is given up has no say in it.
  if (!head_.model.empty())
    metrics_.first_token(head_.model, static_cast<double>(clock_.monotonic_ns() - exchange_.started_ns) / 1e9);
}

Result<void> AnswerWriter::ping(std::string_view note, base::Yield yield) {
  assert(open());
  // The note may name a model as the client spelled it: one line, whatever it holds.
  std::string line(note);
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return exchange_.writer.write_comment(line, yield);
}

Result<void> AnswerWriter::done(const types::Receipt& receipt, base::Yield yield) {
  assert(committed_);
  metrics_.answered(receipt.model, receipt.usage);
  openai::AnswerFacts facts{.receipt = receipt};
  if (detail_.signals || p_true_) facts.signals = receipt.signals;
  facts.hidden_states = receipt.hidden_states;
  facts.base64 = hidden_base64_;
  return remote_ ? finish_remote(facts, yield) : finish_local(facts, yield);
}

Result<void> AnswerWriter::finish_local(const openai::AnswerFacts& facts, base::Yield yield) {
  assert(open_ == 0);
  if (!streams_) {
    openai::append_answer(text_, head_, choices_, detail_, facts);
    exchange_.status = 200;
    return exchange_.writer.send(200, "application/json", text_, yield);
  }
  assert(last_);
  chunks_->append_finish(text_, last_->first, last_->second, &facts);
  SHOAL_TRY(write_chunk(yield));
  if (usage_chunk_) {
    chunks_->append_usage(text_, facts.receipt.usage);
    SHOAL_TRY(write_chunk(yield));
  }
  SHOAL_TRY(exchange_.writer.write_event("[DONE]", yield));
  return exchange_.writer.end_stream(yield);
}

// The provider's own bytes, with x_shoal in the last place where a client looks.
Result<void> AnswerWriter::finish_remote(const openai::AnswerFacts& facts, base::Yield yield) {
  text_.reserve(kUsualReceiptBytes);
  openai::append_x_shoal_value(text_, facts);
  if (!streams_) {
    exchange_.status = 200;
    return exchange_.writer.send(200, "application/json", openai::with_x_shoal(remote_body_, text_), yield);
  }
  SHOAL_TRY(exchange_.writer.write_event(openai::with_x_shoal(remote_finish_, text_), yield));
  if (usage_chunk_ && !remote_usage_.empty()) SHOAL_TRY(exchange_.writer.write_event(remote_usage_, yield));
  SHOAL_TRY(exchange_.writer.write_event("[DONE]", yield));
  return exchange_.writer.end_stream(yield);
}

void AnswerWriter::fail(const Error& error, const types::Receipt& receipt, base::Yield yield) {
  if (!open()) {
    exchange_.writer.discard();
    // What went wrong has a receipt, too, and something may have left.
    exchange_.writer.set_header("x-shoal-decision-id", receipt.decision_id);
    exchange_.writer.set_header("x-shoal-egress", receipt.egress);
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
