// JSON files of routing/: tables, certificates, models. Read with a bound on their size, and told by the name of the
// field what is wrong in them; there whole or not at all. Internal to routing/. Threads: any; files block on the disk.
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/result.h"

namespace shoal::routing {

// Shortest digits that read back to the same number.
[[nodiscard]] std::string json_number(double value);

inline constexpr char kNumberMark = '\x01';
// An object whose numbers are read to the last bit, which boost::json::parse() does not do: they become texts with a
// mark before them, for JsonReader alone. Errors: kInvalidConfig: it is not an object.
[[nodiscard]] Result<boost::json::value> parse_exactly(std::string_view text);

// Reads members of an object and remembers the first that is not as it should be.
class JsonReader {
 public:
  JsonReader(const boost::json::object& object, std::string path, std::string& fault)
      : object_(object), path_(std::move(path)), fault_(fault) {}

  std::string text(std::string_view name) {
    const boost::json::value* const value = find(name);
    if (value != nullptr && value->is_string() && !digits(*value)) return std::string(value->as_string());
    return bad(name, "a text"), std::string();
  }
  bool flag(std::string_view name) {
    const boost::json::value* const value = find(name);
    if (value != nullptr && value->is_bool()) return value->get_bool();
    return bad(name, "true or false"), false;
  }
  double real(std::string_view name, double min, double max) { return checked(name, find(name), min, max); }
  std::size_t count(std::string_view name, std::size_t min) {
    constexpr std::uint64_t kMostOfAny = std::uint64_t{1} << 62U;
    const boost::json::value* const value = find(name);
    const auto number = value == nullptr ? std::nullopt : digits(*value);
    std::uint64_t out = 0;
    if (number && read(*number, out) && out >= min && out <= kMostOfAny) return out;
    return bad(name, fmt::format("a whole number from {}", min)), 0;
  }
  template <std::size_t kCount>
  std::array<double, kCount> numbers(std::string_view name, double min) {
    std::array<double, kCount> out{};
    const boost::json::array* const values = array(name);
    if (values == nullptr || values->size() != kCount) return bad(name, fmt::format("{} numbers", kCount)), out;
    for (std::size_t i = 0; i < kCount; ++i) out[i] = checked(name, &(*values)[i], min, kMost);
    return out;
  }
  std::vector<double> numbers(std::string_view name, double min) {
    std::vector<double> out;
    const boost::json::array* const values = array(name);
    if (values == nullptr) return bad(name, "a list of numbers"), out;
    for (const boost::json::value& value : *values) out.push_back(checked(name, &value, min, kMost));
    return out;
  }
  const boost::json::array* array(std::string_view name) {
    const boost::json::value* const value = find(name);
    return value == nullptr ? nullptr : value->if_array();
  }
  JsonReader object(std::string_view name) {
    static const boost::json::object kEmpty;
    const boost::json::value* const value = find(name);
    const boost::json::object* const inner = value == nullptr ? nullptr : value->if_object();
    if (inner == nullptr) bad(name, "an object");
    return {inner == nullptr ? kEmpty : *inner, path_ + std::string(name) + ".", fault_};
  }
  // Each element of a list, which must be an object.
  template <class Each>
  void objects(std::string_view name, Each each) {
    const boost::json::array* const values = array(name);
    if (values == nullptr) return bad(name, "a list");
    for (const boost::json::value& value : *values) {
      const boost::json::object* const inner = value.if_object();
      if (inner == nullptr) return bad(name, "a list of objects");
      each(JsonReader(*inner, path_ + std::string(name) + ".", fault_));
    }
  }
  void bad(std::string_view name, std::string_view wanted) {
    if (fault_.empty()) fault_ = fmt::format("{}{}: wanted {}", path_, name, wanted);
  }

  static constexpr double kMost = 1e9;

 private:
  [[nodiscard]] const boost::json::value* find(std::string_view name) const { return object_.if_contains(name); }
  double checked(std::string_view name, const boost::json::value* value, double min, double max) {
    const auto number = value == nullptr ? std::nullopt : digits(*value);
    double out = NAN;
    if (number && !read(*number, out)) out = NAN;
    if (out >= min && out <= max) return out;
    return bad(name, fmt::format("a number from {} to {}", min, max)), 0;
  }

  // Of a number.
  static std::optional<std::string_view> digits(const boost::json::value& value) {
    const boost::json::string* const text = value.if_string();
    if (text == nullptr || text->empty() || text->front() != kNumberMark) return std::nullopt;
    return std::string_view(text->data(), text->size()).substr(1);
  }
  template <class Number>
  static bool read(std::string_view digits, Number& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  }

  const boost::json::object& object_;
  const std::string path_;
  std::string& fault_;
};

// Every *.json of the folder, by name; a folder that is not there has none.
[[nodiscard]] std::vector<std::filesystem::path> json_files(const std::filesystem::path& folder);
// Errors: kIo; kInvalidConfig: more than a MiB.
[[nodiscard]] Result<std::string> read_text(const std::filesystem::path& path);
// Into the folder, which is made. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_text(const std::filesystem::path& folder, const std::string& name,
                                                      std::string_view text);
// With _ for what no file name should hold.
[[nodiscard]] std::string plain_file_name(std::string name);

}  // namespace shoal::routing
