// The Engine that runs models in worker processes, one per loaded model: starts a worker with the first request
// for its model, watches it, restarts it, and unloads idle ones when the memory budget needs their room.
// Place: between gateway/ and the workers; models come from a ModelSource, frames from ipc/.
// Use: make one, call start(); on shutdown drain(), then destroy it. Destroying kills what still runs.
// Owned by cli/'s App, after the io_context and everything passed here. Threads: the one I/O thread that runs the
// executor. Workers die with the thread that spawned them (PDEATHSIG), so that thread must live as long as the
// gateway, and no other may call in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/engine/engine.h"
#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"
#include "shoal/telemetry/metrics.h"

namespace shoal::engine {

class Supervisor final : public Engine {
 public:
  // Everything passed by reference must outlive the Supervisor, and the registry every worker.
  Supervisor(base::Executor executor, const base::Clock& clock, base::Log& log, const ModelSource& source,
             telemetry::Registry& registry, SupervisorOptions options);
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() override;

  [[nodiscard]] std::vector<types::ModelInfo> models() const override;
  [[nodiscard]] Result<types::ModelInfo> resolve(const std::string& name) const override;
  // A row per model of the source, and per worker whose model left the source.
  [[nodiscard]] std::vector<WorkerStatus> status() const override;
  Result<std::unique_ptr<Generation>> start(GenerateRequest request, base::Yield yield) override;
  Result<EmbedResult> embed(EmbedRequest request, base::Yield yield) override;
  Result<ScoreResult> score(ScoreRequest request, base::Yield yield) override;
  Result<TokenizeResult> tokenize(TokenizeRequest request, base::Yield yield) override;
  Result<std::string> detokenize(DetokenizeRequest request, base::Yield yield) override;
  // Also forgets that a model was given up, and tries again.
  Result<void> load(const std::string& model, base::Yield yield) override;

  // After a reload of the configuration: models that were given up may be tried again.
  void forgive_failures();

  // Unloads a model when no request runs on it. Errors: kModelNotFound, kOverloaded when it is busy.
  Result<void> unload(const std::string& model);

  // Takes no new request, lets the running ones finish until `deadline`, ends the rest with kShuttingDown, then
  // stops every worker (at most stop_timeout_ms longer). Returns when no process is left.
  void drain(base::Deadline deadline, base::Yield yield);

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace shoal::engine
