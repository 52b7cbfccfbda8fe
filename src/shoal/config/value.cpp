#include "shoal/config/value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/config/secrets.h"

namespace shoal::config {
namespace {

constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();

std::string_view kind_of(const Value& value) {
  constexpr std::array<std::string_view, 5> kNames = {"a boolean", "an integer", "a string", "a list",
                                                      "a number with a fraction"};
  return kNames[value.index()];
}

std::string wanted(const Form& form) {
  switch (form.type) {
    case Type::kBool:
      return "true or false";
    case Type::kInteger:
      return fmt::format("an integer from {} to {}", form.min, form.max);
    case Type::kNumber:
      return fmt::format("a number from {} to {}", form.min, form.max);
    case Type::kChoice:
      return fmt::format("one of \"{}\"", fmt::join(form.choices, "\", \""));
    case Type::kString:
      return "a string";
    case Type::kPath:
      return "a path, as a string";
    case Type::kUrl:
      return "a URL such as \"https://api.example.com/v1\"";
    case Type::kMoney:
      return "an amount of USD as text, such as \"1.00\"";
    case Type::kDate:
      return "a date such as \"2026-03-01\"";
    case Type::kTarget:
      return "\"provider/model\"";
    case Type::kStringList:
    case Type::kPathList:
      return "a list of strings";
    case Type::kVariableList:
      return "a list of names of environment variables";
    case Type::kTargetList:
      break;
  }
  return "a list of \"provider/model\"";
}

// The alternative of Value.
std::size_t index_of(Type type) {
  switch (type) {
    case Type::kBool:
      return 0;
    case Type::kInteger:
      return 1;
    case Type::kString:
    case Type::kChoice:
    case Type::kPath:
    case Type::kUrl:
    case Type::kMoney:
    case Type::kDate:
    case Type::kTarget:
      return 2;
    case Type::kStringList:
    case Type::kPathList:
    case Type::kVariableList:
    case Type::kTargetList:
      return 3;
    case Type::kNumber:
      break;
  }
  return 4;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

std::optional<std::string> check_choice(const Form& form, const std::string& text) {
  if (std::ranges::find(form.choices, text) != form.choices.end()) return std::nullopt;
  const std::string_view near = base::suggest(text, form.choices);
  return fmt::format("wanted {}, got {}{}", wanted(form), base::json_string(text),
                     near.empty() ? "" : fmt::format("; did you mean \"{}\"?", near));
}

// net/ parses the rest of it; here it is kept from holding a secret.
std::optional<std::string> check_url(const Form& form, const std::string& text) {
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else if (may_hold_secret(text) || text.find('@') != std::string::npos) {
    return fmt::format("wanted {}", wanted(form));
  } else {
    return fmt::format("wanted {}, got {}", wanted(form), base::json_string(text));
  }
  const std::string_view authority = rest.substr(0, rest.find('/'));
  if (authority.find('@') != std::string_view::npos) return "the URL has a user in it; a URL never holds a secret";
  if (rest.find_first_of("?#") != std::string_view::npos)
    return "the URL has a query or a fragment; it must end before";
  if (authority.empty()) return fmt::format("wanted {}, got {}", wanted(form), base::json_string(text));
  if (std::ranges::any_of(rest, [](char c) { return (c >= 0 && c <= ' ') || c == 0x7F; })) {
    return "the URL has a blank in it";
  }
  return std::nullopt;
}

std::optional<std::string> check_money(const Form& form, const std::string& text) {
  const std::string_view amount = text;
  const std::size_t point = std::min(amount.find('.'), amount.size());
  const std::string_view whole = amount.substr(0, point);
  const std::string_view fraction = amount.substr(std::min(point + 1, amount.size()));
  const bool plain = !whole.empty() && std::ranges::all_of(whole, is_digit) &&
                     std::ranges::all_of(fraction, is_digit) && (point == amount.size() || !fraction.empty()) &&
                     (whole.size() == 1 || whole.front() != '0');
  if (!plain) return fmt::format("wanted {}, got {}", wanted(form), base::json_string(text));
  if (std::cmp_greater(whole.size(), form.min)) {
    return fmt::format("wanted at most {} digits before the point, got {}", form.min, whole.size());
  }
  if (std::cmp_greater(fraction.size(), form.max)) {
    return fmt::format("wanted at most {} digits after the point, got {}", form.max, fraction.size());
  }
  return std::nullopt;
}

std::optional<std::string> check_date(const Form& form, const std::string& text) {
  const auto fail = [&] { return fmt::format("wanted {}, got {}", wanted(form), base::json_string(text)); };
  constexpr std::string_view kForm = "dddd-dd-dd";
  if (text.size() != kForm.size()) return fail();
  for (std::size_t i = 0; i < kForm.size(); ++i) {
    if (kForm[i] == '-' ? text[i] != '-' : !is_digit(text[i])) return fail();
  }
  const auto number = [&](std::size_t from, std::size_t count) {
    int out = 0;
    std::from_chars(text.data() + from, text.data() + from + count, out);
    return out;
  };
  const std::chrono::year_month_day date{std::chrono::year(number(0, 4)),
                                         std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(number(8, 2)))};
  if (!date.ok()) return fmt::format("there is no such day: {}", text);
  return std::nullopt;
}

std::optional<std::string> check_target(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos && slash > 0 && slash + 1 < text.size()) return std::nullopt;
  return fmt::format("wanted \"provider/model\", got {}", base::json_string(text));
}

// Whatever it is, it is not repeated: it may be the secret itself.
std::optional<std::string> check_variable_name(const std::string& text) {
  if (looks_like_secret(text)) {
    return "this looks like a secret, and is not repeated here; wanted the name of the variable that holds it";
  }
  if (!is_variable_name(text)) {
    return "wanted names of environment variables: letters, digits and _; a value is never written here";
  }
  return std::nullopt;
}

Value split(std::string_view text) {
  std::vector<std::string> list;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma > 0) list.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return list;
}

