// Typed access to the JSON files of a model folder, which are hostile input: every error names the file and the key,
// what was wanted and what came. A Fields refers to an object that outlives it. Inside models/convert only.
// Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"

namespace shoal::models::convert {

inline constexpr std::uintmax_t kMaxJsonBytes = 64 * 1024 * 1024;  // the largest tokenizer.json in use is near 35 MB
// Far beyond every model in use; what it stops is a table of billions of empty tokens.
inline constexpr std::uint32_t kMaxVocabulary = 1U << 22;

// Errors: kModelInvalid when it is missing, too long or no JSON object.
[[nodiscard]] Result<boost::json::object> read_json(const std::filesystem::path& path);
// The bytes of a file of at most `max_bytes`. Errors: kModelInvalid.
[[nodiscard]] Result<std::string> read_bytes(const std::filesystem::path& path, std::uintmax_t max_bytes);

class Fields {
 public:
  // `where` is how errors call the object: "config.json".
  Fields(std::string where, const boost::json::object& object) : where_(std::move(where)), object_(&object) {}

  // Nothing is at the key, or null.
  [[nodiscard]] bool lacks(std::string_view key) const { return find(key) == nullptr; }
  // Null when it lacks the key.
  [[nodiscard]] const boost::json::value* find(std::string_view key) const;
  [[nodiscard]] const std::string& where() const { return where_; }

  // Errors of all: kModelInvalid.
  [[nodiscard]] Result<std::uint32_t> positive(std::string_view key, std::uint32_t most = kMaxVocabulary) const;
  [[nodiscard]] Result<double> positive_real(std::string_view key, double otherwise) const;
  [[nodiscard]] Result<bool> boolean(std::string_view key, bool otherwise) const;
  [[nodiscard]] Result<std::string> text(std::string_view key) const;
  [[nodiscard]] Result<std::string> text(std::string_view key, std::string_view otherwise) const;
  [[nodiscard]] Result<Fields> object(std::string_view key) const;
  // The same object, to go through.
  [[nodiscard]] Result<const boost::json::object*> members(std::string_view key) const;
  [[nodiscard]] Result<const boost::json::array*> array(std::string_view key) const;

  // "config.json: wanted a positive number at 'hidden_size', got null".
  [[nodiscard]] base::Error wrong(std::string_view wanted, std::string_view key) const;

 private:
  std::string where_;
  const boost::json::object* object_;
};

// For messages: `value` as JSON, cut.
[[nodiscard]] std::string shortened(const boost::json::value& value, std::size_t most = 60);
// The first `most` bytes, less a character that would be cut in two, and "..." in place of the rest.
[[nodiscard]] std::string cut(std::string text, std::size_t most);

}  // namespace shoal::models::convert
