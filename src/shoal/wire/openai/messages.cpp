#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/fields.h"
#include "shoal/wire/openai/read.h"

namespace shoal::wire::openai {
namespace json = boost::json;
namespace {

using types::NeedKind;

std::optional<types::Role> read_role(Fields& in) {
  const auto role = in.text("role");
  if (!role) {
    if (in.ok()) in.fail(bad(in.path_of("role"), "is missing; it must be system, developer, user, assistant or tool"));
    return std::nullopt;
  }
  if (*role == "system" || *role == "developer") return types::Role::kSystem;
  if (*role == "user") return types::Role::kUser;
  if (*role == "assistant") return types::Role::kAssistant;
  if (*role == "tool" || *role == "function") {
    in.need(NeedKind::kTools, in.path_of("role"), *role == "function");
    return types::Role::kTool;
  }
  in.fail(bad(in.path_of("role"),
              fmt::format("must be system, developer, user, assistant or tool, not \"{}\"", shortened(*role))));
  return std::nullopt;
}

bool is_base64(std::string_view text) {
  const std::size_t padding =
      std::min<std::size_t>(2, text.size() - std::min(text.size(), text.find_last_not_of('=') + 1));
  text.remove_suffix(padding);
  const auto fits = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/';
  };
  return !text.empty() && (text.size() + padding) % 4 == 0 && std::ranges::all_of(text, fits);
}

// data:image/png;base64,iVBO..., which goes into media_type and data; else an address on the web.
void read_url(Fields& in, std::string url, types::ContentPart& part) {
  constexpr std::string_view kBase64 = ";base64,";
  const std::string path = in.path_of("url");
  if (url.starts_with("https://") || url.starts_with("http://")) {
    part.url = std::move(url);
    return;
  }
  const std::size_t mark = url.find(kBase64);
  if (!url.starts_with("data:image/") || mark == std::string::npos) {
    return in.fail(bad(
        path, fmt::format("must begin with https://, http:// or data:image/TYPE;base64, not \"{}\"", shortened(url))));
  }
  part.media_type = url.substr(5, mark - 5);
  part.data = std::move(url).substr(mark + kBase64.size());
  if (!is_base64(part.data)) in.fail(bad(path, "has data that is not base64"));
}

void read_image(Fields& in, types::ContentPart& part) {
  const json::object* image = in.object("image_url");
  if (image == nullptr) return;
  part.kind = types::ContentPart::Kind::kImage;
  Fields inner(*image, in.path_of("image_url"), image_url_fields());
  if (auto url = inner.text("url")) read_url(inner, *std::move(url), part);
  part.detail = inner.text("detail").value_or("");
  constexpr std::array kDetails = {"", "auto", "low", "high", "original"};
  if (std::ranges::count(kDetails, part.detail) == 0) {
    inner.fail(bad(inner.path_of("detail"),
                   fmt::format("must be auto, low, high or original, not \"{}\"", shortened(part.detail))));
  }
  in.finish(inner);
}

// Nothing: a part that only the client's bytes hold.
std::optional<types::ContentPart> read_part(Fields& in, types::Role role, const std::string& at) {
  constexpr std::array<std::string_view, 6> kTypes = {"text", "image_url", "input_audio",
                                                      "file", "refusal",   "thinking"};
  const std::string type = read_type(in, kTypes);
  if (type.empty()) return std::nullopt;
  types::ContentPart part;
  if (type == "text") {
    part.text = in.text("text").value_or("");
    return part;
  }
  if (type == "image_url") {
    if (role != types::Role::kUser) in.fail(bad(at, "is an image; only users send images"));
    read_image(in, part);
    in.need(NeedKind::kImages, at);
    return part;
  }
  if (type == "thinking") {  // Mistral's
    if (role != types::Role::kAssistant) in.fail(bad(at, "is only for an assistant"));
    return std::nullopt;
  }
  in.need(type == "input_audio" ? NeedKind::kAudio : NeedKind::kOpenAi, at, true);
  return std::nullopt;
}

void read_parts(Fields& in, const json::array& values, const std::string& path, types::Message& message) {
  if (values.empty()) return in.fail(bad(path, "must not be empty"));
  bool only_texts = true;
  for (std::size_t i = 0; i < values.size() && in.ok(); ++i) {
    const std::string at = item_path(path, i);
    if (!values[i].is_object()) {
      return in.fail(wrong_type(at, "an object, as in {\"type\": \"text\", \"text\": \"...\"}", values[i]));
    }
    Fields inner(values[i].get_object(), at, content_part_fields());
    if (auto part = read_part(inner, message.role, at)) {
      only_texts = only_texts && part->kind == types::ContentPart::Kind::kText;
      message.content += part->text;
      message.parts.push_back(*std::move(part));
    }
    in.finish(inner);
  }
  if (only_texts) message.parts.clear();
}

bool has_items(Fields& in, std::string_view key) {
  const json::array* values = in.array(key);
  return values != nullptr && !values->empty();
}

// What belongs to one role only, and what a message of that role cannot do without.
void check_role(Fields& in, const types::Message& message, bool has_content) {
  const bool assistant = message.role == types::Role::kAssistant;
  for (const std::string_view key : {"tool_calls", "function_call", "refusal", "audio", "reasoning_content",
                                     "reasoning", "reasoning_details", "thinking_blocks"}) {
    if (!assistant && in.any(key) != nullptr) in.fail(bad(in.path_of(key), "is only for an assistant"));
  }
  const bool is_result = in.text("role") == "tool";
  if (is_result && message.tool_call_id.empty()) {
    in.fail(bad(in.path_of("tool_call_id"), "is missing; a tool's message names the call that it answers"));
  }
  if (!is_result && !message.tool_call_id.empty()) in.fail(bad(in.path_of("tool_call_id"), "is only for a tool"));
  constexpr std::array kInstead = {"function_call", "refusal", "audio", "reasoning_content", "reasoning"};
  const bool instead =
      assistant && (has_items(in, "tool_calls") || has_items(in, "thinking_blocks") ||
                    std::ranges::any_of(kInstead, [&in](const char* key) { return in.any(key) != nullptr; }));
  if (!has_content && !instead && in.ok()) {
    in.fail(bad(in.path_of("content"), "is missing; it must be a string or an array of parts"));
  }
}

types::ThinkingBlock read_thinking_block(Fields& in, const json::value& value, const std::string& at) {
  types::ThinkingBlock block;
  if (!value.is_object()) {
    in.fail(wrong_type(at, "an object, as in {\"type\": \"thinking\", \"thinking\": \"...\"}", value));
    return block;
  }
  Fields inner(value.get_object(), at, thinking_block_fields());
  const std::string type = inner.text("type").value_or("");
  block.thinking = inner.text("thinking").value_or("");
  block.signature = inner.text("signature").value_or("");
  block.redacted = inner.text("data").value_or("");
  if (!type.empty() && type != "thinking" && type != "redacted_thinking") {
    inner.fail(
        bad(inner.path_of("type"), fmt::format("must be thinking or redacted_thinking, not \"{}\"", shortened(type))));
  }
  if (!type.empty() && (type == "thinking") == !block.redacted.empty()) {
    inner.fail(bad(inner.path_of("data"), "is what a block of the type redacted_thinking has, and no other"));
  }
  in.finish(inner);
  return block;
}

types::Message read_message(Fields& in) {
  types::Message message;
  const auto role = read_role(in);
  if (!role) return message;
  message.role = *role;
  message.name = in.text("name").value_or("");
  message.tool_call_id = in.text("tool_call_id").value_or("");
  const json::value* content = in.any("content");
  if (content != nullptr && content->is_string()) {
    message.content = view(content->get_string());
  } else if (content != nullptr && content->is_array()) {
    read_parts(in, content->get_array(), in.path_of("content"), message);
  } else if (content != nullptr) {
    in.fail(wrong_type(in.path_of("content"), "a string or an array of parts", *content));
  }
  if (const json::array* calls = in.array("tool_calls")) {
    for (std::size_t i = 0; i < calls->size() && in.ok(); ++i) {
      auto call = read_tool_call(in, (*calls)[i], item_path(in.path_of("tool_calls"), i));
      if (call) message.tool_calls.push_back(*std::move(call));
    }
  }
  if (const json::array* blocks = in.array("thinking_blocks")) {
    for (std::size_t i = 0; i < blocks->size() && in.ok(); ++i) {
      message.thinking_blocks.push_back(
          read_thinking_block(in, (*blocks)[i], item_path(in.path_of("thinking_blocks"), i)));
    }
  }
  check_role(in, message, content != nullptr);
  return message;
}

}  // namespace

