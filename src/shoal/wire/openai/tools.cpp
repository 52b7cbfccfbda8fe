#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "shoal/types/unsupported.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/fields.h"
#include "shoal/wire/openai/read.h"

namespace shoal::wire::openai {
namespace json = boost::json;
namespace {

constexpr std::size_t kMaxTools = 128;  // OpenAI's own limit
constexpr std::size_t kMaxName = 128;   // Anthropic's and Gemini's limit; OpenAI's is 64

// Letters, digits, '_' and '-' everywhere, '.' and ':' with Gemini: whoever is asked may be stricter.
void check_name(Fields& in, std::string_view key, std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.' || c == ':';
  };
  if (!in.ok() || (!name.empty() && name.size() <= kMaxName && std::ranges::all_of(name, fits))) return;
  in.fail(bad(in.path_of(key), fmt::format("must have 1 to {} letters, digits, '_', '-', '.' or ':', not \"{}\"",
                                           kMaxName, shortened(name))));
}

// Custom tools are OpenAI's alone: of their members nothing but the name is read.
constexpr std::array<std::string_view, 2> kToolTypes = {"function", "custom"};
constexpr std::array<std::string_view, 3> kChoiceTypes = {"function", "custom", "allowed_tools"};

// Of an array that is not read: that its items are of the right kind.
void check_items(Fields& in, std::string_view key, bool (json::value::*fits)() const noexcept,
                 std::string_view wanted) {
  const json::array* values = in.array(key);
  for (std::size_t i = 0; values != nullptr && i < values->size(); ++i) {
    if (!((*values)[i].*fits)()) return in.fail(wrong_type(item_path(key, i), wanted, (*values)[i]));
  }
}

std::string compact(const json::object* schema) {
  return schema == nullptr ? std::string() : json::serialize(*schema);
}

types::Tool read_tool(Fields& in, const json::value& value, const std::string& path) {
  types::Tool tool;
  if (!value.is_object()) {
    in.fail(wrong_type(path, "an object, as in {\"type\": \"function\", \"function\": {\"name\": \"...\"}}", value));
    return tool;
  }
  Fields outer(value.get_object(), path, tool_fields());
  if (read_type(outer, kToolTypes) == "custom") {
    const json::value* name = outer.object("custom")->if_contains("name");
    if (name != nullptr && name->is_string()) tool.name = view(name->get_string());
  }
  if (const json::object* function = outer.object("function")) {
    Fields inner(*function, outer.path_of("function"), function_fields());
    if (auto name = inner.text("name")) {
      check_name(inner, "name", *name);
      tool.name = *std::move(name);
    }
    tool.description = inner.text("description").value_or("");
    tool.parameters = compact(inner.object("parameters"));
    tool.strict = inner.boolean("strict");
    outer.finish(inner);
  }
  in.finish(outer);
  return tool;
}

std::optional<types::ToolChoice> read_tool_choice(Fields& in) {
  const json::value* value = in.any("tool_choice");
  if (value == nullptr) return std::nullopt;
  types::ToolChoice choice;
  if (value->is_string()) {
    const std::string_view name = view(value->get_string());
    if (name == "none") {
      choice.kind = types::ToolChoice::Kind::kNone;
    } else if (name == "required") {
      choice.kind = types::ToolChoice::Kind::kRequired;
    } else if (name != "auto") {
      in.fail(bad("tool_choice", fmt::format("must be none, auto, required or an object that names a function, not "
                                             "\"{}\"",
                                             shortened(name))));
    }
    return choice;
  }
  if (!value->is_object()) {
    in.fail(wrong_type("tool_choice", "a string or an object that names a function", *value));
    return std::nullopt;
  }
  choice.kind = types::ToolChoice::Kind::kNamed;
  Fields outer(value->get_object(), "tool_choice", named_tool_choice_fields());
  const bool named = read_type(outer, kChoiceTypes) == "function";
  if (const json::object* function = outer.object("function")) {
    Fields inner(*function, "tool_choice.function", function_name_fields());
    choice.name = inner.text("name").value_or("");
    outer.finish(inner);
  }
  in.finish(outer);
  return named ? std::optional(choice) : std::nullopt;
}

// Where Google's own API of OpenAI's dialect has it. What else stands there is somebody else's.
std::string read_thought_signature(Fields& in) {
  const json::object* extra = in.object("extra_content");
  const json::value* google = extra == nullptr ? nullptr : extra->if_contains("google");
  if (google == nullptr || !google->is_object()) return {};
  const json::value* signature = google->get_object().if_contains("thought_signature");
  if (signature == nullptr || signature->is_null()) return {};
  if (signature->is_string()) return std::string(view(signature->get_string()));
  in.fail(wrong_type(in.path_of("extra_content.google.thought_signature"), "a string", *signature));
  return {};
}

}  // namespace

