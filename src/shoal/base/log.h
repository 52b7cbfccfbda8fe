// The log: text on a terminal, one JSON object per line otherwise, to stderr. Never prompts, answers or
// keys: call sites pass ids and numbers as fields. Use: `log.info("worker ready", {{"model", name}})`.
// A line is written at once, unless one was a moment ago: then it leaves with those of the next five milliseconds, in
// one write, and warnings and errors never wait. Owned by cli/, passed by reference. Threads: any.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>

namespace shoal::base {

enum class LogLevel : std::uint8_t { kDebug, kInfo, kWarn, kError, kOff };
enum class LogFormat : std::uint8_t { kText, kJson };

// A named value, good for the call that it is an argument of: it does not own its text. Text is escaped on output: a
// client can forge no line and send no terminal sequence.
struct LogField {
  using Value = std::variant<std::string_view, std::int64_t, double, bool>;

  template <class T>
  LogField(std::string_view field_name, const T& field_value) : name(field_name), value(convert(field_value)) {}

  std::string_view name;
  Value value;

 private:
  template <class T>
  static Value convert(const T& v) {
    if constexpr (std::is_same_v<T, bool>) {
      return v;
    } else if constexpr (std::is_integral_v<T>) {
      return static_cast<std::int64_t>(v);
    } else if constexpr (std::is_floating_point_v<T>) {
      return static_cast<double>(v);
    } else {
      return std::string_view(v);
    }
  }
};

class Log {
 public:
  Log(LogFormat format, LogLevel level);
  // Writes to nothing: for tests and for commands that speak on stderr themselves.
  static Log null();
  Log(Log&&) noexcept;
  Log& operator=(Log&&) noexcept;
  ~Log();

  void debug(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::kDebug, event, fields);
  }
  void info(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::kInfo, event, fields);
  }
  void warn(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::kWarn, event, fields);
  }
  void error(std::string_view event, std::initializer_list<LogField> fields = {}) {
    write(LogLevel::kError, event, fields);
  }

  void set_level(LogLevel level);

 private:
  void write(LogLevel level, std::string_view event, std::initializer_list<LogField> fields);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::base
