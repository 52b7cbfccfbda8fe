// Edits what a person types on a terminal in raw mode: UTF-8, arrows, words, history, and a paste of several lines as
// one message. It does no I/O: bytes go in, meanings and drawings come out. (libedit, the library at hand, takes no
// such paste, and would bring four libraries into the gateway.)
// Use: `editor.feed(bytes)`, then `while ((typed = editor.next()) != kMore)`, then write draw(). Owned by the reader
// of the terminal. Threads: one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::cli {

class LineEditor {
 public:
  enum class Typed { kMore, kLine, kEnd, kInterrupted, kSuspend };

  explicit LineEditor(std::string prompt) : prompt_(std::move(prompt)) {}

  // What the terminal sent; may end in the middle of a character or of a key.
  void feed(std::string_view bytes) { pending_ += bytes; }

  // Goes through what was fed up to the next key that means more than editing. kMore: all is consumed, as far as it
  // is complete.
  Typed next();

  // The text, without its end of line; the next line begins empty. `remember`: the arrow up brings it back.
  std::string take(bool remember);

  // What to write so that the terminal shows the line: over the drawing before, and from the cursor's place if there
  // is none. At most `rows` rows are shown, those around the cursor.
  std::string draw(std::size_t columns, std::size_t rows);
  // What to write to leave the line: the cursor goes below it.
  std::string leave(std::size_t columns, std::size_t rows);
  // The screen was cleared: there is no drawing before.
  void forget_drawing() { drawn_row_ = 0; }

 private:
  Typed key();
  Typed control(char c);
  void escape(std::string_view sequence);
  bool paste();
  void insert(std::string_view text);
  void erase(std::size_t from, std::size_t to);
  void recall(std::size_t index);
  [[nodiscard]] std::size_t before(std::size_t at) const;
  [[nodiscard]] std::size_t after(std::size_t at) const;
  [[nodiscard]] std::size_t word_before(std::size_t at) const;
  [[nodiscard]] std::size_t word_after(std::size_t at) const;

  const std::string prompt_;
  std::string pending_;        // bytes that are no whole key yet
  std::string text_;           // UTF-8
  std::size_t cursor_ = 0;     // offset in text_
  bool pasting_ = false;       // between the marks of a bracketed paste
  bool clear_ = false;         // Ctrl-L: the next drawing begins on an empty screen
  std::size_t drawn_row_ = 0;  // of the cursor in the last drawing
  std::vector<std::string> history_;
  std::size_t recalled_ = 0;  // index in history_; its size: the line that is new
  std::string draft_;         // the new line while an old one is shown
};

}  // namespace shoal::cli
