// Where values come from, and what is wrong with them: a fault has its place, to the column, and where there is one the
// name that was probably meant. Place: made while loading, see load.h; shown by the commands. Threads: any; plain data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::config {

enum class Layer : std::uint8_t { kDefault, kFile, kEnvironment, kFlag };
[[nodiscard]] std::string_view layer_name(Layer layer);

// A place in the text of a file.
struct Spot {
  std::uint32_t line = 0;    // from 1; 0: not in a file
  std::uint32_t column = 0;  // from 1, in characters
  std::uint32_t width = 1;   // characters to underline
};

// Where a value came from: "default", "config.toml:3", "SHOAL_SERVER__PORT", "--port".
struct Origin {
  Layer layer = Layer::kDefault;
  std::string place = "default";
  Spot spot{};                // of the value, in a file
  std::vector<Spot> items{};  // of a list in a file: one each
};

// One thing that is wrong.
struct Fault {
  std::string place;         // the file, the variable or the flag
  std::uint32_t line = 0;    // from 1; 0: not in a file
  std::uint32_t column = 0;  // from 1, in characters
  std::uint32_t width = 1;   // characters to underline
  std::string source;        // the line as it is written; empty: not shown, since a secret may be in it
  std::string message;
  std::string suggestion;  // "did you mean ...", or what to do; may be empty
};

// `config.toml:3:1: error: unknown key "server.prot"`, the line, a caret, and the suggestion.
[[nodiscard]] std::string render(const Fault& fault);
// All of them as one error of code kInvalidConfig. REQUIRES: at least one.
[[nodiscard]] Error to_error(std::span<const Fault> faults);

// A fault outside any file: at a variable, a flag, or a file as a whole.
[[nodiscard]] Fault fault_of(std::string place, std::string message, std::string suggestion = {});

// The text of the one file that was read, to show the lines of its faults.
struct SourceText {
  std::string name;  // as the user wrote it
  std::string text;

  // A fault at `spot`, with its line unless a secret may be in it.
  [[nodiscard]] Fault fault(const Spot& spot, std::string message, std::string suggestion = {}) const;
  // A fault of a value that came from `origin`; item: of a list, counted from 0.
  [[nodiscard]] Fault fault(const Origin& origin, std::string message, std::string suggestion = {}) const;
  [[nodiscard]] Fault fault(const Origin& origin, std::size_t item, std::string message,
                            std::string suggestion = {}) const;
};

}  // namespace shoal::config
