// load_client: the clients of the engine benchmarks, for every server alike. One thread, one epoll, no JSON: requests
// come ready-made, answers go back as they are, with the CLOCK_MONOTONIC microsecond at which each part came.
//
//   load_client PORT < plan > results     runs the plan; with --arrivals after PORT the kernel's time of each part, too
//   load_client --echo ANSWER_BYTES       a server that answers anything at once; prints its port
//   load_client --wake COUNT [MIB]        what waking a process that sleeps takes, in us, a line each; before each time
//                                         two threads read so much memory, as a model's weights for a token
//
// The plan is a list of requests, each a line and that many raw bytes:
//
//   CONNECTION AFTER_EVENTS DELAY_US CANCEL_US FINAL BYTES
//
// The requests of a connection follow each other, those of different ones run side by side. A request waits until
// AFTER_EVENTS server-sent events have come in all, and DELAY_US more; CANCEL_US after it was sent its connection is
// closed (-1: never). When one with FINAL = 1 ends, all that still run are closed. Results: one JSON object a line.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <iostream>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr std::int64_t kNever = -1;
constexpr std::int64_t kGiveUpUs = 300'000'000;  // without a byte from anywhere

std::int64_t now_us() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000LL + now.tv_nsec / 1000;
}

[[noreturn]] void die(std::string_view what) {
  std::fprintf(stderr, "load_client: %.*s: %s\n", static_cast<int>(what.size()), what.data(), std::strerror(errno));
  std::exit(1);
}

struct Request {
  std::size_t connection = 0;
  std::uint64_t after_events = 0;
  std::int64_t delay_us = 0, cancel_us = kNever;
  int final = 0;
  std::string bytes;
  // Results.
  std::int64_t sent_us = 0, head_us = 0, end_us = 0;
  int status = 0;
  std::string outcome, body;
  std::vector<std::int64_t> events_us;   // when the client had read it
  std::vector<std::int64_t> arrived_us;  // when it came to the client's socket; only with --arrivals
};

// The body of one response, as its bytes come: by length, in chunks, or to the end of the connection.
class Response {
 public:
  // True when the response is complete.
  bool feed(std::string_view bytes, std::optional<std::int64_t> arrived_us, Request& request) {
    raw_ += bytes;
    if (!head_done_ && !read_head(request)) return false;
    const bool done = chunked_ ? take_chunks(request) : take_plain(request);
    for (std::size_t at; (at = request.body.find("\n\n", scanned_)) != std::string::npos; scanned_ = at + 2) {
      if (events_) request.events_us.push_back(now_us());
      if (events_ && arrived_us) request.arrived_us.push_back(*arrived_us);
    }
    return done;
  }
  [[nodiscard]] bool ends_with_connection() const { return head_done_ && !chunked_ && !length_; }

 private:
  bool read_head(Request& request) {
    const std::size_t end = raw_.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    request.head_us = now_us();
    request.status = std::atoi(raw_.c_str() + 9);
    std::string head = raw_.substr(0, end + 2);
    std::ranges::transform(head, head.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    chunked_ = head.find("\r\ntransfer-encoding: chunked") != std::string::npos;
    events_ = head.find("text/event-stream") != std::string::npos;
    constexpr std::string_view kLength = "\r\ncontent-length: ";
    if (const std::size_t at = head.find(kLength); at != std::string::npos)
      length_ = static_cast<std::size_t>(std::atoll(head.c_str() + at + kLength.size()));
    raw_.erase(0, end + 4);
    head_done_ = true;
    return true;
  }
  bool take_plain(Request& request) {
    request.body += raw_;
    raw_.clear();
    return length_ && request.body.size() >= *length_;
  }
  bool take_chunks(Request& request) {
    for (;;) {
      const std::size_t line = raw_.find("\r\n");
      if (line == std::string::npos) return false;
      const std::size_t size = std::strtoull(raw_.c_str(), nullptr, 16);
      if (raw_.size() < line + 2 + size + 2) return false;
      if (size == 0) return true;
      request.body.append(raw_, line + 2, size);
      raw_.erase(0, line + 2 + size + 2);
    }
  }

  std::string raw_;
  std::size_t scanned_ = 0;
  std::optional<std::size_t> length_;
  bool head_done_ = false, chunked_ = false, events_ = false;
};

struct Connection {
  int fd = -1;
  std::deque<std::size_t> waiting;  // requests still to send
  std::optional<std::size_t> running;
  std::optional<std::int64_t> gate_us;  // when the first of `waiting` was free to go
  bool reused = false;                  // it has carried a request before
  Response response;
};

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) die("connect");
  return fd;
}

