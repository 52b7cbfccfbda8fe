#include "shoal/cli/graded_answers.h"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/cli/app.h"
#include "shoal/cli/interruptible.h"
#include "shoal/routing/prefix_judge.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::size_t kAtOnce = 8;  // more gain nothing on small machines
constexpr std::int64_t kNoteNs = 1'000'000'000;

engine::SupervisorOptions asking_options(engine::SupervisorOptions options) {
  options.slots = kAtOnce;
  // Nothing reads the worker's frames between two questions: silence is no sign of a hang.
  options.idle_heartbeat_ms = kDayMs;
  options.heartbeat_timeout_ms = kDayMs;
  options.progress_timeout_ms = kDayMs;
  options.idle_unload_ms = 0;
  return options;
}

// Asks every question that has no answer yet, kAtOnce at a time.
class Asker {
 public:
  Asker(const Questioning& request, const evaluation::LabelledData& data, std::unique_ptr<engine::ModelSource> source,
        engine::SupervisorOptions options)
      : request_(request),
        data_(data),
        parts_(base::Log(base::LogFormat::kText, base::LogLevel::kError), std::move(source), std::move(options)) {}
  ~Asker() {
    block_on<void>([this](base::Yield yield) -> Result<void> {
      parts_.engine.drain(base::Deadline::after_ms(parts_.clock, 0), std::move(yield));
      return {};
    }).ignore("the process ends, and its workers with it");
  }
  Asker(const Asker&) = delete;
  Asker& operator=(const Asker&) = delete;

  [[nodiscard]] const base::Clock& clock() const { return parts_.clock; }
  [[nodiscard]] Result<types::ModelInfo> resolve() const { return parts_.engine.resolve(request_.model); }

  // Errors: kCancelled; the first of the engine.
  Result<void> run(const std::string& model, AnswerCache& cache) {
    began_ns_ = parts_.clock.monotonic_ns();
    auto done = block_on<void>([this, &model, &cache](base::Yield yield) { return ask_all(model, cache, yield); });
    if (stop_.stop_requested()) {
      return Error(ErrorCode::kCancelled,
                   fmt::format("interrupted; {} answers of {} are kept, the same command goes on",
                               cache.answers().size(), data_.questions.size()));
    }
    return done;
  }

 private:
  template <class T>
  Result<T> block_on(const std::function<Result<T>(base::Yield)>& body) {
    return run_interruptible<T>(parts_.io, stop_, {SIGINT, SIGTERM, SIGHUP}, body);
  }

  Result<void> ask_all(const std::string& model, AnswerCache& cache, base::Yield yield) {
    std::size_t next = 0;
    std::size_t running = kAtOnce;
    std::optional<Error> failed;
    base::Timer ended(yield.get_executor(), base::Timer::time_point::max());
    for (std::size_t i = 0; i < kAtOnce; ++i) {
      base::spawn(yield.get_executor(), "ask", [&](base::Yield inner) {
        for (std::size_t at = next++; at < data_.questions.size() && !failed; at = next++) {
          if (cache.answers().contains(at)) continue;
          auto answer = ask(model, at, inner);
          auto kept = answer.ok() ? cache.add(at, std::move(answer).value()) : Result<void>(std::move(answer).error());
          if (!kept.ok() && !failed) failed = std::move(kept).error();
          ++asked_;
          tell(cache.answers().size());
        }
        if (--running == 0) ended.cancel();
      });
    }
    base::error_code woken;
    while (running > 0) ended.async_wait(yield[woken]);
    if (failed) return *std::move(failed);
    return {};
  }

  Result<CachedAnswer> ask(const std::string& model, std::size_t at, base::Yield yield) {
    engine::GenerateRequest request;
    request.model = model;
    request.cancel = stop_.get_token();
    std::visit([&request](const auto& prompt) { request.prompt.input = prompt; }, data_.questions[at].prompt);
    request.sampling.temperature = 0;
    request.max_tokens = request_.max_tokens;
    request.stop = request_.stop;
    const std::unique_ptr<engine::Generation> generation = SHOAL_TRY(parts_.engine.start(std::move(request), yield));
    CachedAnswer out;
    for (;;) {
      const std::optional<engine::GenerateEvent> event = SHOAL_TRY(generation->next(yield, {}));
      if (!event) continue;
      if (const auto* token = std::get_if<engine::TokenEvent>(&*event)) {
        out.text += token->text;
        out.logprobs.push_back(token->token.logprob);
        continue;
      }
      const auto& finish = std::get<engine::FinishEvent>(*event);
      out.text += finish.text;
      out.cut = finish.reason == types::FinishReason::kLength;
      return out;
    }
  }

