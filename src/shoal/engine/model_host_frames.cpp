// What a worker says, believed only as far as it can be checked: the worker parses a model file that anyone may
// have made, so a frame from it is input. An error returned here ends the worker.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "shoal/engine/model_host.h"

namespace shoal::engine {
namespace {

constexpr double kNsPerSecond = 1e9;
// Far above any real vocabulary entry; a token that is longer is made up.
constexpr std::size_t kMaxTokenBytes = 4096;
// One token releases what a stop string held back, so this bounds the longest sensible stop string too.
constexpr std::size_t kMaxTextBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxTopLogprobs = 20;
constexpr std::size_t kMaxMessageBytes = 600;
constexpr std::uint32_t kMaxSlots = 256;  // llama.cpp's limit of sequences
// Far above what the largest frame asks for: a token of text has a byte at least, and templates add little.
constexpr std::size_t kMaxTokenIds = std::size_t{4} * ipc::kMaxBodyBytes;
constexpr std::size_t kMaxDetokenizedBytes = std::size_t{64} * 1024 * 1024;

Error violation(std::string what) {
  return Error(ErrorCode::kInternal, std::move(what));
}

// A worker's words go into logs and error bodies: printable ASCII only, and not too many.
std::string plain(std::string_view text) {
  std::string out(text.substr(0, kMaxMessageBytes));
  std::ranges::replace_if(out, [](char c) { return c < 0x20 || c > 0x7e; }, '?');
  return out;
}

bool plausible(const types::Token& token) {
  return token.bytes.size() <= kMaxTokenBytes && token.top.size() <= kMaxTopLogprobs &&
         std::ranges::all_of(token.top,
                             [](const types::TopLogprob& top) { return top.bytes.size() <= kMaxTokenBytes; });
}

}  // namespace

Result<void> ModelHost::on_frame(ipc::Frame frame) {
  if (const auto* failed = std::get_if<ipc::Failed>(&frame.body); failed != nullptr && frame.header.request == 0) {
    load_error_ = Error(failed->code, plain(failed->message));
    process_->kill(fmt::format("gave up: {}", plain(failed->message)));
    return {};
  }
  if (phase_ == HostPhase::kLoading) {
    const auto* ready = std::get_if<ipc::Ready>(&frame.body);
    if (ready == nullptr) return violation(fmt::format("a frame of type {} before READY", int(frame.header.type)));
    return on_ready(*ready);
  }
  if (std::holds_alternative<ipc::Pong>(frame.body)) {
    on_pong();
    return {};
  }
  if (const auto* stats = std::get_if<ipc::Stats>(&frame.body)) {
    on_stats(*stats);
    return {};
  }
  if (const auto* lease = std::get_if<ipc::LeaseHeld>(&frame.body)) {
    SHOAL_TRY(services_.cores.held(cores_, *lease));
    metrics_.threads.set(services_.cores.use(cores_).threads);
    return {};
  }
  if (std::holds_alternative<ipc::Ready>(frame.body)) return violation("a second READY");
  // A request that ended here while its frame was under way; ids are never used again.
  const auto found = requests_.find(frame.header.request);
  if (found == requests_.end() || found->second->state == RequestState::kWaiting) return {};
  return on_request_frame(std::shared_ptr(found->second), std::move(frame));
}

Result<void> ModelHost::on_ready(const ipc::Ready& ready) {
  if (ready.slots == 0 || ready.slots > kMaxSlots || ready.sequence_length == 0 ||
      ready.sequence_length > ready.context_length) {
    return violation(fmt::format("READY with {} slots and a context of {}, {} of it for one sequence", ready.slots,
                                 ready.context_length, ready.sequence_length));
  }
  ready_ = ready;
  ready_.sandbox = plain(ready.sandbox);
  ready_.cpu_backend = plain(ready.cpu_backend);
  const std::int64_t now = services_.clock.monotonic_ns();
  const double seconds = static_cast<double>(now - started_ns_) / kNsPerSecond;
  metrics_.load_seconds.observe(seconds);
  last_ping_ns_ = last_alive_ns_ = last_progress_ns_ = idle_since_ns_ = ready_since_ns_ = now;
  services_.cores.loaded(cores_);
  set_phase(HostPhase::kReady);
  services_.log.info("worker ready", {{"model", name_},
                                      {"pid", process_->pid()},
                                      {"load_ms", static_cast<std::int64_t>(seconds * 1'000)},
                                      {"slots", ready_.slots},
                                      {"context", ready_.context_length},
                                      {"mode", ready_.exact ? "exact" : "fast"},
                                      {"backend", ready_.cpu_backend},
                                      {"sandbox", ready_.sandbox}});
  if (!ready.keeps_prefixes && services_.options.keep_prefixes && model_.info.generates) {
    services_.log.info("prompt prefixes are not kept",
                       {{"model", name_}, {"why", "its state cannot be cut: a recurrent or sliding-window model"}});
  }
  send_waiting();
  return {};
}

Result<void> ModelHost::on_request_frame(const std::shared_ptr<Request>& request, ipc::Frame frame) {
  // A refusal is no sign of life: a model that can compute nothing refuses, too.
  if (!std::holds_alternative<ipc::Failed>(frame.body))
    last_alive_ns_ = last_progress_ns_ = services_.clock.monotonic_ns();
  if (auto* token = std::get_if<ipc::TokenFrame>(&frame.body)) return on_token(*request, std::move(*token));
  if (auto* finished = std::get_if<ipc::Finished>(&frame.body)) return on_finished(request, std::move(*finished));
  if (const auto* accepted = std::get_if<ipc::Accepted>(&frame.body)) return on_accepted(*request, *accepted);
  if (auto* embedding = std::get_if<ipc::Embedding>(&frame.body)) return on_embedding(request, std::move(*embedding));
  if (auto* scored = std::get_if<ipc::Scored>(&frame.body)) return on_scored(request, std::move(*scored));
  if (auto* state = std::get_if<ipc::HiddenState>(&frame.body)) return on_hidden_state(*request, std::move(*state));
  if (auto* tokens = std::get_if<ipc::Tokens>(&frame.body)) return on_tokens(request, std::move(*tokens));
  if (const auto* text = std::get_if<ipc::Text>(&frame.body)) return on_text(request, *text);
  if (const auto* failed = std::get_if<ipc::Failed>(&frame.body)) {
    Error error(failed->code, plain(failed->message));
    if (!failed->param.empty()) error = Error(std::move(error).with_param(plain(failed->param)));
    if (failed->code == ErrorCode::kOverloaded) {
      error = Error(std::move(error).with_retry_after_ms(services_.options.retry_after_ms));
    }
    finish(request, std::move(error));
    return {};
  }
  return violation(fmt::format("a frame of type {}, which only the gateway sends", int(frame.header.type)));
}

Result<void> ModelHost::on_accepted(Request& request, const ipc::Accepted& accepted) {
  if (request.state != RequestState::kSent) return violation("a request accepted twice");
  if (accepted.prompt_tokens < 0 || ((request.kind == RequestKind::kGenerate || request.kind == RequestKind::kScore) &&
                                     std::cmp_greater(accepted.prompt_tokens, ready_.sequence_length))) {
    return violation(fmt::format("a prompt of {} tokens accepted into a context of {}", accepted.prompt_tokens,
                                 ready_.sequence_length));
  }
  request.state = RequestState::kAccepted;
  request.prompt_tokens = accepted.prompt_tokens;
  request.notify();
  publish();
  return {};
}

Result<void> ModelHost::on_token(Request& request, ipc::TokenFrame frame) {
  if (request.state != RequestState::kAccepted || request.kind != RequestKind::kGenerate)
    return violation("a token that nobody waits for");
  if (request.credits == 0) return violation("a token without credit");
  if (!plausible(frame.token) || frame.text.size() > kMaxTextBytes) return violation("a token of implausible size");
  const std::int64_t now = services_.clock.monotonic_ns();
  if (request.tokens == 0) {
    metrics_.first_token_seconds.observe(static_cast<double>(now - request.submitted_ns) / kNsPerSecond);
    // From here on the request cannot be sent again, so its prompt is not needed.
    std::string().swap(request.frame);
  }
  --request.credits;
  ++request.tokens;
  ++tokens_;
  rate_.add(now, 1);
  metrics_.completion_tokens.add();
  request.events.emplace_back(TokenEvent{std::move(frame.token), std::move(frame.text)});
  request.notify();
  if (request.credits == 0) want_cores();
  return {};
}

Result<void> ModelHost::on_finished(const std::shared_ptr<Request>& request, ipc::Finished finished) {
  if (request->state != RequestState::kAccepted || request->kind != RequestKind::kGenerate) {
    return violation("an answer finished that was not begun");
  }
  const types::Usage& usage = finished.usage;
  if (finished.text.size() > kMaxTextBytes || usage.completion_tokens < 0 || usage.cached_tokens < 0 ||
      usage.prompt_tokens != request->prompt_tokens || usage.cached_tokens > usage.prompt_tokens ||
      std::cmp_greater(usage.completion_tokens, request->tokens + 1) || finished.signals.tokens < 0 ||
      finished.signals.tokens > usage.completion_tokens) {
    return violation("an answer finished with implausible numbers");
  }
  metrics_.prompt_tokens.add(usage.prompt_tokens);
  metrics_.cached_tokens.add(usage.cached_tokens);
  request->events.emplace_back(FinishEvent{finished.reason, std::move(finished.text), finished.usage, finished.timings,
                                           ready_.exact, finished.signals, std::move(request->hidden_state)});
  finish(request, std::nullopt);
  return {};
}

Result<void> ModelHost::on_embedding(const std::shared_ptr<Request>& request, ipc::Embedding embedding) {
  const bool expected = request->state == RequestState::kAccepted || request->state == RequestState::kSent;
  if (!expected || embedding.index >= request->inputs) return violation("an embedding that nobody waits for");
  auto& rows = request->embedding.embeddings;
  rows.resize(request->inputs);
  auto& row = rows[embedding.index];
  if (!row.empty() || embedding.values.empty() || embedding.tokens < 0 ||
      embedding.values.size() != ready_.embedding_length) {
    return violation(fmt::format("an embedding of {} numbers for input {}; wanted one of {}", embedding.values.size(),
                                 embedding.index, ready_.embedding_length));
  }
  if (std::cmp_greater(embedding.tokens, ready_.sequence_length)) {
    return violation(
        fmt::format("an embedding of {} tokens by a model that reads {}", embedding.tokens, ready_.sequence_length));
  }
  row = std::move(embedding.values);
  request->embedding.usage.prompt_tokens += embedding.tokens;
  ++request->received;
  if (embedding.last != (request->received == request->inputs)) return violation("a wrong number of embeddings");
  if (!embedding.last) return {};
  metrics_.prompt_tokens.add(request->embedding.usage.prompt_tokens);
  finish(request, std::nullopt);
  return {};
}

Result<void> ModelHost::on_scored(const std::shared_ptr<Request>& request, ipc::Scored scored) {
  if (request->state != RequestState::kAccepted || request->kind != RequestKind::kScore) {
    return violation("scores that nobody waits for");
  }
  const types::Usage& usage = scored.usage;
  std::size_t tokens = 0;
  for (const types::LabelLogprobs& label : scored.labels) tokens += label.tokens.size();
  if (usage.prompt_tokens != request->prompt_tokens || std::cmp_not_equal(usage.completion_tokens, tokens) ||
      usage.cached_tokens < 0 || usage.cached_tokens > usage.prompt_tokens || scored.labels.size() != request->inputs) {
    return violation(fmt::format("scores of {} labels, of {} tokens after a prompt of {}; wanted {} labels",
                                 scored.labels.size(), usage.completion_tokens, usage.prompt_tokens, request->inputs));
  }
  const auto complete = [this](const types::LabelLogprobs& label) {
    return !label.tokens.empty() && label.tokens.size() == label.logprobs.size() &&
           std::ranges::all_of(label.tokens,
                               [this](auto id) { return id >= 0 && std::cmp_less(id, ready_.vocabulary); });
  };
  if (!std::ranges::all_of(scored.labels, complete)) return violation("a label without a score for each token");
  metrics_.prompt_tokens.add(usage.prompt_tokens);
  metrics_.cached_tokens.add(usage.cached_tokens);
  metrics_.scored_labels.add(static_cast<double>(scored.labels.size()));
  request->scored = {std::move(scored.labels), usage};
  finish(request, std::nullopt);
  return {};
}

Result<void> ModelHost::on_hidden_state(Request& request, ipc::HiddenState state) {
  if (request.state != RequestState::kAccepted || request.kind != RequestKind::kGenerate || request.tokens > 0) {
    return violation("a hidden state that nobody waits for");
  }
  if (state.values.size() != ready_.embedding_length) {
    return violation(
        fmt::format("a hidden state of {} numbers; wanted {}", state.values.size(), ready_.embedding_length));
  }
  request.hidden_state = std::move(state.values);
  return {};
}

Result<void> ModelHost::on_tokens(const std::shared_ptr<Request>& request, ipc::Tokens part) {
  if (request->kind != RequestKind::kTokenize) return violation("token ids that nobody waits for");
  std::vector<std::int32_t>& all = request->token_ids;
  if (all.size() + part.ids.size() > kMaxTokenIds) return violation("more token ids than a text can have");
  if (!std::ranges::all_of(part.ids, [this](auto id) { return id >= 0 && std::cmp_less(id, ready_.vocabulary); })) {
    return violation(fmt::format("a token id outside the vocabulary of {}", ready_.vocabulary));
  }
  all.insert(all.end(), part.ids.begin(), part.ids.end());
  request->lossless = part.lossless;
  if (part.last) finish(request, std::nullopt);
  return {};
}

Result<void> ModelHost::on_text(const std::shared_ptr<Request>& request, const ipc::Text& part) {
  if (request->kind != RequestKind::kDetokenize) return violation("a text that nobody waits for");
  if (request->text.size() + part.bytes.size() > kMaxDetokenizedBytes) return violation("a text of implausible size");
  request->text += part.bytes;
  if (part.last) finish(request, std::nullopt);
  return {};
}

void ModelHost::on_pong() {
  pong_due_ = false;
  // Of an idle worker: one thread, since it had a core.
  if (requests_.empty()) beat_ns_ = services_.clock.monotonic_ns() - std::max(last_ping_ns_, leased_ns_);
  want_cores();
}

void ModelHost::on_stats(const ipc::Stats& stats) {
  metrics_.kv_cells.set(stats.kv_used);
  kv_used_ = std::min(stats.kv_used, ready_.context_length);
  work_rates_.add(services_.clock.monotonic_ns(), stats.done);
  metrics_.kept_cells.set(stats.kv_kept);
  metrics_.cold_bytes.set(static_cast<double>(stats.cold_bytes));
  // The worker counts from its own start, and may say anything.
  if (stats.tokens_prefilled > prefilled_)
    metrics_.computed_prompt_tokens.add(static_cast<double>(stats.tokens_prefilled - prefilled_));
  prefilled_ = stats.tokens_prefilled;
  if (stats.evictions > prefix_evictions_)
    metrics_.prefix_evictions.add(static_cast<double>(stats.evictions - prefix_evictions_));
  prefix_evictions_ = stats.evictions;
  if (stats.work <= work_) return;
  work_ = stats.work;
  last_alive_ns_ = last_progress_ns_ = services_.clock.monotonic_ns();
}

}  // namespace shoal::engine
