// JSON answers: a subset of JSON Schema (draft 2020-12's words), and F1 of fields.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/evaluation/graders/parts.h"
#include "shoal/evaluation/normalise.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

constexpr std::size_t kMaxDepth = 32;  // as Boost.JSON's own

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}
std::string_view view(const json::string& text) {
  return {text.data(), text.size()};
}
bool is_whole(const json::value& value) {
  if (value.is_int64() || value.is_uint64()) return true;
  return value.is_double() && std::isfinite(value.get_double()) && std::floor(value.get_double()) == value.get_double();
}
double number(const json::value& value) {
  return value.is_int64()    ? static_cast<double>(value.get_int64())
         : value.is_uint64() ? static_cast<double>(value.get_uint64())
                             : value.get_double();
}
bool same(const json::value& a, const json::value& b) {
  return a.is_number() && b.is_number() ? number(a) == number(b) : a == b;
}
std::size_t characters(const json::string& text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

bool is_type(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_bool();
  if (type == "null") return value.is_null();
  if (type == "integer") return is_whole(value);
  return type == "number" && value.is_number();
}

constexpr std::array<std::string_view, 7> kTypes = {"object", "array",   "string", "boolean",
                                                    "null",   "integer", "number"};
constexpr std::array<std::string_view, 5> kSilent = {"title", "description", "default", "examples", "$schema"};
constexpr std::array<std::string_view, 9> kCounts = {"minItems",         "maxItems",         "minLength",
                                                     "maxLength",        "minimum",          "maximum",
                                                     "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};

// Says the first fault of `value`; empty: none. The schema was checked by check_schema().
class Checker {
 public:
  [[nodiscard]] Result<std::string> fault(const json::value& schema, const json::value& value, const std::string& at) {
    if (const bool* const all = schema.if_bool()) return *all ? std::string() : at + ": nothing is allowed here";
    for (const auto& [key, rule] : schema.as_object()) {
      std::string found = SHOAL_TRY(one(key, rule, schema.as_object(), value, at));
      if (!found.empty()) return found;
    }
    return std::string();
  }

 private:
  Result<std::string> one(std::string_view key, const json::value& rule, const json::object& schema,
                          const json::value& value, const std::string& at) {
    if (key == "type") return type(rule, value, at);
    if (key == "const") return same(rule, value) ? std::string() : at + ": it is not the one value allowed";
    if (key == "enum") {
      const bool there = std::ranges::any_of(rule.as_array(), [&](const json::value& v) { return same(v, value); });
      return there ? std::string() : at + ": it is none of the values allowed";
    }
    if (key == "anyOf" || key == "oneOf" || key == "allOf" || key == "not") return combined(key, rule, value, at);
    if (const json::object* const object = value.if_object()) return members(key, rule, schema, *object, at);
    if (const json::array* const list = value.if_array()) return elements(key, rule, *list, at);
    if (const json::string* const text = value.if_string()) return letters(key, rule, *text, at);
    return value.is_number() ? amount(key, number(rule.is_number() ? rule : json::value(0)), number(value), at)
                             : std::string();
  }

  static std::string type(const json::value& rule, const json::value& value, const std::string& at) {
    if (const json::string* const name = rule.if_string())
      return is_type(value, view(*name)) ? "" : fmt::format("{}: wanted {}", at, view(*name));
    const bool any = std::ranges::any_of(
        rule.as_array(), [&](const json::value& name) { return is_type(value, view(name.as_string())); });
    return any ? "" : at + ": it has none of the types allowed";
  }

  Result<std::string> combined(std::string_view key, const json::value& rule, const json::value& value,
                               const std::string& at) {
    if (key == "not") {
      return SHOAL_TRY(fault(rule, value, at)).empty() ? at + ": it fits what is ruled out" : std::string();
    }
    std::size_t fits = 0;
    for (const json::value& part : rule.as_array()) {
      std::string found = SHOAL_TRY(fault(part, value, at));
      if (found.empty()) ++fits;
      if (key == "allOf" && !found.empty()) return found;
    }
    if (key == "anyOf" && fits == 0) return at + ": it fits none of anyOf";
    if (key == "oneOf" && fits != 1) return fmt::format("{}: it fits {} of oneOf", at, fits);
    return std::string();
  }

  Result<std::string> members(std::string_view key, const json::value& rule, const json::object& schema,
                              const json::object& object, const std::string& at) {
    if (key == "required") {
      for (const json::value& name : rule.as_array()) {
        if (!object.contains(name.as_string())) return fmt::format("{}: \"{}\" is missing", at, view(name.as_string()));
      }
    } else if (key == "properties") {
      for (const auto& [name, part] : rule.as_object()) {
        const json::value* const member = object.if_contains(name);
        if (member == nullptr) continue;
        std::string found = SHOAL_TRY(fault(part, *member, fmt::format("{}.{}", at, std::string_view(name))));
        if (!found.empty()) return found;
      }
    } else if (key == "additionalProperties") {
      const json::value* const known = schema.if_contains("properties");
      for (const auto& [name, member] : object) {
        if (known != nullptr && known->as_object().contains(name)) continue;
        std::string found = SHOAL_TRY(fault(rule, member, fmt::format("{}.{}", at, wire::shortened(name))));
        if (!found.empty()) return found;
      }
    }
    return std::string();
  }

  Result<std::string> elements(std::string_view key, const json::value& rule, const json::array& list,
                               const std::string& at) {
    if (key == "items") {
      for (std::size_t i = 0; i < list.size(); ++i) {
        std::string found = SHOAL_TRY(fault(rule, list[i], fmt::format("{}[{}]", at, i)));
        if (!found.empty()) return found;
      }
    } else if (key == "minItems" && static_cast<double>(list.size()) < number(rule)) {
      return fmt::format("{}: fewer than {} items", at, number(rule));
    } else if (key == "maxItems" && static_cast<double>(list.size()) > number(rule)) {
      return fmt::format("{}: more than {} items", at, number(rule));
    } else if (key == "uniqueItems" && rule.as_bool()) {
      for (std::size_t i = 0; i < list.size(); ++i) {
        for (std::size_t k = 0; k < i; ++k) {
          if (same(list[i], list[k])) return fmt::format("{}: items {} and {} are the same", at, k, i);
        }
      }
    }
    return std::string();
  }

  static Result<std::string> letters(std::string_view key, const json::value& rule, const json::string& text,
                                     const std::string& at) {
    if (key == "minLength" && static_cast<double>(characters(text)) < number(rule))
      return fmt::format("{}: shorter than {}", at, number(rule));
    if (key == "maxLength" && static_cast<double>(characters(text)) > number(rule))
      return fmt::format("{}: longer than {}", at, number(rule));
    if (key == "pattern" && !SHOAL_TRY(found(view(rule.as_string()), false, view(text))))
      return at + ": the pattern is not found in it";
    return std::string();
  }

  static std::string amount(std::string_view key, double rule, double value, const std::string& at) {
    const bool fits = key == "minimum"            ? value >= rule
                      : key == "maximum"          ? value <= rule
                      : key == "exclusiveMinimum" ? value > rule
                      : key == "exclusiveMaximum" ? value < rule
                      : key == "multipleOf"       ? std::abs(std::remainder(value, rule)) <= 1e-9 * rule
                                                  : true;
    return fits ? "" : fmt::format("{}: {} is against {} {}", at, value, key, rule);
  }
};

// Whether the value of a keyword has the form that Checker takes for granted.
Result<void> check_rule(std::string_view key, const json::value& rule, std::size_t depth);

Result<void> check_part(const json::value& schema, std::size_t depth) {
  if (depth > kMaxDepth) return wrong("\"schema\" is nested too deeply");
  if (schema.is_bool()) return {};
  const json::object* const object = schema.if_object();
  if (object == nullptr) return wrong("\"schema\" is neither an object nor true or false");
  for (const auto& [key, rule] : *object) SHOAL_TRY(check_rule(key, rule, depth));
  return {};
}

Result<void> check_rule(std::string_view key, const json::value& rule, std::size_t depth) {
  const auto bad = [&] { return wrong(fmt::format("\"schema\": `{}` has a value that it cannot have", key)); };
  const auto texts = [](const json::value& list) {
    return list.is_array() && std::ranges::all_of(list.get_array(), [](const json::value& v) { return v.is_string(); });
  };
  if (std::ranges::find(kSilent, key) != kSilent.end() || key == "const") return {};
  if (key == "type") {
    const json::array names = rule.is_array() ? rule.get_array() : json::array{rule};
    const bool known = std::ranges::all_of(names, [](const json::value& name) {
      return name.is_string() && std::ranges::find(kTypes, view(name.get_string())) != kTypes.end();
    });
    return known ? Result<void>() : bad();
  }
  if (key == "enum") return rule.is_array() ? Result<void>() : bad();
  if (key == "required") return texts(rule) ? Result<void>() : bad();
  if (key == "uniqueItems") return rule.is_bool() ? Result<void>() : bad();
  if (key == "pattern") {
    if (!rule.is_string()) return bad();
    SHOAL_TRY(found(view(rule.get_string()), false, ""));
    return {};
  }
  if (std::ranges::find(kCounts, key) != kCounts.end()) {
    return rule.is_number() && (key != "multipleOf" || number(rule) > 0) ? Result<void>() : bad();
  }
  if (key == "items" || key == "additionalProperties" || key == "not") return check_part(rule, depth + 1);
  if (key == "anyOf" || key == "oneOf" || key == "allOf") {
    if (!rule.is_array() || rule.get_array().empty()) return bad();
    for (const json::value& part : rule.get_array()) SHOAL_TRY(check_part(part, depth + 1));
    return {};
  }
  if (key == "properties") {
    if (!rule.is_object()) return bad();
    for (const auto& [name, part] : rule.get_object()) SHOAL_TRY(check_part(part, depth + 1));
    return {};
  }
  return wrong(fmt::format("\"schema\": the keyword `{}` is not one that is checked", wire::shortened(key)));
}

// A value at the end of a path, as it is compared: "items[].name" -> "s:milk".
using Leaves = std::multiset<std::string>;

void add_leaves(Leaves& into, const json::value& value, const std::string& path) {
  if (const json::object* const object = value.if_object()) {
    for (const auto& [name, member] : *object) add_leaves(into, member, path + "." + std::string(name));
  } else if (const json::array* const list = value.if_array()) {
    for (const json::value& item : *list) add_leaves(into, item, path + "[]");
  } else if (const json::string* const text = value.if_string()) {
    into.insert(path + "=s:" + normalised(view(*text)));
  } else if (value.is_number()) {
    into.insert(fmt::format("{}=n:{}", path, number(value)));
  } else {
    into.insert(path + "=" + json::serialize(value));
  }
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

}  // namespace

Result<json::value> json_of(std::string_view answer) {
  std::vector<std::string_view> places = {trimmed(answer)};
  if (const auto block = fenced(answer)) places.push_back(trimmed(*block));
  for (const auto& [open, close] : {std::pair{'{', '}'}, std::pair{'[', ']'}}) {
    const std::size_t first = answer.find(open);
    const std::size_t last = answer.rfind(close);
    if (first != std::string_view::npos && last != std::string_view::npos && last > first)
      places.push_back(answer.substr(first, last - first + 1));
  }
  for (const std::string_view place : places) {
    if (place.empty()) continue;
    boost::system::error_code error;
    json::value out = json::parse(json::string_view(place.data(), place.size()), error);
    if (!error) return out;
  }
  return wrong("it is not JSON");
}

Result<std::string> schema_fault(const json::value& schema, const json::value& value) {
  SHOAL_TRY(check_part(schema, 0));
  return Checker().fault(schema, value, "$");
}

Result<void> check_schema(const json::value& schema) {
  return check_part(schema, 0);
}

Result<Grade> grade_schema(const Gold& gold, std::string_view answer) {
  const auto said = json_of(answer);
  if (!said.ok()) return Grade{.score = 0, .right = false, .why = said.error().message()};
  std::string fault = SHOAL_TRY(schema_fault(gold.schema, *said));
  if (!fault.empty()) return Grade{.score = 0, .right = false, .why = std::move(fault)};
  return Grade{.score = 1, .right = true, .why = "it fits the schema"};
}

Result<Grade> grade_fields(const Gold& gold, std::string_view answer) {
  const auto said = json_of(answer);
  if (!said.ok()) return Grade{.score = 0, .right = false, .why = said.error().message()};
  if (!gold.schema.is_null()) {
    std::string fault = SHOAL_TRY(schema_fault(gold.schema, *said));
    if (!fault.empty()) return Grade{.score = 0, .right = false, .why = std::move(fault)};
  }
  Leaves wanted;
  Leaves there;
  add_leaves(wanted, gold.fields, "$");
  add_leaves(there, *said, "$");
  std::vector<std::string> shared;
  std::ranges::set_intersection(wanted, there, std::back_inserter(shared));
  const std::size_t all = wanted.size() + there.size();
  const double score = all == 0 ? 1 : 2.0 * static_cast<double>(shared.size()) / static_cast<double>(all);
  return Grade{.score = score,
               .right = score >= 1,
               .why = fmt::format("{} of {} fields are right, {} too many", shared.size(), wanted.size(),
                                  there.size() - shared.size())};
}

}  // namespace shoal::evaluation
