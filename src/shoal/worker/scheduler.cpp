#include "shoal/worker/scheduler.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "shoal/worker/signals.h"

namespace shoal::worker {
namespace {

// The gateway bounds its own queue; this one only has to be bounded.
constexpr std::size_t kMaxQueued = 1024;
constexpr std::int64_t kReportIntervalNs = 250'000'000;
// Of one frame of an answer in parts; a frame holds 1 MiB.
constexpr std::size_t kPartTokens = 64 * 1024;
constexpr std::size_t kPartBytes = 256 * 1024;

std::uint64_t micros(std::int64_t from_ns, std::int64_t to_ns) {
  return to_ns > from_ns ? static_cast<std::uint64_t>(to_ns - from_ns) / 1000 : 0;
}

// Tokens of the answer when the client names no limit: its share of the cache, so that four such requests
// still run side by side. The end of it is a visible finish_reason "length".
std::int32_t default_max_tokens(const ModelShape& shape) {
  return static_cast<std::int32_t>(std::max<std::uint32_t>(shape.context_length / shape.sequences, 16));
}

}  // namespace

// A request that is tokenised and known to fit, and waits for room.
struct Scheduler::Queued {
  std::unique_ptr<Sequence> sequence;
};

Scheduler::Scheduler(Model& model, const base::Clock& clock, SendFrame send, std::uint64_t seed)
    : model_(model), clock_(clock), send_(std::move(send)), next_seed_(seed) {
  running_.resize(model_.shape().sequences);
  model_.on_progress([this] {
    if (!working_) return;
    ++work_;
    report();
  });
}

Scheduler::~Scheduler() = default;

void Scheduler::post(ipc::Frame frame) {
  const bool cancels = std::holds_alternative<ipc::Cancel>(frame.body);
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(frame));
    // Under the lock, so that the compute thread cannot clear the interrupt before it sees the frame.
    if (cancels) model_.interrupt();
  }
  wake_.notify_one();
}

void Scheduler::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    model_.interrupt();
  }
  wake_.notify_one();
}

bool Scheduler::admissible(const Sequence& next) const {
  const bool free = std::ranges::any_of(running_, [](const auto& s) { return s == nullptr; });
  return free && reserved_tokens_ + next.reserved <= model_.shape().context_length;
}

bool Scheduler::runnable() const {
  if (!queue_.empty() && admissible(*queue_.front()->sequence)) return true;
  return std::ranges::any_of(running_, [](const auto& s) { return s && (s->prefilling() || s->credits > 0); });
}

std::deque<ipc::Frame> Scheduler::take_inbox() {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return stopping_ || !inbox_.empty(); };
  const bool paused = std::ranges::any_of(running_, [](const auto& s) { return s != nullptr; });
  if (!runnable() && !(draining_ && !paused)) {
    // An answer that is paused for credits can still pass its deadline.
    if (paused) {
      wake_.wait_for(lock, std::chrono::milliseconds(100), ready);
    } else {
      wake_.wait(lock, ready);
    }
  }
  model_.clear_interrupt();
  return std::exchange(inbox_, {});
}

void Scheduler::run() {
  for (;;) {
    for (ipc::Frame& frame : take_inbox()) handle(std::move(frame));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    expire();
    admit();
    step();
    report();
    const bool empty = queue_.empty() && std::ranges::none_of(running_, [](const auto& s) { return s != nullptr; });
    if (draining_ && empty) return;
  }
}

