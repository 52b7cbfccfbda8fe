// LlamaModel: worker::Model on llama.cpp; the only file pair that sees llama.h.
// Use: load_backends() while files may still be opened, close the sandbox, then load() from the inherited
// descriptor. Owned by main. Threads: the compute thread, but interrupt().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "shoal/base/result.h"
#include "shoal/types/kv_type.h"
#include "shoal/worker/model.h"

namespace shoal::worker::llama {

struct LoadOptions {
  int model_fd = -1;  // a GGUF; taken over
  std::uint32_t context_length = 4096;
  std::uint32_t slots = 4;
  std::uint32_t threads = 2;
  std::uint32_t ubatch = 512;
  bool use_mmap = false;
  bool exact = false;         // logits do not depend on neighbours, chunks or kept prefixes, bit for bit
  bool keep_prefixes = true;  // where the model can
  types::KvType kv_type = types::KvType::kF16;  // quantised: the width of a head is a multiple of its block
};

// Routes llama.cpp's log (errors only) and its abort message to stderr. First of all.
void install_handlers();

// Loads the best of ggml's CPU backends for this machine. Returns its name: "zen4". Errors: kInternal when
// none is beside the libraries.
[[nodiscard]] Result<std::string> load_backends();

// Errors: kModelInvalid (llama.cpp refuses the file), kInsufficientMemory.
[[nodiscard]] Result<std::unique_ptr<Model>> load(const LoadOptions& options);

}  // namespace shoal::worker::llama
