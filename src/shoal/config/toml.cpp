#include <algorithm>
#include <array>
#include <filesystem>
#include <set>
#include <string>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/config/load.h"
#include "shoal/config/paths.h"

namespace shoal::config {
namespace {

constexpr std::int64_t kVersion = 1;

std::string_view line_at(std::string_view text, std::uint32_t number) {
  for (std::uint32_t i = 1; i < number; ++i) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::vector<std::string> sections() {
  std::vector<std::string> names;
  for (const Key& key : keys()) {
    if (names.empty() || names.back() != key.section()) names.emplace_back(key.section());
  }
  return names;
}

// What somebody who wrote an unknown `name` in `section` probably meant.
std::string advice(std::string_view section, std::string_view name) {
  std::vector<std::string> here;
  std::vector<std::string> elsewhere;
  for (const Key& key : keys()) {
    if (key.leaf() == name) return fmt::format("it belongs in [{}]", key.section());
    (key.section() == section ? here : elsewhere).emplace_back(key.section() == section ? key.leaf() : key.name);
  }
  if (const std::string near = base::suggest(name, here); !near.empty()) {
    return fmt::format("did you mean `{}`?", near);
  }
  for (const Key& key : keys()) {
    const std::array<std::string_view, 1> leaf = {key.leaf()};
    if (!base::suggest(name, leaf).empty()) return fmt::format("did you mean `{}` in [{}]?", key.leaf(), key.section());
  }
  if (name.find("key") != std::string_view::npos || name.find("secret") != std::string_view::npos) {
    return "secrets are never values: name a file of keys in server.api_keys_file";
  }
  return "`shoal config reference` lists every key";
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& name, const std::string& folder, Config& config,
         std::vector<Origin>& origins)
      : text_(text), name_(name), folder_(folder), config_(config), origins_(origins) {}

  std::vector<Fault> read() {
    toml::table root;
    try {
      root = toml::parse(text_, name_);
    } catch (const toml::parse_error& error) {
      fault(error.source(), base::escape_control(error.description()), "");
      return std::move(faults_);
    }
    for (auto&& [key, node] : root) {
      if (key.str() == "version") {
        version(node);
      } else if (is_section(key.str())) {
        section(key, node);
      } else {
        fault(key.source(), fmt::format("unknown key `{}`", base::escape_control(key.str())),
              top_level_advice(key.str()));
      }
    }
    // toml++ keeps tables sorted by name; people read from top to bottom.
    std::ranges::stable_sort(faults_, {}, [](const Fault& f) { return std::pair(f.line, f.column); });
    return std::move(faults_);
  }

 private:
  static bool is_section(std::string_view name) {
    return std::ranges::any_of(keys(), [&](const Key& key) { return key.section() == name; });
  }

  static std::string top_level_advice(std::string_view name) {
    if (const std::string near = base::suggest(name, sections()); !near.empty()) {
      return fmt::format("did you mean [{}]?", near);
    }
    return advice("", name);
  }

  void version(const toml::node& node) {
    const auto* const number = node.as_integer();
    if (number == nullptr || number->get() != kVersion) {
      fault(node.source(), fmt::format("wanted version = {}, the only one that this program reads", kVersion), "");
    }
  }

  void section(const toml::key& name, const toml::node& node) {
    const auto* const table = node.as_table();
    if (table == nullptr) {
      fault(name.source(), fmt::format("`{}` is a section, not a value", name.str()),
            fmt::format("write [{}] on a line of its own, and its keys below", name.str()));
      return;
    }
    for (auto&& [key, value] : *table) entry(name.str(), key, value);
  }

  void entry(std::string_view section, const toml::key& name, const toml::node& node) {
    const Key* const key = find_key(fmt::format("{}.{}", section, name.str()));
    if (key == nullptr) {
      fault(name.source(), fmt::format("unknown key `{}` in [{}]", base::escape_control(name.str()), section),
            advice(section, name.str()));
      return;
    }
    std::optional<Value> value = convert(node);
    if (!value) {
      fault(node.source(), fmt::format("`{}`: wanted {}, got {}", key->name, key->type_text(), kind(node)), "");
      return;
    }
    if (auto why = check_value(*key, *value)) {
      fault(node.source(), fmt::format("`{}`: {}", key->name, *why), unquote_advice(*key, *value));
      return;
    }
    resolve_paths(*key, folder_, *value);
    key->write(config_, *std::move(value));
    origins_[static_cast<std::size_t>(key - keys().data())] = {Layer::kFile,
                                                               fmt::format("{}:{}", name_, name.source().begin.line)};
  }

  static std::string unquote_advice(const Key& key, const Value& value) {
    const auto* const text = std::get_if<std::string>(&value);
    const bool plain = key.type == Type::kInteger || key.type == Type::kBool;
    if (text == nullptr || !plain || !parse_value(key, *text).ok()) return "";
    return fmt::format("write {} = {}, without quotes", key.leaf(), *text);
  }

  static std::string_view kind(const toml::node& node) {
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

  static std::optional<Value> convert(const toml::node& node) {
    if (const auto* flag = node.as_boolean()) return Value(flag->get());
    if (const auto* number = node.as_integer()) return Value(number->get());
    if (const auto* text = node.as_string()) return Value(text->get());
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

  void fault(const toml::source_region& where, std::string message, std::string suggestion) {
    Fault found;
    found.place = name_;
    found.line = where.begin.line;
    found.column = where.begin.column;
    if (where.end.line == where.begin.line && where.end.column > where.begin.column) {
      found.width = where.end.column - where.begin.column;
    }
    found.source = line_at(text_, found.line);
    found.message = std::move(message);
    found.suggestion = std::move(suggestion);
    faults_.push_back(std::move(found));
  }

  std::string_view text_;
  const std::string& name_;
  const std::string& folder_;
  Config& config_;
  std::vector<Origin>& origins_;
  std::vector<Fault> faults_;
};

}  // namespace

std::vector<Fault> apply_toml(std::string_view text, const std::string& name, const std::string& folder, Config& config,
                              std::vector<Origin>& origins) {
  origins.resize(keys().size());
  return Reader(text, name, folder, config, origins).read();
}

}  // namespace shoal::config
