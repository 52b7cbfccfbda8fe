#include "shoal/cli/signals.h"

#include <utility>

#include <sys/signalfd.h>
#include <unistd.h>

#include "shoal/base/async.h"

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

SignalListener::SignalListener(boost::asio::io_context& io, const Signals& signals, std::function<void(int)> on_signal)
    : signals_(signals), on_signal_(std::move(on_signal)), readable_(io, signals_.fd()) {
  wait();
}

void SignalListener::stop() {
  if (readable_.is_open()) readable_.release();
}

void SignalListener::wait() {
  readable_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const base::error_code& error) {
    if (error) return;
    wait();  // first: on_signal_ may stop this
    while (const int signal = signals_.take()) on_signal_(signal);
  });
}

}  // namespace shoal::cli