void Scheduler::handle(ipc::Frame frame) {
  const std::uint64_t request = frame.header.request;
  if (auto* generate = std::get_if<ipc::Generate>(&frame.body))
    return handle_generate(frame.header, std::move(*generate));
  if (auto* embed = std::get_if<ipc::Embed>(&frame.body)) return handle_embed(frame.header, *embed);
  if (const auto* tokenize = std::get_if<ipc::Tokenize>(&frame.body)) return handle_tokenize(request, *tokenize);
  if (const auto* ids = std::get_if<ipc::Detokenize>(&frame.body)) return handle_detokenize(request, *ids);
  if (std::holds_alternative<ipc::Cancel>(frame.body)) return handle_cancel(request);
  if (std::holds_alternative<ipc::Ping>(frame.body)) return heartbeat();
  if (std::holds_alternative<ipc::Drain>(frame.body)) {
    draining_ = true;
    return;
  }
  if (auto* credit = std::get_if<ipc::Credit>(&frame.body)) {
    const auto add = [&](Sequence& s) {
      if (s.request == request) s.credits += credit->tokens;
    };
    for (auto& running : running_) {
      if (running) add(*running);
    }
    for (auto& queued : queue_) add(*queued->sequence);
  }
}

void Scheduler::handle_generate(const ipc::FrameHeader& header, ipc::Generate request) {
  const ModelShape& shape = model_.shape();
  if (!shape.generates) {
    return fail(header.request,
                Error(ErrorCode::kUnsupportedParameter, "this model embeds text and does not write answers")
                    .with_param("model"));
  }
  if (draining_) return fail(header.request, {ErrorCode::kShuttingDown, "the worker is draining"});
  if (queue_.size() >= kMaxQueued)
    return fail(header.request, {ErrorCode::kOverloaded, fmt::format("{} requests wait already", kMaxQueued)});
  auto tokens = prompt_tokens(request.prompt);
  if (!tokens.ok()) return fail(header.request, tokens.error());
  const auto prompt = static_cast<std::int32_t>(tokens->size());
  const auto limit = static_cast<std::int32_t>(shape.sequence_length);
  // max_tokens = 0 computes the prompt only.
  if (prompt + (request.max_tokens == 0 ? 0 : 1) > limit) {
    return fail(
        header.request,
        Error(
            ErrorCode::kContextLengthExceeded,
            fmt::format("the prompt has {} tokens and the context of this model holds {}, answer included; shorten the "
                        "prompt by at least {} tokens",
                        prompt, limit, prompt + 1 - limit))
            .with_param("messages"));
  }
  if (request.max_tokens > limit - prompt) {
    return fail(
        header.request,
        Error(ErrorCode::kContextLengthExceeded,
              fmt::format(
                  "the prompt has {} tokens and max_tokens asks for {}, together {}; the context of this model holds "
                  "{}; lower max_tokens to {} or less",
                  prompt, request.max_tokens, prompt + request.max_tokens, limit, limit - prompt))
            .with_param("max_tokens"));
  }
  auto sequence = std::make_unique<Sequence>(request.sampling, next_seed_++, std::move(request.stop));
  sequence->request = header.request;
  sequence->deadline.at_ns = header.deadline_ns;
  sequence->tokens = std::move(tokens).value();
  sequence->prompt_tokens = prompt;
  sequence->max_tokens =
      request.max_tokens >= 0 ? request.max_tokens : std::min(default_max_tokens(shape), limit - prompt);
  sequence->reserved = static_cast<std::uint32_t>(prompt + sequence->max_tokens);
  sequence->credits = request.credits;
  sequence->top_logprobs = request.top_logprobs;
  sequence->ignore_eos = request.ignore_eos;
  sequence->arrived_ns = clock_.monotonic_ns();
  for (const std::int32_t token : sequence->tokens) sequence->sampler.accept_prompt(token);
  send_(header.request, ipc::Accepted{prompt, 0});
  const auto later = [](std::int64_t deadline, const std::unique_ptr<Queued>& q) {
    return deadline < q->sequence->deadline.at_ns;
  };
  const auto place = std::upper_bound(queue_.begin(), queue_.end(), sequence->deadline.at_ns, later);
  queue_.insert(place, std::make_unique<Queued>(std::move(sequence)));
}

