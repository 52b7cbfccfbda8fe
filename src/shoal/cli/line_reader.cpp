#include "shoal/cli/line_reader.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "shoal/base/terminal.h"
#include "shoal/cli/command.h"
#include "shoal/cli/signals.h"

namespace shoal::cli {
namespace {

// Keys come one by one and unseen while it lives. Output is processed as before.
class RawTerminal {
 public:
  RawTerminal() {
    ok_ = ::tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!ok_) return;
    termios raw = before_;
    raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | INLCR | IGNCR | ISTRIP | IXON);
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    CommandContext::note("\x1b[?2004h");  // mark pastes
  }
  ~RawTerminal() {
    if (!ok_) return;
    CommandContext::note("\x1b[?2004l");
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool ok_ = false;
};

std::pair<std::size_t, std::size_t> screen() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {80, 24};
  return {size.ws_col, size.ws_row};
}

bool can_edit() {
  const char* const term = std::getenv("TERM");
  const bool dumb = term == nullptr || *term == '\0' || std::string_view(term) == "dumb";
  return !dumb && base::is_terminal(STDIN_FILENO) && base::is_terminal(STDERR_FILENO);
}

// Waits for input or a signal; returns the signal, or 0 and what was read, which is empty at the end.
int wait_for_input(const Signals& signals, std::string& got) {
  while (true) {
    std::array<pollfd, 2> waiting = {pollfd{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                                     pollfd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
    if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return 0;
    if (const int signal = signals.take(); signal != 0) return signal;
    if (waiting[1].revents == 0) continue;
    std::array<char, 4096> buffer{};
    const ssize_t n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n > 0) got.assign(buffer.data(), static_cast<std::size_t>(n));
    return 0;
  }
}

}  // namespace

LineReader::LineReader(std::string prompt)
    : prompt_(prompt), interactive_(base::is_terminal(STDIN_FILENO)), edits_(can_edit()), editor_(std::move(prompt)) {}

LineReader::Typed LineReader::next(std::string& line) {
  return edits_ ? edit(line) : read_line(line);
}

LineReader::Typed LineReader::edit(std::string& line) {
  std::optional<RawTerminal> raw(std::in_place);
  std::optional<Signals> signals(std::initializer_list<int>{SIGINT, SIGTERM, SIGHUP, SIGWINCH});
  const auto leave = [&] {
    const auto [columns, rows] = screen();
    CommandContext::note(editor_.leave(columns, rows));
  };
  while (true) {
    switch (editor_.next()) {
      case LineEditor::Typed::kLine:
        leave();
        line = editor_.take(true);
        return Typed::kLine;
      case LineEditor::Typed::kEnd:
        leave();
        return Typed::kEnd;
      case LineEditor::Typed::kInterrupted:
        leave();
        if (editor_.take(false).empty()) return Typed::kInterrupted;
        continue;
      case LineEditor::Typed::kSuspend:
        leave();
        raw.reset();
        ::kill(0, SIGTSTP);  // all of the job, as the terminal would
        raw.emplace();
        continue;
      case LineEditor::Typed::kMore:
        break;
    }
    const auto [columns, rows] = screen();
    CommandContext::note(editor_.draw(columns, rows));
    std::string got;
    const int signal = wait_for_input(*signals, got);
    if (signal == SIGWINCH) continue;
    if (signal == SIGINT) {
      editor_.feed("\x03");
    } else if (signal != 0) {
      leave();
      raw.reset();
      signals.reset();
      ::raise(signal);
      return Typed::kEnd;
    } else if (got.empty()) {
      return Typed::kEnd;
    } else {
      editor_.feed(got);
    }
  }
}

LineReader::Typed LineReader::read_line(std::string& line) {
  std::optional<Signals> signals;
  if (interactive_) {
    CommandContext::note(prompt_);
    signals.emplace(std::initializer_list<int>{SIGINT});
  }
  while (true) {
    if (const std::size_t end = pending_.find('\n'); end != std::string::npos) {
      line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return Typed::kLine;
    }
    std::string got;
    if (signals) {
      if (wait_for_input(*signals, got) != 0) {
        pending_.clear();
        CommandContext::note("\n");
        return Typed::kInterrupted;
      }
    } else {
      std::array<char, 4096> buffer{};
      ssize_t n = 0;
      do n = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      while (n < 0 && errno == EINTR);
      if (n > 0) got.assign(buffer.data(), static_cast<std::size_t>(n));
    }
    if (got.empty()) {
      line = std::exchange(pending_, {});
      if (line.empty() && interactive_) CommandContext::note("\n");
      return line.empty() ? Typed::kEnd : Typed::kLine;
    }
    pending_ += got;
  }
}

}  // namespace shoal::cli
