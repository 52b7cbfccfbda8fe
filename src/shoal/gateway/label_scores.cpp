#include "shoal/gateway/label_scores.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <stop_token>
#include <utility>

namespace shoal::gateway {
namespace {

// As many as a worker may have in a batch, and some that wait for it.
constexpr std::size_t kAtOnce = 16;

struct Work {
  explicit Work(const base::Executor& executor) : ended(executor) { ended.expires_at(base::Timer::time_point::max()); }

  std::vector<engine::ScoreRequest> requests;
  std::vector<engine::ScoreResult> results;
  std::size_t next = 0;
  std::size_t running = 0;
  std::optional<Error> error;
  std::stop_source stop;
  base::Timer ended;  // cancelled when a coroutine ends

  void run(engine::Engine& engine, base::Yield yield) {
    while (next < requests.size() && !error && !stop.stop_requested()) {
      const std::size_t i = next++;
      auto result = engine.score(std::move(requests[i]), yield);
      if (result.ok()) {
        results[i] = std::move(result).value();
        continue;
      }
      if (!error) error = std::move(result).error();
      stop.request_stop();
    }
    --running;
    ended.cancel();
  }
};

double total(const types::LabelLogprobs& label) {
  return std::accumulate(label.logprobs.begin(), label.logprobs.end(), 0.0);
}

}  // namespace

Result<std::vector<engine::ScoreResult>> score_all(engine::Engine& engine, std::vector<engine::ScoreRequest> requests,
                                                   base::Yield yield) {
  assert(!requests.empty());
  const std::stop_token cancel = requests.front().cancel;
  const auto work = std::make_shared<Work>(yield.get_executor());
  // Also when this coroutine is unwound: nobody waits for what runs.
  const std::unique_ptr<Work, void (*)(Work*)> stop_at_end(work.get(), [](Work* w) { w->stop.request_stop(); });
  const std::stop_callback<std::function<void()>> on_cancel(cancel, [work] { work->stop.request_stop(); });
  work->results.resize(requests.size());
  for (engine::ScoreRequest& request : requests) request.cancel = work->stop.get_token();
  work->requests = std::move(requests);
  work->running = std::min(kAtOnce, work->requests.size());
  for (std::size_t i = work->running; i > 0; --i) {
    base::spawn(yield.get_executor(), "score", [work, &engine](base::Yield own) { work->run(engine, own); });
  }
  while (work->running > 0) {
    base::error_code woken;
    work->ended.async_wait(yield[woken]);
  }
  if (work->error) return *work->error;
  if (work->stop.stop_requested()) return Error(ErrorCode::kCancelled, "the client went away");
  return std::move(work->results);
}

std::vector<types::LabelScore> distribution(std::vector<types::LabelLogprobs> labels, bool mean,
                                            const std::vector<types::LabelLogprobs>* content_free) {
  assert(content_free == nullptr || content_free->size() == labels.size());
  std::vector<types::LabelScore> scores;
  std::vector<double> s;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    types::LabelScore& score = scores.emplace_back();
    const double length = mean ? static_cast<double>(labels[i].tokens.size()) : 1.0;
    score.logprob = total(labels[i]);
    s.push_back(score.logprob / length);
    if (content_free != nullptr) {
      score.content_free_logprob = total((*content_free)[i]);
      // Impossible with any content or none: the prompt tells nothing about it, and it stays impossible.
      if (std::isfinite(*score.content_free_logprob)) s.back() -= *score.content_free_logprob / length;
    }
    score.label = std::move(labels[i]);
  }
  const double best = *std::ranges::max_element(s);
  double sum = 0;
  for (std::size_t i = 0; i < s.size(); ++i) {
    scores[i].probability = std::isfinite(best) ? std::exp(s[i] - best) : 1.0;
    sum += scores[i].probability;
  }
  for (types::LabelScore& score : scores) score.probability /= sum;
  return scores;
}

void calibrate_by_batch(std::vector<std::vector<types::LabelScore>>& inputs) {
  if (inputs.empty()) return;
  std::vector<double> usual(inputs.front().size());
  for (const auto& scores : inputs) {
    assert(scores.size() == usual.size());
    for (std::size_t k = 0; k < scores.size(); ++k) usual[k] += scores[k].probability;
  }
  for (auto& scores : inputs) {
    double sum = 0;
    for (std::size_t k = 0; k < scores.size(); ++k) {
      if (usual[k] > 0) scores[k].probability /= usual[k];
      sum += scores[k].probability;
    }
    for (types::LabelScore& score : scores) score.probability /= sum;
  }
}

}  // namespace shoal::gateway