void read_tools(Fields& in, types::ChatRequest& request) {
  check_items(in, "functions", &json::value::is_object, "an object");
  if (const json::value* call = in.any("function_call"); call != nullptr && !call->is_object() && !call->is_string()) {
    in.fail(wrong_type("function_call", "none, auto or an object that names a function", *call));
  }
  request.parallel_tool_calls = in.boolean("parallel_tool_calls");
  request.tool_choice = read_tool_choice(in);
  const json::array* values = in.array("tools");
  if (values == nullptr) return;
  if (values->size() > kMaxTools) {
    return in.fail(bad("tools", fmt::format("must have at most {} functions, not {}", kMaxTools, values->size())));
  }
  for (std::size_t i = 0; i < values->size() && in.ok(); ++i) {
    const std::string path = fmt::format("tools[{}]", i);
    types::Tool tool = read_tool(in, (*values)[i], path);
    if (in.ok() && std::ranges::count(request.tools, tool.name, &types::Tool::name) > 0) {
      in.fail(bad(path + ".function.name", fmt::format("is \"{}\" a second time", shortened(tool.name))));
    }
    request.tools.push_back(std::move(tool));
  }
  const bool named = request.tool_choice && request.tool_choice->kind == types::ToolChoice::Kind::kNamed;
  if (named && std::ranges::count(request.tools, request.tool_choice->name, &types::Tool::name) == 0) {
    in.fail(bad("tool_choice.function.name",
                fmt::format("is \"{}\", which is not one of the tools", shortened(request.tool_choice->name))));
  }
}

std::optional<types::ToolCall> read_tool_call(Fields& in, const json::value& value, const std::string& path) {
  types::ToolCall call;
  if (!value.is_object()) {
    in.fail(wrong_type(path, "an object with id, type and function", value));
    return std::nullopt;
  }
  Fields outer(value.get_object(), path, tool_call_fields());
  call.id = outer.text("id").value_or("");
  const bool is_function = read_type(outer, kToolTypes) == "function";
  if (const json::object* function = outer.object("function")) {
    Fields inner(*function, outer.path_of("function"), called_function_fields());
    call.name = inner.text("name").value_or("");
    call.arguments = inner.text("arguments").value_or("");
    outer.finish(inner);
  }
  call.thought_signature = read_thought_signature(outer);
  in.finish(outer);
  return is_function ? std::optional(std::move(call)) : std::nullopt;
}

void check_modalities(Fields& in) {
  check_items(in, "modalities", &json::value::is_string, "a string");
}

void read_response_format(Fields& in, types::ResponseFormat& format) {
  using Kind = types::ResponseFormat::Kind;
  const json::object* value = in.object("response_format");
  if (value == nullptr) return;
  Fields outer(*value, "response_format", response_format_fields());
  const std::string type = outer.text("type").value_or("");
  const json::object* schema = outer.object("json_schema");
  if (type == "json_schema") {
    format.kind = Kind::kJsonSchema;
    if (schema == nullptr) outer.fail(bad("response_format.json_schema", "is missing; the type needs it"));
  } else if (type == "json_object") {
    format.kind = Kind::kJsonObject;
  } else if (type != "text") {
    outer.fail(bad("response_format.type",
                   fmt::format("must be text, json_object or json_schema, not \"{}\"", shortened(type))));
  }
  if (schema != nullptr && format.kind != Kind::kJsonSchema) {
    outer.fail(bad("response_format.json_schema", "is only for the type json_schema"));
  } else if (schema != nullptr) {
    Fields inner(*schema, "response_format.json_schema", json_schema_format_fields());
    if (auto name = inner.text("name")) {
      check_name(inner, "name", *name);
      format.name = *std::move(name);
    }
    format.description = inner.text("description").value_or("");
    format.schema = compact(inner.object("schema"));
    format.strict = inner.boolean("strict");
    outer.finish(inner);
  }
  in.finish(outer);
}

void refuse_needs(Fields& in) {
  if (!in.needs().empty()) in.fail(types::unsupported(in.needs().front()));
}

}  // namespace shoal::wire::openai
