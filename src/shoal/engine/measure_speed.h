// How fast two models answer on this machine, side by side through the engine that will serve them: the same requests
// to one and to the other in turn, so that whatever else the machine does meanwhile slows both. Per round: one prompt,
// one stream, sixteen streams; the first round, which warms up, also finds out how much work fits about a second.
// Used by cli/'s optimise. Both workers stay loaded. Threads: the I/O thread; the call suspends its coroutine.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"

namespace shoal::engine {

inline constexpr std::uint32_t kMeasuredStreams = 16;

// Tokens per second.
struct Speed {
  double prefill = 0;
  double decode = 0;   // one stream
  double streams = 0;  // kMeasuredStreams at the same time, prompts included
};

struct SpeedOptions {
  std::string source;     // names of models
  std::string candidate;  //
  std::uint32_t vocabulary = 0;
  std::uint32_t context_length = 0;  // trained
  std::uint32_t rounds = 5;
  std::stop_token cancel;
  std::function<void(std::uint32_t done, std::uint32_t rounds)> on_round;
};

struct SpeedReport {
  std::vector<Speed> source;  // a row per round
  std::vector<Speed> candidate;
  std::uint64_t source_bytes = 0;  // resident, after the last round
  std::uint64_t candidate_bytes = 0;
};

// Errors: as Engine::start() and Generation::next(). REQUIRES: the engine has kMeasuredStreams slots and room for both
// models at the same time.
[[nodiscard]] Result<SpeedReport> measure_speed(Engine& engine, const base::Clock& clock, const SpeedOptions& options,
                                                base::Yield yield);

}  // namespace shoal::engine