void Scheduler::handle_embed(const ipc::FrameHeader& header, const ipc::Embed& request) {
  if (!model_.shape().embeds) {
    return fail(header.request,
                Error(ErrorCode::kUnsupportedParameter, "this model writes answers and does not embed text")
                    .with_param("model"));
  }
  std::vector<std::vector<std::int32_t>> inputs;
  for (const auto& input : request.inputs) {
    PromptInput prompt = std::string();
    std::visit([&prompt](const auto& value) { prompt = value; }, input);
    auto tokens = prompt_tokens(prompt);
    if (!tokens.ok()) return fail(header.request, tokens.error());
    if (tokens->size() > model_.shape().sequence_length) {
      return fail(header.request, Error(ErrorCode::kContextLengthExceeded,
                                        fmt::format("input {} has {} tokens and this model reads {}", inputs.size(),
                                                    tokens->size(), model_.shape().sequence_length))
                                      .with_param("input"));
    }
    inputs.push_back(std::move(tokens).value());
  }
  working_ = true;
  auto vectors = model_.embed(inputs);
  working_ = false;
  if (!vectors.ok()) {
    // Interrupted by the cancel of another request: this one is computed again. Its own cancel waits in the inbox.
    if (vectors.error().code() == ErrorCode::kCancelled) {
      const std::lock_guard lock(mutex_);
      const bool own = std::ranges::any_of(inbox_, [&](const ipc::Frame& f) {
        return f.header.request == header.request && std::holds_alternative<ipc::Cancel>(f.body);
      });
      if (!own && !stopping_) inbox_.push_back({header, request});
      return;
    }
    return fail(header.request, vectors.error());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    send_(header.request, ipc::Embedding{static_cast<std::uint32_t>(i), static_cast<std::int32_t>(inputs[i].size()),
                                         i + 1 == inputs.size(), std::move((*vectors)[i])});
  }
}

Result<std::vector<std::int32_t>> Scheduler::prompt_tokens(const PromptInput& prompt) {
  std::vector<std::int32_t> tokens = SHOAL_TRY(model_.tokenize(prompt, true));
  if (tokens.empty())
    return Error(ErrorCode::kInvalidRequest, "the prompt is empty; send at least one token").with_param("prompt");
  return tokens;
}

// Text to ids and back compute nothing, so they do not wait for a slot.
void Scheduler::handle_tokenize(std::uint64_t request, const ipc::Tokenize& body) {
  PromptInput prompt = std::string();
  std::visit([&prompt](const auto& value) { prompt = value; }, body.input);
  const auto tokens = model_.tokenize(prompt, body.add_special);
  if (!tokens.ok()) return fail(request, tokens.error());
  bool lossless = true;
  if (const auto* text = std::get_if<std::string>(&body.input)) {
    const auto again = model_.detokenize(*tokens, true);
    lossless = again.ok() && *again == *text;
  }
  std::size_t done = 0;
  do {
    const std::span rest = std::span(*tokens).subspan(done);
    const std::span part = rest.first(std::min(rest.size(), kPartTokens));
    done += part.size();
    send_(request, ipc::Tokens{done == tokens->size(), lossless, {part.begin(), part.end()}});
  } while (done < tokens->size());
}

void Scheduler::handle_detokenize(std::uint64_t request, const ipc::Detokenize& body) {
  const auto text = model_.detokenize(body.tokens, body.skip_special);
  if (!text.ok()) return fail(request, text.error());
  std::size_t done = 0;
  do {
    std::string part = text->substr(done, kPartBytes);
    done += part.size();
    send_(request, ipc::Text{done == text->size(), std::move(part)});
  } while (done < text->size());
}

void Scheduler::handle_cancel(std::uint64_t request) {
  for (auto& running : running_) {
    if (running && running->request == request) return release(*running);
  }
  std::erase_if(queue_, [request](const auto& queued) { return queued->sequence->request == request; });
}

