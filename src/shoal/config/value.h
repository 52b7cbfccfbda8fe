// What a value of the configuration may be: its name, type, range and unit, and how it is read from text, checked and
// written. Place: what the tables of keys.h and records.h are made of. Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::config {

enum class Type : std::uint8_t {
  kBool,
  kInteger,
  kNumber,  // may have a fraction
  kString,
  kChoice,
  kPath,
  kUrl,     // of http or https, without a user, a query or a fragment
  kMoney,   // USD as decimal text, "0.15": never a float, so that nothing is rounded
  kDate,    // "2026-03-01", or a date of TOML
  kTarget,  // "provider/model"
  kStringList,
  kPathList,
  kVariableList,  // names of environment variables
  kTargetList,
};
enum class Apply : std::uint8_t { kHot, kRestart };
// Whether a text may be empty, and whether a value may be left out at all.
enum class Need : std::uint8_t { kNone, kFilled, kRequired };

using Value = std::variant<bool, std::int64_t, std::string, std::vector<std::string>, double>;

struct Form {
  std::string_view name;  // of a key "server.port", of a field "base_url"
  Type type = Type::kString;
  std::string_view unit;                      // "ms", "MiB"; empty: none
  std::int64_t min = 0;                       // of integers and numbers; of money: the most digits before its point
  std::int64_t max = 0;                       // of integers and numbers; of money: the most digits after its point
  std::span<const std::string_view> choices;  // of choices
  Apply apply = Apply::kHot;
  std::string_view help;
  Need need = Need::kNone;

  // "integer, 0 to 65535", "one of \"auto\", \"text\"".
  [[nodiscard]] std::string type_text() const;
  // A regular expression that the text, or each item of the list, matches; empty: none is needed.
  [[nodiscard]] std::string pattern() const;
  [[nodiscard]] bool is_list() const { return type >= Type::kStringList; }
};

// As TOML writes it: `8080`, `"info"`, `["a", "b"]`, `0.8`.
[[nodiscard]] std::string to_toml(const Value& value);
[[nodiscard]] std::string to_json(const Value& value);

// Why `value` is not one of this form ("wanted an integer from 0 to 65535, got 99999"); nothing: it is.
// What may be a secret in the wrong place is not repeated.
[[nodiscard]] std::optional<std::string> check_value(const Form& form, const Value& value);
// The same of one text, or of one item of a list.
[[nodiscard]] std::optional<std::string> check_text(const Form& form, const std::string& text);

// Reads what a variable or a flag says: lists are separated by commas. Errors: kInvalidConfig, without a place.
[[nodiscard]] Result<Value> parse_value(const Form& form, std::string_view text);

}  // namespace shoal::config
