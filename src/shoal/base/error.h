// Error: what went wrong, as a value. A code from the one table in error.def, a message that says what
// was wanted, what came and what to do, and the request field at fault when there is one.
// Use: `return Error(ErrorCode::kNotFound, "no model named \"x\"")`. Owned by value; immutable by
// convention after it left its maker. Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace shoal::base {

enum class ErrorCode : std::uint16_t {
#define SHOAL_ERROR(name, ...) name,
#include "shoal/base/error.def"
#undef SHOAL_ERROR
};

// One row of error.def.
struct ErrorInfo {
  ErrorCode code;
  std::string_view slug;
  int http_status;
  std::string_view openai_type;
  std::string_view anthropic_type;
  int exit_code;
  bool retryable;
  bool escalatable;
  std::string_view text;
  std::string_view fix;
};

// All rows, in the order of the enum: error_table()[size_t(code)].
[[nodiscard]] std::span<const ErrorInfo> error_table();
[[nodiscard]] const ErrorInfo& error_info(ErrorCode code);
[[nodiscard]] std::optional<ErrorCode> error_code_from_slug(std::string_view slug);

class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // The request field at fault, as the client spelled it: "logit_bias", "messages[2].role".
  [[nodiscard]] Error&& with_param(std::string param) && {
    param_ = std::move(param);
    return std::move(*this);
  }
  // When the client should come back. Only meaningful on retryable codes.
  [[nodiscard]] Error&& with_retry_after_ms(std::int64_t ms) && {
    retry_after_ms_ = ms;
    return std::move(*this);
  }
  // Asking again was tried already, or would do harm: the client is told not to.
  [[nodiscard]] Error&& with_no_retry() && {
    no_retry_ = true;
    return std::move(*this);
  }
  // The nearest name that exists, for a name that does not.
  [[nodiscard]] Error&& with_suggestion(std::string name) && {
    suggestion_ = std::move(name);
    return std::move(*this);
  }

  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] const ErrorInfo& info() const { return error_info(code_); }
  [[nodiscard]] const std::string& message() const { return message_; }
  [[nodiscard]] const std::string& param() const { return param_; }
  [[nodiscard]] const std::string& suggestion() const { return suggestion_; }
  [[nodiscard]] std::optional<std::int64_t> retry_after_ms() const { return retry_after_ms_; }
  [[nodiscard]] bool no_retry() const { return no_retry_; }

 private:
  ErrorCode code_;
  std::string message_;
  std::string param_;
  std::string suggestion_;
  std::optional<std::int64_t> retry_after_ms_;
  bool no_retry_ = false;
};

// An Error from errno: "cannot open /x: No such file or directory". code defaults to kIo.
[[nodiscard]] Error errno_error(std::string_view what, int errno_value, ErrorCode code = ErrorCode::kIo);

}  // namespace shoal::base

namespace shoal {
using base::Error;
using base::ErrorCode;
}  // namespace shoal