// Reads what is there. With SO_TIMESTAMPNS set, `arrived_us` is when the last byte of it came to the socket: the kernel
// notes CLOCK_REALTIME, told here by CLOCK_MONOTONIC as all other times.
ssize_t receive_some(int fd, char* buffer, std::size_t size, std::optional<std::int64_t>& arrived_us) {
  iovec vector{buffer, size};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(timespec))];
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(fd, &message, 0);
  if (got <= 0) return got;
  for (const cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, const_cast<cmsghdr*>(c))) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec stamp{}, real{};
    std::memcpy(&stamp, CMSG_DATA(c), sizeof stamp);
    const std::int64_t monotonic_us = now_us();
    clock_gettime(CLOCK_REALTIME, &real);
    arrived_us = monotonic_us - ((real.tv_sec - stamp.tv_sec) * 1'000'000LL + (real.tv_nsec - stamp.tv_nsec) / 1000);
  }
  return got;
}

class Run {
 public:
  Run(int port, bool arrivals, std::vector<Request> requests)
      : port_(port), arrivals_(arrivals), requests_(std::move(requests)) {
    std::size_t count = 0;
    for (const Request& request : requests_) count = std::max(count, request.connection + 1);
    connections_.resize(count);
    for (std::size_t i = 0; i < requests_.size(); ++i) connections_[requests_[i].connection].waiting.push_back(i);
    left_ = requests_.size();
    for (std::size_t i = 0; i < count; ++i) open(i);
  }

  void run() {
    while (left_ > 0) {
      const std::int64_t wait_us = start_and_cancel();
      if (left_ == 0) return;
      epoll_event ready[64];
      const timespec timeout{wait_us / 1'000'000, wait_us % 1'000'000 * 1000};
      const int count = epoll_pwait2(epoll_, ready, 64, &timeout, nullptr);
      if (count < 0 && errno != EINTR) die("epoll_pwait2");
      if (count == 0 && wait_us == kGiveUpUs) return close_all("nothing came for 300 s");
      for (int i = 0; i < count; ++i) receive(ready[i].data.u64);
    }
  }
  [[nodiscard]] const std::vector<Request>& requests() const { return requests_; }

