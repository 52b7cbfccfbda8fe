#include "shoal/cli/progress.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"

namespace shoal::cli {
namespace {

constexpr std::int64_t kRateWindowNs = 10'000'000'000;
constexpr std::int64_t kRedrawNs = 100'000'000;
constexpr std::int64_t kPlainLineNs = 10'000'000'000;
constexpr std::size_t kBarCells = 24;
constexpr int kBarColumns = 80;  // with less the line would wrap, and a line that wraps is never cleared

}  // namespace

Progress::Progress(const base::Clock& clock, bool json)
    : clock_(clock), json_(json), terminal_(base::is_terminal(STDERR_FILENO)) {}

Progress::~Progress() {
  if (line_open_) CommandContext::note("\n");
}

void Progress::restart() {
  done_ = 0;
  samples_.clear();
  drawn_tenth_ = 0;
  drawn_bytes_ = 0;
}

double Progress::bytes_per_second() const {
  if (samples_.size() < 2) return 0;
  const auto& [from_ns, from] = samples_.front();
  const auto& [to_ns, to] = samples_.back();
  return to_ns > from_ns ? static_cast<double>(to - from) * 1e9 / static_cast<double>(to_ns - from_ns) : 0;
}

void Progress::update(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  const std::int64_t now = clock_.monotonic_ns();
  done_ = std::max(done_, done_bytes);
  samples_.emplace_back(now, done_);
  while (samples_.front().first < now - kRateWindowNs) samples_.pop_front();
  const std::uint64_t tenth = total_bytes > 0 ? done_ * 10 / total_bytes : 0;
  const bool whole = total_bytes > 0 && done_ >= total_bytes && drawn_bytes_ < done_;
  const bool due = whole || (terminal_ && !json_ ? now - drawn_ns_ >= kRedrawNs
                                                 : tenth > drawn_tenth_ || now - drawn_ns_ >= kPlainLineNs);
  if (!due || done_ == 0) return;
  drawn_ns_ = now;
  drawn_tenth_ = tenth;
  drawn_bytes_ = done_;
  draw(total_bytes);
}

void Progress::draw(std::uint64_t total_bytes) {
  if (json_)
    return CommandContext::print(
        fmt::format("{{\"event\":\"progress\",\"done_bytes\":{},\"total_bytes\":{}}}\n", done_, total_bytes));
  const double rate = bytes_per_second();
  std::string line = base::human_bytes(done_);
  if (total_bytes > 0) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_bytes));
    if (terminal_ && base::terminal_columns(STDERR_FILENO) >= kBarColumns) {
      const auto full = static_cast<std::size_t>(share * static_cast<double>(kBarCells));
      line = fmt::format("[{}{}] {:3.0f} %  {}", std::string(full, '#'), std::string(kBarCells - full, '.'),
                         share * 100, line);
    } else {
      line = fmt::format("{:3.0f} %  {}", share * 100, line);
    }
    line += " of " + base::human_bytes(total_bytes);
  }
  if (rate > 0) {
    line += fmt::format("  {}/s", base::human_bytes(static_cast<std::uint64_t>(rate)));
    if (total_bytes > done_) {
      line += fmt::format(
          "  {} left",
          base::human_duration(static_cast<std::int64_t>(static_cast<double>(total_bytes - done_) / rate * 1000)));
    }
  }
  // \x1b[K clears what a longer line left behind.
  CommandContext::note(terminal_ ? fmt::format("\r{}\x1b[K", line) : line + "\n");
  line_open_ = terminal_;
}

void Progress::note(const std::string& text) {
  if (line_open_) CommandContext::note("\n");
  line_open_ = false;
  restart();
  if (json_) {
    CommandContext::print(fmt::format("{{\"event\":\"note\",\"text\":{}}}\n", base::json_string(text)));
  } else {
    CommandContext::note(base::escape_control(text) + "\n");
  }
}

}  // namespace shoal::cli
