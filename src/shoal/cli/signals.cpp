#include "shoal/cli/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

namespace shoal::cli {

Signals::Signals(std::initializer_list<int> which) {
  sigset_t set{};
  sigemptyset(&set);
  for (const int signal : which) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, &before_);
  fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

Signals::~Signals() {
  while (take() != 0) continue;
  ::close(fd_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

int Signals::take() const {
  signalfd_siginfo info{};
  return ::read(fd_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace shoal::cli