 private:
  void open(std::size_t index) {
    Connection& c = connections_[index];
    c.fd = connect_to(port_);
    const int on = 1;
    if (arrivals_ && setsockopt(c.fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) != 0) die("SO_TIMESTAMPNS");
    c.reused = false;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, c.fd, &event) != 0) die("epoll_ctl");
  }

  // Sends what may go, closes what is to be cancelled; returns how long nothing of that is due.
  std::int64_t start_and_cancel() {
    std::int64_t wait_us = kGiveUpUs;
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      Connection& c = connections_[i];
      const std::int64_t now = now_us();
      if (c.running) {
        const Request& request = requests_[*c.running];
        if (request.cancel_us == kNever) continue;
        const std::int64_t left = request.sent_us + request.cancel_us - now;
        if (left <= 0) {
          end(c, "cancelled");
        } else {
          wait_us = std::min(wait_us, left);
        }
        continue;
      }
      if (c.waiting.empty() || events_ < requests_[c.waiting.front()].after_events) continue;
      if (!c.gate_us) c.gate_us = now;
      const std::int64_t left = *c.gate_us + requests_[c.waiting.front()].delay_us - now;
      if (left > 0) {
        wait_us = std::min(wait_us, left);
      } else {
        send_next(i);
      }
    }
    return wait_us;
  }

  void send_next(std::size_t index) {
    Connection& c = connections_[index];
    c.running = c.waiting.front();
    c.waiting.pop_front();
    c.gate_us.reset();
    send_running(index);
  }

  void send_running(std::size_t index) {
    Connection& c = connections_[index];
    if (c.fd < 0) open(index);
    c.response = {};
    Request& request = requests_[*c.running];
    request.sent_us = now_us();
    for (std::size_t sent = 0; sent < request.bytes.size();) {
      const ssize_t wrote = send(c.fd, request.bytes.data() + sent, request.bytes.size() - sent, MSG_NOSIGNAL);
      if (wrote <= 0) return end(c, "send failed");
      sent += static_cast<std::size_t>(wrote);
    }
  }

  void receive(std::size_t index) {
    Connection& c = connections_[index];
    if (c.fd < 0) return;
    static char buffer[1 << 16];
    std::optional<std::int64_t> arrived_us;
    const ssize_t got = receive_some(c.fd, buffer, sizeof buffer, arrived_us);
    if (!c.running) return close_fd(c);  // the server closed a connection that waits
    Request& request = requests_[*c.running];
    if (got <= 0 && c.reused && request.status == 0) {  // closed while it was idle: what any client does then
      close_fd(c);
      return send_running(index);
    }
    if (got <= 0) return end(c, got == 0 && c.response.ends_with_connection() ? "ok" : "connection lost");
    const std::size_t before = request.events_us.size();
    const bool done = c.response.feed({buffer, static_cast<std::size_t>(got)}, arrived_us, request);
    events_ += request.events_us.size() - before;
    if (done) finish(c, "ok");
  }

  void close_fd(Connection& c) {
    if (c.fd >= 0) close(c.fd);
    c.fd = -1;
  }
  // The request is over and so is its connection.
  void end(Connection& c, std::string_view outcome) {
    close_fd(c);
    finish(c, outcome);
  }
  void finish(Connection& c, std::string_view outcome) {
    Request& request = requests_[*c.running];
    request.end_us = now_us();
    request.outcome = outcome;
    c.running.reset();
    c.reused = true;
    --left_;
    if (request.final != 0) close_all("closed");
  }
  void close_all(std::string_view outcome) {
    for (Connection& c : connections_) {
      if (c.running) {
        requests_[*c.running].end_us = now_us();
        requests_[*c.running].outcome = outcome;
      }
      close_fd(c);
    }
    left_ = 0;
  }

  const int port_;
  const bool arrivals_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Request> requests_;
  std::vector<Connection> connections_;
  std::uint64_t events_ = 0;
  std::size_t left_ = 0;
};

std::vector<Request> read_plan() {
  std::vector<Request> plan;
  for (std::string line; std::getline(std::cin, line);) {
    Request request;
    std::size_t bytes = 0;
    long long after = 0, delay = 0, cancel = 0;
    if (std::sscanf(line.c_str(), "%zu %lld %lld %lld %d %zu", &request.connection, &after, &delay, &cancel,
                    &request.final, &bytes) != 6) {
      std::fprintf(stderr, "load_client: not a line of a plan: %s\n", line.c_str());
      std::exit(2);
    }
    request.after_events = static_cast<std::uint64_t>(after);
    request.delay_us = delay;
    request.cancel_us = cancel;
    request.bytes.resize(bytes);
    if (!std::cin.read(request.bytes.data(), static_cast<std::streamsize>(bytes))) {
      std::fprintf(stderr, "load_client: the plan ends in a request\n");
      std::exit(2);
    }
    plan.push_back(std::move(request));
  }
  return plan;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out += '"';
}

