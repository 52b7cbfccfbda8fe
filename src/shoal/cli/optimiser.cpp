#include "shoal/cli/optimiser.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <stop_token>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/cli/app.h"
#include "shoal/cli/interruptible.h"
#include "shoal/device/machine.h"
#include "shoal/engine/measure_speed.h"
#include "shoal/engine/memory_estimate.h"
#include "shoal/engine/worker_command.h"
#include "shoal/engine/worker_task.h"
#include "shoal/gguf/rewrite_plan.h"
#include "shoal/models/fetch.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr const char* kSourceName = "source";
constexpr const char* kCandidateName = "candidate";
// No candidate with fewer bits came near the divergence that is free: Q6_K, the next, is 0.003 to 0.01 nats away.
constexpr double kFewestFreeBits = 8;

// The two files that are measured, as models of an engine.
class TwoModels final : public engine::ModelSource {
 public:
  void set(engine::LocalModel model) {
    const auto same = std::ranges::find(models_, model.info.name, [](const auto& other) { return other.info.name; });
    if (same != models_.end()) models_.erase(same);
    models_.push_back(std::move(model));
  }
  [[nodiscard]] std::vector<types::ModelInfo> list() const override {
    std::vector<types::ModelInfo> infos;
    for (const engine::LocalModel& model : models_) infos.push_back(model.info);
    return infos;
  }
  [[nodiscard]] Result<engine::LocalModel> resolve(const std::string& name) const override {
    const auto found = std::ranges::find(models_, name, [](const auto& model) { return model.info.name; });
    if (found == models_.end()) return Error(ErrorCode::kModelNotFound, fmt::format("no model \"{}\"", name));
    return *found;
  }

 private:
  std::vector<engine::LocalModel> models_;
};

// A folder of candidates that goes with this object, and with what an earlier, killed try left in it.
class Workshop {
 public:
  static Result<Workshop> open(const models::Store& store, const std::string& name) {
    Workshop shop(SHOAL_TRY(store.partial_folder()) / (name + ".optimise"));
    std::error_code why;
    fs::remove_all(shop.folder_, why);
    fs::create_directories(shop.folder_, why);
    if (why) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", shop.folder_.string(), why.message()));
    return shop;
  }
  explicit Workshop(fs::path folder) : folder_(std::move(folder)) {}
  Workshop(Workshop&& other) noexcept : folder_(std::exchange(other.folder_, {})) {}
  Workshop& operator=(Workshop&&) = delete;
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  ~Workshop() {
    std::error_code ignored;
    if (!folder_.empty()) fs::remove_all(folder_, ignored);
  }
  [[nodiscard]] const fs::path& folder() const { return folder_; }
  [[nodiscard]] fs::path file(const std::string& type) const { return folder_ / (type + ".gguf"); }

 private:
  fs::path folder_;
};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double median_of(const std::vector<engine::Speed>& rounds, double engine::Speed::* part) {
  std::vector<double> values;
  for (const engine::Speed& round : rounds) values.push_back(round.*part);
  return median(std::move(values));
}

double median_ratio(const engine::SpeedReport& report, double engine::Speed::* part) {
  std::vector<double> values;
  for (std::size_t i = 0; i < report.source.size(); ++i)
    values.push_back(report.candidate[i].*part / std::max(report.source[i].*part, 1e-9));
  return median(std::move(values));
}

void take_speeds(const engine::SpeedReport& report, models::RewriteCandidate& candidate) {
  const auto fill = [](const std::vector<engine::Speed>& rounds, std::uint64_t resident,
                       models::RewriteFigures& figures) {
    figures.prefill = median_of(rounds, &engine::Speed::prefill);
    figures.decode = median_of(rounds, &engine::Speed::decode);
    figures.streams = median_of(rounds, &engine::Speed::streams);
    figures.resident_bytes = resident;
  };
  fill(report.source, report.source_bytes, candidate.source);
  fill(report.candidate, report.candidate_bytes, candidate.figures);
  candidate.prefill_ratio = median_ratio(report, &engine::Speed::prefill);
  candidate.decode_ratio = median_ratio(report, &engine::Speed::decode);
  candidate.streams_ratio = median_ratio(report, &engine::Speed::streams);
}

