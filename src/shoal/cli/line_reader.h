// Reads the lines that a person types, or those of a pipe. On a terminal with LineEditor, in raw mode only while it
// waits; the terminal is as it was before whenever something else runs, and after any end.
// Use: `while (reader.next(line) == Typed::kLine)`. Prompts go to stderr, and only to people. Threads: the main one.
#pragma once

#include <string>

#include "shoal/cli/line_editor.h"

namespace shoal::cli {

class LineReader {
 public:
  enum class Typed { kLine, kEnd, kInterrupted };

  explicit LineReader(std::string prompt);

  // The next line, without its end; kInterrupted: Ctrl-C on an empty line. A signal that ends processes still does.
  Typed next(std::string& line);

  [[nodiscard]] bool interactive() const { return interactive_; }

 private:
  Typed edit(std::string& line);
  Typed read_line(std::string& line);

  const std::string prompt_;
  const bool interactive_;  // a person types
  const bool edits_;
  LineEditor editor_;
  std::string pending_;
};

}  // namespace shoal::cli
