// JsonWalk: the members of an object, or the items of an array, as they lie in the text: what a document would lose,
// and what costs no allocation. For passing on a client's or a provider's own bytes with a few of them changed, and for
// events that come by the ten thousand a second.
//
//   JsonWalk walk(text);
//   while (walk.next()) if (walk.is("model")) name = json_string(walk.value());
//
// It checks nothing. REQUIRES: `text` is JSON that JsonDocument::parse or check_json accepted, or a value within. On
// other text it ends early, or says nonsense about ranges inside it.
// Lives on the stack while a text is read, which it points into. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace shoal::wire {

// Of bytes, as offsets into a text.
struct ByteRange {
  std::size_t begin = 0;
  std::size_t end = 0;  // one past the last byte

  [[nodiscard]] std::string_view of(std::string_view text) const { return text.substr(begin, end - begin); }
  bool operator==(const ByteRange&) const = default;
};

class JsonWalk {
 public:
  // Neither an object nor an array has nothing to walk over.
  explicit JsonWalk(std::string_view text);

  // To the first, then to the one after; false: there is none.
  bool next();

  // REQUIRES of all: next() said true.
  // The member's name, escaped or not; never of an item. REQUIRES: `name` is plain ASCII letters, digits and
  // underscores.
  [[nodiscard]] bool is(std::string_view name) const;
  [[nodiscard]] std::string_view value() const { return value_.of(text_); }
  // Of the name, with its quotes; of an item, empty.
  [[nodiscard]] ByteRange key_range() const { return key_; }
  [[nodiscard]] ByteRange value_range() const { return value_; }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
  bool members_ = false;  // and not items
  ByteRange key_;
  ByteRange value_;
};

// The value of the member of that name, the last one if there are several; empty when `object` has none.
[[nodiscard]] std::string_view json_member(std::string_view object, std::string_view name);

// Each reads a whole value, and gives nothing when it is of another kind.
[[nodiscard]] std::optional<std::string> json_string(std::string_view value);
// A number without a fraction, however it is written: 12, 12.0, 1.2e1.
[[nodiscard]] std::optional<std::int64_t> json_integer(std::string_view value);
[[nodiscard]] inline bool json_is_object(std::string_view value) {
  return value.starts_with('{');
}
[[nodiscard]] inline bool json_is_array(std::string_view value) {
  return value.starts_with('[');
}
// Absent counts: null asks for nothing.
[[nodiscard]] inline bool json_is_null(std::string_view value) {
  return value.empty() || value == "null";
}

}  // namespace shoal::wire
