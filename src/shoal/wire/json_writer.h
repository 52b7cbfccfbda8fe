// JsonWriter: objects and arrays as text, with the commas in their places. Appends to a string that the caller owns;
// what is written is JSON when what was opened was closed.
//
//   JsonWriter json(out);
//   json.object().key("model").string(model).key("stop").array();
//   for (const auto& stop : stops) json.string(stop);
//   json.end_array().end_object();
//
// Lives on the stack. Threads: one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "shoal/wire/json_text.h"

namespace shoal::wire {

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }

  // REQUIRES: `name` needs no escapes.
  JsonWriter& key(std::string_view name) {
    next();
    out_.append("\"").append(name).append("\":");
    comma_ = false;
    return *this;
  }
  JsonWriter& string(std::string_view text) {
    next();
    append_json_string(out_, text);
    return *this;
  }
  // REQUIRES: finite.
  JsonWriter& number(float value) {
    next();
    append_json_number(out_, value);
    return *this;
  }
  JsonWriter& integer(std::int64_t value) {
    next();
    append_json_number(out_, value);
    return *this;
  }
  JsonWriter& boolean(bool value) { return raw(value ? "true" : "false"); }
  // REQUIRES: the text of a JSON value.
  JsonWriter& raw(std::string_view json) {
    next();
    out_ += json;
    return *this;
  }

 private:
  void next() {
    if (comma_) out_ += ',';
    comma_ = true;
  }
  JsonWriter& open(char bracket) {
    next();
    out_ += bracket;
    comma_ = false;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_ += bracket;
    comma_ = true;
    return *this;
  }

  std::string& out_;
  bool comma_ = false;  // the next value is not the first
};

}  // namespace shoal::wire
