// Records of the configuration: tables that a user may have any number of, [provider.NAME], [route.NAME] and [[price]].
// Each kind has one table of fields here, from which parsing, overrides by variables, `config explain`, `config
// schema`, `config show` and the reference page are made, as from keys.h for single keys: a field is added there, and
// to its struct in config.h, and nowhere else. What fields say of one another is in record_rules.h. Threads: any;
// immutable.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shoal/config/config.h"
#include "shoal/config/value.h"

namespace shoal::config {

struct Field : Form {
  Value (*read)(const Config&, std::size_t record);
  void (*write)(Config&, std::size_t record, Value);  // REQUIRES: a value of the field's type
};

struct RecordKind {
  std::string_view name;          // "provider"
  std::string_view name_pattern;  // what names may be, as a regular expression; empty: records have no names, [[price]]
  bool (*is_name)(std::string_view);
  std::string_view help;     // Markdown
  std::string_view example;  // TOML that loads
  std::span<const Field> fields;
  std::size_t (*count)(const Config&);
  // Appends one of that name, with the defaults; gives its index.
  std::size_t (*add)(Config&, std::string name);
  std::string_view (*name_of)(const Config&, std::size_t record);  // empty where there are none

  [[nodiscard]] bool named() const { return !name_pattern.empty(); }
  // "[provider.openai]", `[route."gpt-4.1"]`, "[[price]]".
  [[nodiscard]] std::string header(std::string_view record = "NAME") const;
  // "provider.openai.base_url", "price.input_usd".
  [[nodiscard]] std::string path(std::string_view record, const Field& field) const;
  // "SHOAL_PROVIDER__OPENAI__BASE_URL"; empty where records have no names.
  [[nodiscard]] std::string variable(std::string_view record, const Field& field) const;
  [[nodiscard]] const Field* find(std::string_view field) const;
  [[nodiscard]] std::size_t index_of(const Field& field) const;
  [[nodiscard]] Value default_value(const Field& field) const;
};

// As in the name of a variable: upper case, and _ for what is no letter and no digit.
[[nodiscard]] std::string variable_part(std::string_view name);

// In the order of the reference: providers, routes, prices.
[[nodiscard]] std::span<const RecordKind> record_kinds();
[[nodiscard]] const RecordKind* find_record_kind(std::string_view name);
[[nodiscard]] std::size_t index_of(const RecordKind& kind);
// The record of that name.
[[nodiscard]] std::optional<std::size_t> find_record(const RecordKind& kind, const Config& config,
                                                     std::string_view name);

// What "provider.base_url", "provider.openai.base_url" or `route."gpt-4.1".policy` names.
struct FieldName {
  const RecordKind* kind;
  const Field* field;
  std::string record;  // as it is written, without quotes; empty: any
};
[[nodiscard]] std::optional<FieldName> find_field(std::string_view path);

}  // namespace shoal::config
