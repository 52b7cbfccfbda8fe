#include "shoal/worker/scheduler.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/worker/signals.h"

namespace shoal::worker {
namespace {

// The gateway bounds its own queue; this one only has to be bounded.
constexpr std::size_t kMaxQueued = 1024;
constexpr std::int64_t kReportIntervalNs = 250'000'000;
// Of a step that goes on for long. A report on its own wakes the gateway on a core that computes, and both compute
// threads may end up on the other one for the rest of the step; after a step it leaves with the tokens.
constexpr std::int64_t kReportWithinStepNs = 500'000'000;
// Tokens of prefixes that leave the cells or come back between two steps: some milliseconds, for which answers wait.
constexpr std::int32_t kMovesBesideAnswers = 512;
// For which tokens are collected that nobody reads as they come. Writing a frame takes 45 us of the step that waits for
// it, and reading it takes a core from the next one: of 0.6 ms for a token of a model of 26 million weights.
constexpr std::int64_t kCollectNs = 10'000'000;
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

std::string beside(std::int32_t question_tokens) {
  return question_tokens == 0 ? "" : fmt::format(" (and {} for the question of x_shoal.p_true)", question_tokens);
}

}  // namespace

Scheduler::Scheduler(Model& model, const base::Clock& clock, SendFrame send, SchedulerOptions options)
    : model_(model),
      clock_(clock),
      send_([this, send = std::move(send)](std::uint64_t request, const ipc::Body& body) {
        ++unflushed_;
        send(request, body);
      }),
      flush_(std::move(options.flush)),
      next_seed_(options.seed),
      speculates_(options.speculates),
      kv_(model, options.cold_cache_bytes),
      embeds_(model, send_),
      by_number_(model.shape().sequence_ids),
      budget_(model.shape().batch_tokens),
      lease_(model.shape().threads) {
  model_.on_progress([this] { on_progress(); });
}

// Called many times per step: what is here is paid for each token.
void Scheduler::on_progress() {
  if (!working_) return;
  ++work_;
  if (clock_.monotonic_ns() - last_report_ns_ >= kReportWithinStepNs) report();
}

Result<std::vector<std::int32_t>> Scheduler::tokenize(const ipc::Frame& frame) {
  PromptInput prompt = std::string();
  const auto copy = [&prompt](const auto& value) { prompt = value; };
  if (const auto* text = std::get_if<ipc::Tokenize>(&frame.body)) {
    std::visit(copy, text->input);
    return model_.tokenize(prompt, text->add_special);
  }
  if (const auto* generate = std::get_if<ipc::Generate>(&frame.body)) {
    prompt = generate->prompt;
  } else if (const auto* score = std::get_if<ipc::Score>(&frame.body)) {
    prompt = score->prompt;
  } else {
    return std::vector<std::int32_t>();
  }
  if (!last_tokens_.empty() && prompt == last_prompt_) return last_tokens_;
  last_prompt_ = std::move(prompt);
  last_tokens_.clear();
  last_tokens_ = SHOAL_TRY(model_.tokenize(last_prompt_, true));
  if (last_tokens_.empty())
    return Error(ErrorCode::kInvalidRequest, "the prompt is empty; send at least one token").with_param("prompt");
  return last_tokens_;
}

void Scheduler::post(ipc::Frame frame) {
  const bool cancels = std::holds_alternative<ipc::Cancel>(frame.body);
  const std::uint64_t request = frame.header.request;
  auto prepared = prepare(frame);
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back({std::move(frame), std::move(prepared)});
    if (cancels && std::erase(in_flight_, request) > 0 && (in_flight_.empty() || !spares_others_)) model_.interrupt();
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

bool Scheduler::can_admit() const {
  return !queue_.empty() && !queue_blocked_ && running_.size() < model_.shape().sequences;
}

bool Scheduler::runnable() const {
  if (pings_due_ > 0 || !embeds_.empty()) return true;
  if (can_admit()) return true;
  return std::ranges::any_of(running_, [](const auto& s) { return s->prefilling() || s->credits > 0; });
}

std::deque<Scheduler::Posted> Scheduler::take_inbox() {
  const bool paused = runnable() || !running_.empty();
  const bool goes_on = runnable() && lease_.granted();
  if (!goes_on) hand_on(/*all=*/true);
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return stopping_ || !inbox_.empty(); };
  if (!goes_on && !(draining_ && !paused)) {
    // What is paused, for credits or for cores, can still pass its deadline.
    if (paused) {
      wake_.wait_for(lock, std::chrono::milliseconds(100), ready);
    } else {
      wake_.wait(lock, ready);
    }
  }
  return std::exchange(inbox_, {});
}

bool Scheduler::begin_work(std::vector<std::uint64_t> requests) {
  const std::lock_guard lock(mutex_);
  model_.clear_interrupt();
  const bool cancelled = std::ranges::any_of(inbox_, [&](const Posted& posted) {
    return std::holds_alternative<ipc::Cancel>(posted.frame.body) &&
           std::ranges::find(requests, posted.frame.header.request) != requests.end();
  });
  if (stopping_ || cancelled) return false;
  in_flight_ = std::move(requests);
  return true;
}

void Scheduler::end_work(bool interrupted) {
  const std::lock_guard lock(mutex_);
  in_flight_.clear();
  spares_others_ = interrupted;
}

void Scheduler::run() {
  for (;;) {
    for (Posted& posted : take_inbox()) handle(std::move(posted));
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
    }
    expire();
    if (hold_cores()) {
      for (; pings_due_ > 0; --pings_due_) heartbeat();
      admit();
      step();
      embed();
    }
    const bool idle = running_.empty() && queue_.empty() && embeds_.empty();
    if (clock_.monotonic_ns() - last_report_ns_ >= kReportIntervalNs || (idle && !std::exchange(told_idle_, idle)))
      report();
    if (!idle) told_idle_ = false;
    if (lease_.threads() > 0 && !runnable()) (void)hold_cores();  // given back before it waits
    hand_on(/*all=*/false);
    if (draining_ && idle) return;
  }
}

