// A sink that writes down what it is told: "open", "commit model decision", "0:text", "0.stop", "raw {...}", "ping
// note", "discard", "done", "fail slug". Owned by the test. Threads: the test's io_context.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/gateway/answer.h"

#include "fakes/fake_engine.h"

namespace shoal::gateway {

class Recorder final : public AnswerSink {
 public:
  explicit Recorder(bool streams) : streams_(streams) {}

  Result<void> token(std::size_t index, const types::Token&, std::string_view text, base::Yield yield) override {
    if (stuck) stuck->wait(yield);
    return say(std::to_string(index) + ":" + std::string(text));
  }
  Result<void> finished(std::size_t index, types::FinishReason reason, std::string_view text, base::Yield) override {
    return say(std::to_string(index) + (reason == types::FinishReason::kStop ? ".stop" : ".length") +
               std::string(text));
  }
  [[nodiscard]] bool streams() const override { return streams_; }
  Result<void> relay(types::RemoteEvent event, base::Yield) override { return say("raw " + event.raw); }
  Result<void> open_stream(const types::Receipt&, base::Yield) override {
    EXPECT_TRUE(streams_ && !open_);
    open_ = true;
    return say("open");
  }
  [[nodiscard]] bool open() const override { return open_ || (streams_ && committed_); }
  Result<void> commit(const types::Receipt& r, base::Yield) override {
    EXPECT_FALSE(committed_);
    committed_ = true;
    EXPECT_TRUE(r.local() || r.egress != "none") << "the client is told with the first byte";
    return say("commit " + r.model + " " + std::string(types::decision_name(r.decision)));
  }
  [[nodiscard]] bool committed() const override { return committed_; }
  void discard() override {
    EXPECT_FALSE(committed_);
    said.emplace_back("discard");
  }
  Result<void> ping(std::string_view note, base::Yield) override {
    EXPECT_TRUE(open());
    if (on_ping) on_ping();
    return say("ping " + std::string(note));
  }
  Result<void> done(const types::Receipt& with, base::Yield) override {
    receipt = with;
    return say("done");
  }
  void fail(const Error& error, const types::Receipt& told, base::Yield) override {
    receipt = told;
    said.push_back("fail " + std::string(error.info().slug));
    last_error = error;
  }

  std::vector<std::string> said;
  types::Receipt receipt;
  std::optional<Error> last_error;
  std::function<void()> on_ping;
  std::function<void(const std::string&)> on_say;
  bool broken = false;
  std::shared_ptr<fakes::Gate> stuck;  // a client that does not read

 private:
  Result<void> say(std::string what) {
    said.push_back(what);
    if (on_say) on_say(what);
    if (broken) return Error(ErrorCode::kCancelled, "gone");
    return {};
  }
  const bool streams_;
  bool open_ = false;
  bool committed_ = false;
};

}  // namespace shoal::gateway
