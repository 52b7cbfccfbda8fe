#include "shoal/base/error.h"

#include <array>
#include <cstring>

#include <fmt/format.h>

namespace shoal::base {
namespace {

constexpr std::array kTable = {
#define SHOAL_ERROR(name, slug, http, openai, anthropic, exit, retryable, escalatable, text, fix) \
  ErrorInfo{ErrorCode::name, #slug, http, openai, anthropic, exit, retryable, escalatable, text, fix},
#include "shoal/base/error.def"
#undef SHOAL_ERROR
};

}  // namespace

std::span<const ErrorInfo> error_table() {
  return kTable;
}

const ErrorInfo& error_info(ErrorCode code) {
  return kTable[static_cast<std::size_t>(code)];
}

std::optional<ErrorCode> error_code_from_slug(std::string_view slug) {
  for (const ErrorInfo& row : kTable) {
    if (row.slug == slug) return row.code;
  }
  return std::nullopt;
}

Error errno_error(std::string_view what, int errno_value, ErrorCode code) {
  std::array<char, 128> buffer{};
  // The GNU strerror_r may return its own string in place of the buffer.
  const char* text = strerror_r(errno_value, buffer.data(), buffer.size());
  return {code, fmt::format("{}: {}", what, text)};
}

}  // namespace shoal::base
