// Signals as something to wait for: while it lives they neither end the process nor interrupt a call; they make fd()
// readable. What came and was not taken is forgotten at its end.
// Use: `Signals signals({SIGINT}); ... poll(signals.fd()) ... signals.take()`, or a SignalListener where an io_context
// runs. Owned by the command that waits.
// Threads: the one that made it; other threads, if any, must have the signals blocked.
#pragma once

#include <functional>
#include <initializer_list>

#include <signal.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

namespace shoal::cli {

class Signals {
 public:
  Signals(std::initializer_list<int> which);
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  // The next that came; 0: none did.
  [[nodiscard]] int take() const;

 private:
  sigset_t before_{};
  int fd_ = -1;
};

// Calls `on_signal` with each signal that comes, on the thread that runs `io`, from its construction until stop(),
// which on_signal may call, or its end. `signals` must outlive it.
class SignalListener {
 public:
  SignalListener(boost::asio::io_context& io, const Signals& signals, std::function<void(int)> on_signal);
  ~SignalListener() { stop(); }
  SignalListener(const SignalListener&) = delete;
  SignalListener& operator=(const SignalListener&) = delete;

  void stop();

 private:
  void wait();

  const Signals& signals_;
  const std::function<void(int)> on_signal_;
  boost::asio::posix::stream_descriptor readable_;  // of signals_, which closes it
};

}  // namespace shoal::cli
