// WorkMeter: adds up what was computed and in what time, for the rates that `shoal ps` shows. Owned by the Scheduler.
// Threads: the compute thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "shoal/ipc/frames.h"
#include "shoal/worker/model.h"

namespace shoal::worker {

class WorkMeter {
 public:
  // A step that is done. `prompt_tokens` of the batch belong to prompts.
  void step(std::span<const BatchToken> batch, std::size_t prompt_tokens, std::int64_t ns) {
    if (prompt_tokens > 0) return prefilled(batch.size(), ns);
    ++total_.decode_steps;
    total_.decode_tokens += batch.size();
    total_.decode_ns += static_cast<std::uint64_t>(ns);
    // The tokens of a sequence follow each other; the last of them attends to all of its cells.
    for (std::size_t i = 0; i < batch.size(); ++i) {
      if (i + 1 < batch.size() && batch[i + 1].sequence == batch[i].sequence) continue;
      total_.decode_cells += static_cast<std::uint64_t>(batch[i].position) + 1;
    }
  }
  void prefilled(std::size_t tokens, std::int64_t ns) {
    total_.prefill_tokens += tokens;
    total_.prefill_ns += static_cast<std::uint64_t>(ns);
  }

  [[nodiscard]] const ipc::Work& total() const { return total_; }

 private:
  ipc::Work total_;
};

}  // namespace shoal::worker
