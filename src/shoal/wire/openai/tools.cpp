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

// The only type that there is here: another is known to OpenAI ("custom", "allowed_tools") and not honoured.
void check_function_type(Fields& in) {
  const auto type = in.text("type");
  if (!type || *type == "function") return;
  in.fail(Error(ErrorCode::kUnsupportedParameter,
                fmt::format("{} is \"{}\"; only \"function\" is supported", in.path_of("type"), shortened(*type)))
              .with_param(in.path_of("type")));
}

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
  check_function_type(outer);
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
  check_function_type(outer);
  if (const json::object* function = outer.object("function")) {
    Fields inner(*function, "tool_choice.function", function_name_fields());
    choice.name = inner.text("name").value_or("");
    outer.finish(inner);
  }
  in.finish(outer);
  return choice;
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

types::ToolCall read_tool_call(Fields& in, const json::value& value, const std::string& path) {
  types::ToolCall call;
  if (!value.is_object()) {
    in.fail(wrong_type(path, "an object with id, type and function", value));
    return call;
  }
  Fields outer(value.get_object(), path, tool_call_fields());
  call.id = outer.text("id").value_or("");
  check_function_type(outer);
  if (const json::object* function = outer.object("function")) {
    Fields inner(*function, outer.path_of("function"), called_function_fields());
    call.name = inner.text("name").value_or("");
    call.arguments = inner.text("arguments").value_or("");
    outer.finish(inner);
  }
  in.finish(outer);
  return call;
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
