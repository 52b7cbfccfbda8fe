// Runs a coroutine of a command to its end on the command's own thread, with Ctrl-C as its stop: what it computes ends
// with kCancelled, and a second Ctrl-C ends the process.
// Owned by nobody; a function. Threads: the main thread, which runs `io`.
#pragma once

#include <csignal>
#include <functional>
#include <optional>
#include <stop_token>
#include <utility>

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "shoal/base/async.h"
#include "shoal/base/result.h"

namespace shoal::cli {

inline constexpr int kInterruptedExit = 130;  // of the table of exit codes in base/error.def

// `signals` beside SIGINT request the stop too. `stop` is a new one for each call.
template <class T>
Result<T> run_interruptible(boost::asio::io_context& io, std::stop_source& stop, std::initializer_list<int> signals,
                            const std::function<Result<T>(base::Yield)>& body) {
  std::optional<Result<T>> result;
  io.restart();
  stop = std::stop_source();
  boost::asio::signal_set waiting(io, SIGINT);
  for (const int signal : signals) waiting.add(signal);
  std::function<void()> listen = [&] {
    waiting.async_wait([&](const base::error_code& error, int) {
      if (error) return;
      if (!stop.request_stop()) ::_exit(kInterruptedExit);
      listen();
    });
  };
  listen();
  base::spawn(io, "command", [&](base::Yield yield) { result.emplace(body(std::move(yield))); });
  while (!result) io.run_one();
  waiting.cancel();
  io.poll();
  return std::move(*result);
}

}  // namespace shoal::cli
