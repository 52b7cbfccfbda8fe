// Bounded JSON: every body that a client or a provider sends is read here first. RFC 8259 to the letter,
// strict UTF-8, numbers that a double can hold, with limits on depth, nodes and bytes; a fault is named with
// its byte offset. Boost.JSON does the reading; only wire/ and its tests include it.
// Owned by value. Threads: any; pure.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"

namespace shoal::wire {

struct JsonLimits {
  std::size_t bytes = std::size_t{8} << 20;
  std::size_t nodes = 100'000;  // values, containers included
  std::size_t depth = 64;
};

class JsonDocument {
 public:
  // Errors: kInvalidJson ("at byte 17: ..."), kPayloadTooLarge past limits.bytes.
  [[nodiscard]] static Result<JsonDocument> parse(std::string_view text, const JsonLimits& limits = {});

  JsonDocument(JsonDocument&&) noexcept;
  JsonDocument& operator=(JsonDocument&&) noexcept;
  ~JsonDocument();

  [[nodiscard]] const boost::json::value& root() const;

  // The root as an object in which no object, at any depth, names a key twice: such text is JSON, but two
  // readers may disagree about what it says. Errors: kInvalidRequest, with the key as param.
  [[nodiscard]] Result<const boost::json::object*> request_object() const;

 private:
  struct Parsed;
  explicit JsonDocument(std::unique_ptr<Parsed> parsed);

  std::unique_ptr<Parsed> parsed_;
};

// Whether it is JSON within the limits, without making a document. Errors: as JsonDocument::parse.
[[nodiscard]] Result<void> check_json(std::string_view text, const JsonLimits& limits = {});

}  // namespace shoal::wire
