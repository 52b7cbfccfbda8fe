#include "shoal/cli/worker_commands.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/local_client.h"
#include "shoal/cli/signals.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

constexpr std::int64_t kRefreshMs = 1'000;
constexpr int kInterrupted = 130;
constexpr std::size_t kLongestCharacter = 4;  // bytes, in UTF-8

struct Row {
  std::string model;
  std::string state;
  std::string reason;
  std::string sandbox;
  std::int64_t pid = 0;
  std::int64_t slots = 0;
  std::int64_t threads = 0;
  std::int64_t running = 0;
  std::int64_t queued = 0;
  std::int64_t resident_bytes = 0;
  std::int64_t restarts = 0;
  std::int64_t idle_ms = 0;
  std::int64_t kv_used = 0;
  std::int64_t kv_cells = 0;
  double tokens_per_second = 0;
  double prefill_per_second = 0;
  double bandwidth_share = 0;  // 0: not known
  double flop_share = 0;
};

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? base::escape_control(std::string(value->as_string())) : "";
}

double number_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  boost::system::error_code ignored;
  return value != nullptr && value->is_number() ? value->to_number<double>(ignored) : 0;
}

std::int64_t integer_of(const json::object& from, std::string_view name) {
  return static_cast<std::int64_t>(number_of(from, name));
}

Result<std::vector<Row>> parse_rows(const std::string& body) {
  boost::system::error_code error;
  const json::value root = json::parse(body, error);
  const json::object* const object = error ? nullptr : root.if_object();
  const json::value* const list = object == nullptr ? nullptr : object->if_contains("workers");
  if (list == nullptr || !list->is_array()) {
    return Error(ErrorCode::kUnreachable, "what answers on the admin socket is not this version of Shoal");
  }
  std::vector<Row> rows;
  for (const json::value& item : list->get_array()) {
    const json::object* const from = item.if_object();
    if (from == nullptr) continue;
    rows.push_back({.model = text_of(*from, "model"),
                    .state = text_of(*from, "state"),
                    .reason = text_of(*from, "reason"),
                    .sandbox = text_of(*from, "sandbox"),
                    .pid = integer_of(*from, "pid"),
                    .slots = integer_of(*from, "slots"),
                    .threads = integer_of(*from, "threads"),
                    .running = integer_of(*from, "running"),
                    .queued = integer_of(*from, "queued"),
                    .resident_bytes = integer_of(*from, "resident_bytes"),
                    .restarts = integer_of(*from, "restarts"),
                    .idle_ms = integer_of(*from, "idle_ms"),
                    .kv_used = integer_of(*from, "kv_used"),
                    .kv_cells = text_of(*from, "kv_type").empty() ? 0 : integer_of(*from, "context_length"),
                    .tokens_per_second = number_of(*from, "decode_tokens_per_second"),
                    .prefill_per_second = number_of(*from, "prefill_tokens_per_second"),
                    .bandwidth_share = number_of(*from, "bandwidth_share"),
                    .flop_share = number_of(*from, "flop_share")});
  }
  return rows;
}

std::string percent(double share) {
  return share > 0 ? fmt::format("{:.0f}%", share * 100) : "-";
}

std::string rate(double per_second) {
  return per_second > 0 ? fmt::format("{:.1f}", per_second) : "-";
}

// OF BW: the bytes that decoding reads in a second, of what the memory gives. OF FLOP: the multiplications of prompts,
// of what the cores can do. A small model decodes from the cache, and may pass 100 %.
std::string table(const std::vector<Row>& rows) {
  std::size_t width = 5;
  for (const Row& row : rows) width = std::max(width, row.model.size());
  std::string out = fmt::format("{:<{}}  {:<8} {:>7} {:>7} {:>8} {:>6} {:>9} {:>12} {:>8} {:>5} {:>8} {:>7}  {}\n",
                                "MODEL", width, "STATE", "PID", "THREADS", "RUNNING", "QUEUED", "MEMORY", "KV",
                                "TOKENS/S", "OF BW", "PROMPT/S", "OF FLOP", "NOTE");
  for (const Row& row : rows) {
    const bool alive = row.pid > 0;
    std::string note = row.reason;
    if (note.empty() && alive && row.running == 0) note = "idle " + base::human_duration(row.idle_ms);
    if (row.restarts > 0) note += fmt::format("{}{} restarts", note.empty() ? "" : ", ", row.restarts);
    out += fmt::format(
        "{:<{}}  {:<8} {:>7} {:>7} {:>8} {:>6} {:>9} {:>12} {:>8} {:>5} {:>8} {:>7}  {}\n", row.model, width, row.state,
        alive ? fmt::format("{}", row.pid) : "-", alive ? fmt::format("{}", row.threads) : "-",
        alive ? fmt::format("{}/{}", row.running, row.slots) : "-", row.queued,
        alive ? base::human_bytes(static_cast<std::uint64_t>(row.resident_bytes)) : "-",
        alive && row.kv_cells > 0 ? fmt::format("{}/{}", row.kv_used, row.kv_cells) : "-", rate(row.tokens_per_second),
        percent(row.bandwidth_share), rate(row.prefill_per_second), percent(row.flop_share), note);
  }
  return rows.empty() ? "The server has no models.\n" : out;
}