std::string terms_in_words(const OptimiseRequest& request) {
  if (!request.forced.empty()) return "chosen by the user";
  if (request.terms.are_default()) return "free";
  return fmt::format("agreed: KL at most {:g}, memory at most +{:g} %, at least {:g}x as fast", request.terms.most_kl,
                     request.terms.most_memory_percent, request.terms.least_speedup);
}

engine::SupervisorOptions measuring_options(engine::SupervisorOptions options) {
  options.slots = engine::kMeasuredStreams;
  // What is guessed right depends on the text, and the two models write different ones.
  options.speculates = false;
  // Nothing reads the workers' frames between two requests: silence is no sign of a hang.
  options.idle_heartbeat_ms = kDayMs;
  options.heartbeat_timeout_ms = kDayMs;
  options.progress_timeout_ms = kDayMs;
  options.idle_unload_ms = 0;
  return options;
}

class Optimiser {
 public:
  Optimiser(const models::Store& store, const models::Installed& model, const OptimiseRequest& request,
            engine::SupervisorOptions options, gguf::Header header, const Workshop& shop)
      : store_(store),
        model_(model),
        request_(request),
        options_(measuring_options(std::move(options))),
        header_(std::move(header)),
        shop_(shop),
        sources_(new TwoModels),
        parts_(base::Log::null(), std::unique_ptr<engine::ModelSource>(sources_), options_) {
    sources_->set(local(kSourceName, model.source_path(), header_));
  }

  Result<OptimiseReport> run() {
    auto measured = block_on<OptimiseReport>([this](base::Yield yield) { return measure_all(yield); });
    if (stop_.stop_requested())
      return Error(ErrorCode::kCancelled, fmt::format("interrupted; {} is as it was", model_.name));
    OptimiseReport report = SHOAL_TRY(std::move(measured));
    if (request_.dry_run) return report;
    if (report.chosen) {
      report.model = SHOAL_TRY(adopt(report));
    } else if (model_.rewrite && !request_.free_only) {
      report.model = SHOAL_TRY(store_.undo_rewrite(model_.name));
    }
    return report;
  }

  ~Optimiser() {
    block_on<void>([this](base::Yield yield) -> Result<void> {
      parts_.engine.drain(base::Deadline::after_ms(parts_.clock, 0), std::move(yield));
      return {};
    }).ignore("the process ends, and its workers with it");
  }
  Optimiser(const Optimiser&) = delete;
  Optimiser& operator=(const Optimiser&) = delete;

 private:
  template <class T>
  Result<T> block_on(const std::function<Result<T>(base::Yield)>& body) {
    return run_interruptible<T>(parts_.io, stop_, {SIGINT, SIGTERM, SIGHUP}, body);
  }

  static engine::LocalModel local(const std::string& name, const fs::path& path, const gguf::Header& header) {
    return {models::describe(name, path, "", header), engine::shape_of(header)};
  }

  Result<OptimiseReport> measure_all(const base::Yield& yield) {
    OptimiseReport report;
    report.source_type = gguf::type_name(gguf::main_type(header_));
    report.model = model_;
    for (const std::uint32_t type : gguf::rewrite_types()) {
      const std::string name = gguf::type_name(type);
      if (request_.forced.empty() ? request_.free_only && gguf::bits_per_weight(type) < kFewestFreeBits
                                  : name != request_.forced) {
        continue;
      }
      models::RewriteCandidate candidate;
      candidate.type = name;
      const auto plan = gguf::plan_rewrite(header_, type);
      if (!plan.ok()) {
        if (!request_.forced.empty()) {
          return Error(plan.error().code(),
                       fmt::format("{} cannot be written as {}: {}", model_.name, name, plan.error().message()));
        }
        candidate.not_tested = plan.error().message();
      } else if (auto measured = measure(*plan, type, candidate, yield); !measured.ok()) {
        // What one candidate fails at, another may pass.
        if (measured.error().code() == ErrorCode::kCancelled || !request_.forced.empty()) return measured.error();
        candidate.not_tested = fmt::format("failed: {}", measured.error().message());
      }
      report.candidates.push_back(std::move(candidate));
      report.chosen = choose(report.candidates);
      drop_files_but(report);
    }
    return report;
  }

