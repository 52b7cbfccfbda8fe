#include "shoal/wire/fields.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "shoal/base/suggest.h"
#include "shoal/wire/json_text.h"

namespace shoal::wire {
namespace json = boost::json;
namespace {

std::string_view view(json::string_view s) {
  return {s.data(), s.size()};
}
json::string_view key_of(std::string_view s) {
  return {s.data(), s.size()};
}

std::string bound(double value) {
  return fmt::format("{}", value);
}

std::string range_text(const FieldSpec& spec) {
  const bool low = spec.min > std::numeric_limits<double>::lowest();
  const bool high = spec.max < std::numeric_limits<double>::max();
  const std::string from = spec.above_min ? "above " + bound(spec.min) : "at least " + bound(spec.min);
  if (low && high) {
    return spec.above_min ? from + " and at most " + bound(spec.max)
                          : "from " + bound(spec.min) + " to " + bound(spec.max);
  }
  return low ? from : "at most " + bound(spec.max);
}

bool is_harmless(const FieldSpec& spec, const json::value& value) {
  // Nothing harmless has two parts, and what has them may be long.
  if (value.is_array() && value.get_array().size() > 1) return false;
  if (value.is_object() && value.get_object().size() > 1) return false;
  const std::string text = json::serialize(value);
  std::string_view left = spec.harmless;
  while (!left.empty()) {
    const std::size_t end = std::min(left.find('|'), left.size());
    if (left.substr(0, end) == text) return true;
    left.remove_prefix(std::min(end + 1, left.size()));
  }
  return false;
}

bool has_type(const FieldSpec& spec, const json::value& value) {
  switch (spec.type) {
    case FieldType::kString:
      return value.is_string();
    case FieldType::kNumber:
      return value.is_number();
    case FieldType::kInteger:
      return value.is_int64();
    case FieldType::kBoolean:
      return value.is_bool();
    case FieldType::kArray:
      return value.is_array();
    case FieldType::kObject:
      return value.is_object();
    case FieldType::kAny:
      return true;
  }
  return false;
}

std::string_view type_name(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return "a string";
    case FieldType::kNumber:
      return "a number";
    case FieldType::kInteger:
      return "a whole number";
    case FieldType::kBoolean:
      return "true or false";
    case FieldType::kArray:
      return "an array";
    case FieldType::kObject:
      return "an object";
    case FieldType::kAny:
      return "a value";
  }
  return "a value";
}

}  // namespace

std::string describe(const json::value& value) {
  std::string text;
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return value.get_bool() ? "true" : "false";
    case json::kind::int64:
      return fmt::format("{}", value.get_int64());
    case json::kind::uint64:
      return fmt::format("{}", value.get_uint64());
    case json::kind::double_:
      append_json_number(text, value.get_double());
      return text;
    case json::kind::string:
      append_json_string(text, shortened(view(value.get_string())));
      return "the string " + text;
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "a value";
}

std::string item_path(std::string_view path, std::size_t index) {
  return std::string(path).append("[").append(std::to_string(index)).append("]");
}

Error wrong_type(std::string path, std::string_view wanted, const json::value& came) {
  return Error(ErrorCode::kInvalidRequest, fmt::format("{} must be {}, not {}", path, wanted, describe(came)))
      .with_param(std::move(path));
}

Fields::Fields(const json::object& object, std::string path, std::span<const FieldSpec> table)
    : object_(object), path_(std::move(path)), table_(table) {}

std::string Fields::path_of(std::string_view key) const {
  return path_.empty() ? std::string(key) : std::string(path_).append(".").append(key);
}

void Fields::fail(Error error) {
  if (!fault_) fault_ = std::move(error);
}

const FieldSpec& Fields::spec(std::string_view key) const {
  const auto found = std::ranges::find(table_, key, &FieldSpec::name);
  assert(found != table_.end());
  return *found;
}

