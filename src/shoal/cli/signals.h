// Signals as something to wait for: while it lives they neither end the process nor interrupt a call; they make fd()
// readable. What came and was not taken is forgotten at its end.
// Use: `Signals signals({SIGINT}); ... poll(signals.fd()) ... signals.take()`. Owned by the command that waits.
// Threads: the one that made it; other threads, if any, must have the signals blocked.
#pragma once

#include <initializer_list>

#include <signal.h>

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

}  // namespace shoal::cli
