#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <utility>

#include "shoal/cli/answerer.h"
#include "shoal/cli/app.h"
#include "shoal/cli/interruptible.h"

namespace shoal::cli {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;

class LocalAnswerer final : public Answerer {
 public:
  LocalAnswerer(std::unique_ptr<engine::ModelSource> source, engine::SupervisorOptions options)
      : parts_(base::Log(base::LogFormat::kText, base::LogLevel::kError), std::move(source), std::move(options)) {}

  ~LocalAnswerer() override {
    block_on<void>([this](base::Yield yield) -> Result<void> {
      parts_.engine.drain(base::Deadline::after_ms(parts_.clock, 0), std::move(yield));
      return {};
    }).ignore("the process ends, and its workers with it");
  }

  Result<TurnEnd> chat(const Turn& turn, const TextSink& sink) override {
    return block_on<TurnEnd>([&](base::Yield yield) { return generate(turn, sink, yield); });
  }

  Result<std::string> resolve(const std::string& model) override {
    return SHOAL_TRY(parts_.engine.resolve(model)).name;
  }

  Result<Embeddings> embed(const std::string& model, const std::vector<std::string>& texts) override {
    engine::EmbedRequest request;
    request.model = model;
    for (const std::string& text : texts) request.inputs.emplace_back(text);
    engine::EmbedResult result = SHOAL_TRY(block_on<engine::EmbedResult>([&](base::Yield yield) {
      request.cancel = stop_.get_token();
      return parts_.engine.embed(std::move(request), std::move(yield));
    }));
    return Embeddings{std::move(result.embeddings), result.usage.prompt_tokens};
  }

 private:
  template <class T>
  Result<T> block_on(const std::function<Result<T>(base::Yield)>& body) {
    return run_interruptible<T>(parts_.io, stop_, {SIGINT}, body);
  }

  Result<TurnEnd> generate(const Turn& turn, const TextSink& sink, base::Yield yield) {
    engine::GenerateRequest request;
    request.model = turn.model;
    request.cancel = stop_.get_token();
    request.prompt.input = turn.messages;
    request.max_tokens = turn.max_tokens;
    request.streams = true;
    if (turn.temperature) request.sampling.temperature = *turn.temperature;
    request.sampling.seed = turn.seed;
    const std::unique_ptr<engine::Generation> generation = SHOAL_TRY(parts_.engine.start(std::move(request), yield));
    return read(*generation, sink, yield);
  }

  static Result<TurnEnd> read(engine::Generation& generation, const TextSink& sink, base::Yield yield) {
    while (true) {
      const std::optional<engine::GenerateEvent> event = SHOAL_TRY(generation.next(yield, {}));
      if (!event) continue;
      if (const auto* token = std::get_if<engine::TokenEvent>(&*event)) {
        sink(token->text);
        continue;
      }
      const auto& finish = std::get<engine::FinishEvent>(*event);
      sink(finish.text);
      return TurnEnd{finish.reason == types::FinishReason::kLength ? "length" : "stop", finish.usage};
    }
  }

  EngineParts parts_;
  std::stop_source stop_;  // of the command that runs
};

}  // namespace

Result<std::unique_ptr<Answerer>> make_local_answerer(const config::Config& config) {
  std::unique_ptr<engine::ModelSource> source = SHOAL_TRY(make_model_source(config, {}));
  engine::SupervisorOptions options = SHOAL_TRY(supervisor_options(config.engine));
  // Nobody reads the worker's frames while a person types: silence is no sign of a hang here.
  options.idle_heartbeat_ms = kDayMs;
  options.heartbeat_timeout_ms = kDayMs;
  options.progress_timeout_ms = kDayMs;
  options.idle_unload_ms = 0;
  return std::unique_ptr<Answerer>(std::make_unique<LocalAnswerer>(std::move(source), std::move(options)));
}

}  // namespace shoal::cli
