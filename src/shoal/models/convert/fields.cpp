#include "shoal/models/convert/fields.h"

#include <cmath>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

namespace shoal::models::convert {

namespace fs = std::filesystem;
namespace json = boost::json;

Result<std::string> read_bytes(const fs::path& path, std::uintmax_t max_bytes) {
  std::error_code why;
  const std::uintmax_t size = fs::file_size(path, why);
  if (why)
    return Error(
        ErrorCode::kModelInvalid,
        fmt::format("{} is missing; wanted a folder with config.json, tokenizer.json and safetensors", path.string()));
  if (size > max_bytes)
    return Error(ErrorCode::kModelInvalid, fmt::format("{} has {} bytes; at most {}", path.string(), size, max_bytes));
  std::ifstream in(path, std::ios::binary);
  std::string bytes(size, '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(size));
  if (!in) return Error(ErrorCode::kModelInvalid, fmt::format("{} cannot be read", path.string()));
  return bytes;
}

Result<json::object> read_json(const fs::path& path) {
  const std::string bytes = SHOAL_TRY(read_bytes(path, kMaxJsonBytes));
  std::error_code why;
  json::value root = json::parse(bytes, why);
  if (why || !root.is_object())
    return Error(ErrorCode::kModelInvalid, fmt::format("{} is not a JSON object", path.string()));
  return std::move(root.get_object());
}

std::string shortened(const json::value& value, std::size_t most) {
  json::serializer writer;
  writer.reset(&value);
  std::string text(most + 1, '\0');
  text.resize(writer.read(text.data(), text.size()).size());
  return cut(std::move(text), most);
}

std::string cut(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0U) == 0x80U) --most;
  return text.substr(0, most) + "...";
}

const json::value* Fields::find(std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Error Fields::wrong(std::string_view wanted, std::string_view key) const {
  const json::value* value = object_->if_contains(key);
  return {ErrorCode::kModelInvalid, fmt::format("{}: wanted {} at '{}', got {}", where_, wanted, key,
                                                value == nullptr ? "nothing" : shortened(*value))};
}

Result<std::uint32_t> Fields::positive(std::string_view key, std::uint32_t most) const {
  const json::value* value = find(key);
  std::error_code why;
  const auto number = value != nullptr && value->is_number() ? value->to_number<std::uint32_t>(why) : 0U;
  if (number == 0 || number > most || why) return wrong(fmt::format("a number from 1 to {}", most), key);
  return number;
}

Result<double> Fields::positive_real(std::string_view key, double otherwise) const {
  const json::value* value = find(key);
  if (value == nullptr) return otherwise;
  std::error_code why;
  const double number = value->is_number() ? value->to_number<double>(why) : 0.0;
  if (why || !(number > 0) || !std::isfinite(static_cast<float>(number))) return wrong("a positive number", key);
  return number;
}

Result<bool> Fields::boolean(std::string_view key, bool otherwise) const {
  const json::value* value = find(key);
  if (value == nullptr) return otherwise;
  if (!value->is_bool()) return wrong("true or false", key);
  return value->get_bool();
}

Result<std::string> Fields::text(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_string()) return wrong("a text", key);
  return std::string(value->get_string());
}

Result<std::string> Fields::text(std::string_view key, std::string_view otherwise) const {
  return lacks(key) ? Result<std::string>(otherwise) : text(key);
}

Result<Fields> Fields::object(std::string_view key) const {
  return Fields(fmt::format("{}: '{}'", where_, key), *SHOAL_TRY(members(key)));
}

Result<const json::object*> Fields::members(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_object()) return wrong("an object", key);
  return &value->get_object();
}

Result<const json::array*> Fields::array(std::string_view key) const {
  const json::value* value = find(key);
  if (value == nullptr || !value->is_array()) return wrong("a list", key);
  return &value->get_array();
}

}  // namespace shoal::models::convert