// Between two steps: gives back what is asked for, and what nothing needs. False: nothing may be computed now.
bool Scheduler::hold_cores() {
  const std::uint32_t before = lease_.threads();
  if (const auto held = lease_.settle(runnable())) send_(0, *held);
  if (lease_.threads() > 0 && lease_.threads() != before) model_.set_threads(lease_.threads());
  return lease_.threads() > 0;
}

void Scheduler::handle(Posted posted) {
  ipc::Frame& frame = posted.frame;
  const std::uint64_t request = frame.header.request;
  if (!posted.prepared.ok()) return fail(request, posted.prepared.error());
  if (auto* generate = std::get_if<ipc::Generate>(&frame.body))
    return handle_generate(frame.header, std::move(*generate), std::move(posted.prepared).value());
  if (const auto* score = std::get_if<ipc::Score>(&frame.body))
    return handle_score(frame.header, *score, std::move(posted.prepared).value());
  if (const auto* embed = std::get_if<ipc::Embed>(&frame.body)) return handle_embed(frame.header, *embed);
  if (const auto* text = std::get_if<ipc::Tokenize>(&frame.body))
    return handle_tokenize(request, *text, posted.prepared->tokens);
  if (const auto* ids = std::get_if<ipc::Detokenize>(&frame.body)) return handle_detokenize(request, *ids);
  if (std::holds_alternative<ipc::Cancel>(frame.body)) return handle_cancel(request);
  if (const auto* lease = std::get_if<ipc::Lease>(&frame.body)) return lease_.take(*lease);
  if (std::holds_alternative<ipc::Ping>(frame.body)) {
    ++pings_due_;
    return;
  }
  if (std::holds_alternative<ipc::Drain>(frame.body)) {
    draining_ = true;
    return;
  }
  if (const auto* credit = std::get_if<ipc::Credit>(&frame.body)) {
    Sequence* s = running(request);
    if (s == nullptr) s = queue_.find(request);
    if (s != nullptr) s->credits += credit->tokens;
  }
}