const json::value* Fields::find(std::string_view key) const {
  if (fault_) return nullptr;
  const json::value* value = object_.if_contains(key_of(key));
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::value* Fields::any(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  const FieldSpec& field = spec(key);
  if (!has_type(field, *value)) {
    fail(wrong_type(path_of(key), type_name(field.type), *value));
    return nullptr;
  }
  return value;
}

void Fields::check_range(const FieldSpec& field, double value, const json::value& shown) {
  const bool inside = (field.above_min ? value > field.min : value >= field.min) && value <= field.max;
  if (inside) return;
  const std::string path = path_of(field.name);
  fail(Error(ErrorCode::kInvalidRequest, fmt::format("{} must be {}, not {}", path, range_text(field), describe(shown)))
           .with_param(path));
}

std::optional<std::string> Fields::text(std::string_view key) {
  const json::value* value = any(key);
  if (value == nullptr) return std::nullopt;
  return std::string(view(value->get_string()));
}

std::optional<double> Fields::number(std::string_view key) {
  const json::value* value = any(key);
  if (value == nullptr) return std::nullopt;
  const auto number = value->to_number<double>();
  check_range(spec(key), number, *value);
  return ok() ? std::optional(number) : std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view key) {
  const json::value* value = any(key);
  if (value == nullptr) return std::nullopt;
  const std::int64_t number = value->get_int64();
  check_range(spec(key), static_cast<double>(number), *value);
  return ok() ? std::optional(number) : std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view key) {
  const json::value* value = any(key);
  return value == nullptr ? std::nullopt : std::optional(value->get_bool());
}

const json::array* Fields::array(std::string_view key) {
  const json::value* value = any(key);
  return value == nullptr ? nullptr : &value->get_array();
}

const json::object* Fields::object(std::string_view key) {
  const json::value* value = any(key);
  return value == nullptr ? nullptr : &value->get_object();
}

void Fields::need(types::NeedKind kind, const std::string& param, bool verbatim) {
  needs_.push_back({kind, param});
  if (verbatim && kind != types::NeedKind::kOpenAi) needs_.push_back({types::NeedKind::kOpenAi, param});
}

void Fields::finish(Fields& inner) {
  if (auto read = inner.finish(); !read.ok()) return fail(std::move(read).error());
  needs_.insert(needs_.end(), inner.needs_.begin(), inner.needs_.end());
}

void Fields::check_key(std::string_view key, const json::value& value) {
  const auto found = std::ranges::find(table_, key, &FieldSpec::name);
  if (found == table_.end()) {
    std::vector<std::string_view> names;
    for (const FieldSpec& field : table_) {
      if (field.rule != FieldRule::kRefused) names.push_back(field.name);
    }
    const std::string_view meant = base::suggest(key, names);
    const std::string hint = meant.empty() ? "; remove it" : fmt::format("; did you mean \"{}\"?", meant);
    fail(Error(ErrorCode::kUnsupportedParameter,
               fmt::format("\"{}\" is not a parameter here{}", path_of(shortened(key)), hint))
             .with_param(path_of(shortened(key)))
             .with_suggestion(std::string(meant)));
    return;
  }
  if (value.is_null() || found->rule == FieldRule::kHonoured) return;
  if (found->rule != FieldRule::kRefused) {
    if (!has_type(*found, value)) return fail(wrong_type(path_of(key), type_name(found->type), value));
    if (found->rule == FieldRule::kNeeds && !is_harmless(*found, value)) {
      need(found->need, path_of(key), found->verbatim);
    }
    return;
  }
  if (!is_harmless(*found, value)) {
    const std::string path = path_of(key);
    if (!found->instead.empty()) {
      fail(Error(ErrorCode::kUnsupportedParameter,
                 fmt::format("\"{}\" is not a parameter here; did you mean \"{}\"?", path, found->instead))
               .with_param(path)
               .with_suggestion(std::string(found->instead)));
      return;
    }
    fail(Error(ErrorCode::kUnsupportedParameter,
               fmt::format("{} is not supported with {} by this version of Shoal; leave it out", path, describe(value)))
             .with_param(path));
  }
}

Result<void> Fields::finish() {
  for (const auto& [key, value] : object_) {
    if (fault_) break;
    check_key(view(key), value);
  }
  for (const FieldSpec& field : table_) {
    if (field.required && find(field.name) == nullptr && !fault_) {
      fail(Error(ErrorCode::kInvalidRequest,
                 fmt::format("{} is missing; it must be {}", path_of(field.name), type_name(field.type)))
               .with_param(path_of(field.name)));
    }
  }
  if (fault_) return *std::move(fault_);
  return {};
}

}  // namespace shoal::wire