  [[nodiscard]] std::optional<std::size_t> choose(const std::vector<models::RewriteCandidate>& candidates) const {
    if (request_.forced.empty()) return models::choose(candidates, request_.terms);
    return candidates.front().not_tested.empty() ? std::optional<std::size_t>(0) : std::nullopt;
  }

  // Only the chosen file is needed to the end.
  void drop_files_but(const OptimiseReport& report) const {
    for (std::size_t i = 0; i < report.candidates.size(); ++i) {
      std::error_code ignored;
      if (report.chosen != i) fs::remove(shop_.file(report.candidates[i].type), ignored);
    }
  }

  [[nodiscard]] std::uint64_t need(const gguf::Header& header, std::uint64_t bytes) const {
    const engine::LocalModel model = local(kSourceName, model_.source_path(), header);
    return engine::estimate_memory(model, bytes, engine::worker_args(options_, model), options_.cpu).total();
  }

  // The header that the candidate will have, as far as the prediction of memory looks.
  [[nodiscard]] gguf::Header planned_header(const gguf::RewritePlan& plan) const {
    gguf::Header planned = header_;
    for (std::size_t i = 0; i < planned.tensors.size(); ++i) {
      planned.tensors[i].type = plan.types[i];
      planned.tensors[i].bytes = plan.bytes[i];
    }
    return planned;
  }

  // What stands against even trying, known from the header alone; empty: nothing.
  [[nodiscard]] std::string known_objection(const gguf::RewritePlan& plan, std::uint64_t bytes) const {
    const std::uint64_t before = need(header_, model_.source_bytes());
    const std::uint64_t after = need(planned_header(plan), bytes);
    if (options_.memory_budget_bytes > 0 && before + after > options_.memory_budget_bytes) {
      return fmt::format("source and candidate need {} of memory together, the budget is {}",
                         base::human_bytes(before + after), base::human_bytes(options_.memory_budget_bytes));
    }
    const double more = 100.0 * (static_cast<double>(after) / static_cast<double>(before) - 1.0);
    if (request_.free_only && more > request_.terms.most_memory_percent)
      return fmt::format("about {:+.0f} % memory, at most +{:g} %", more, request_.terms.most_memory_percent);
    return "";
  }

  Result<void> measure(const gguf::RewritePlan& plan, std::uint32_t type, models::RewriteCandidate& candidate,
                       const base::Yield& yield) {
    const engine::LocalModel source = SHOAL_TRY(sources_->resolve(kSourceName));
    const std::uint64_t bytes = header_.file_bytes - header_.weight_bytes() + plan.weight_bytes;
    candidate.not_tested = known_objection(plan, bytes);
    if (!candidate.not_tested.empty()) return {};
    const fs::path file = shop_.file(candidate.type);
    SHOAL_TRY(models::check_space(shop_.folder(), bytes));
    const engine::WorkerTaskContext task{parts_.io.get_executor(), parts_.log, options_, stop_.get_token(), {}};
    request_.note(fmt::format("{}: writing about {}", candidate.type, base::human_bytes(bytes)));
    const ipc::Rewritten rewritten =
        SHOAL_TRY(engine::rewrite_weights(task, model_.source_path().string(), type, file.string(), yield));
    request_.note(fmt::format("{}: {} tensors rewritten, {} kept; comparing what both predict", candidate.type,
                              rewritten.changed, rewritten.kept));
    const ipc::Compared compared = SHOAL_TRY(
        engine::compare_models(task, model_.source_path().string(), file.string(), source.info.context_length, yield));
    candidate.kl = compared.kl;
    candidate.agreement = compared.agreement;
    candidate.source.perplexity = compared.source_perplexity;
    candidate.source.file_bytes = model_.source_bytes();
    candidate.figures.perplexity = compared.perplexity;
    candidate.figures.file_bytes = rewritten.bytes;
    if (request_.free_only && !(compared.kl <= request_.terms.most_kl)) {
      candidate.not_tested = fmt::format("KL {:.4f}, at most {:g}", compared.kl, request_.terms.most_kl);
      return {};
    }
    request_.note(
        fmt::format("{}: KL {:.5f} over {} tokens; measuring speed", candidate.type, compared.kl, compared.tokens));
    return measure_speed(source, file, candidate, yield);
  }

