// mock_upstream: a provider that costs nothing, for bench/gateway and tests of money. One thread, one epoll,
// keep-alive; POST /v1/chat/completions is answered at once.
//
//   mock_upstream [--port N]     prints its port; without N any free one
//
// The name of the model, of which only what follows the last slash counts, says how:
//
//   gpt, or any other     345 bytes and 12 tokens; with "stream": true 21 chunks in one write, then usage if asked for
//   exact...              the usage says that max_tokens were used: all that was reserved
//   half...               the usage says half of it
//   each...               another number each time, kept by x-request-id: GET /each has a line "ID TOKENS" for each
//   ...-50fps             streams one numbered chunk for each of max_tokens, so many a second
//
// The text of a chunk is "#NUMBER ", at a rate "#NUMBER@MICROSECOND " with the CLOCK_MONOTONIC time of its write.
// GET /count tells requests and tokens by model, streams whose client left, and open connections.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <unistd.h>

#include "sockets.h"

namespace {

using bench::now_ns;

constexpr std::int64_t kTokens = 12, kPromptTokens = 40, kDefaultMaxTokens = 64;
constexpr std::int64_t kChunks = 21;  // the one with the role and the one with the reason in them
constexpr std::size_t kWholeBytes = 345;
constexpr std::int64_t kSecondNs = 1'000'000'000;

struct Model {
  std::int64_t requests = 0, completion_tokens = 0;
};

struct Connection {
  std::string in, out;
  bool waits_to_write = false;
  // A stream at a rate, while it runs: its next frame is due at begin_ns + frame * period_ns.
  bool streaming = false, with_usage = false;
  std::string model;
  std::int64_t frame = 0, frames = 0, begin_ns = 0, period_ns = 0;
  std::uint64_t id = 0;  // descriptors are used again
};

// What of a request counts. Keys are searched, not parsed: inside of texts their quotes are escaped.
struct Question {
  std::string_view model;  // after the last slash
  bool stream = false, with_usage = false;
  std::int64_t max_tokens = kDefaultMaxTokens;
};

std::string_view after_key(std::string_view body, std::string_view quoted_key) {
  const std::size_t at = body.find(quoted_key);
  if (at == std::string_view::npos) return {};
  body.remove_prefix(at + quoted_key.size());
  while (!body.empty() && (body.front() == ' ' || body.front() == ':')) body.remove_prefix(1);
  return body;
}

Question read_question(std::string_view body) {
  Question question;
  std::string_view model = after_key(body, "\"model\"");
  if (model.starts_with('"')) model = model.substr(1, model.find('"', 1) - 1);
  question.model = model.substr(model.rfind('/') + 1);
  question.stream = after_key(body, "\"stream\"").starts_with("true");
  question.with_usage = after_key(body, "\"include_usage\"").starts_with("true");
  for (const std::string_view key : {"\"max_tokens\"", "\"max_completion_tokens\""}) {
    if (const auto tokens = bench::leading_number(after_key(body, key))) question.max_tokens = *tokens;
  }
  return question;
}

std::int64_t tokens_used(const Question& question) {
  if (question.model.starts_with("exact")) return question.max_tokens;
  if (question.model.starts_with("half")) return question.max_tokens / 2;
  return kTokens;
}

// Of "mock-50fps" 50; 0 when the name says no rate.
std::int64_t frames_per_second(std::string_view model) {
  const std::size_t dash = model.rfind('-');
  if (!model.ends_with("fps") || dash == std::string_view::npos) return 0;
  return std::max<std::int64_t>(bench::leading_number(model.substr(dash + 1)).value_or(0), 0);
}

std::string usage_json(std::int64_t completion) {
  return R"({"prompt_tokens":)" + std::to_string(kPromptTokens) + R"(,"completion_tokens":)" +
         std::to_string(completion) + R"(,"total_tokens":)" + std::to_string(kPromptTokens + completion) + "}";
}

std::string plain_response(std::string_view status, std::string_view body) {
  return "HTTP/1.1 " + std::string(status) +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

std::string whole_response(const Question& question, std::int64_t tokens) {
  const std::string before = R"({"id":"chatcmpl-mock","object":"chat.completion","created":1700000000,"model":")" +
                             std::string(question.model) +
                             R"(","choices":[{"index":0,"message":{"role":"assistant","content":")";
  const std::string after = R"("},"finish_reason":"stop"}],"usage":)" + usage_json(tokens) + "}";
  std::string text = "Your transfer is on its way.";
  if (const std::size_t size = before.size() + text.size() + after.size(); size < kWholeBytes)
    text.append(kWholeBytes - size, '.');
  return plain_response("200 OK", before + text + after);
}

void append_event(std::string& out, std::string_view event) {
  char size[24];
  std::snprintf(size, sizeof size, "%zx\r\n", event.size() + 8);
  (((out += size) += "data: ") += event) += "\n\n\r\n";
}