Sequence* Scheduler::running(std::uint64_t request) {
  const auto found = std::ranges::find(running_, request, [](const auto& s) { return s->request; });
  return found == running_.end() ? nullptr : found->get();
}

Result<void> Scheduler::takes_requests() const {
  if (!model_.shape().generates) {
    return Error(ErrorCode::kUnsupportedParameter, "this model embeds text and does not write answers")
        .with_param("model");
  }
  if (draining_) return Error(ErrorCode::kShuttingDown, "the worker is draining");
  if (queue_.size() >= kMaxQueued)
    return Error(ErrorCode::kOverloaded, fmt::format("{} requests wait already", kMaxQueued));
  return {};
}

void Scheduler::handle_generate(const ipc::FrameHeader& header, ipc::Generate request, Prepared prepared) {
  if (auto takes = takes_requests(); !takes.ok()) return fail(header.request, takes.error());
  const ModelShape& shape = model_.shape();
  const auto prompt = static_cast<std::int32_t>(prepared.tokens.size());
  const auto question = prepared.probe ? static_cast<std::int32_t>(prepared.probe->question.size()) : 0;
  const std::int32_t limit = static_cast<std::int32_t>(shape.sequence_length) - question;
  // max_tokens = 0 computes the prompt only.
  if (prompt + (request.max_tokens == 0 ? 0 : 1) > limit) {
    return fail(
        header.request,
        Error(ErrorCode::kContextLengthExceeded,
              fmt::format(
                  "the prompt has {} tokens and the context of this model holds {}, answer included{}; shorten the "
                  "prompt by at least {} tokens",
                  prompt, limit, beside(question), prompt + 1 - limit))
            .with_param("messages"));
  }
  if (request.max_tokens > limit - prompt) {
    return fail(
        header.request,
        Error(ErrorCode::kContextLengthExceeded,
              fmt::format(
                  "the prompt has {} tokens and max_tokens asks for {}, together {}; the context of this model holds "
                  "{}{}; lower max_tokens to {} or less",
                  prompt, request.max_tokens, std::int64_t{prompt} + request.max_tokens, limit, beside(question),
                  limit - prompt))
            .with_param("max_tokens"));
  }
  auto sequence = std::make_unique<Sequence>(request.sampling, next_seed_++, std::move(request.stop));
  sequence->request = header.request;
  sequence->deadline.at_ns = header.deadline_ns;
  sequence->principal = request.principal;
  sequence->tokens = std::move(prepared.tokens);
  sequence->prompt_tokens = prompt;
  sequence->max_tokens =
      request.max_tokens >= 0 ? request.max_tokens : std::min(default_max_tokens(shape), limit - prompt);
  sequence->more_cells = question;
  sequence->probe = std::move(prepared.probe);
  sequence->wants_state = request.hidden_state;
  sequence->credits = request.credits;
  sequence->top_logprobs = request.top_logprobs;
  sequence->ignore_eos = request.ignore_eos;
  sequence->streams = request.streams;
  sequence->arrived_ns = clock_.monotonic_ns();
  for (const std::int32_t token : sequence->tokens) sequence->sampler.accept_prompt(token);
  send_(header.request, ipc::Accepted{prompt});
  queue_.push(std::move(sequence));
  queue_blocked_ = false;
}

void Scheduler::handle_embed(const ipc::FrameHeader& header, const ipc::Embed& request) {
  if (draining_) return fail(header.request, {ErrorCode::kShuttingDown, "the worker is draining"});
  if (auto taken = embeds_.push(header, request); !taken.ok()) fail(header.request, taken.error());
}

