#include "shoal/config/toml_source.h"

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/config/paths.h"

namespace shoal::config {
namespace {

constexpr std::string_view kVariableAdvice = R"(name the variable that holds the key: ["OPENAI_API_KEY"])";

Spot spot_of(const toml::source_region& where) {
  Spot spot{.line = where.begin.line, .column = where.begin.column};
  if (where.end.line == where.begin.line && where.end.column > where.begin.column) {
    spot.width = where.end.column - where.begin.column;
  }
  return spot;
}

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list with something other than strings in it";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
      return "a date or time";
    default:
      return "another type";
  }
}

// Of the type that TOML gives it, but for dates, which are text here, and for integers that may have a fraction.
std::optional<Value> convert(const Form& form, const toml::node& node) {
  if (const auto* flag = node.as_boolean()) return Value(flag->get());
  if (const auto* number = node.as_integer()) {
    return form.type == Type::kNumber ? Value(static_cast<double>(number->get())) : Value(number->get());
  }
  if (const auto* number = node.as_floating_point()) return Value(number->get());
  if (const auto* text = node.as_string()) return Value(text->get());
  if (const auto* date = node.as_date(); date != nullptr && form.type == Type::kDate) {
    return Value(fmt::format("{:04}-{:02}-{:02}", date->get().year, date->get().month, date->get().day));
  }
  if (const auto* array = node.as_array()) {
    std::vector<std::string> list;
    for (const toml::node& item : *array) {
      const auto* const text = item.as_string();
      if (text == nullptr) return std::nullopt;
      list.push_back(text->get());
    }
    return Value(std::move(list));
  }
  return std::nullopt;
}

}  // namespace

std::optional<toml::table> TomlSource::parse() {
  try {
    return toml::parse(source_.text, source_.name);
  } catch (const toml::parse_error& error) {
    fault(error.source(), base::escape_control(error.description()));
  }
  return std::nullopt;
}

void TomlSource::fault(const toml::source_region& where, std::string message, std::string suggestion, Line line) {
  faults_.push_back(source_.fault(spot_of(where), std::move(message), std::move(suggestion)));
  if (line == Line::kHidden) faults_.back().source.clear();
}

std::optional<Value> TomlSource::value(const Form& form, std::string_view path, const toml::node& node) {
  const Line line = form.type == Type::kVariableList ? Line::kHidden : Line::kShown;
  std::optional<Value> value = convert(form, node);
  if (!value) {
    fault(node.source(), fmt::format("`{}`: wanted {}, got {}", path, form.type_text(), kind_of(node)),
          advice(form, node, nullptr), line);
    return std::nullopt;
  }
  if (const auto* const list = node.as_array(); list != nullptr && form.is_list()) {
    if (!check_list(form, path, *list)) return std::nullopt;
  } else if (auto why = check_value(form, *value)) {
    fault(node.source(), fmt::format("`{}`: {}", path, *why), advice(form, node, &*value), line);
    return std::nullopt;
  }
  resolve_paths(form, folder_, *value);
  return value;
}

bool TomlSource::check_list(const Form& form, std::string_view path, const toml::array& list) {
  bool good = true;
  for (const toml::node& item : list) {
    const auto why = check_text(form, item.as_string()->get());
    if (!why) continue;
    good = false;
    const bool variable = form.type == Type::kVariableList;
    fault(item.source(), fmt::format("`{}`: {}", path, *why), variable ? std::string(kVariableAdvice) : "",
          variable ? Line::kHidden : Line::kShown);
  }
  return good;
}

// What to write in place of a value of the wrong type; empty: nothing comes to mind.
std::string TomlSource::advice(const Form& form, const toml::node& node, const Value* value) const {
  const std::string_view leaf = form.name.substr(form.name.find('.') + 1);
  if (form.type == Type::kMoney && node.is_number()) {
    const std::string text(written(node));
    const bool plain = !check_text(form, text) && !text.empty();
    return plain ? fmt::format("write {} = \"{}\", in quotes: amounts are text, so that nothing is rounded", leaf, text)
                 : "write it in quotes, as a plain decimal: amounts are text, so that nothing is rounded";
  }
  if (form.type == Type::kVariableList) return std::string(kVariableAdvice);
  const auto* const text = value == nullptr ? nullptr : std::get_if<std::string>(value);
  if (text == nullptr) return "";
  if (form.type == Type::kTargetList && !check_text(form, *text)) {
    return fmt::format("write {} = [{}], a list", leaf, base::json_string(*text));
  }
  const bool bare = form.type == Type::kInteger || form.type == Type::kNumber || form.type == Type::kBool;
  if (!bare || !parse_value(form, *text).ok()) return "";
  return fmt::format("write {} = {}, without quotes", leaf, *text);
}

std::string_view TomlSource::written(const toml::node& node) const {
  const toml::source_region& where = node.source();
  std::string_view text = source_.text;
  for (std::uint32_t line = 1; line < where.begin.line; ++line) {
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  // Columns count characters; numbers have no others than ASCII, but a name before them in the line may.
  const auto skip = [](std::string_view& rest, std::uint32_t characters) {
    std::size_t at = 0;
    for (; at < rest.size(); ++at) {
      if ((rest[at] & 0xC0) != 0x80 && characters-- == 0) break;
    }
    const std::string_view before = rest.substr(0, at);
    rest.remove_prefix(at);
    return before;
  };
  skip(text, where.begin.column - 1);
  return where.end.line == where.begin.line ? skip(text, where.end.column - where.begin.column) : std::string_view();
}

Origin TomlSource::origin(const toml::source_region& name, const toml::node& value) const {
  Origin out = origin(name);
  out.spot = spot_of(value.source());
  if (const auto* const list = value.as_array()) {
    for (const toml::node& item : *list) out.items.push_back(spot_of(item.source()));
  }
  return out;
}

Origin TomlSource::origin(const toml::source_region& name) const {
  return {.layer = Layer::kFile,
          .place = fmt::format("{}:{}", source_.name, name.begin.line),
          .spot = spot_of(name),
          .items = {}};
}

std::vector<Fault> TomlSource::take_faults() {
  std::ranges::stable_sort(faults_, {}, [](const Fault& fault) { return std::pair(fault.line, fault.column); });
  return std::move(faults_);
}

}  // namespace shoal::config
