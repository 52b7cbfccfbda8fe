// A model that says what the test tells it to, through the same interface as the real one. Answers come from
// a script: tokens, waits for a gate, an error, the end. Owned by the test. Threads: the test's io_context.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/engine/engine.h"

namespace shoal::fakes {

// Opens once; everyone who waits goes on.
class Gate {
 public:
  explicit Gate(base::Executor executor) : timer_(std::move(executor)) {
    timer_.expires_at(base::Timer::time_point::max());
  }
  void open() {
    open_ = true;
    timer_.cancel();
  }
  [[nodiscard]] bool is_open() const { return open_; }
  void wait(base::Yield yield) {
    base::error_code woken;
    while (!open_) timer_.async_wait(yield[woken]);
  }

 private:
  base::Timer timer_;
  bool open_ = false;
};

struct Wait {
  std::shared_ptr<Gate> gate;
};
using Step = std::variant<engine::TokenEvent, engine::FinishEvent, Error, Wait>;

inline engine::TokenEvent says(std::string text, float logprob = -0.5F) {
  engine::TokenEvent event;
  event.token.bytes = text;
  event.token.logprob = logprob;
  event.text = std::move(text);
  return event;
}
inline engine::FinishEvent ends(types::FinishReason reason, std::int32_t prompt_tokens, std::int32_t completion_tokens,
                                std::string text = "") {
  engine::FinishEvent event;
  event.reason = reason;
  event.text = std::move(text);
  event.usage = {prompt_tokens, completion_tokens, 1};
  event.timings = {1000, 2000, 3000};
  event.signals.tokens = completion_tokens;
  event.signals.logprob = {-0.5F, -0.75F, -0.5F};
  return event;
}

class FakeEngine final : public engine::Engine {
 public:
  struct Answer {
    std::vector<Step> steps;
    std::shared_ptr<Gate> before_start;  // as a model that is loading
    std::optional<Error> refused;        // start() fails
  };

  [[nodiscard]] std::vector<types::ModelInfo> models() const override { return model_list; }
  // An empty list knows every name.
  [[nodiscard]] Result<types::ModelInfo> resolve(const std::string& name) const override {
    const auto alias = aliases.find(name);
    const std::string& wanted = alias == aliases.end() ? name : alias->second;
    for (const types::ModelInfo& info : model_list) {
      if (info.name == wanted) return info;
    }
    if (!model_list.empty()) {
      return Error(ErrorCode::kModelNotFound, "no model named \"" + name + "\" is here")
          .with_param("model")
          .with_suggestion(model_list.front().name);
    }
    types::ModelInfo any;
    any.name = wanted;
    return any;
  }
  [[nodiscard]] std::vector<engine::WorkerStatus> status() const override { return workers; }

  Result<std::unique_ptr<engine::Generation>> start(engine::GenerateRequest request, base::Yield yield) override {
    const std::stop_token cancel = request.cancel;
    requests.push_back(std::move(request));
    Answer answer = next_answer();
    if (answer.before_start) answer.before_start->wait(yield);
    if (answer.refused) return *answer.refused;
    return std::unique_ptr<engine::Generation>(new FakeGeneration(*this, yield, std::move(answer.steps), cancel));
  }
  Result<engine::EmbedResult> embed(engine::EmbedRequest request, base::Yield) override {
    embed_requests.push_back(std::move(request));
    if (embed_error) return *embed_error;
    return embedded;
  }
  Result<engine::ScoreResult> score(engine::ScoreRequest request, base::Yield) override {
    score_requests.push_back(std::move(request));
    if (score_error) return *score_error;
    return scored(score_requests.back());
  }
  Result<engine::TokenizeResult> tokenize(engine::TokenizeRequest request, base::Yield) override {
    tokenize_requests.push_back(std::move(request));
    return tokenized;
  }
  Result<std::string> detokenize(engine::DetokenizeRequest request, base::Yield) override {
    detokenize_requests.push_back(std::move(request));
    return detokenized;
  }
  Result<void> load(const std::string& model, base::Yield) override {
    loaded.push_back(model);
    if (embed_error) return *embed_error;
    return {};
  }

  // What the test sets and reads.
  std::vector<types::ModelInfo> model_list;
  std::map<std::string, std::string> aliases;
  std::vector<engine::WorkerStatus> workers;
  std::deque<Answer> answers;  // in the order of start(); the last one repeats
  std::vector<engine::GenerateRequest> requests;
  std::vector<engine::EmbedRequest> embed_requests;
  std::vector<engine::ScoreRequest> score_requests;
  std::vector<engine::TokenizeRequest> tokenize_requests;
  std::vector<engine::DetokenizeRequest> detokenize_requests;
  // By default a label has one token, which is the less probable the longer the label is.
  std::function<engine::ScoreResult(const engine::ScoreRequest&)> scored = [](const engine::ScoreRequest& request) {
    engine::ScoreResult result;
    result.usage = {10, static_cast<std::int32_t>(request.labels.size()), 4};
    for (const std::string& label : request.labels) result.labels.push_back({{1}, {-static_cast<float>(label.size())}});
    return result;
  };
  std::optional<Error> score_error;
  engine::TokenizeResult tokenized;
  std::string detokenized;
  std::vector<std::string> loaded;
  engine::EmbedResult embedded;
  std::optional<Error> embed_error;
  int running = 0;
  int cancelled = 0;
  int events = 0;  // read from all answers

 private:
  class FakeGeneration final : public engine::Generation {
   public:
    FakeGeneration(FakeEngine& engine, base::Yield yield, std::vector<Step> steps, const std::stop_token& cancel)
        : engine_(engine),
          wake_(yield.get_executor()),
          steps_(std::move(steps)),
          on_cancel_(cancel, [this] { this->cancel(); }) {
      ++engine_.running;
    }
    ~FakeGeneration() override { --engine_.running; }

    [[nodiscard]] std::int32_t prompt_tokens() const override { return 7; }
    Result<std::optional<engine::GenerateEvent>> next(base::Yield yield, base::Deadline until) override {
      while (true) {
        if (cancelled_) return Error(ErrorCode::kCancelled, "cancelled");
        if (at_ == steps_.size()) {  // never ends: until cancelled
          wake_.expires_at(base::Timer::time_point::max());
          base::error_code woken;
          wake_.async_wait(yield[woken]);
          continue;
        }
        if (const auto* wait = std::get_if<Wait>(&steps_[at_]); wait != nullptr && !wait->gate->is_open()) {
          if (until.passed(base::SystemClock())) return std::optional<engine::GenerateEvent>();
          wake_.expires_after(std::chrono::milliseconds(1));
          base::error_code woken;
          wake_.async_wait(yield[woken]);
          continue;
        }
        Step step = steps_[at_++];
        ++engine_.events;
        if (std::holds_alternative<Wait>(step)) continue;
        if (auto* token = std::get_if<engine::TokenEvent>(&step)) return std::optional<engine::GenerateEvent>(*token);
        if (auto* finish = std::get_if<engine::FinishEvent>(&step))
          return std::optional<engine::GenerateEvent>(*finish);
        return std::get<Error>(step);
      }
    }

   private:
    void cancel() {
      ++engine_.cancelled;
      cancelled_ = true;
      wake_.cancel();
    }

    FakeEngine& engine_;
    base::Timer wake_;
    std::vector<Step> steps_;
    std::size_t at_ = 0;
    bool cancelled_ = false;
    std::stop_callback<std::function<void()>> on_cancel_;
  };

  Answer next_answer() {
    Answer answer = answers.front();
    if (answers.size() > 1) answers.pop_front();
    return answer;
  }
};

}  // namespace shoal::fakes