  Result<void> measure_speed(const engine::LocalModel& source, const fs::path& file,
                             models::RewriteCandidate& candidate, const base::Yield& yield) {
    sources_->set(local(kCandidateName, file, SHOAL_TRY(models::read_model(file))));
    engine::SpeedOptions speed;
    speed.source = kSourceName;
    speed.candidate = kCandidateName;
    speed.vocabulary = static_cast<std::uint32_t>(source.shape.vocabulary);
    speed.context_length = source.info.context_length;
    if (options_.context_tokens > 0) speed.context_length = std::min(speed.context_length, options_.context_tokens);
    speed.rounds = request_.rounds;
    speed.cancel = stop_.get_token();
    speed.on_round = [&](std::uint32_t done, std::uint32_t rounds) {
      request_.note(fmt::format("{}: round {} of {}", candidate.type, done, rounds));
    };
    const engine::SpeedReport report = SHOAL_TRY(engine::measure_speed(parts_.engine, parts_.clock, speed, yield));
    for (const engine::WorkerStatus& status : parts_.engine.status()) {
      if (!status.cpu_backend.empty()) backend_ = status.cpu_backend;
    }
    take_speeds(report, candidate);
    // The next candidate takes the name of this one; and comparing two models needs the room of four otherwise.
    for (const char* name : {kSourceName, kCandidateName})
      parts_.engine.unload(name).ignore("a worker that died is gone already");
    return {};
  }

  Result<models::Installed> adopt(const OptimiseReport& report) {
    const models::RewriteCandidate& chosen = report.candidates[*report.chosen];
    const fs::path file = shop_.file(chosen.type);
    models::Rewrite lineage;
    lineage.source_type = report.source_type;
    lineage.chosen = chosen;
    lineage.terms = terms_in_words(request_);
    const device::Machine machine = device::probe_machine();
    lineage.machine = fmt::format("{}, {} {}, ggml {}", device::processor_name(), machine.cores,
                                  machine.cores == 1 ? "core" : "cores", backend_);
    const std::string sum = SHOAL_TRY(base::sha256_of_file(file));
    return store_.rewrite(model_.name, file, sum, std::move(lineage));
  }

  const models::Store& store_;
  const models::Installed& model_;
  const OptimiseRequest& request_;
  const engine::SupervisorOptions options_;
  const gguf::Header header_;
  const Workshop& shop_;
  TwoModels* const sources_;  // owned by parts_
  EngineParts parts_;
  std::stop_source stop_;
  std::string backend_;
};

}  // namespace

Result<OptimiseReport> optimise(const config::Config& config, const models::Store& store,
                                const models::Installed& model, const OptimiseRequest& request) {
  OptimiseRequest wanted = request;
  if (!request.forced.empty()) {
    std::vector<std::string> names;
    for (const std::uint32_t type : gguf::rewrite_types()) names.push_back(gguf::type_name(type));
    const auto type = gguf::type_by_name(request.forced);
    wanted.forced = type ? gguf::type_name(*type) : "";
    if (std::ranges::find(names, wanted.forced) == names.end()) {
      return Error(ErrorCode::kInvalidRequest,
                   fmt::format("wanted one of {}, got \"{}\"", fmt::join(names, ", "), request.forced));
    }
  }
  const auto turn = SHOAL_TRY(store.take_turn(
      model.name, [&] { request.note(fmt::format("another process is at work on {}; waiting for it", model.name)); }));
  const models::Installed now = SHOAL_TRY(store.find(model.name));
  gguf::Header header = SHOAL_TRY(models::read_model(now.source_path()));
  if (models::describe(now.name, now.source_path(), "", header).embeds) {
    return Error(ErrorCode::kUnsupportedParameter,
                 fmt::format("{} is an embedding model: it has no next-token distributions to compare", now.name));
  }
  const Workshop shop = SHOAL_TRY(Workshop::open(store, now.name));
  Optimiser optimiser(store, now, wanted, SHOAL_TRY(supervisor_options(config.engine)), std::move(header), shop);
  return optimiser.run();
}

}  // namespace shoal::cli