Result<std::string> fetch(const LocalClient& client, const std::string& socket) {
  Result<LocalReply> reply = client.request({.target = "/admin/workers"});
  if (!reply.ok()) {
    if (reply.error().code() == ErrorCode::kCancelled) return std::move(reply).error();
    return Error(ErrorCode::kUnreachable,
                 fmt::format("no running server: {}. Start one with `shoal serve` (admin socket {})",
                             reply.error().message(), socket));
  }
  if (reply->status != 200) {
    return Error(ErrorCode::kUnreachable, fmt::format("the server answered {} to /admin/workers", reply->status));
  }
  return std::move(reply->body);
}

Result<int> once(const CommandContext& context, const LocalClient& client, const std::string& socket) {
  const std::string body = SHOAL_TRY(fetch(client, socket));
  const std::vector<Row> rows = SHOAL_TRY(parse_rows(body));
  CommandContext::print(context.json ? body + "\n" : table(rows));
  return 0;
}

// The other screen of the terminal, without a cursor, and keys as they come and unseen. What was there comes back.
class FullScreen {
 public:
  FullScreen() {
    keys_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keys_) {
      termios raw = before_;
      raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);  // Ctrl-C and Ctrl-Z stay signals
      ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    }
    CommandContext::print("\x1b[?1049h\x1b[?25l");
  }
  ~FullScreen() {
    CommandContext::print("\x1b[?25h\x1b[?1049l");
    if (keys_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  [[nodiscard]] bool keys() const { return keys_; }

 private:
  termios before_{};
  bool keys_ = false;
};

// `text` as a whole screen: over the one before, each line cut at the edge, nothing below it.
std::string screenful(std::string_view text) {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 1;
  const std::size_t columns = known ? size.ws_col : 80;
  const std::size_t rows = known ? size.ws_row : 24;
  std::string out = "\x1b[H\x1b[?7l";  // home; the terminal does not wrap
  std::size_t row = 1;
  for (; !text.empty() && row < rows; ++row) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += fmt::format("{}\x1b[K\r\n", text.substr(0, std::min(end, columns * kLongestCharacter)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out + "q ends.\x1b[J\x1b[?7h";
}

enum class Came { kNothing, kResize, kQuit, kInterrupt };

// What comes within that time.
Came wait_for_person(const Signals& signals, bool keys, std::int64_t ms) {
  std::array<pollfd, 2> waiting = {pollfd{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                                   pollfd{.fd = keys ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
  if (::poll(waiting.data(), waiting.size(), static_cast<int>(ms)) <= 0) return Came::kNothing;
  if (const int signal = signals.take(); signal != 0) {
    return signal == SIGWINCH || signal == SIGCONT ? Came::kResize : Came::kInterrupt;
  }
  char key = 0;
  const ssize_t n = ::read(STDIN_FILENO, &key, 1);
  constexpr char kCtrlD = 4;
  return n <= 0 || key == 'q' || key == 'Q' || key == kCtrlD ? Came::kQuit : Came::kNothing;
}

Result<int> watch_on(const FullScreen& screen, const LocalClient& client, const std::string& socket) {
  const Signals signals({SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGCONT});
  for (;;) {
    const std::string body = SHOAL_TRY(fetch(client, socket));
    const std::vector<Row> rows = SHOAL_TRY(parse_rows(body));
    CommandContext::print(screenful(table(rows) + "\n"));
    const Came came = wait_for_person(signals, screen.keys(), kRefreshMs);
    if (came == Came::kQuit) return 0;
    if (came == Came::kInterrupt) return kInterrupted;
  }
}

Result<int> watch(const CommandContext& context, const LocalClient& client, const std::string& socket) {
  const char* const term = std::getenv("TERM");
  const bool dumb = term == nullptr || std::string_view(term) == "dumb";
  if (context.json || dumb || !base::is_terminal(STDOUT_FILENO)) return once(context, client, socket);
  // An error now stays on the screen that was there.
  if (const Result<std::string> first = fetch(client, socket); !first.ok()) return first.error();
  const FullScreen screen;
  return watch_on(screen, client, socket);
}

}  // namespace

void add_worker_commands(CLI::App& root, CommandContext& context) {
  using Show = Result<int> (*)(const CommandContext&, const LocalClient&, const std::string&);
  const auto add = [&](const CommandInfo& info, Show show_rows) {
    CLI::App& command = add_command(root, context, info);
    on_run(command, context, [&context, show_rows]() -> Result<int> {
      const config::Loaded loaded = SHOAL_TRY(context.load_config());
      const std::string& socket = loaded.config->server.admin_socket;
      return show_rows(context, LocalClient::over_unix(socket), socket);
    });
  };
  add({.name = "ps", .help = "List the models of the running server and their workers", .example = "shoal ps --json"},
      &once);
  add({.name = "top", .help = "Watch the workers of the running server", .example = "shoal top"}, &watch);
}

}  // namespace shoal::cli
