// Asks a model from the command line: through the server that runs on this machine, or, without one, with a worker
// of this process. Used by `run`, `chat` and `embed`. Owned by the command. Threads: the main thread; calls block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/config/config.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"

namespace shoal::cli {

struct Turn {
  std::string model;
  std::vector<types::Message> messages;
  std::optional<std::int32_t> max_tokens;
  std::optional<float> temperature;
  std::optional<std::uint64_t> seed;
};

struct TurnEnd {
  std::string finish_reason;  // "stop", "length"
  types::Usage usage;
};

struct Embeddings {
  std::vector<std::vector<float>> rows;  // [texts][dimensions]
  std::int32_t prompt_tokens = 0;
};

using TextSink = std::function<void(std::string_view)>;

class Answerer {
 public:
  virtual ~Answerer() = default;
  // Hands the answer to `sink` as it comes. Errors: those of engine::Engine, kUnreachable; kCancelled after Ctrl-C.
  virtual Result<TurnEnd> chat(const Turn& turn, const TextSink& sink) = 0;
  // The model's own name, for one that may be an alias. Errors: kModelNotFound (with suggestion), kUnreachable.
  virtual Result<std::string> resolve(const std::string& model) = 0;
  // Errors: as chat().
  virtual Result<Embeddings> embed(const std::string& model, const std::vector<std::string>& texts) = 0;
};

// The server that answers on the admin socket of this configuration; empty when none does.
[[nodiscard]] std::unique_ptr<Answerer> find_server(const config::Config& config);
// A worker of our own. Errors: as make_model_source() and supervisor_options().
[[nodiscard]] Result<std::unique_ptr<Answerer>> make_local_answerer(const config::Config& config);

}  // namespace shoal::cli
