// Runs a coroutine of a command to its end on the command's own thread, with Ctrl-C as its stop: what it computes ends
// with kCancelled, and a second Ctrl-C ends the process.
// Owned by nobody; a function. Threads: the main thread, which runs `io`.
#pragma once

#include <csignal>
#include <functional>
#include <initializer_list>
#include <optional>
#include <stop_token>
#include <utility>

#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "shoal/base/async.h"
#include "shoal/base/result.h"
#include "shoal/cli/signals.h"

namespace shoal::cli {

inline constexpr int kInterruptedExit = 130;  // of the table of exit codes in base/error.def

// Each of `signals` requests the stop. `stop` is a new one for each call.
template <class T>
Result<T> run_interruptible(boost::asio::io_context& io, std::stop_source& stop, std::initializer_list<int> signals,
                            const std::function<Result<T>(base::Yield)>& body) {
  std::optional<Result<T>> result;
  io.restart();
  stop = std::stop_source();
  const Signals blocked(signals);
  SignalListener listener(io, blocked, [&stop](int) {
    if (!stop.request_stop()) ::_exit(kInterruptedExit);
  });
  base::spawn(io, "command", [&](base::Yield yield) { result.emplace(body(std::move(yield))); });
  while (!result) io.run_one();
  listener.stop();
  io.poll();
  return std::move(*result);
}

}  // namespace shoal::cli
