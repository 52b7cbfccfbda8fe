// One TOML file while it is read: its faults by place, and its values checked against their forms. Place: shared by
// toml.cpp, for keys, and record_reader.cpp. Owned by whoever reads the file. Threads: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <toml++/toml.h>

#include "shoal/config/fault.h"
#include "shoal/config/value.h"

namespace shoal::config {

class TomlSource {
 public:
  // Relative paths in the file count from `folder`.
  TomlSource(std::string_view text, const std::string& name, std::string folder)
      : source_{.name = name, .text = std::string(text)}, folder_(std::move(folder)) {}

  // Nothing: it is no TOML, which is a fault.
  [[nodiscard]] std::optional<toml::table> parse();

  // kHidden: the line is not shown, since a secret may be in it that does not look like one.
  enum class Line : std::uint8_t { kShown, kHidden };
  void fault(const toml::source_region& where, std::string message, std::string suggestion = {},
             Line line = Line::kShown);

  // The value of `node`, with paths resolved; nothing: it is not of this form, which is a fault. `path` is what it is
  // called in faults, "server.port".
  [[nodiscard]] std::optional<Value> value(const Form& form, std::string_view path, const toml::node& node);

  [[nodiscard]] const SourceText& text() const { return source_; }

  // Of a value that stands behind `name`.
  [[nodiscard]] Origin origin(const toml::source_region& name, const toml::node& value) const;
  // Of a header.
  [[nodiscard]] Origin origin(const toml::source_region& name) const;

  // In the order of the file: toml++ keeps tables sorted by name, but people read from top to bottom.
  [[nodiscard]] std::vector<Fault> take_faults();

 private:
  [[nodiscard]] bool check_list(const Form& form, std::string_view path, const toml::array& list);
  // As it stands in the file: `0.15`.
  [[nodiscard]] std::string_view written(const toml::node& node) const;
  [[nodiscard]] std::string advice(const Form& form, const toml::node& node, const Value* value) const;

  SourceText source_;
  std::string folder_;
  std::vector<Fault> faults_;
};

}  // namespace shoal::config
