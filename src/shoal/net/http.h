// An HTTP/1.1 request and the writer of its response, free of any parser's types.
//
// The writer has two states. *Held*: nothing has left; the status, headers and events collect in memory
// and may still be replaced by an error, or by another model's answer. *Committed*: the status line is on
// the wire; only more of the same answer, or an error frame and a close, may follow. The pipeline decides
// when to commit; the writer makes sure that nobody can do the wrong thing after.
//
// Owned by the connection for one request. Threads: the I/O thread of the connection.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/async.h"
#include "shoal/base/result.h"

namespace shoal::net {

enum class ListenerKind : std::uint8_t { kPublic, kAdmin };

struct HttpRequest {
  std::string method;                                        // as sent: "POST"
  std::string path;                                          // percent-decoded, without query: "/v1/models/a b"
  std::string query;                                         // raw, without '?'
  std::vector<std::pair<std::string, std::string>> headers;  // in order, names as sent
  std::string body;                                          // the client's bytes
  std::string id;  // of the request: a valid x-request-id of the client, or our own
  ListenerKind listener = ListenerKind::kPublic;

  // The first header of that name, ignoring case; empty when there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
};

class ResponseWriter {
 public:
  enum class State : std::uint8_t { kHeld, kCommitted, kFinished };

  virtual ~ResponseWriter() = default;

  [[nodiscard]] virtual State state() const = 0;

  // REQUIRES: kHeld; `name` outlives this: it is a literal. Replaces a header of the same name.
  virtual void set_header(std::string_view name, std::string value) = 0;

  // A whole response with a Content-Length. REQUIRES: kHeld. -> kFinished.
  // Errors: kCancelled when the client is gone, kRequestTimeout when it does not read (30 s a write).
  virtual Result<void> send(int status, std::string_view content_type, std::string_view body, base::Yield yield) = 0;

  // Makes this a text/event-stream with status 200; held until commit(). REQUIRES: kHeld.
  virtual void begin_event_stream() = 0;
  // One `data: ...` event. Held: collected. Committed: written. `data` has no newline.
  virtual Result<void> write_event(std::string_view data, base::Yield yield) = 0;
  // One `: text` comment, which every client skips. Ignored while held.
  virtual Result<void> write_comment(std::string_view text, base::Yield yield) = 0;
  // Sends the status, the headers and what was held. REQUIRES: kHeld and begin_event_stream().
  virtual Result<void> commit(base::Yield yield) = 0;
  // Ends the stream; the connection may be kept. REQUIRES: kCommitted. -> kFinished.
  virtual Result<void> end_stream(base::Yield yield) = 0;
  // Drops what was held, forgets begin_event_stream(). REQUIRES: kHeld.
  virtual void discard() = 0;
  // The connection is closed after this response.
  virtual void close_after() = 0;

  // Stop is requested, on the I/O thread, when the client goes away before the handler has ended; at once when it has.
  [[nodiscard]] virtual std::stop_token cancel_token() = 0;
  [[nodiscard]] virtual bool client_gone() const = 0;
};

// Runs in the coroutine of the connection. Must leave the writer kFinished, or the connection is closed.
using Handler = std::function<void(const HttpRequest& request, ResponseWriter& writer, base::Yield yield)>;

}  // namespace shoal::net
