#include "shoal/wire/remote_error.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "shoal/wire/json.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/json_walk.h"

namespace shoal::wire {
namespace {

constexpr std::size_t kMaxMessage = 1000;  // bytes
constexpr std::size_t kMaxName = 100;

// At most `limit` bytes, cut between characters.
std::string cut(std::string text, std::size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
  text.resize(limit);
  return text + "...";
}

// A name as text: codes come as numbers, too. Empty for null, objects and arrays.
std::string name_text(std::string_view value) {
  if (auto text = json_string(value)) return cut(*std::move(text), kMaxName);
  return json_integer(value) ? std::string(value) : std::string();
}

// Of FastAPI: [{"loc":["body","n"],"msg":"...","type":"..."}], of which the first is read.
void read_detail(std::string_view detail, types::RemoteError& error) {
  if (auto text = json_string(detail)) {
    error.message = *std::move(text);
    return;
  }
  JsonWalk items(detail);
  const bool list = json_is_array(detail) && items.next();
  const std::string_view first = list ? items.value() : detail;
  error.message = json_string(json_member(first, "msg")).value_or(std::string(detail));
  if (error.type.empty()) error.type = name_text(json_member(first, "type"));
  JsonWalk place(json_member(first, "loc"));
  while (place.next()) {
    const std::string part = name_text(place.value());
    if (part == "body") continue;
    if (!error.param.empty()) error.param += '.';
    error.param += part;
  }
}

// "17s", "0.5s": a duration of protobuf.
std::optional<std::int64_t> duration_ms(std::string_view text) {
  double seconds = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (fault != std::errc() || std::string_view(end, text.data() + text.size()) != "s" || !std::isfinite(seconds))
    return std::nullopt;
  constexpr double kMostSeconds = 86'400;
  return static_cast<std::int64_t>(std::clamp(seconds, 0.0, kMostSeconds) * 1000);
}

// Of Google: [{"@type":".../google.rpc.ErrorInfo","reason":"API_KEY_INVALID"},{"@type":"...","retryDelay":"17s"}].
// The reason says more than the code, which is the status again.
void read_details(std::string_view details, types::RemoteError& error) {
  JsonWalk items(details);
  while (items.next()) {
    if (auto reason = name_text(json_member(items.value(), "reason")); !reason.empty()) error.code = std::move(reason);
    if (const auto delay = json_string(json_member(items.value(), "retryDelay")))
      error.retry_after_ms = duration_ms(*delay);
  }
}

// `found`: the object that has the message among its members.
void read_members(std::string_view found, types::RemoteError& error) {
  JsonWalk walk(found);
  std::string_view details;
  while (walk.next()) {
    const std::string_view value = walk.value();
    if (walk.is("details") && json_is_array(value)) {
      details = value;
    } else if (walk.is("message")) {
      if (json_is_object(value) && json_member(value, "detail") != "") {
        read_detail(json_member(value, "detail"), error);  // Mistral
      } else {
        error.message = json_string(value).value_or(json_is_null(value) ? "" : std::string(value));
      }
    } else if (walk.is("type") || (walk.is("status") && error.type.empty())) {  // status: Gemini's name
      if (auto type = name_text(value); !type.empty() && !json_integer(value)) error.type = std::move(type);
    } else if (walk.is("code")) {
      error.code = name_text(value);
    } else if (walk.is("param")) {
      error.param = name_text(value);
    } else if (walk.is("detail") && error.message.empty()) {
      read_detail(value, error);
    }
  }
  read_details(details, error);
}

void read_json(std::string_view body, types::RemoteError& error) {
  if (auto text = json_string(body)) {
    error.message = *std::move(text);
    return;
  }
  if (json_is_array(body)) {  // Gemini
    JsonWalk items(body);
    if (items.next()) read_json(items.value(), error);
    return;
  }
  const std::string_view inner = json_member(body, "error");
  if (json_is_object(inner)) return read_members(inner, error);
  read_members(body, error);
  if (auto text = json_string(inner)) error.message = *std::move(text);
  if (error.type == "error") error.type.clear();  // of the envelope
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

// The title of a page, else its text, with blanks and controls as single spaces.
std::string plain_text(std::string_view body) {
  constexpr std::string_view kTitle = "<title>";
  body = body.substr(0, 64 * kMaxMessage);
  if (const std::size_t title = lower(body).find(kTitle); title != std::string_view::npos) {
    body.remove_prefix(title + kTitle.size());
    body = body.substr(0, body.find('<'));
  }
  std::string text;
  for (const char c : body) {
    const bool blank = static_cast<unsigned char>(c) <= 0x20 || c == 0x7F;
    if (!blank) {
      text += c;
    } else if (!text.empty() && text.back() != ' ') {
      text += ' ';
    }
  }
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = std::min(text.find_first_not_of(kBlank), text.size());
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

}  // namespace

types::RemoteError parse_error(int status, std::string_view body) {
  types::RemoteError error;
  error.status = status;
  body = trimmed(body);
  if (check_json(body).ok()) {
    read_json(body, error);
    if (error.message.empty() && body.size() > 2) error.message = body;  // not {} or []
  } else {
    error.message = plain_text(body);
  }
  if (error.message.empty()) error.message = status > 0 ? fmt::format("HTTP status {}", status) : "an unnamed error";
  error.message = cut(std::move(error.message), kMaxMessage);
  error.param = cut(std::move(error.param), kMaxName);
  return error;
}

}  // namespace shoal::wire
