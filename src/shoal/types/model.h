// What is known of a local model, and the state that its worker is in: the rows of GET /v1/models,
// `shoal ps` and `shoal models show`. Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace shoal::types {

enum class ModelState : std::uint8_t { kStopped, kLoading, kReady, kFailed };

struct ModelInfo {
  std::string name;          // as clients name it: "smollm2-135m-instruct"
  std::string architecture;  // GGUF general.architecture
  std::string path;          // of the GGUF
  std::string sha256;        // lower-case hex; empty when never hashed (a file used in place)
  std::uint64_t bytes = 0;
  std::uint32_t context_length = 0;  // trained
  std::uint32_t embedding_length = 0;
  bool generates = false;  // chat and completions
  bool embeds = false;     // embeddings
  bool has_chat_template = false;
  std::string quantisation;                          // the type of most weights: "Q4_1"
  std::string template_sha256;                       // of the chat template; empty: it has none
  std::vector<std::uint32_t> matryoshka_dimensions;  // sizes that `dimensions` may ask for; empty: not trained for it
};

// What else a client may name as its model: a route, or a model of a provider.
struct OtherModel {
  std::string name;   // "shoal-auto", "openai/gpt-4o-mini"
  std::string owner;  // the provider; empty: it is a route
};

}  // namespace shoal::types