template <class Number>
std::optional<Number> parse_number(std::string_view text) {
  Number number{};
  const char* const last = text.data() + text.size();
  const auto [end, code] = std::from_chars(text.data(), last, number);
  if (code != std::errc{} || end != last) return std::nullopt;
  return number;
}

std::string to_json(double number) {
  std::string out = fmt::format("{}", number);
  // TOML tells integers from floats.
  if (out.find_first_not_of("-0123456789") == std::string::npos) out += ".0";
  return out;
}

}  // namespace

std::string Form::type_text() const {
  switch (type) {
    case Type::kBool:
      return "boolean";
    case Type::kInteger:
      return max == kNoLimit ? fmt::format("integer, at least {}", min) : fmt::format("integer, {} to {}", min, max);
    case Type::kNumber:
      return fmt::format("number, {} to {}", min, max);
    case Type::kChoice:
    case Type::kTarget:
      return wanted(*this);
    case Type::kString:
      return "string";
    case Type::kPath:
      return "path";
    case Type::kUrl:
      return "URL of http or https, without a user or a query";
    case Type::kMoney:
      return fmt::format("USD as text, at most {} digits after the point", max);
    case Type::kDate:
      return "date, as text or as a date of TOML";
    case Type::kStringList:
      return "list of strings";
    case Type::kPathList:
      return "list of paths";
    case Type::kVariableList:
      return "list of names of environment variables";
    case Type::kTargetList:
      break;
  }
  return "list of \"provider/model\"";
}

std::string Form::pattern() const {
  std::string text;
  if (type == Type::kUrl) text = R"(https?://[^/?#@\s]+(/[^?#\s]*)?)";
  if (type == Type::kMoney) text = fmt::format(R"((0|[1-9][0-9]{{0,{}}})(\.[0-9]{{1,{}}})?)", min - 1, max);
  if (type == Type::kDate) text = "[0-9]{4}-[0-9]{2}-[0-9]{2}";
  if (type == Type::kTarget || type == Type::kTargetList) text = "[^/]+/.+";
  if (type == Type::kVariableList) text = "[A-Za-z_][A-Za-z0-9_]*";
  if (text.empty()) return text;
  return !is_list() && need == Need::kNone ? fmt::format("^({})?$", text) : fmt::format("^{}$", text);
}

std::string to_json(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *number);
  if (const auto* number = std::get_if<double>(&value)) return to_json(*number);
  if (const auto* text = std::get_if<std::string>(&value)) return base::json_string(*text);
  std::vector<std::string> quoted;
  for (const std::string& item : std::get<std::vector<std::string>>(value)) quoted.push_back(base::json_string(item));
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

// JSON's literals, numbers, strings and arrays of strings are TOML as well.
std::string to_toml(const Value& value) {
  return to_json(value);
}

std::optional<std::string> check_text(const Form& form, const std::string& text) {
  if (text.find('\0') != std::string::npos) return "the value contains a NUL character";
  if (form.type == Type::kChoice) return check_choice(form, text);
  if (form.type == Type::kVariableList) return check_variable_name(text);
  if (form.type == Type::kTargetList) return check_target(text);
  if (form.is_list()) return std::nullopt;
  if (text.empty()) {
    if (form.need == Need::kNone) return std::nullopt;
    return fmt::format("it may not be empty; wanted {}", wanted(form));
  }
  if (form.type == Type::kUrl) return check_url(form, text);
  if (form.type == Type::kMoney) return check_money(form, text);
  if (form.type == Type::kDate) return check_date(form, text);
  if (form.type == Type::kTarget) return check_target(text);
  return std::nullopt;
}

std::optional<std::string> check_value(const Form& form, const Value& value) {
  if (value.index() != index_of(form.type)) return fmt::format("wanted {}, got {}", wanted(form), kind_of(value));
  if (const auto* number = std::get_if<std::int64_t>(&value)) {
    if (*number < form.min || *number > form.max) return fmt::format("wanted {}, got {}", wanted(form), *number);
  }
  if (const auto* number = std::get_if<double>(&value)) {
    // Written so that NaN, which TOML has, is refused.
    const bool within = *number >= static_cast<double>(form.min) && *number <= static_cast<double>(form.max);
    if (!within) return fmt::format("wanted {}, got {}", wanted(form), *number);
  }
  if (const auto* text = std::get_if<std::string>(&value)) return check_text(form, *text);
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
    for (const std::string& item : *list) {
      if (auto why = check_text(form, item)) return why;
    }
  }
  return std::nullopt;
}

Result<Value> parse_value(const Form& form, std::string_view text) {
  const auto fail = [&] {
    return Error(ErrorCode::kInvalidConfig, fmt::format("wanted {}, got {}", wanted(form), base::json_string(text)));
  };
  Value value;
  if (form.type == Type::kBool) {
    if (text != "true" && text != "false") return fail();
    value = text == "true";
  } else if (form.type == Type::kInteger) {
    const auto number = parse_number<std::int64_t>(text);
    if (!number) return fail();
    value = *number;
  } else if (form.type == Type::kNumber) {
    const auto number = parse_number<double>(text);
    if (!number) return fail();
    value = *number;
  } else if (form.is_list()) {
    value = split(text);
  } else {
    value = std::string(text);
  }
  if (auto why = check_value(form, value)) return Error(ErrorCode::kInvalidConfig, *std::move(why));
  return value;
}

}  // namespace shoal::config
