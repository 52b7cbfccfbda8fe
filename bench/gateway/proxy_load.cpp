// proxy_load: the clients of bench/gateway. One thread, one epoll, keep-alive connections that each ask again as soon
// as they have the whole answer. Prints one JSON object; times are in microseconds.
//
//   proxy_load PORT [--connections N] [--seconds S] [--warm S] [--pids A,B] [--model M] [--max-tokens N] [--key K]
//              [--stream] [--frames N] [--once [--over S]] [--requests N]
//
// What is counted lies between the end of `--warm` and `--seconds` later; so does the processor time of `--pids`, all
// their threads. With --once each connection asks once, all of them within S seconds, and with --requests they ask so
// often together; then everything counts. A stream must bring the chunks "#1 " to "#N " of mock_upstream in order, N
// being --frames, and end with [DONE]; a chunk "#I@TIME " tells also how long it was on its way.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include "sockets.h"

namespace {

using bench::now_ns;

constexpr std::int64_t kGiveUpNs = 30'000'000'000;                          // without a byte from anywhere
constexpr std::int64_t kNagleFromNs = 35'000'000, kNagleToNs = 45'000'000;  // a delayed ACK of Linux waits for 40 ms

struct Options {
  std::uint16_t port = 0;
  std::size_t connections = 1;
  double seconds = 3, warm = 0.3, over = 0;
  std::vector<int> pids;
  std::string model = "gpt", key;
  std::int64_t max_tokens = 64, frames = 19, requests = 0;  // 0: for --seconds
  bool stream = false, once = false;
};

// Times in nanoseconds; all are kept, so that percentiles are exact.
class Times {
 public:
  void add(std::int64_t ns) { values_.push_back(ns); }
  void clear() { values_.clear(); }
  // {"n":..,"p50":..,"p90":..,"p99":..,"max":..} in microseconds, or null.
  [[nodiscard]] std::string json() {
    if (values_.empty()) return "null";
    std::ranges::sort(values_);
    std::string out = "{\"n\":" + std::to_string(values_.size());
    for (const auto& [name, share] : {std::pair{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1.0}}) {
      const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values_.size())));
      char figure[64];
      std::snprintf(figure, sizeof figure, ",\"%s\":%.1f", name, static_cast<double>(values_[rank - 1]) / 1000);
      out += figure;
    }
    return out + "}";
  }
  // Of 1, how much lies there.
  [[nodiscard]] double share(std::int64_t from_ns, std::int64_t to_ns) const {
    const auto inside = std::ranges::count_if(values_, [&](std::int64_t v) { return v >= from_ns && v < to_ns; });
    return values_.empty() ? 0 : static_cast<double>(inside) / static_cast<double>(values_.size());
  }

 private:
  std::vector<std::int64_t> values_;
};

struct Counts {
  std::int64_t requests = 0;  // answered, with 200 and whole
  Times latency, first_data, gaps, on_the_way;
  std::int64_t frames = 0, frames_lost = 0, frames_out_of_order = 0;
};

struct Connection {
  int fd = -1;
  bool asked = false;
  std::int64_t sent_ns = 0;
  std::string in;    // as it came, from where it is not yet understood
  std::string body;  // of a stream: without the framing, from the line that is not yet whole
  bool head_done = false, chunked = false, closes = false, done_seen = false;
  int status = 0;
  std::int64_t length = -1;
  std::int64_t frame = 0, last_data_ns = 0;
};

// Processor time of all threads of these processes.
std::int64_t computed_ns(const std::vector<int>& pids) {
  std::int64_t total = 0;
  for (const int pid : pids) {
    std::error_code ended;
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task", ended)) {
      std::int64_t ns = 0;
      if (std::ifstream(task.path() / "schedstat") >> ns) total += ns;
    }
  }
  return total;
}