// One token through the whole model: a worker whose compute is stuck cannot answer.
void Scheduler::heartbeat() {
  const auto scratch = static_cast<std::int32_t>(model_.shape().sequences);
  bool alive = true;
  if (model_.shape().generates) {
    const BatchToken token{model_.any_token(), 0, scratch, true};
    DecodeStatus status = model_.decode({&token, 1});
    // An interrupt meant another request; ask again without it. A second one may come: that is an answer too.
    if (status == DecodeStatus::kInterrupted) {
      model_.clear_interrupt();
      status = model_.decode({&token, 1});
    }
    alive = status == DecodeStatus::kDone || status == DecodeStatus::kInterrupted;
    model_.shorten(scratch, 0);
  } else {
    const std::vector<std::int32_t> input{model_.any_token()};
    auto vector = model_.embed({&input, 1});
    alive = vector.ok() || vector.error().code() == ErrorCode::kCancelled;
  }
  if (alive) send_(0, ipc::Pong{});
}

void Scheduler::expire() {
  const auto late = [this](const Sequence& s) { return s.deadline.passed(clock_); };
  const Error error(ErrorCode::kDeadlineExceeded, "the deadline passed before the answer was complete");
  for (auto& running : running_) {
    if (!running || !late(*running)) continue;
    fail(running->request, error);
    release(*running);
  }
  while (!queue_.empty() && late(*queue_.front()->sequence)) {  // sorted by deadline
    fail(queue_.front()->sequence->request, error);
    queue_.pop_front();
  }
}

void Scheduler::admit() {
  // In order: a large request is never overtaken for ever by small ones.
  while (!queue_.empty() && admissible(*queue_.front()->sequence)) {
    const auto place = std::ranges::find_if(running_, [](const auto& s) { return s == nullptr; });
    *place = std::move(queue_.front()->sequence);
    queue_.pop_front();
    (*place)->number = static_cast<std::int32_t>(place - running_.begin());
    (*place)->started_ns = clock_.monotonic_ns();
    reserved_tokens_ += (*place)->reserved;
  }
}

void Scheduler::plan(std::vector<BatchToken>& batch) {
  const std::size_t limit = model_.shape().batch_tokens;
  for (const auto& s : running_) {
    if (!s || s->prefilling() || s->credits == 0 || batch.size() == limit) continue;
    assert(s->pending() == 1);
    batch.push_back({s->tokens.back(), s->stored, s->number, true});
  }
  for (const auto& s : running_) {
    if (!s || !s->prefilling()) continue;
    const std::size_t chunk = std::min<std::size_t>(limit - batch.size(), static_cast<std::size_t>(s->pending()));
    for (std::size_t i = 0; i < chunk; ++i) {
      const std::int32_t position = s->stored + static_cast<std::int32_t>(i);
      batch.push_back(
          {s->tokens[static_cast<std::size_t>(position)], position, s->number, position + 1 == s->prompt_tokens});
    }
  }
}

void Scheduler::step() {
  std::vector<BatchToken> batch;
  plan(batch);
  if (batch.empty()) return;
  const std::int64_t begin = clock_.monotonic_ns();
  working_ = true;
  const DecodeStatus status = model_.decode(batch);
  working_ = false;
  if (status != DecodeStatus::kDone) return after_decode(status, batch);
  const auto step_us = static_cast<std::uint32_t>(micros(begin, clock_.monotonic_ns()));
  for (const BatchToken& token : batch) ++running_[static_cast<std::size_t>(token.sequence)]->stored;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (!batch[i].want_logits) continue;
    Sequence& sequence = *running_[static_cast<std::size_t>(batch[i].sequence)];
    advance(sequence, i, step_us);
  }
}

