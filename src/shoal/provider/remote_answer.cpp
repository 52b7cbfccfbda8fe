#include "shoal/provider/remote_answer.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "shoal/provider/failure.h"
#include "shoal/provider/provider.h"
#include "shoal/wire/anthropic/answer.h"
#include "shoal/wire/gemini/answer.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::provider {
namespace {

using Read = net::HttpExchange::Read;

constexpr std::size_t kMaxBodyBytes = std::size_t{64} << 20;
// Of an answer that says what went wrong: the rest is not read.
constexpr std::size_t kMaxErrorBytes = std::size_t{64} << 10;
// For the end of a response whose last event has come.
constexpr std::int64_t kReleaseMs = 20;

}  // namespace

RemoteAnswer::RemoteAnswer(std::unique_ptr<net::HttpExchange> exchange, const ProviderOptions& provider,
                           const Question& question, const base::Clock& clock, std::shared_ptr<std::size_t> running)
    : exchange_(std::move(exchange)),
      provider_(provider),
      kind_(question.chat ? wire::openai::AnswerKind::kChat : wire::openai::AnswerKind::kText),
      stream_(question.stream),
      answers_(question.answers),
      clock_(clock),
      running_(std::move(running)),
      reader_(question.stream ? wire::make_stream_reader(provider.dialect, kind_, question.answers) : nullptr),
      content_by_(base::Deadline::after_ms(clock, question.stream ? provider.first_token_ms : provider.answer_ms)) {
  ++*running_;
}

RemoteAnswer::~RemoteAnswer() {
  --*running_;
}

Error RemoteAnswer::said(types::RemoteError error) const {
  // FENCE: what a provider repeats of our keys stays here.
  for (const std::string& key : provider_.keys) {
    hide_key(error.message, key);
    hide_key(error.param, key);
  }
  return error_of(
      provider_.name, error,
      retry_after_ms(exchange_->header("retry-after-ms"), exchange_->header("Retry-After"), clock_.unix_seconds()));
}

Error RemoteAnswer::silent() const {
  if (!stream_) {
    return {ErrorCode::kUnreachable,
            fmt::format("{} did not answer within {} ms", provider_.name, provider_.answer_ms)};
  }
  return {ErrorCode::kUnreachable,
          status_ ? fmt::format("{} sent nothing to show within {} ms", provider_.name,
                                seen_content_ ? provider_.token_ms : provider_.first_token_ms)
                  : fmt::format("{} did not begin to answer within {} ms", provider_.name, provider_.first_token_ms)};
}

Result<Read> RemoteAnswer::read(std::string& out, base::Deadline wake, base::Yield yield) {
  const base::Deadline until = {std::min(wake.at_ns, content_by_.at_ns)};
  const std::size_t before = out.size();
  const Read came = SHOAL_TRY(exchange_->read(out, until, yield));
  received_ += out.size() - before;
  if (came == Read::kNotYet && content_by_.passed(clock_)) return silent();
  return came;
}

Result<std::optional<types::RemoteEvent>> RemoteAnswer::next(base::Deadline wake, base::Yield yield) {
  assert(!ended_);
  if (!status_) {
    const base::Deadline until = {std::min(wake.at_ns, content_by_.at_ns)};
    status_ = SHOAL_TRY(exchange_->status(until, yield));
    if (!status_ && content_by_.passed(clock_)) return silent();
    if (!status_) return std::optional<types::RemoteEvent>();
  }
  const bool streams = stream_ && *status_ == 200 && exchange_->header("Content-Type").starts_with("text/event-stream");
  return streams ? read_event(wake, yield) : read_whole(wake, yield);
}

Result<types::RemoteReply> RemoteAnswer::parse_whole() const {
  switch (provider_.dialect) {
    case types::Dialect::kOpenAi:
      return wire::openai::parse_answer(body_, kind_);
    case types::Dialect::kAnthropic:
      return wire::anthropic::parse_answer(body_);
    case types::Dialect::kGemini:
      break;
  }
  return wire::gemini::parse_answer(body_, answers_);
}

Error RemoteAnswer::unfinished() const {
  return {ErrorCode::kBadAnswer, fmt::format("{} ended before its answer was complete", provider_.name)};
}

// A whole answer, or what went wrong in place of one.
Result<std::optional<types::RemoteEvent>> RemoteAnswer::read_whole(base::Deadline wake, base::Yield yield) {
  const bool failed = *status_ != 200;
  const std::size_t most = failed ? kMaxErrorBytes : kMaxBodyBytes;
  for (bool more = true; more && body_.size() <= most;) {
    const Read came = SHOAL_TRY(read(body_, wake, yield));
    if (came == Read::kNotYet) return std::optional<types::RemoteEvent>();
    more = came == Read::kMore;
  }
  ended_ = true;
  if (failed) return said(wire::parse_error(*status_, body_));
  if (body_.size() > most)
    return Error(ErrorCode::kBadAnswer, fmt::format("{} sent more than {} bytes as one answer", provider_.name, most));
  types::RemoteReply reply = SHOAL_TRY(parse_whole());
  if (auto* error = std::get_if<types::RemoteError>(&reply)) return said(std::move(*error));
  if (stream_)
    return Error(ErrorCode::kBadAnswer, fmt::format("{} sent no stream, as it was asked to", provider_.name));
  auto& event = std::get<types::RemoteEvent>(reply);
  if (!event.last) return unfinished();
  if (provider_.dialect == types::Dialect::kOpenAi) event.raw = std::move(body_);
  return std::optional(std::move(event));
}

Result<std::optional<types::RemoteEvent>> RemoteAnswer::read_event(base::Deadline wake, base::Yield yield) {
  for (;;) {
    while (const auto event = SHOAL_TRY(events_.next())) {
      std::optional<types::RemoteReply> reply = SHOAL_TRY(reader_->read(event->name, event->data));
      if (!reply) continue;
      if (auto* error = std::get_if<types::RemoteError>(&*reply)) {
        ended_ = true;
        return said(std::move(*error));
      }
      auto& came = std::get<types::RemoteEvent>(*reply);
      if (came.last && !reader_->complete()) return unfinished();
      note(came);
      ended_ = came.last;
      if (!came.last && provider_.dialect == types::Dialect::kOpenAi) came.raw = event->data;
      return std::optional(std::move(came));
    }
    const Read got = SHOAL_TRY(read(events_.input(), wake, yield));
    if (got == Read::kNotYet) return std::optional<types::RemoteEvent>();
    if (got == Read::kMore) continue;
    // Some have no mark of the end, and some servers leave it out.
    if (!reader_->complete()) return unfinished();
    ended_ = true;
    types::RemoteEvent end;
    end.last = true;
    return std::optional(std::move(end));
  }
}

void RemoteAnswer::note(const types::RemoteEvent& event) {
  if (std::ranges::none_of(event.deltas, &types::AnswerDelta::has_content)) return;
  seen_content_ = true;
  content_by_ = base::Deadline::after_ms(clock_, provider_.token_ms);
}

void RemoteAnswer::release(base::Yield yield) {
  const base::Deadline until = base::Deadline::after_ms(clock_, kReleaseMs);
  std::string rest;
  for (;;) {
    const auto came = exchange_->read(rest, until, yield);
    if (!came.ok() || *came != Read::kMore || rest.size() > kMaxErrorBytes) return;
  }
}

}  // namespace shoal::provider