// Text to ids and back compute nothing, so they do not wait for a slot.
void Scheduler::handle_tokenize(std::uint64_t request, const ipc::Tokenize& body,
                                const std::vector<std::int32_t>& tokens) {
  bool lossless = true;
  if (const auto* text = std::get_if<std::string>(&body.input)) {
    const auto again = model_.detokenize(tokens, true);
    lossless = again.ok() && *again == *text;
  }
  std::size_t done = 0;
  do {
    const std::span rest = std::span(tokens).subspan(done);
    const std::span part = rest.first(std::min(rest.size(), kPartTokens));
    done += part.size();
    send_(request, ipc::Tokens{done == tokens.size(), lossless, {part.begin(), part.end()}});
  } while (done < tokens.size());
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
  if (Sequence* s = running(request)) return release(*s, /*keep=*/true);
  if (embeds_.cancel(request)) return;
  if (queue_.remove(request)) queue_blocked_ = false;
}

// One token through the whole model: a worker whose compute is stuck cannot answer. Computed on the cores of the lease
// like everything else: the gateway knows that a worker without one cannot answer, and does not count that time. Alone
// it takes one of them, which is the cheapest: threads that wait for each other use both their cores.
void Scheduler::heartbeat() {
  if (!begin_work({})) return;
  const bool alone = running_.empty();
  if (alone) model_.set_threads(1);
  const std::int32_t scratch = model_.shape().scratch_id;
  bool alive = true;
  if (model_.shape().generates) {
    const BatchToken token{model_.any_token(), 0, scratch, true};
    alive = model_.decode({&token, 1}) == DecodeStatus::kDone;
    (void)model_.shorten(scratch, 0);
  } else {
    const std::vector<std::int32_t> input{model_.any_token()};
    alive = model_.embed({&input, 1}).ok();
  }
  if (alone) model_.set_threads(lease_.threads());
  if (alive) send_(0, ipc::Pong{});
}

void Scheduler::expire() {
  const Error error(ErrorCode::kDeadlineExceeded, "the deadline passed before the answer was complete");
  const std::int64_t now = clock_.monotonic_ns();
  embeds_.expire(clock_);
  for (std::size_t i = 0; i < running_.size();) {
    if (!running_[i]->deadline.passed(clock_)) {
      ++i;
      continue;
    }
    fail(running_[i]->request, error);
    release(*running_[i], /*keep=*/true);
  }
  while (const auto late = queue_.take_late(now)) {
    fail(late->request, error);
    queue_blocked_ = false;
  }
}

void Scheduler::admit() {
  std::int32_t moves = std::ranges::any_of(running_, [](const auto& s) { return !s->prefilling() && !s->labels; })
                           ? kMovesBesideAnswers
                           : std::numeric_limits<std::int32_t>::max();
  // In order: a large request is never overtaken for ever by small ones.
  while (can_admit()) {
    Sequence& next = *queue_.front(clock_.monotonic_ns());
    const Admission admission = kv_.admit(next, moves);
    if (admission != Admission::kDone) {
      queue_blocked_ = admission == Admission::kNoRoom;
      return;
    }
    next.started_ns = clock_.monotonic_ns();
    by_number_[static_cast<std::size_t>(next.number)] = &next;
    running_.push_back(queue_.pop(next));
  }
}

void Scheduler::plan(std::vector<BatchToken>& batch) {
  const ModelShape& shape = model_.shape();
  const std::size_t limit = std::min(shape.batch_tokens, shape.batch_logits);
  const auto decodes = [](const auto& s) { return !s->prefilling() && !s->labels && s->credits > 0; };
  const auto decoding = static_cast<std::size_t>(std::ranges::count_if(running_, decodes));
  // Beside a prompt the step is full, and its time says nothing about guesses.
  const bool guess = speculates_ && shape.rewind != Rewind::kNever &&
                     std::ranges::none_of(running_, [](const auto& s) { return s->prefilling() || s->labels; });
  for (const auto& s : running_) {
    if (!decodes(s) || batch.size() == limit) continue;
    batch.push_back({s->tokens.back(), s->stored, s->number, true});
    if (!guess || (s->probe && s->probe->asked())) continue;
    s->guesses = guesses_for(*s, decoding, batch.size() - 1, limit);
    for (std::size_t i = 0; i < s->guesses.size(); ++i)
      batch.push_back({s->guesses[i], s->stored + 1 + static_cast<std::int32_t>(i), s->number, true});
  }
  std::size_t room = budget_.prompt_tokens(batch.size());
  for (const auto& s : running_) {
    if (room == 0) return;
    if (s->labelling()) {
      plan_labels(*s, room, batch);
    } else if (s->prefilling()) {
      plan_prompt(*s, room, batch);
    }
  }
}