std::string request_bytes(const Options& options) {
  const std::string body =
      R"({"model":")" + options.model +
      R"(","messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":)"
      R"("Where is my transaction 48213? It has been three days."}],"max_tokens":)" +
      std::to_string(options.max_tokens) + R"(,"temperature":0)" +
      (options.stream ? R"(,"stream":true,"stream_options":{"include_usage":true}})" : "}");
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(options.port) +
         "\r\nContent-Type: application/json\r\n" +
         (options.key.empty() ? "" : "Authorization: Bearer " + options.key + "\r\n") +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

class Load {
 public:
  explicit Load(Options options) : options_(std::move(options)), request_(request_bytes(options_)) {}

  void run() {
    connections_.resize(options_.connections);
    for (std::size_t i = 0; i < connections_.size(); ++i) open(i);
    const std::int64_t begin = now_ns();
    const auto after = [&](double seconds) { return begin + static_cast<std::int64_t>(seconds * 1e9); };
    if (options_.once || options_.requests > 0) start_counting();
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (options_.once)
        turn_until(after(options_.over * static_cast<double>(i) / static_cast<double>(connections_.size())));
      ask(i);
    }
    if (options_.once || options_.requests > 0) {
      until_idle_ = true;
      turn_until(INT64_MAX);
      return stop_counting();
    }
    turn_until(after(options_.warm));
    start_counting();
    turn_until(after(options_.warm + options_.seconds));
    stop_counting();
    until_idle_ = true;  // whatever still runs is heard, so that both ends count the same
    turn_until(now_ns() + kGiveUpNs);
  }

  void print() {
    std::string errors;
    for (const auto& [kind, count] : errors_)
      errors += (errors.empty() ? "\"" : ",\"") + kind + "\":" + std::to_string(count);
    rusage own{};
    getrusage(RUSAGE_SELF, &own);
    const auto seconds = [](const timeval& t) {
      return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
    };
    std::printf(
        R"({"seconds":%.6f,"requests":%lld,"cpu_ns":%lld,"errors":{%s},"latency":%s,"first_data":%s,"gaps":%s,)"
        R"("gaps_35_to_45_ms":%.6f,"on_the_way":%s,"frames":%lld,"frames_lost":%lld,"frames_out_of_order":%lld,)"
        R"("asked":%lld,"own_cpu_s":%.6f})"
        "\n",
        static_cast<double>(end_ns_ - begin_ns_) / 1e9, static_cast<long long>(counts_.requests),
        static_cast<long long>(cpu_ns_), errors.c_str(), counts_.latency.json().c_str(),
        counts_.first_data.json().c_str(), counts_.gaps.json().c_str(), counts_.gaps.share(kNagleFromNs, kNagleToNs),
        counts_.on_the_way.json().c_str(), static_cast<long long>(counts_.frames),
        static_cast<long long>(counts_.frames_lost), static_cast<long long>(counts_.frames_out_of_order),
        static_cast<long long>(asked_), seconds(own.ru_utime) + seconds(own.ru_stime));
  }

 private:
  void start_counting() {
    counts_ = {};
    measuring_ = true;
    cpu_ns_ = -computed_ns(options_.pids);
    begin_ns_ = now_ns();
  }
  void stop_counting() {
    end_ns_ = now_ns();
    cpu_ns_ += computed_ns(options_.pids);
    measuring_ = false;
  }

  void turn_until(std::int64_t end) {
    epoll_event ready[512];
    for (std::int64_t now = now_ns(), heard = now; now < end && (running_ > 0 || !until_idle_); now = now_ns()) {
      const std::int64_t wait_ns = std::min(end - now, kGiveUpNs);
      const timespec timeout{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
      const int count = epoll_pwait2(epoll_, ready, 512, &timeout, nullptr);
      if (count < 0 && errno != EINTR) bench::die("epoll_pwait2");
      if (count > 0) heard = now_ns();
      if (now_ns() - heard >= kGiveUpNs) return give_up();
      for (int i = 0; i < count; ++i) receive(index_of_[static_cast<std::size_t>(ready[i].data.fd)]);
    }
  }

  void give_up() {
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      if (connections_[i].asked) fail(i, "nothing came for 30 s");
    }
  }

  void open(std::size_t index) {
    Connection& c = connections_[index];
    c = {};
    c.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = bench::loopback(options_.port);
    if (c.fd < 0 || connect(c.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      bench::die("connect");
    bench::no_delay(c.fd);
    if (index_of_.size() <= static_cast<std::size_t>(c.fd)) index_of_.resize(static_cast<std::size_t>(c.fd) + 1);
    index_of_[static_cast<std::size_t>(c.fd)] = index;
    bench::watch(epoll_, EPOLL_CTL_ADD, c.fd, EPOLLIN);
  }

  void ask(std::size_t index) {
    Connection& c = connections_[index];
    c.in.clear();
    c.body.clear();
    c.head_done = c.chunked = c.closes = c.done_seen = false;
    c.length = -1;
    c.status = 0;
    c.frame = c.last_data_ns = 0;
    c.asked = true;
    ++running_;
    ++asked_;
    c.sent_ns = now_ns();
    if (send(c.fd, request_.data(), request_.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request_.size()))
      fail(index, "send failed");
  }

  void receive(std::size_t index) {
    Connection& c = connections_[index];
    static char buffer[1 << 16];
    const ssize_t got = recv(c.fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (!c.asked) {  // closed while it was idle
      close(c.fd);
      return open(index);
    }
    if (got <= 0) return fail(index, got == 0 ? "closed" : "reset");
    c.in.append(buffer, static_cast<std::size_t>(got));
    if (!c.head_done && !read_head(c)) return;
    const bool whole = c.chunked ? take_chunks(c) : take_plain(c);
    if (c.chunked || options_.stream) read_lines(c, now_ns());
    if (whole) finish(index);
  }

  static bool read_head(Connection& c) {
    const std::size_t end = c.in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    const std::string_view head = std::string_view(c.in).substr(0, end + 2);
    c.status = static_cast<int>(bench::leading_number(head.substr(std::min<std::size_t>(head.size(), 9))).value_or(0));
    c.chunked = bench::header(head, "transfer-encoding").has_value();
    c.closes = bench::header(head, "connection") == "close";
    c.length = bench::leading_number(bench::header(head, "content-length").value_or("0")).value_or(0);
    c.in.erase(0, end + 4);
    c.head_done = true;
    return true;
  }

  bool take_plain(Connection& c) const {
    if (static_cast<std::int64_t>(c.in.size()) < c.length) return false;
    if (options_.stream) c.body += c.in;
    return true;
  }

  static bool take_chunks(Connection& c) {
    std::size_t at = 0;
    bool last = false;
    while (!last) {
      const std::size_t line = c.in.find("\r\n", at);
      if (line == std::string::npos) break;
      const auto size =
          static_cast<std::size_t>(bench::leading_number(std::string_view(c.in).substr(at, line - at), 16).value_or(0));
      if (c.in.size() < line + 2 + size + 2) break;
      c.body.append(c.in, line + 2, size);
      at = line + 2 + size + 2;
      last = size == 0;
    }
    c.in.erase(0, at);
    return last;
  }

  // Looks at the whole lines of a stream, and forgets them.
  void read_lines(Connection& c, std::int64_t now) {
    std::size_t at = 0;
    for (std::size_t end; (end = c.body.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::string_view line = std::string_view(c.body).substr(at, end - at);
      if (line.starts_with("data:")) read_data(c, line, now);
    }
    c.body.erase(0, at);
  }

  void read_data(Connection& c, std::string_view line, std::int64_t now) {
    if (measuring_ && c.last_data_ns == 0) counts_.first_data.add(now - c.sent_ns);
    if (measuring_ && c.last_data_ns != 0) counts_.gaps.add(now - c.last_data_ns);
    c.last_data_ns = now;
    c.done_seen = c.done_seen || line.find("[DONE]") != std::string_view::npos;
    const std::size_t mark = line.find('#');
    if (mark == std::string_view::npos) return;
    const std::int64_t number = bench::leading_number(line.substr(mark + 1)).value_or(0);
    if (number > c.frame) {
      lost(number - c.frame - 1);
      c.frame = number;
    } else if (measuring_) {
      ++counts_.frames_out_of_order;
    }
    if (!measuring_) return;
    ++counts_.frames;
    const std::size_t stamp = line.find('@', mark);
    if (stamp == std::string_view::npos) return;
    if (const auto us = bench::leading_number(line.substr(stamp + 1))) counts_.on_the_way.add(now - *us * 1000);
  }

  void lost(std::int64_t frames) {
    if (measuring_) counts_.frames_lost += frames;
  }

  void finish(std::size_t index) {
    Connection& c = connections_[index];
    if (options_.stream && c.status == 200) lost(std::max<std::int64_t>(options_.frames - c.frame, 0));
    if (c.status != 200) {
      error("status " + std::to_string(c.status));
    } else if (options_.stream && !c.done_seen) {
      error("no [DONE]");
    } else if (measuring_) {
      ++counts_.requests;
      counts_.latency.add(now_ns() - c.sent_ns);
    }
    go_on(index, c.closes);
  }

  void fail(std::size_t index, const std::string& kind) {
    if (options_.stream) lost(std::max<std::int64_t>(options_.frames - connections_[index].frame, 0));
    error(kind);
    go_on(index, true);
  }

  void error(const std::string& kind) { ++errors_[kind]; }

  void go_on(std::size_t index, bool anew) {
    Connection& c = connections_[index];
    c.asked = false;
    --running_;
    if (anew) {
      close(c.fd);
      open(index);
    }
    if (options_.requests > 0 ? asked_ < options_.requests : !options_.once && !until_idle_) ask(index);
  }

  const Options options_;
  const std::string request_;
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Connection> connections_;
  std::vector<std::size_t> index_of_;  // by descriptor
  std::size_t running_ = 0;            // requests
  std::int64_t asked_ = 0;
  bool measuring_ = false, until_idle_ = false;
  Counts counts_;
  std::map<std::string, std::int64_t> errors_;  // of the warm-up, too
  std::int64_t begin_ns_ = 0, end_ns_ = 0, cpu_ns_ = 0;
};

Options read_options(int argc, char** argv) {
  Options options;
  const auto number = [](const char* text) { return bench::leading_number(text).value_or(0); };
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--stream") {
      options.stream = true;
    } else if (name == "--once") {
      options.once = true;
    } else if (!name.starts_with("--")) {
      options.port = static_cast<std::uint16_t>(number(argv[i]));
    } else if (++i == argc) {
      std::fprintf(stderr, "proxy_load: %s wants a value\n", argv[i - 1]);
      std::exit(2);
    } else if (name == "--connections") {
      options.connections = static_cast<std::size_t>(number(argv[i]));
    } else if (name == "--seconds") {
      options.seconds = std::strtod(argv[i], nullptr);
    } else if (name == "--warm") {
      options.warm = std::strtod(argv[i], nullptr);
    } else if (name == "--over") {
      options.over = std::strtod(argv[i], nullptr);
    } else if (name == "--pids") {
      for (const char* at = argv[i]; at != nullptr; at = std::strchr(at, ',')) {
        at += *at == ',' ? 1 : 0;
        if (const auto pid = number(at); pid > 0) options.pids.push_back(static_cast<int>(pid));
      }
    } else if (name == "--model") {
      options.model = argv[i];
    } else if (name == "--max-tokens") {
      options.max_tokens = number(argv[i]);
    } else if (name == "--key") {
      options.key = argv[i];
    } else if (name == "--requests") {
      options.requests = number(argv[i]);
    } else if (name == "--frames") {
      options.frames = number(argv[i]);
    } else {
      std::fprintf(stderr, "proxy_load: no option %s\n", argv[i - 1]);
      std::exit(2);
    }
  }
  if (options.port == 0 || options.connections == 0) {
    std::fprintf(stderr, "proxy_load: wanted a port, and a connection at least\n");
    std::exit(2);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  Load load(read_options(argc, argv));
  load.run();
  load.print();
}