  void tell(std::size_t there) {
    const std::int64_t now = parts_.clock.monotonic_ns();
    if (!request_.note || (now - told_ns_ < kNoteNs && there < data_.questions.size())) return;
    told_ns_ = now;
    const double seconds = static_cast<double>(now - began_ns_) / 1e9;
    request_.note(there, data_.questions.size(), seconds > 0 ? static_cast<double>(asked_) / seconds : 0);
  }

  const Questioning& request_;
  const evaluation::LabelledData& data_;
  EngineParts parts_;
  std::stop_source stop_;
  std::int64_t began_ns_ = 0;
  std::int64_t told_ns_ = 0;
  std::size_t asked_ = 0;
};

std::string identity_of(const Questioning& request, const evaluation::LabelledData& data,
                        const routing::TableKey& key) {
  return fmt::format("{} {}\n{}\n{}\n{}\n{}\n", data.sha256, data.questions.size(), key.weights, key.chat_template,
                     request.max_tokens, fmt::join(request.stop, "\n"));
}

routing::Statistic first_of(const CachedAnswer& answer, std::size_t tokens) {
  routing::Statistic out;
  for (std::size_t i = 0; i < std::min(tokens, answer.logprobs.size()); ++i) out.add(answer.logprobs[i]);
  return out;
}

}  // namespace

std::string utc_date(const base::Clock& clock) {
  const std::time_t now = clock.unix_seconds();
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

fs::path calibration_folder(const config::Config& config) {
  return fs::path(config.server.data_dir) / "calibration";
}

bool GradedAnswers::right(const Questioning& request, std::size_t question) const {
  return is_right(request.grader, answers.at(question).text, data.questions[question]);
}

routing::Checks GradedAnswers::checks(std::size_t question) const {
  const CachedAnswer& answer = answers.at(question);
  const evaluation::Prompt& prompt = data.questions[question].prompt;
  const auto* const messages = std::get_if<std::vector<types::Message>>(&prompt);
  const std::string_view text = messages != nullptr ? routing::last_asked(*messages) : std::get<std::string>(prompt);
  return routing::AnswerReader().read({.prompt = text, .cut = answer.cut}, answer.text);
}

std::vector<routing::Label> GradedAnswers::labels(const Questioning& request, std::int32_t tokens) const {
  std::vector<routing::Label> out;
  const auto k = static_cast<std::size_t>(tokens);
  for (const auto& [at, answer] : answers) {
    if (at >= data.questions.size() || answer.logprobs.empty() || answer.logprobs.size() < k) continue;
    routing::Label& label = out.emplace_back();
    label.statistic = first_of(answer, k == 0 ? answer.logprobs.size() : k);
    label.right = right(request, at);
    label.group = data.questions[at].group();
    if (k == 0) label.checks = checks(at);
  }
  return out;
}

Result<GradedAnswers> answer_questions(const config::Config& config, const Questioning& request,
                                       evaluation::LabelledData data) {
  GradedAnswers out;
  out.data = std::move(data);
  Asker asker(request, out.data, SHOAL_TRY(make_model_source(config, {})),
              asking_options(SHOAL_TRY(supervisor_options(config.engine))));
  const types::ModelInfo model = SHOAL_TRY(asker.resolve());
  if (model.sha256.empty()) {
    return Error(
        ErrorCode::kInvalidRequest,
        fmt::format("{} is used in place, so nothing tells when it changes; `shoal models import` takes it into "
                    "the store",
                    model.name));
  }
  types::SamplingParams greedy;
  greedy.temperature = 0;
  out.key = {.weights = model.sha256,
             .quantisation = model.quantisation,
             .chat_template = out.data.questions.front().chat() ? model.template_sha256 : "none",
             .sampler = routing::sampler_name(greedy),
             .task = request.task};
  AnswerCache cache =
      SHOAL_TRY(AnswerCache::open(calibration_folder(config) / "answers", identity_of(request, out.data, out.key)));
  const std::size_t before = cache.answers().size();
  SHOAL_TRY(asker.run(model.name, cache));
  out.model = model.name;
  out.date = utc_date(asker.clock());
  out.asked = cache.answers().size() - before;
  out.answers = cache.answers();
  return out;
}

}  // namespace shoal::cli
