#include "shoal/evaluation/prompt.h"

#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

Result<std::vector<types::Message>> read_messages(const json::value& value) {
  const json::array* const list = value.if_array();
  if (list == nullptr || list->empty()) return wrong("\"messages\" is not a list of messages");
  std::vector<types::Message> out;
  for (const json::value& one : *list) {
    const json::object* const message = one.if_object();
    const json::value* const role = message == nullptr ? nullptr : message->if_contains("role");
    const json::value* const content = message == nullptr ? nullptr : message->if_contains("content");
    if (role == nullptr || content == nullptr || !role->is_string() || !content->is_string())
      return wrong("a message needs a \"role\" and a \"content\", both text");
    const std::string_view name(role->get_string().data(), role->get_string().size());
    if (name != "system" && name != "user" && name != "assistant")
      return wrong(fmt::format("a role is system, user or assistant, not \"{}\"", wire::shortened(name)));
    out.push_back({name == "system" ? types::Role::kSystem
                   : name == "user" ? types::Role::kUser
                                    : types::Role::kAssistant,
                   std::string(content->get_string()), ""});
  }
  return out;
}

}  // namespace

Result<Prompt> read_prompt(const json::object& row) {
  const json::value* const prompt = row.if_contains("prompt");
  const json::value* const messages = row.if_contains("messages");
  if ((prompt == nullptr) == (messages == nullptr)) return wrong("it needs either \"prompt\" or \"messages\"");
  if (messages != nullptr) return Prompt(SHOAL_TRY(read_messages(*messages)));
  if (prompt->is_string() && !prompt->get_string().empty()) return Prompt(std::string(prompt->get_string()));
  return wrong("\"prompt\" is not a text");
}

std::string exact_text(const Prompt& prompt) {
  if (const auto* text = std::get_if<std::string>(&prompt)) return *text;
  std::string out;
  for (const types::Message& message : std::get<0>(prompt))
    out += fmt::format("{}:{}:{}\n", static_cast<int>(message.role), message.content.size(), message.content);
  return out;
}

}  // namespace shoal::evaluation
