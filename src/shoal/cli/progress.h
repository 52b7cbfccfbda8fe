// A progress bar on a terminal, plain lines elsewhere, JSON lines for machines. Speaks on stderr (JSON on stdout),
// at most ten times a second on a terminal and every 10 % or 10 s otherwise; a bar never goes back.
// Owned by a command. Threads: one.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>

#include "shoal/base/clock.h"

namespace shoal::cli {

class Progress {
 public:
  Progress(const base::Clock& clock, bool json);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // total = 0: not known.
  void update(std::uint64_t done_bytes, std::uint64_t total_bytes);
  // A line of its own.
  void note(const std::string& text);
  // Another file begins.
  void restart();

 private:
  void draw(std::uint64_t total_bytes);
  [[nodiscard]] double bytes_per_second() const;

  const base::Clock& clock_;
  const bool json_;
  const bool terminal_;
  std::uint64_t done_ = 0;
  std::deque<std::pair<std::int64_t, std::uint64_t>> samples_;  // of the last ten seconds
  std::int64_t drawn_ns_ = 0;
  std::uint64_t drawn_tenth_ = 0;
  std::uint64_t drawn_bytes_ = 0;
  bool line_open_ = false;
};

}  // namespace shoal::cli
