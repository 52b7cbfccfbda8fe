#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/text.h"
#include "shoal/config/document.h"

namespace shoal::config {
namespace {

// `"type": "string", "pattern": "..."`.
std::string text_type(const Form& form) {
  std::string out = R"("type": "string")";
  if (const std::string pattern = form.pattern(); !pattern.empty()) {
    out += fmt::format(R"(, "pattern": {})", base::json_string(pattern));
  } else if (form.need != Need::kNone) {
    out += R"(, "minLength": 1)";
  }
  return out;
}

std::string type_of(const Form& form) {
  switch (form.type) {
    case Type::kBool:
      return R"("type": "boolean")";
    case Type::kInteger:
      return fmt::format(R"("type": "integer", "minimum": {}, "maximum": {})", form.min, form.max);
    case Type::kNumber:
      return fmt::format(R"("type": "number", "minimum": {}, "maximum": {})", form.min, form.max);
    case Type::kChoice:
      return fmt::format(R"("enum": ["{}"])", fmt::join(form.choices, R"(", ")"));
    case Type::kString:
    case Type::kPath:
    case Type::kUrl:
    case Type::kMoney:
    case Type::kDate:
    case Type::kTarget:
      return text_type(form);
    case Type::kStringList:
    case Type::kPathList:
    case Type::kVariableList:
    case Type::kTargetList:
      break;
  }
  return fmt::format(R"("type": "array", "items": {{{}}})", text_type(form));
}

std::string property(std::string_view name, const Form& form, const Value& unset) {
  const std::string fallback =
      form.need == Need::kRequired ? std::string() : fmt::format(R"("default": {}, )", to_json(unset));
  return fmt::format(R"("{}": {{{}, {}"description": {}}})", name, type_of(form), fallback,
                     base::json_string(form.help));
}

// An object with these properties and no others.
std::string object(const std::vector<std::string>& properties, std::string_view indent) {
  return fmt::format(
      "\"type\": \"object\",\n{0}\"additionalProperties\": false,\n{0}\"properties\": {{\n{0}  {1}\n{0}}}", indent,
      fmt::join(properties, fmt::format(",\n{}  ", indent)));
}

std::string schema_of(const RecordKind& kind) {
  std::vector<std::string> properties;
  std::vector<std::string> required;
  for (const Field& field : kind.fields) {
    properties.push_back(property(field.name, field, kind.default_value(field)));
    if (field.need == Need::kRequired) required.push_back(base::json_string(field.name));
  }
  std::string record = object(properties, "        ");
  if (!required.empty()) record += fmt::format(",\n        \"required\": [{}]", fmt::join(required, ", "));
  const std::string names = kind.named() ? fmt::format(
                                               "\"type\": \"object\",\n      \"propertyNames\": {{\"pattern\": "
                                               "{}}},\n      \"additionalProperties\"",
                                               base::json_string(kind.name_pattern))
                                         : "\"type\": \"array\",\n      \"items\"";
  return fmt::format("    \"{}\": {{\n      \"description\": {},\n      {}: {{\n        {}\n      }}\n    }}",
                     kind.name, base::json_string(kind.help), names, record);
}

}  // namespace

std::string schema() {
  std::vector<std::string> tables = {R"(    "version": {"const": 1})"};
  std::vector<std::string> properties;
  const auto all = keys();
  for (std::size_t i = 0; i < all.size(); ++i) {
    properties.push_back(property(all[i].leaf(), all[i], all[i].read(Config{})));
    if (i + 1 < all.size() && all[i + 1].section() == all[i].section()) continue;
    tables.push_back(fmt::format("    \"{}\": {{\n      {}\n    }}", all[i].section(), object(properties, "      ")));
    properties.clear();
  }
  for (const RecordKind& kind : record_kinds()) tables.push_back(schema_of(kind));
  return fmt::format(
      "{{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Configuration of Shoal\",\n"
      "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"properties\": {{\n{}\n  }}\n}}\n",
      fmt::join(tables, ",\n"));
}

}  // namespace shoal::config
