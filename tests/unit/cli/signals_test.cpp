#include "shoal/cli/signals.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "shoal/base/async.h"

namespace shoal::cli {
namespace {

using testing::ElementsAre;

class Listener : public testing::Test {
 protected:
  static void send(int signal) { ::kill(::getpid(), signal); }

  boost::asio::io_context io_;
  std::vector<int> heard_;
};

TEST_F(Listener, HearsWhatComesBeforeAndWhileTheContextRuns) {
  const Signals signals({SIGTERM, SIGHUP});
  SignalListener listener(io_, signals, [&](int signal) {
    heard_.push_back(signal);
    if (heard_.size() == 3) listener.stop();
  });
  send(SIGTERM);
  // A coroutine that ends takes nothing with it.
  base::spawn(io_, "sender", [](const base::Yield&) { send(SIGHUP); });
  base::spawn(io_, "late", [&](const base::Yield& yield) {
    base::Timer timer(io_, std::chrono::milliseconds(20));
    base::error_code error;
    timer.async_wait(yield[error]);
    send(SIGTERM);
  });
  io_.run();
  ASSERT_EQ(heard_.size(), 3U);
  EXPECT_EQ(heard_.back(), SIGTERM);
}

TEST_F(Listener, HearsNothingAfterItWasStopped) {
  const Signals signals({SIGTERM});
  SignalListener listener(io_, signals, [&](int signal) { heard_.push_back(signal); });
  send(SIGTERM);
  listener.stop();
  EXPECT_GE(io_.run(), 0U);  // ends: nothing waits any more
  EXPECT_TRUE(heard_.empty());
}

TEST_F(Listener, ForgetsAtItsEndWhatItDidNotHear) {
  {
    const Signals signals({SIGTERM});
    const SignalListener listener(io_, signals, [&](int signal) { heard_.push_back(signal); });
    send(SIGTERM);
  }
  // Alive, and the next one hears only what comes now.
  const Signals signals({SIGTERM, SIGHUP});
  SignalListener next(io_, signals, [&](int signal) {
    heard_.push_back(signal);
    next.stop();
  });
  send(SIGHUP);
  io_.run();
  EXPECT_THAT(heard_, ElementsAre(SIGHUP));
}

}  // namespace
}  // namespace shoal::cli
