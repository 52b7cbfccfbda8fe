#include "shoal/wire/read_answer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/json_walk.h"

namespace shoal::wire {
namespace {

constexpr std::int64_t kMaxIndex = 1023;  // of answers, blocks and calls of tools
constexpr std::string_view kBlank = " \t\r\n";

}  // namespace

Error bad_answer(std::string_view what, std::string_view wanted, std::string_view came) {
  return {ErrorCode::kBadAnswer,
          fmt::format("the provider's answer has {} that must be {}, not {}", what, wanted, shortened(came))};
}

Result<void> check_answer(std::string_view text) {
  if (const auto json = check_json(text); !json.ok()) {
    return Error(ErrorCode::kBadAnswer, "the provider's answer is broken: " + json.error().message());
  }
  return {};
}

bool is_json_object(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kBlank);
  return begin != std::string_view::npos && text[begin] == '{';
}

Result<std::string> read_text(std::string_view value, std::string_view what) {
  if (json_is_null(value)) return std::string();
  auto text = json_string(value);
  if (!text) return bad_answer(what, "a string", value);
  return *std::move(text);
}

Result<std::size_t> read_index(std::string_view value, std::string_view what) {
  const auto index = json_integer(value);
  if (!index || *index < 0 || *index > kMaxIndex) return bad_answer(what, "an index", value);
  return static_cast<std::size_t>(*index);
}

std::int32_t read_count(std::string_view value, bool& bad) {
  if (json_is_null(value)) return 0;
  const auto count = json_integer(value);
  if (!count || *count < 0 || *count > std::numeric_limits<std::int32_t>::max()) {
    bad = true;
    return 0;
  }
  return static_cast<std::int32_t>(*count);
}

std::string read_service_tier(std::string_view value) {
  // OpenAI's, Anthropic's and Groq's names of the usual one; some repeat that they may choose.
  constexpr std::array<std::string_view, 5> kUsual = {"", "default", "standard", "on_demand", "auto"};
  std::string tier = json_string(value).value_or("");
  if (std::ranges::count(kUsual, tier) > 0) tier.clear();
  return tier;
}

std::string compact_json(std::string_view value) {
  std::string out;
  bool in_string = false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (!in_string && kBlank.find(c) != std::string_view::npos) continue;
    out += c;
    if (c == '"') in_string = !in_string;
    if (in_string && c == '\\' && i + 1 < value.size()) out += value[++i];
  }
  return out;
}

void keep_parts_within(types::Usage& usage) {
  std::int32_t left = usage.prompt_tokens;
  for (std::int32_t* part : {&usage.cached_tokens, &usage.cache_write_1h_tokens, &usage.cache_write_5m_tokens}) {
    *part = std::min(*part, left);
    left -= *part;
  }
  usage.reasoning_tokens = std::min(usage.reasoning_tokens, usage.completion_tokens);
}

types::RemoteError broken_off(std::string reason) {
  types::RemoteError error;
  error.type = "api_error";
  error.message = fmt::format("the answer broke off: its last word is \"{}\"", shortened(reason));
  error.code = shortened(reason);
  return error;
}

}  // namespace shoal::wire
