// The ResponseWriter of a connection. Private to net/. Owned by the connection for one request.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/net/connection.h"
#include "shoal/net/http.h"
#include "shoal/net/response.h"

namespace shoal::net {

class ConnectionWriter final : public ResponseWriter {
 public:
  ConnectionWriter(Connection& connection, const RequestHead& head, std::string request_id);

  [[nodiscard]] State state() const override { return state_; }
  void set_header(std::string_view name, std::string value) override;
  Result<void> send(int status, std::string_view content_type, std::string_view body, base::Yield yield) override;
  void begin_event_stream() override;
  Result<void> write_event(std::string_view data, base::Yield yield) override;
  Result<void> write_comment(std::string_view text, base::Yield yield) override;
  Result<void> commit(base::Yield yield) override;
  Result<void> end_stream(base::Yield yield) override;
  void discard() override;
  void close_after() override { close_after_ = true; }
  [[nodiscard]] std::stop_token cancel_token() override { return connection_.cancel_token(); }
  [[nodiscard]] bool client_gone() const override { return connection_.gone(); }

  // The connection may carry another request.
  [[nodiscard]] bool reusable() const { return state_ == State::kFinished && !close_after_; }

 private:
  // The status line, the fields of every response, then those of the handler.
  void append_head(std::string& out, int status) const;
  // A piece of the stream.
  void append_frame(std::string& out, std::initializer_list<std::string_view> parts) const;
  // Writes what `append` puts into a buffer.
  template <class Append>
  Result<void> write(Append append, base::Yield yield);

  Connection& connection_;
  std::string request_id_;
  std::vector<std::pair<std::string_view, std::string>> fields_;
  std::string held_;  // events before commit()
  State state_ = State::kHeld;
  bool head_only_;
  bool chunked_;
  bool close_after_;
  bool event_stream_ = false;
};

}  // namespace shoal::net
