#include "shoal/base/log.h"

#include <ctime>

#include <spdlog/logger.h>
#include <spdlog/sinks/null_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include "shoal/base/log_format.h"
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
    : impl_(std::make_unique<Impl>(format, std::make_shared<spdlog::sinks::stderr_sink_mt>(),
                                   wants_colour(STDERR_FILENO))) {
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