void append_chunk(std::string& out, std::string_view model, std::string_view choices, std::string_view usage) {
  append_event(out, R"({"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1700000000,"model":")" +
                        std::string(model) + R"(","choices":[)" + std::string(choices) + "]" + std::string(usage) +
                        "}");
}

void append_delta(std::string& out, std::string_view model, std::string_view delta, bool last, bool with_usage) {
  append_chunk(
      out, model,
      R"({"index":0,"delta":{)" + std::string(delta) + R"(},"finish_reason":)" + (last ? R"("stop"})" : "null}"),
      with_usage ? R"(,"usage":null)" : "");
}

void begin_stream(std::string& out, std::string_view model, bool with_usage) {
  out +=
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
      "Transfer-Encoding: chunked\r\n\r\n";
  append_delta(out, model, R"("role":"assistant","content":"")", false, with_usage);
}

void end_stream(std::string& out, std::string_view model, std::int64_t tokens, bool with_usage) {
  append_delta(out, model, "", true, with_usage);
  if (with_usage) append_chunk(out, model, "", R"(,"usage":)" + usage_json(tokens));
  append_event(out, "[DONE]");
  out += "0\r\n\r\n";
}

class Server {
 public:
  explicit Server(std::uint16_t port) {
    const sockaddr_in address = bench::loopback(port);
    const int on = 1;
    setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) bench::die("bind");
    if (listen(listener_, 4096) != 0) bench::die("listen");
    bench::watch(epoll_, EPOLL_CTL_ADD, listener_, EPOLLIN);
  }

  [[nodiscard]] std::uint16_t port() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    return ntohs(address.sin_port);
  }

  [[noreturn]] void run() {
    epoll_event ready[512];
    for (;;) {
      const std::int64_t wait_ns = send_due_frames();
      const timespec timeout{wait_ns / kSecondNs, wait_ns % kSecondNs};
      const int count = epoll_pwait2(epoll_, ready, 512, wait_ns < 0 ? nullptr : &timeout, nullptr);
      if (count < 0 && errno != EINTR) bench::die("epoll_pwait2");
      for (int i = 0; i < count; ++i) {
        const int fd = ready[i].data.fd;
        if (fd == listener_) {
          accept_all();
        } else if (ready[i].events == EPOLLOUT || read_from(fd)) {
          flush(fd);
        }
      }
    }
  }

 private:
  struct Due {
    std::int64_t at_ns;
    int fd;
    std::uint64_t id;
    bool operator>(const Due& other) const { return at_ns > other.at_ns; }
  };

  void accept_all() {
    for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      bench::no_delay(fd);
      connections_[fd].id = ++last_id_;
      bench::watch(epoll_, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
    if (errno != EAGAIN && errno != ECONNABORTED) bench::die("accept4");
  }

  // False when the connection is gone.
  bool read_from(int fd) {
    const ssize_t got = recv(fd, buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EAGAIN) return true;
    if (got <= 0) return drop(fd);
    Connection& c = connections_[fd];
    c.in.append(buffer_.data(), static_cast<std::size_t>(got));
    while (!c.streaming && answer_next(fd, c)) {
    }
    return true;
  }

  bool drop(int fd) {
    aborted_ += connections_[fd].streaming ? 1 : 0;
    connections_.erase(fd);
    close(fd);
    return false;
  }

  // False when no whole request is there.
  bool answer_next(int fd, Connection& c) {
    const std::size_t end = c.in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string_view head = std::string_view(c.in).substr(0, end + 2);
    const auto length = bench::leading_number(bench::header(head, "content-length").value_or("0"));
    const std::size_t size = end + 4 + static_cast<std::size_t>(length.value_or(0));
    if (c.in.size() < size) return false;
    answer(fd, c, head, std::string_view(c.in).substr(end + 4, size - end - 4));
    c.in.erase(0, size);
    return true;
  }

  void answer(int fd, Connection& c, std::string_view head, std::string_view body) {
    if (head.starts_with("GET /count ")) {
      c.out += plain_response("200 OK", counts());
    } else if (head.starts_with("GET /each ")) {
      c.out += plain_response("200 OK", each_);
    } else if (head.starts_with("GET /v1/models ")) {
      c.out += plain_response("200 OK", R"({"object":"list","data":[{"id":"gpt","object":"model"}]})");
    } else if (bench::header(head, "transfer-encoding")) {
      c.out += plain_response("411 Length Required", R"({"error":{"message":"a body needs a Content-Length"}})");
    } else if (!head.starts_with("POST /v1/chat/completions ")) {
      c.out += plain_response("404 Not Found", R"({"error":{"message":"there are chat completions only"}})");
    } else if (const Question question = read_question(body);
               question.model.empty() || question.model.find('\\') != std::string_view::npos) {
      c.out += plain_response("400 Bad Request", R"({"error":{"message":"model: a plain name is wanted"}})");
    } else {
      chat(fd, c, question, bench::header(head, "x-request-id").value_or("-"));
    }
  }

  void chat(int fd, Connection& c, const Question& question, std::string_view request_id) {
    auto known = models_.find(question.model);
    if (known == models_.end()) known = models_.emplace(question.model, Model{}).first;
    const std::int64_t fps = question.stream ? frames_per_second(question.model) : 0;
    const bool each = question.model.starts_with("each");
    const std::int64_t tokens = fps > 0 ? question.max_tokens
                                : each  ? 1 + known->second.requests % question.max_tokens
                                        : tokens_used(question);
    if (each) each_ += std::string(request_id) + " " + std::to_string(tokens) + "\n";
    ++known->second.requests;
    known->second.completion_tokens += tokens;
    if (!question.stream) {
      c.out += whole_response(question, tokens);
      return;
    }
    begin_stream(c.out, question.model, question.with_usage);
    if (fps > 0) {
      c.streaming = true;
      c.with_usage = question.with_usage;
      c.model = question.model;
      c.frame = 0;
      c.frames = tokens;
      c.begin_ns = now_ns();
      c.period_ns = kSecondNs / fps;
      due_.push({c.begin_ns + c.period_ns, fd, c.id});
      return;
    }
    for (std::int64_t i = 1; i <= kChunks - 2; ++i)
      append_delta(c.out, question.model, R"("content":"#)" + std::to_string(i) + " \"", false, question.with_usage);
    end_stream(c.out, question.model, tokens, question.with_usage);
  }

  // Returns how long no other is due; -1 when no stream runs.
  std::int64_t send_due_frames() {
    while (!due_.empty()) {
      const Due due = due_.top();
      const std::int64_t now = now_ns();
      if (due.at_ns > now) return due.at_ns - now;
      due_.pop();
      const auto found = connections_.find(due.fd);
      if (found == connections_.end() || found->second.id != due.id) continue;  // its client left
      send_frame(due.fd, found->second, now);
    }
    return -1;
  }

  void send_frame(int fd, Connection& c, std::int64_t now) {
    ++c.frame;
    append_delta(c.out, c.model, R"("content":"#)" + std::to_string(c.frame) + "@" + std::to_string(now / 1000) + " \"",
                 false, c.with_usage);
    if (c.frame < c.frames) {
      due_.push({c.begin_ns + (c.frame + 1) * c.period_ns, fd, c.id});
    } else {
      end_stream(c.out, c.model, c.frames, c.with_usage);
      c.streaming = false;
      while (!c.streaming && answer_next(fd, c)) {
      }
    }
    flush(fd);
  }

  // False when the connection is gone.
  bool flush(int fd) {
    Connection& c = connections_[fd];
    if (c.out.empty()) return true;
    const ssize_t sent = send(fd, c.out.data(), c.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    if (sent > 0) c.out.erase(0, static_cast<std::size_t>(sent));
    if (c.out.empty() == c.waits_to_write) {
      c.waits_to_write = !c.out.empty();
      bench::watch(epoll_, EPOLL_CTL_MOD, fd, EPOLLIN | (c.waits_to_write ? EPOLLOUT : 0U));
    }
    return true;
  }

  [[nodiscard]] std::string counts() const {
    std::int64_t requests = 0;
    std::string by_model;
    for (const auto& [name, model] : models_) {
      requests += model.requests;
      by_model += (by_model.empty() ? "\"" : ",\"") + name + R"(":{"requests":)" + std::to_string(model.requests) +
                  R"(,"completion_tokens":)" + std::to_string(model.completion_tokens) + "}";
    }
    return R"({"requests":)" + std::to_string(requests) + R"(,"aborted_streams":)" + std::to_string(aborted_) +
           R"(,"connections":)" + std::to_string(connections_.size()) + R"(,"models":{)" + by_model + "}}";
  }

  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  const int listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  std::vector<char> buffer_ = std::vector<char>(1 << 16);
  std::unordered_map<int, Connection> connections_;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  std::map<std::string, Model, std::less<>> models_;
  std::uint64_t last_id_ = 0;
  std::int64_t aborted_ = 0;
  std::string each_;
};

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  if (argc == 3 && std::string_view(argv[1]) == "--port") {
    port = static_cast<std::uint16_t>(bench::leading_number(argv[2]).value_or(0));
  } else if (argc != 1) {
    std::fprintf(stderr, "usage: mock_upstream [--port N]\n");
    return 2;
  }
  Server server(port);
  std::printf("%d\n", server.port());
  std::fflush(stdout);
  server.run();
}