// What may follow the last token of `s`; `planned` of `limit` tokens are in the batch before it.
std::vector<std::int32_t> Scheduler::guesses_for(Sequence& s, std::size_t decoding, std::size_t planned,
                                                 std::size_t limit) {
  const std::size_t others = decoding - std::min(decoding, planned + 1);  // each needs its place
  const std::size_t room = std::min(limit - std::min(limit, planned + 1 + others),
                                    Speculation::kMostGuesses - std::min(Speculation::kMostGuesses, guesses_planned_));
  const auto left = static_cast<std::size_t>(s.max_tokens - s.generated - 1);
  const std::size_t most = std::min({room, left, std::size_t{s.credits} - 1, s.guess_length});
  if (most == 0 || !speculation_.affords(decoding, guesses_planned_ + most)) return {};
  auto guesses = s.draft.guess(s.tokens, most);
  guesses_planned_ += guesses.size();
  return guesses;
}

// Behind the prompt comes the question whether the answer is true.
void Scheduler::plan_prompt(Sequence& s, std::size_t& room, std::vector<BatchToken>& batch) {
  std::int32_t next = s.stored < s.prompt_tokens ? kv_.advance(s) : s.pending();
  if (s.wants_state) next = std::min(next, s.prompt_tokens - 1 - s.stored);
  const std::size_t chunk = std::min(room, static_cast<std::size_t>(next));
  room -= chunk;
  for (std::size_t i = 0; i < chunk; ++i) {
    const std::int32_t position = s.stored + static_cast<std::int32_t>(i);
    const auto at = static_cast<std::size_t>(position);
    batch.push_back({s.tokens[at], position, s.number, at + 1 == s.tokens.size()});
  }
}

DecodeStatus Scheduler::compute(std::span<const BatchToken> batch, std::vector<float>* state) {
  hand_on(/*all=*/false);
  std::vector<std::uint64_t> requests;
  for (const BatchToken& token : batch) {
    const Sequence* const s = by_number_[static_cast<std::size_t>(token.sequence)];
    if (requests.empty() || requests.back() != s->request) requests.push_back(s->request);
  }
  if (!begin_work(std::move(requests))) return DecodeStatus::kInterrupted;
  const std::int64_t begin = clock_.monotonic_ns();
  working_ = true;
  const DecodeStatus status = state != nullptr ? model_.decode_with_state(batch.front(), *state) : model_.decode(batch);
  working_ = false;
  end_work(status == DecodeStatus::kInterrupted);
  if (status != DecodeStatus::kDone) return status;
  const auto decoding = static_cast<std::size_t>(std::ranges::count_if(batch, [this](const BatchToken& token) {
    const Sequence& s = of(token);
    return !s.prefilling() && !s.labelling();
  }));
  tokens_prefilled_ += batch.size() - decoding;
  meter_.step(batch, batch.size() - decoding, clock_.monotonic_ns() - begin);
  if (guesses_planned_ == 0) budget_.observe(batch.size() - decoding, decoding, clock_.monotonic_ns() - begin);
  return status;
}

