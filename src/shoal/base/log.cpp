#include "shoal/base/log.h"

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <spdlog/logger.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/null_sink.h>
#include <unistd.h>

#include "shoal/base/log_format.h"
#include "shoal/base/scheduling.h"
#include "shoal/base/terminal.h"

namespace shoal::base {
namespace {

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kOff:
      break;
  }
  return spdlog::level::off;
}

std::int64_t unix_ms_now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

// Collects the lines that come right after each other. On a busy server a write for each took 6 % of its time.
class CollectingSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  CollectingSink() = default;
  CollectingSink(const CollectingSink&) = delete;
  CollectingSink& operator=(const CollectingSink&) = delete;
  ~CollectingSink() override {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
      write();
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kMoment = std::chrono::milliseconds(5);
  static constexpr std::size_t kMostBytes = std::size_t{32} << 10;

  // Both with mutex_ held.
  void sink_it_(const spdlog::details::log_msg& message) override {
    pending_.append(message.payload.data(), message.payload.size()).push_back('\n');
    const Clock::time_point now = Clock::now();
    if (message.level >= spdlog::level::warn || now - written_ >= kMoment || pending_.size() > kMostBytes) {
      written_ = now;
      return write();
    }
    if (!thread_.joinable()) start();
    if (!std::exchange(waiting_, true)) wake_.notify_one();
  }
  void flush_() override { write(); }

  void start() {
    try {
      thread_ = start_thread("log", [this] { write_late(); });
    } catch (const std::system_error&) {
      write();  // without a thread no line may wait
    }
  }

  // Whoever has a line meanwhile does not wait for the write.
  void write_late() {
    std::string lines;
    std::unique_lock lock(mutex_);
    while (!ends_) {
      wake_.wait(lock, [this] { return waiting_ || ends_; });
      wake_.wait_for(lock, kMoment, [this] { return ends_; });
      waiting_ = false;
      written_ = Clock::now();
      lines.swap(pending_);
      {
        const std::lock_guard turn(turn_);
        lock.unlock();
        write_out(lines);
      }
      lines.clear();
      lock.lock();
    }
  }

  void write() {
    const std::lock_guard turn(turn_);
    write_out(pending_);
    pending_.clear();
  }

  static void write_out(std::string_view lines) {
    while (!lines.empty()) {
      const ssize_t n = ::write(STDERR_FILENO, lines.data(), lines.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;  // nobody to tell
      lines.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  std::mutex turn_;  // to write: taken with mutex_ held, so that lines stay in their order
  std::string pending_;
  Clock::time_point written_;
  std::condition_variable wake_;
  std::thread thread_;    // begun with the first line that waits
  bool waiting_ = false;  // a line does
  bool ends_ = false;
};

}  // namespace

struct Log::Impl {
  Impl(LogFormat log_format, std::shared_ptr<spdlog::sinks::sink> sink, bool with_colour)
      : format(log_format), colour(with_colour), logger("shoal", std::move(sink)) {
    logger.set_pattern("%v");
  }

  LogFormat format;
  bool colour;
  spdlog::logger logger;
};

Log::Log(LogFormat format, LogLevel level)
    : impl_(std::make_unique<Impl>(format, std::make_shared<CollectingSink>(), wants_colour(STDERR_FILENO))) {
  set_level(level);
}

Log Log::null() {
  Log log(LogFormat::kJson, LogLevel::kOff);
  log.impl_ = std::make_unique<Impl>(LogFormat::kJson, std::make_shared<spdlog::sinks::null_sink_mt>(), false);
  log.set_level(LogLevel::kOff);
  return log;
}

Log::Log(Log&&) noexcept = default;
Log& Log::operator=(Log&&) noexcept = default;
Log::~Log() = default;

void Log::set_level(LogLevel level) {
  impl_->logger.set_level(to_spdlog(level));
}

void Log::write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  const spdlog::level::level_enum to = to_spdlog(level);
  if (!impl_->logger.should_log(to)) return;
  const LogLine line{.unix_ms = unix_ms_now(), .level = level, .event = event, .fields = fields};
  const std::string text =
      impl_->format == LogFormat::kText ? format_text_line(line, impl_->colour) : format_json_line(line);
  impl_->logger.log(to, spdlog::string_view_t(text));
}

}  // namespace shoal::base
