#include "shoal/cli/route_fit.h"

#include <algorithm>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/cli/answer_cache.h"
#include "shoal/cli/app.h"
#include "shoal/cli/interruptible.h"
#include "shoal/routing/calibration_file.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::size_t kAtOnce = 8;  // more gain nothing on small machines
constexpr std::int64_t kNoteNs = 1'000'000'000;

std::string today(const base::Clock& clock) {
  const std::time_t now = clock.unix_seconds();
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

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
  Asker(const RouteFitRequest& request, const LabelledData& data, std::unique_ptr<engine::ModelSource> source,
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
    return run_interruptible<T>(parts_.io, stop_, {SIGTERM, SIGHUP}, body);
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
      out.text += std::get<engine::FinishEvent>(*event).text;
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

  const RouteFitRequest& request_;
  const LabelledData& data_;
  EngineParts parts_;
  std::stop_source stop_;
  std::int64_t began_ns_ = 0;
  std::int64_t told_ns_ = 0;
  std::size_t asked_ = 0;
};

std::string identity_of(const RouteFitRequest& request, const LabelledData& data, const routing::TableKey& key) {
  return fmt::format("{}\n{}\n{}\n{}\n{}\n", data.sha256, key.weights, key.chat_template, request.max_tokens,
                     fmt::join(request.stop, "\n"));
}

routing::Statistic first_of(const CachedAnswer& answer, std::size_t tokens) {
  routing::Statistic out;
  for (std::size_t i = 0; i < std::min(tokens, answer.logprobs.size()); ++i) out.add(answer.logprobs[i]);
  return out;
}

// Of answers with at least so many tokens; 0: of whole ones.
std::vector<routing::Label> labels_of(const RouteFitRequest& request, const LabelledData& data,
                                      const AnswerCache& cache, std::int32_t tokens) {
  std::vector<routing::Label> out;
  for (const auto& [at, answer] : cache.answers()) {
    const auto k = static_cast<std::size_t>(tokens);
    if (at >= data.questions.size() || answer.logprobs.empty() || answer.logprobs.size() < k) continue;
    const LabelledQuestion& question = data.questions[at];
    out.push_back({first_of(answer, k == 0 ? answer.logprobs.size() : k),
                   is_right(request.grader, answer.text, question), question.group()});
  }
  return out;
}

}  // namespace

Result<RouteFitReport> route_fit(const config::Config& config, const RouteFitRequest& request) {
  const LabelledData data = SHOAL_TRY(read_labelled(request.data));
  // Before hours of answers, not after them.
  if (const std::size_t needed = routing::labels_needed(request.fit.held_out); data.questions.size() < needed) {
    return Error(
        ErrorCode::kInvalidRequest,
        fmt::format("{} has {} questions; {} are needed, so that {} remain to fit on when {:.0f} % are held out: "
                    "{} more",
                    request.data.string(), data.questions.size(), needed, routing::kLeastLabels,
                    request.fit.held_out * 100, needed - data.questions.size()));
  }
  Asker asker(request, data, SHOAL_TRY(make_model_source(config, {})),
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
  const routing::TableKey key{.weights = model.sha256,
                              .quantisation = model.quantisation,
                              .chat_template = data.questions.front().chat() ? model.template_sha256 : "none",
                              .sampler = routing::sampler_name(greedy),
                              .task = request.task};
  const fs::path folder = fs::path(config.server.data_dir) / "calibration";
  AnswerCache cache = SHOAL_TRY(AnswerCache::open(folder / "answers", identity_of(request, data, key)));
  const std::size_t before = cache.answers().size();
  SHOAL_TRY(asker.run(model.name, cache));

  RouteFitReport report;
  report.model = model.name;
  report.asked = cache.answers().size() - before;
  report.answers = cache.answers().size();
  const auto finish = [&](routing::Table table, std::int32_t tokens) -> Result<void> {
    table.key = key;
    table.key.tokens = tokens;
    table.model = model.name;
    table.data = data.sha256;
    table.grader = request.grader_name;
    table.date = today(asker.clock());
    table.command = request.command;
    report.files.push_back(SHOAL_TRY(routing::save_table(table, folder)));
    report.tables.push_back(std::move(table));
    return {};
  };
  const auto whole = labels_of(request, data, cache, 0);
  report.right = static_cast<std::size_t>(std::ranges::count(whole, true, &routing::Label::right));
  report.empty = report.answers - whole.size();
  routing::Table fitted = SHOAL_TRY(routing::fit_table(whole, request.fit));
  SHOAL_TRY(finish(std::move(fitted), 0));
  auto prefix = routing::fit_table(labels_of(request, data, cache, request.commit_tokens), request.fit);
  if (!prefix.ok()) {
    report.no_prefix = prefix.error().message();
    return report;
  }
  SHOAL_TRY(finish(std::move(prefix).value(), request.commit_tokens));
  return report;
}

}  // namespace shoal::cli
