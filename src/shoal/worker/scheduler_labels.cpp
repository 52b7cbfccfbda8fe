// The part of the Scheduler that scores labels and asks whether an answer is true: continuations of what is in the KV
// cache, which are computed, looked at and dropped again.
#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "shoal/worker/scheduler.h"

namespace shoal::worker {

Result<Scheduler::Prepared> Scheduler::prepare(const ipc::Frame& frame) {
  Prepared out;
  out.tokens = SHOAL_TRY(tokenize(frame));
  if (const auto* score = std::get_if<ipc::Score>(&frame.body)) {
    if (score->labels.empty() || score->labels.size() > ipc::kMaxLabels) {
      return Error(ErrorCode::kInvalidRequest,
                   fmt::format("wanted 1 to {} labels, got {}", ipc::kMaxLabels, score->labels.size()))
          .with_param("labels");
    }
    for (std::size_t i = 0; i < score->labels.size(); ++i) {
      out.labels.push_back(model_.continue_with(score->labels[i]));
      if (!out.labels.back().empty()) continue;
      return Error(ErrorCode::kInvalidRequest, fmt::format("labels[{}] has no tokens in this model's vocabulary", i))
          .with_param("labels");
    }
  }
  if (const auto* generate = std::get_if<ipc::Generate>(&frame.body); generate != nullptr && generate->p_true) {
    out.probe =
        SHOAL_TRY(TruthProbe::make(model_, std::holds_alternative<std::vector<types::Message>>(generate->prompt)));
  }
  return out;
}

Sequence* Scheduler::state_is_next() const {
  const auto found = std::ranges::find_if(running_, [](const auto& s) { return s->state_is_next(); });
  return found == running_.end() ? nullptr : found->get();
}

// False: it is not a vector of numbers, and the request has failed.
bool Scheduler::send_state(Sequence& s, const ipc::HiddenState& state) {
  s.wants_state = false;
  if (!state.values.empty() && std::ranges::all_of(state.values, [](float x) { return std::isfinite(x); })) {
    send_(s.request, state);
    return true;
  }
  fail(s.request, {ErrorCode::kNumericFault, "the model gave no hidden state, or one that is not finite"});
  release(s, /*keep=*/false);
  return false;
}

// --- labels

void Scheduler::handle_score(const ipc::FrameHeader& header, const ipc::Score& request, Prepared prepared) {
  if (auto takes = takes_requests(); !takes.ok()) return fail(header.request, takes.error());
  const ModelShape& shape = model_.shape();
  auto sequence = std::make_unique<Sequence>(types::SamplingParams(), 0, std::vector<std::string>());
  sequence->labels = std::make_unique<LabelJob>(std::move(prepared.labels));
  const std::uint32_t longest = sequence->labels->longest_cells();
  const auto prompt = static_cast<std::uint32_t>(prepared.tokens.size());
  if (prompt + longest > shape.sequence_length) {
    return fail(header.request,
                Error(ErrorCode::kContextLengthExceeded,
                      fmt::format("the prompt has {} tokens and the longest label {}, together {}; the context of this "
                                  "model holds {} and the last token of a label",
                                  prompt, longest + 1, prompt + longest + 1, shape.sequence_length))
                    .with_param("prompt"));
  }
  if (longest > 0 && shape.rewind != Rewind::kAnywhere) {
    return fail(
        header.request,
        Error(ErrorCode::kUnsupportedParameter,
              "this model cannot go back to the end of its prompt (it is recurrent, or has a sliding window), so "
              "labels may have one token each")
            .with_param("labels"));
  }
  sequence->request = header.request;
  sequence->deadline.at_ns = header.deadline_ns;
  sequence->principal = request.principal;
  sequence->tokens = std::move(prepared.tokens);
  sequence->prompt_tokens = static_cast<std::int32_t>(prompt);
  // Room for all labels at once, where that is no more than a batch takes.
  const std::uint32_t room = shape.sequence_length - prompt;
  sequence->more_cells =
      static_cast<std::int32_t>(std::min({sequence->labels->all_cells(), std::max(longest, shape.batch_logits), room}));
  sequence->credits = 1;
  sequence->arrived_ns = clock_.monotonic_ns();
  send_(header.request, ipc::Accepted{sequence->prompt_tokens});
  queue_.push(std::move(sequence));
  queue_blocked_ = false;
}

void Scheduler::plan_labels(Sequence& s, std::size_t& room, std::vector<BatchToken>& batch) {
  const auto taken = static_cast<std::size_t>(std::ranges::count_if(batch, &BatchToken::want_logits));
  // A row for each of the others is left: their prompts may end in this step.
  const std::size_t rows =
      model_.shape().batch_logits - std::min<std::size_t>(model_.shape().batch_logits, taken + running_.size());
  const std::size_t before = batch.size();
  s.labels->plan(std::min(room, std::max<std::size_t>(rows, taken < model_.shape().batch_logits ? 1 : 0)),
                 static_cast<std::uint32_t>(s.more_cells), batch);
  room -= batch.size() - before;
}

// After the prompt. Labels of more than one token go on from its cells.
bool Scheduler::begin_labels(Sequence& s, std::span<const float> row, const RowSignals& signals) {
  LabelJob& job = *s.labels;
  s.first_token_ns = s.last_token_ns = clock_.monotonic_ns();
  job.begin(row, signals, s.prompt_tokens);
  if (job.done()) {
    finish_labels(s);
    return false;
  }
  job.add_branch(s.number);
  for (std::size_t more = std::min<std::size_t>(job.waiting(), model_.shape().batch_logits); more > 1; --more) {
    const auto number = kv_.lend(s);
    if (!number) break;
    by_number_[static_cast<std::size_t>(*number)] = &s;
    job.add_branch(*number);
  }
  return true;
}

// The tokens [first, end) of the batch are those of one branch.
void Scheduler::advance_labels(Sequence& s, std::span<const BatchToken> batch, std::size_t first, std::size_t end) {
  for (std::size_t i = first; i < end; ++i) {
    const std::span<const float> row = model_.logits(i);
    const auto signals = measure(row);
    if (!signals) {
      fail(s.request, {ErrorCode::kNumericFault, "the model produced logits that are not finite"});
      return release(s, /*keep=*/false);
    }
    s.labels->take(batch[i], row, *signals);
  }
  for (const std::int32_t number : s.labels->finished_branches()) (void)model_.shorten(number, s.prompt_tokens);
  if (s.labels->done()) finish_labels(s);
}

void Scheduler::rewind_labels(Sequence& s) {
  for (const auto& [number, length] : s.labels->rewinds()) (void)model_.shorten(number, length);
}

void Scheduler::finish_labels(Sequence& s) {
  ipc::Scored frame;
  frame.usage = {s.prompt_tokens, s.labels->label_tokens(), s.cached};
  frame.labels = s.labels->take_result();
  send_(s.request, frame);
  release(s, /*keep=*/true);
}

// --- is the answer true?

bool Scheduler::ask_if_true(Sequence& s, types::FinishReason reason, std::string text) {
  TruthProbe& probe = *s.probe;
  probe.answer_end = s.tokens.size();
  probe.reason = reason;
  probe.text = std::move(text);
  s.tokens.insert(s.tokens.end(), probe.question.begin(), probe.question.end());
  if (model_.length(s.number) > s.stored) (void)model_.shorten(s.number, s.stored);  // guesses that came after the end
  return false;
}

bool Scheduler::hear_if_true(Sequence& s, std::span<const float> row) {
  TruthProbe& probe = *s.probe;
  probe.said = probe.p_true(row);
  // The question leaves the cache: what is kept for the next request is the conversation as its client knows it.
  s.tokens.resize(probe.answer_end);
  const auto end = static_cast<std::int32_t>(probe.answer_end);
  s.stored = model_.shorten(s.number, end) ? std::min(s.stored, end) : 0;
  return finish(s, probe.reason, std::move(probe.text));
}

}  // namespace shoal::worker