void Scheduler::step() {
  std::vector<BatchToken> batch;
  ipc::HiddenState state;
  Sequence* const alone = state_is_next();
  guesses_planned_ = 0;
  if (alone != nullptr) {
    batch.push_back({alone->tokens[static_cast<std::size_t>(alone->stored)], alone->stored, alone->number, true});
  } else {
    plan(batch);
  }
  if (batch.empty()) return;
  const std::int64_t begin = clock_.monotonic_ns();
  const DecodeStatus status = compute(batch, alone != nullptr ? &state.values : nullptr);
  if (status != DecodeStatus::kDone) return after_decode(status, batch);
  if (alone != nullptr && !send_state(*alone, state)) return;
  const std::int64_t took_ns = clock_.monotonic_ns() - begin;
  const auto step_us = static_cast<std::uint32_t>(took_ns / 1000);
  std::size_t decoded = 0;
  std::size_t right = 0;
  for (std::size_t first = 0; first < batch.size();) {
    std::size_t end = first + 1;
    while (end < batch.size() && batch[end].sequence == batch[first].sequence) ++end;
    Sequence* const s = by_number_[static_cast<std::size_t>(batch[first].sequence)];
    if (s == nullptr) {
      // One of its labels has just failed.
    } else if (s->labelling()) {
      advance_labels(*s, batch, first, end);
    } else if (s->prefilling()) {
      kv_.computed(*s, static_cast<std::int32_t>(end - first));
      if (batch[end - 1].want_logits) (void)advance(*s, end - 1, step_us);
    } else {
      ++decoded;
      right += advance_guessed(*s, first, step_us);
    }
    first = end;
  }
  if (decoded + guesses_planned_ == batch.size()) speculation_.observe(decoded, guesses_planned_, right, took_ns);
}

// The answer goes on with its next token, and with those after it that were guessed. Returns how many were.
std::size_t Scheduler::advance_guessed(Sequence& s, std::size_t row, std::uint32_t step_us) {
  const std::vector<std::int32_t> guesses = std::exchange(s.guesses, {});
  kv_.computed(s, 1);
  if (!advance(s, row, step_us)) return 0;
  std::size_t right = 0;
  while (right < guesses.size() && s.tokens.back() == guesses[right]) {
    kv_.computed(s, 1);
    ++right;
    if (!advance(s, row + right, step_us)) return right;
  }
  if (guesses.empty()) return 0;
  (void)model_.shorten(s.number, s.stored);
  s.guess_length = right == guesses.size() ? std::min(2 * s.guess_length, Speculation::kMostGuesses)
                                           : std::max<std::size_t>(right + 1, 2);
  return right;
}

void Scheduler::embed() {
  if (embeds_.empty()) return;
  hand_on(/*all=*/false);
  const std::int64_t begin = clock_.monotonic_ns();
  const std::uint64_t before = embeds_.tokens();
  working_ = true;
  embeds_.step([this](std::vector<std::uint64_t> requests) { return begin_work(std::move(requests)); });
  working_ = false;
  end_work(embeds_.interrupted());
  if (embeds_.tokens() > before) meter_.prefilled(embeds_.tokens() - before, clock_.monotonic_ns() - begin);
}

// The KV cache holds what it holds: every sequence of an interrupted batch goes on from there, with the tokens that are
// missing sent again. A batch that failed takes its requests with it, and all others where it may have spoilt them.
void Scheduler::after_decode(DecodeStatus status, std::span<const BatchToken> batch) {
  const auto lose = [&](Sequence& s) {
    fail(s.request,
         {ErrorCode::kInternal, status == DecodeStatus::kNoRoom ? "the KV cache had no room although it was reserved"
                                                                : "the model could not be computed"});
    release(s, /*keep=*/false);
  };
  if (status == DecodeStatus::kFailed && model_.shape().rewind == Rewind::kNever) {
    while (!running_.empty()) lose(*running_.front());
    return;
  }
  std::int32_t before = -1;
  for (const BatchToken& token : batch) {
    if (std::exchange(before, token.sequence) == token.sequence) continue;
    if (by_number_[static_cast<std::size_t>(token.sequence)] == nullptr) continue;  // of a request that just failed
    Sequence& s = of(token);
    if (status != DecodeStatus::kInterrupted) {
      lose(s);
    } else if (s.labelling()) {
      rewind_labels(s);
    } else {
      s.guesses.clear();
      const std::int32_t length = std::min(model_.length(s.number), static_cast<std::int32_t>(s.tokens.size()) - 1);
      (void)model_.shorten(s.number, length);
      if (length > s.stored) kv_.computed(s, length - s.stored);
    }
  }
}