// The KV cache holds what it holds: every sequence of the batch goes on from there, with the tokens that are
// missing sent again.
void Scheduler::after_decode(DecodeStatus status, const std::vector<BatchToken>& batch) {
  std::int32_t before = -1;
  for (const BatchToken& token : batch) {
    if (token.sequence == before) continue;
    before = token.sequence;
    Sequence& s = *running_[static_cast<std::size_t>(token.sequence)];
    if (status == DecodeStatus::kInterrupted) {
      s.stored = std::min(model_.length(s.number), static_cast<std::int32_t>(s.tokens.size()) - 1);
      model_.shorten(s.number, s.stored);
      continue;
    }
    fail(s.request,
         {ErrorCode::kInternal, status == DecodeStatus::kNoRoom ? "the KV cache had no room although it was reserved"
                                                                : "the model could not be computed"});
    release(s);
  }
}

void Scheduler::advance(Sequence& s, std::size_t batch_index, std::uint32_t step_us) {
  const std::span<const float> row = model_.logits(batch_index);
  const auto signals = measure(row);
  if (!signals) {
    fail(s.request, {ErrorCode::kNumericFault, "the model produced logits that are not finite"});
    return release(s);
  }
  const std::int64_t now = clock_.monotonic_ns();
  if (s.generated == 0) s.first_token_ns = now;
  s.last_token_ns = now;
  if (s.max_tokens == 0) return finish(s, types::FinishReason::kLength, "");

  const auto ends = model_.end_tokens();
  const std::int32_t id = s.sampler.choose(row, s.ignore_eos ? ends : std::span<const std::int32_t>(), signals->best);
  ++s.generated;
  ++tokens_decoded_;
  if (std::ranges::find(ends, id) != ends.end()) return finish(s, types::FinishReason::kStop, s.text.finish());

  s.sampler.accept(id);
  s.tokens.push_back(id);
  ipc::TokenFrame frame;
  frame.token.id = id;
  frame.token.bytes = model_.token_bytes(id);
  frame.token.logprob = signals->logprob(row[static_cast<std::size_t>(id)]);
  frame.token.entropy = signals->entropy;
  frame.token.margin = signals->margin;
  frame.token.decode_us = step_us;
  for (const auto& [top, logit] : best_of(row, static_cast<std::size_t>(s.top_logprobs))) {
    frame.token.top.push_back({top, model_.token_bytes(top), signals->logprob(logit)});
  }
  frame.text = s.text.feed(frame.token.bytes);
  if (s.credits > 0) --s.credits;
  send_(s.request, frame);
  if (s.text.stopped()) return finish(s, types::FinishReason::kStop, "");
  if (s.generated >= s.max_tokens) return finish(s, types::FinishReason::kLength, s.text.finish());
}

void Scheduler::finish(Sequence& s, types::FinishReason reason, std::string text) {
  ipc::Finished frame;
  frame.reason = reason;
  frame.text = std::move(text);
  frame.usage = {s.prompt_tokens, s.generated, 0};
  frame.timings = {micros(s.arrived_ns, s.started_ns), micros(s.started_ns, s.first_token_ns),
                   micros(s.first_token_ns, s.last_token_ns)};
  send_(s.request, frame);
  release(s);
}

void Scheduler::fail(std::uint64_t request, const Error& error) {
  send_(request, ipc::Failed{error.code(), error.message(), error.param()});
}

void Scheduler::release(Sequence& s) {
  model_.shorten(s.number, 0);
  assert(reserved_tokens_ >= s.reserved);
  reserved_tokens_ -= s.reserved;
  running_[static_cast<std::size_t>(s.number)].reset();
}

void Scheduler::report() {
  const std::int64_t now = clock_.monotonic_ns();
  if (now - last_report_ns_ < kReportIntervalNs) return;
  last_report_ns_ = now;
  const auto running =
      static_cast<std::uint32_t>(std::ranges::count_if(running_, [](const auto& s) { return s != nullptr; }));
  send_(0, ipc::Stats{work_, tokens_decoded_, running, static_cast<std::uint32_t>(queue_.size()), reserved_tokens_});
}

}  // namespace shoal::worker