std::string listed(const std::vector<std::int64_t>& times) {
  std::string out = "[";
  for (const std::int64_t at : times) out += (out.size() > 1 ? "," : "") + std::to_string(at);
  return out += ']';
}

void print(const Request& r) {
  std::printf(R"({"connection":%zu,"sent_us":%lld,"head_us":%lld,"end_us":%lld,"status":%d,"outcome":%s,)"
              R"("events_us":%s,"arrived_us":%s,"body":%s})"
              "\n",
              r.connection, static_cast<long long>(r.sent_us), static_cast<long long>(r.head_us),
              static_cast<long long>(r.end_us), r.status, quoted(r.outcome).c_str(), listed(r.events_us).c_str(),
              listed(r.arrived_us).c_str(), quoted(r.body).c_str());
}

// The rig's own floor: a request comes whole, the answer goes at once. One connection at a time.
[[noreturn]] void echo(std::size_t answer_bytes) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 8) != 0) die("listen");
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  const std::string answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(answer_bytes) +
      "\r\n\r\n{" + std::string(answer_bytes - 2, ' ') + "}";
  for (;;) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) die("accept4");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    char buffer[1 << 16];
    while (recv(fd, buffer, sizeof buffer, 0) > 0 && send(fd, answer.data(), answer.size(), MSG_NOSIGNAL) > 0) {
    }
    close(fd);
  }
}

// Reads all of it, as a step of a model reads its weights.
std::uint64_t walk(const std::vector<std::uint64_t>& memory) {
  return std::accumulate(memory.begin(), memory.end(), std::uint64_t{0});
}

// Two threads read `mib` of memory, a millisecond at least; then one writes the time into a socket, for which another
// process sleeps: as a worker that computes, and the gateway.
int wake(int count, std::size_t mib) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) != 0) die("socketpair");
  if (fork() == 0) {
    timespec at{};
    for (timespec now{}; count > 0 && read(sockets[1], &at, sizeof at) == sizeof at; --count) {
      clock_gettime(CLOCK_MONOTONIC, &now);
      std::printf("%.1f\n", static_cast<double>(now.tv_sec - at.tv_sec) * 1e6 +
                                static_cast<double>(now.tv_nsec - at.tv_nsec) / 1e3);
    }
    std::fflush(stdout);
    _exit(0);
  }
  const std::vector<std::uint64_t> halves[2] = {std::vector<std::uint64_t>(mib << 16, 1),
                                                std::vector<std::uint64_t>(mib << 16, 1)};
  std::atomic<int> step = 0;
  std::atomic<std::uint64_t> sum = 0;
  std::thread second([&] {
    for (int seen = 0; seen < count; ++seen) {
      step.wait(seen);
      sum += walk(halves[1]);
    }
  });
  while (step < count) {
    const std::int64_t next = now_us() + 1000;
    ++step;
    step.notify_one();
    sum += walk(halves[0]);
    while (now_us() < next) {
    }
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (write(sockets[0], &now, sizeof now) != sizeof now) die("write");
  }
  second.join();
  wait(nullptr);
  return sum == 0 && mib > 0 ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() == 2 && arguments[0] == "--echo") {
    echo(std::max<std::size_t>(2, std::strtoull(arguments[1].c_str(), nullptr, 10)));
  }
  if (arguments.size() >= 2 && arguments[0] == "--wake") {
    return wake(std::atoi(arguments[1].c_str()),
                arguments.size() == 3 ? std::strtoull(arguments[2].c_str(), nullptr, 10) : 0);
  }
  const bool arrivals = arguments.size() == 2 && arguments[1] == "--arrivals";
  if (arguments.size() != 1 && !arrivals) {
    std::fprintf(stderr,
                 "usage: load_client PORT [--arrivals] < plan > results | load_client --echo ANSWER_BYTES | "
                 "load_client --wake COUNT [MIB]\n");
    return 2;
  }
  Run run(std::atoi(arguments[0].c_str()), arrivals, read_plan());
  run.run();
  for (const Request& request : run.requests()) print(request);
  return 0;
}
