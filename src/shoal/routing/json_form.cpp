#include "shoal/routing/json_form.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <system_error>

#include <boost/json.hpp>

namespace shoal::routing {
namespace {

namespace json = boost::json;

constexpr int kMostDepth = 32;  // of a schema within a schema

bool is_whole(const json::value& value) {
  return value.is_int64() || value.is_uint64() ||
         (value.is_double() && std::isfinite(value.get_double()) &&
          std::floor(value.get_double()) == value.get_double());
}

bool is_type(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_bool();
  if (type == "null") return value.is_null();
  if (type == "integer") return is_whole(value);
  return type != "number" || value.is_number();
}

bool of_type(const json::value& value, const json::value& type) {
  if (const json::string* const one = type.if_string())
    return is_type(value, std::string_view(one->data(), one->size()));
  const json::array* const any = type.if_array();
  return any == nullptr || any->empty() ||
         std::ranges::any_of(*any, [&](const json::value& one) { return !one.is_string() || of_type(value, one); });
}

bool fits(const json::value& value, const json::value& schema, int depth);

bool fits_object(const json::object& value, const json::object& schema, int depth) {
  const json::value* const required = schema.if_contains("required");
  if (required != nullptr && required->is_array()) {
    for (const json::value& name : required->get_array()) {
      if (name.is_string() && !value.contains(name.get_string())) return false;
    }
  }
  const json::value* const properties = schema.if_contains("properties");
  const json::value* const others = schema.if_contains("additionalProperties");
  for (const auto& [name, inside] : value) {
    const json::value* const known =
        properties != nullptr && properties->is_object() ? properties->get_object().if_contains(name) : nullptr;
    if (known != nullptr ? !fits(inside, *known, depth + 1) : others != nullptr && !fits(inside, *others, depth + 1))
      return false;
  }
  return true;
}

bool fits(const json::value& value, const json::value& schema, int depth) {
  if (depth > kMostDepth) return true;
  if (const bool* const all = schema.if_bool()) return *all;
  const json::object* const rules = schema.if_object();
  if (rules == nullptr) return true;
  if (const json::value* const type = rules->if_contains("type"); type != nullptr && !of_type(value, *type))
    return false;
  if (const json::value* const one = rules->if_contains("const"); one != nullptr && *one != value) return false;
  const json::value* const some = rules->if_contains("enum");
  if (some != nullptr && some->is_array() && std::ranges::find(some->get_array(), value) == some->get_array().end())
    return false;
  if (const json::object* const object = value.if_object()) return fits_object(*object, *rules, depth);
  const json::value* const items = rules->if_contains("items");
  if (value.is_array() && items != nullptr) {
    return std::ranges::all_of(value.get_array(), [&](const json::value& one) { return fits(one, *items, depth + 1); });
  }
  return true;
}

}  // namespace

bool has_json_form(std::string_view text, std::string_view schema) {
  boost::system::error_code error;
  const json::value value = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return false;
  if (schema.empty()) return true;
  const json::value rules = json::parse(json::string_view(schema.data(), schema.size()), error);
  return error || fits(value, rules, 0);
}

}  // namespace shoal::routing