// False: the answer has ended, and `s` with it, or it is asked whether it is true.
bool Scheduler::advance(Sequence& s, std::size_t batch_index, std::uint32_t step_us) {
  const std::span<const float> row = model_.logits(batch_index);
  const auto signals = measure(row);
  if (!signals) {
    fail(s.request, {ErrorCode::kNumericFault, "the model produced logits that are not finite"});
    release(s, /*keep=*/false);
    return false;
  }
  if (s.labels) return begin_labels(s, row, *signals);
  if (s.probe && s.probe->asked()) return hear_if_true(s, row);
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
  frame.token.self_certainty = signals->self_certainty;
  s.meter.add(frame.token);
  frame.token.decode_us = step_us;
  for (const auto& [top, logit] : best_of(row, static_cast<std::size_t>(s.top_logprobs))) {
    frame.token.top.push_back({top, model_.token_bytes(top), signals->logprob(logit)});
  }
  frame.text = s.text.feed(frame.token.bytes);
  if (s.credits > 0) --s.credits;
  // The first one is timed by the gateway.
  if (!s.streams && s.generated > 1 && can_wait_++ == 0) waits_since_ns_ = now;
  send_(s.request, frame);
  if (s.text.stopped()) return finish(s, types::FinishReason::kStop, "");
  if (s.generated >= s.max_tokens) return finish(s, types::FinishReason::kLength, s.text.finish());
  return true;
}

bool Scheduler::finish(Sequence& s, types::FinishReason reason, std::string text) {
  if (s.probe && !s.probe->asked()) return ask_if_true(s, reason, std::move(text));
  ipc::Finished frame;
  frame.reason = reason;
  frame.text = std::move(text);
  frame.usage = {s.prompt_tokens, s.generated, s.cached};
  frame.timings = {micros(s.arrived_ns, s.started_ns), micros(s.started_ns, s.first_token_ns),
                   micros(s.first_token_ns, s.last_token_ns)};
  frame.signals = s.meter.signals();
  if (s.probe) frame.signals.p_true = s.probe->said;
  send_(s.request, frame);
  release(s, /*keep=*/true);
  return false;
}

void Scheduler::fail(std::uint64_t request, const Error& error) {
  send_(request, ipc::Failed{error.code(), error.message(), error.param()});
}

void Scheduler::release(Sequence& s, bool keep) {
  if (s.labels) {
    for (const std::int32_t number : s.labels->numbers()) {
      if (number == s.number) continue;
      by_number_[static_cast<std::size_t>(number)] = nullptr;
      kv_.give_back(number);
    }
  }
  kv_.release(s, keep);
  queue_blocked_ = false;
  by_number_[static_cast<std::size_t>(s.number)] = nullptr;
  std::erase_if(running_, [&s](const auto& entry) { return entry.get() == &s; });
}

void Scheduler::report() {
  last_report_ns_ = clock_.monotonic_ns();
  const KvCache::Use use = kv_.use();
  send_(0, ipc::Stats{work_, tokens_decoded_, static_cast<std::uint32_t>(running_.size()),
                      static_cast<std::uint32_t>(queue_.size()), use.cells, use.kept_cells, use.cold_bytes,
                      use.evictions, tokens_prefilled_, meter_.total()});
  if (working_) hand_on(/*all=*/true);
}

// Nothing that came before is overtaken: all goes, or all waits.
void Scheduler::hand_on(bool all) {
  if (!all && can_wait_ > 0 && can_wait_ == unflushed_ && clock_.monotonic_ns() - waits_since_ns_ < kCollectNs) return;
  flush_();
  unflushed_ = can_wait_ = 0;
}

}  // namespace shoal::worker
