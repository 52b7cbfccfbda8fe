#include "shoal/engine/measure_speed.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

namespace shoal::engine {
namespace {

// How much one round asks for. The first round's amounts are small; later ones aim at a second for each part.
struct Work {
  std::uint32_t prompt = 64;
  std::uint32_t tokens = 8;
  std::uint32_t tokens_per_stream = 4;
};
constexpr std::uint32_t kMostPrompt = 512;
constexpr std::uint32_t kMostTokens = 64;
constexpr std::uint32_t kMostTokensPerStream = 32;  // a short chat
constexpr std::uint32_t kStreamPrompt = 8;
constexpr double kMicro = 1e6;

std::uint32_t clamped(double value, std::uint32_t lowest, std::uint32_t highest) {
  return static_cast<std::uint32_t>(std::clamp(value, static_cast<double>(lowest), static_cast<double>(highest)));
}

// In tokens that the models have, different each time, so that no prefix is found in a cache. The constants are
// Knuth's MMIX generator.
class Prompts {
 public:
  explicit Prompts(std::uint32_t vocabulary) : vocabulary_(std::max<std::uint32_t>(vocabulary, 1)) {}
  std::vector<std::int32_t> next(std::uint32_t length) {
    std::vector<std::int32_t> tokens(length);
    for (std::int32_t& token : tokens) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      token = static_cast<std::int32_t>((state_ >> 33) % vocabulary_);
    }
    return tokens;
  }

 private:
  std::uint32_t vocabulary_;
  std::uint64_t state_ = 1;
};

GenerateRequest request_for(const std::string& model, std::vector<std::int32_t> prompt, std::uint32_t tokens,
                            const std::stop_token& cancel) {
  GenerateRequest request;
  request.model = model;
  request.cancel = cancel;
  request.prompt.input = std::move(prompt);
  request.sampling.seed = 1;
  request.max_tokens = static_cast<std::int32_t>(tokens);
  request.ignore_eos = true;
  return request;
}

// The whole answer. Errors: as start() and next().
Result<FinishEvent> answer(Engine& engine, GenerateRequest request, base::Yield yield) {
  const std::unique_ptr<Generation> generation = SHOAL_TRY(engine.start(std::move(request), yield));
  while (true) {
    const std::optional<GenerateEvent> event = SHOAL_TRY(generation->next(yield, {}));
    if (event && std::holds_alternative<FinishEvent>(*event)) return std::get<FinishEvent>(*event);
  }
}

double rate(std::int32_t tokens, std::uint64_t us) {
  return static_cast<double>(std::max(tokens, 0)) * kMicro / static_cast<double>(std::max<std::uint64_t>(us, 1));
}

// Answers that run at the same time; shared by their coroutines.
struct Streams {
  explicit Streams(const base::Executor& executor) : done(executor) {}
  std::uint32_t open = 0;
  std::int32_t tokens = 0;
  std::optional<Error> failure;
  base::Timer done;  // cancelled when the last one ends
};

class Measurement {
 public:
  Measurement(Engine& engine, const base::Clock& clock, const SpeedOptions& options)
      : engine_(engine), clock_(clock), options_(options), prompts_(options.vocabulary) {}

  Result<Speed> round(const std::string& model, const Work& work, const base::Yield& yield) {
    Speed speed;
    const FinishEvent prefill =
        SHOAL_TRY(answer(engine_, request_for(model, prompts_.next(work.prompt), 1, options_.cancel), yield));
    speed.prefill = rate(prefill.usage.prompt_tokens - prefill.usage.cached_tokens, prefill.timings.prefill_us);
    const FinishEvent decode = SHOAL_TRY(
        answer(engine_, request_for(model, prompts_.next(kStreamPrompt), work.tokens, options_.cancel), yield));
    // The first token is the prompt's.
    speed.decode = rate(decode.usage.completion_tokens - 1, decode.timings.decode_us);
    speed.streams = SHOAL_TRY(streams(model, work.tokens_per_stream, yield));
    return speed;
  }

  // About a second for each part, the same for both models, within what the context holds.
  [[nodiscard]] Work work_for(const Speed& speed) const {
    const Work least = first_work();
    const std::uint32_t context = options_.context_length == 0 ? 2 * kMostPrompt : options_.context_length;
    return {clamped(speed.prefill, least.prompt, std::clamp(context / 2, least.prompt, kMostPrompt)),
            clamped(speed.decode, least.tokens, std::clamp(context / 4, least.tokens, kMostTokens)),
            clamped(speed.streams / kMeasuredStreams, least.tokens_per_stream,
                    std::clamp(context / 4, least.tokens_per_stream, kMostTokensPerStream))};
  }

  [[nodiscard]] Work first_work() const {
    Work work;
    if (options_.context_length > 0) {
      work.prompt = std::min(work.prompt, std::max(options_.context_length / 2, 1U));
      work.tokens = std::min(work.tokens, std::max(options_.context_length / 4, 2U));
    }
    return work;
  }

 private:
  Result<double> streams(const std::string& model, std::uint32_t tokens, const base::Yield& yield) {
    const auto all = std::make_shared<Streams>(yield.get_executor());
    all->open = kMeasuredStreams;
    all->done.expires_at(base::Timer::time_point::max());
    const std::int64_t begin = clock_.monotonic_ns();
    for (std::uint32_t i = 0; i < kMeasuredStreams; ++i) {
      base::spawn(yield.get_executor(), "stream",
                  [this, all, request = request_for(model, prompts_.next(kStreamPrompt), tokens, options_.cancel)](
                      base::Yield own) {
                    const auto finished = answer(engine_, request, std::move(own));
                    if (finished.ok()) {
                      all->tokens += finished->usage.completion_tokens;
                    } else {
                      all->failure = finished.error();
                    }
                    if (--all->open == 0) all->done.cancel();
                  });
    }
    // Not left before the last one ends: they use this object.
    while (all->open > 0) {
      base::error_code ignored;
      all->done.async_wait(yield[ignored]);
    }
    if (all->failure) return *std::move(all->failure);
    return rate(all->tokens, static_cast<std::uint64_t>(clock_.monotonic_ns() - begin) / 1000);
  }

  Engine& engine_;
  const base::Clock& clock_;
  const SpeedOptions& options_;
  Prompts prompts_;
};

}  // namespace

Result<SpeedReport> measure_speed(Engine& engine, const base::Clock& clock, const SpeedOptions& options,
                                  base::Yield yield) {
  Measurement measurement(engine, clock, options);
  const Work first = measurement.first_work();
  const Work work = measurement.work_for(SHOAL_TRY(measurement.round(options.source, first, yield)));
  (void)SHOAL_TRY(measurement.round(options.candidate, first, yield));
  SpeedReport report;
  for (std::uint32_t i = 0; i < options.rounds; ++i) {
    // Who goes first alternates too.
    for (const bool source : {i % 2 == 0, i % 2 != 0}) {
      const Speed speed = SHOAL_TRY(measurement.round(source ? options.source : options.candidate, work, yield));
      (source ? report.source : report.candidate).push_back(speed);
    }
    if (options.on_round) options.on_round(i + 1, options.rounds);
  }
  for (const WorkerStatus& status : engine.status()) {
    if (status.model == options.source) report.source_bytes = status.resident_bytes;
    if (status.model == options.candidate) report.candidate_bytes = status.resident_bytes;
  }
  return report;
}

}  // namespace shoal::engine
