// A ResponseWriter that keeps what was sent, checks the order of the calls as net/ does, and can lose its
// client. Owned by the test. Threads: the test's io_context.
#pragma once

#include <cassert>
#include <functional>
#include <map>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "shoal/net/http.h"

namespace shoal::fakes {

class FakeWriter final : public net::ResponseWriter {
 public:
  [[nodiscard]] State state() const override { return state_; }
  void set_header(std::string_view name, std::string value) override {
    assert(state_ == State::kHeld);
    headers[std::string(name)] = std::move(value);
  }
  Result<void> send(int with_status, std::string_view type, std::string_view with_body, base::Yield) override {
    assert(state_ == State::kHeld && !streaming_);
    state_ = State::kFinished;
    status = with_status;
    content_type = type;
    body = with_body;
    return outcome();
  }
  void begin_event_stream() override {
    assert(state_ == State::kHeld);
    streaming_ = true;
  }
  Result<void> write_event(std::string_view data, base::Yield) override {
    assert(streaming_ && state_ != State::kFinished && !data.contains('\n'));
    (state_ == State::kHeld ? held_ : events).emplace_back(data);
    if (on_event) on_event();
    return outcome();
  }
  Result<void> write_comment(std::string_view text, base::Yield) override {
    assert(!text.contains('\n'));
    if (state_ == State::kCommitted) comments.emplace_back(text);
    if (on_comment) on_comment();
    return outcome();
  }
  Result<void> commit(base::Yield) override {
    assert(state_ == State::kHeld && streaming_);
    state_ = State::kCommitted;
    status = 200;
    events.insert(events.end(), held_.begin(), held_.end());
    return outcome();
  }
  Result<void> end_stream(base::Yield) override {
    assert(state_ == State::kCommitted);
    state_ = State::kFinished;
    return outcome();
  }
  void discard() override {
    assert(state_ == State::kHeld);
    held_.clear();
    streaming_ = false;
  }
  void close_after() override { closes = true; }
  [[nodiscard]] std::stop_token cancel_token() override { return cancel_.get_token(); }
  [[nodiscard]] bool client_gone() const override { return gone_; }

  void lose_client() {
    gone_ = true;
    cancel_.request_stop();
  }

  int status = 0;
  std::string content_type;
  std::string body;
  std::map<std::string, std::string> headers;
  std::vector<std::string> events;
  std::vector<std::string> comments;
  bool closes = false;
  std::function<void()> on_event;    // called after each event
  std::function<void()> on_comment;  // called after each comment

 private:
  [[nodiscard]] Result<void> outcome() const {
    if (gone_) return Error(ErrorCode::kCancelled, "the client is gone");
    return {};
  }

  State state_ = State::kHeld;
  bool streaming_ = false;
  bool gone_ = false;
  std::vector<std::string> held_;
  std::stop_source cancel_;
};

}  // namespace shoal::fakes