Error bad(std::string path, std::string_view message) {
  return Error(ErrorCode::kInvalidRequest, fmt::format("{} {}", path, message)).with_param(std::move(path));
}

std::string read_type(Fields& in, std::span<const std::string_view> types) {
  std::string type = in.text("type").value_or("");
  if (!in.ok() || type.empty()) return {};
  if (std::ranges::count(types, type) == 0) {
    const std::string path = in.path_of("type");
    in.fail(Error(ErrorCode::kUnsupportedParameter,
                  fmt::format("{} is \"{}\"; supported are {}", path, shortened(type), fmt::join(types, ", ")))
                .with_param(path));
    return {};
  }
  for (const std::string_view other : types) {
    const bool there = in.any(other) != nullptr;
    if (there == (other == type) || !in.ok()) continue;
    in.fail(bad(in.path_of(other),
                there ? fmt::format("does not belong to the type \"{}\"", type) : "is missing; the type needs it"));
  }
  return in.ok() ? type : std::string();
}

std::vector<types::Message> read_messages(Fields& in, const json::array& values, const std::string& path) {
  std::vector<types::Message> messages;
  if (values.empty()) in.fail(bad(path, "must have at least one message"));
  for (std::size_t i = 0; i < values.size() && in.ok(); ++i) {
    const std::string at = item_path(path, i);
    if (!values[i].is_object()) {
      in.fail(wrong_type(at, "an object, as in {\"role\": \"user\", \"content\": \"...\"}", values[i]));
      break;
    }
    Fields inner(values[i].get_object(), at, message_fields());
    messages.push_back(read_message(inner));
    in.finish(inner);
  }
  return messages;
}

}  // namespace shoal::wire::openai
