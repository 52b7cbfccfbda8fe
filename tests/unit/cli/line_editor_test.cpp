#include "shoal/cli/line_editor.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::cli {
namespace {

using Typed = LineEditor::Typed;

// A terminal, as far as draw() needs one: it shows what is written, and where the cursor is.
class Screen {
 public:
  explicit Screen(std::size_t columns) : columns_(columns) {}

  void write(const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {
      if (text[at] == '\x1b') {
        const std::size_t end = text.find_first_not_of("0123456789", at + 2);
        const std::string number = text.substr(at + 2, end - at - 2);
        const std::size_t n = number.empty() ? 1 : std::stoul(number);
        switch (text[end]) {
          case 'A':
            EXPECT_LE(n, row_) << "the cursor would leave the top";
            row_ -= n;
            break;
          case 'C':
            column_ += n;
            break;
          case 'J':
            lines_.resize(row_ + 1);
            lines_[row_].resize(column_);
            break;
          default:
            ADD_FAILURE() << "unknown sequence in " << text;
        }
        at = end + 1;
      } else if (text[at] == '\r') {
        column_ = 0;
        ++at;
      } else if (text[at] == '\n') {
        if (++row_ == lines_.size()) lines_.emplace_back();
        ++at;
      } else {
        // One column for each byte: the tests that look at the screen use ASCII.
        EXPECT_LT(column_, columns_) << "the terminal would wrap";
        lines_[row_].resize(std::max(lines_[row_].size(), column_ + 1), ' ');
        lines_[row_][column_++] = text[at++];
      }
    }
  }

  std::vector<std::string> lines_ = {""};
  std::size_t row_ = 0;
  std::size_t column_ = 0;

 private:
  std::size_t columns_;
};

std::string typed(std::string_view keys) {
  LineEditor editor("> ");
  for (const char c : keys) editor.feed(std::string_view(&c, 1));  // the worst way to arrive
  EXPECT_EQ(editor.next(), Typed::kMore);
  return editor.take(false);
}

TEST(LineEditor, TextIsEditedWhereTheCursorIs) {
  EXPECT_EQ(typed("helo\x1b[Dl"), "hello");
  EXPECT_EQ(typed("world\x01hello \x05!"), "hello world!");
  EXPECT_EQ(typed("one two three\x17\x17"), "one ");
  EXPECT_EQ(typed("one two\x1b[1;5D\x0b"), "one ");
  EXPECT_EQ(typed("one two\x15three"), "three");
  EXPECT_EQ(typed("abc\x1b[H\x1b[3~"), "bc");
}

TEST(LineEditor, ACharacterIsOneStepHoweverManyBytesItHas) {
  EXPECT_EQ(typed("aä😀b\x1b[D\x7f"), "aäb");
  EXPECT_EQ(typed("日本\x1b[D\x7f"), "本");
  EXPECT_EQ(typed("e\u0301x\x1b[D\x7f"), "x") << "a letter and the accent that combines with it";
}

TEST(LineEditor, WhatIsNoTextIsNotTaken) {
  EXPECT_EQ(typed("a\xff\xc0"
                  "b"),
            "ab");
  EXPECT_EQ(typed("a\x1b[5;7zb\x1bxc\x02"), "abc");
}

TEST(LineEditor, KeysThatMeanMore) {
  LineEditor editor("> ");
  editor.feed("hi\rnext\x03\x1a");
  EXPECT_EQ(editor.next(), Typed::kLine);
  EXPECT_EQ(editor.take(true), "hi");
  EXPECT_EQ(editor.next(), Typed::kInterrupted);
  EXPECT_EQ(editor.take(false), "next");
  EXPECT_EQ(editor.next(), Typed::kSuspend);
  editor.feed("x\x04");
  EXPECT_EQ(editor.next(), Typed::kMore) << "in a line, Ctrl-D deletes";
  editor.feed("\x7f\x04");
  EXPECT_EQ(editor.next(), Typed::kEnd);
}

TEST(LineEditor, APasteIsOneMessage) {
  const std::string paste = "\x1b[200~one\r\ntwo\rthree\n\x1b[31mä\x03\x1b[201~!";
  EXPECT_EQ(typed(paste), "one\ntwo\nthree\n[31mä!");
  for (std::size_t cut = 0; cut <= paste.size(); ++cut) {
    LineEditor editor("> ");
    editor.feed(paste.substr(0, cut));
    EXPECT_EQ(editor.next(), Typed::kMore);
    editor.feed(paste.substr(cut));
    EXPECT_EQ(editor.next(), Typed::kMore);
    EXPECT_EQ(editor.take(false), "one\ntwo\nthree\n[31mä!") << "cut after " << cut;
  }
}

TEST(LineEditor, NoLineIsTooLong) {
  const std::string text(100'000, 'x');
  EXPECT_EQ(typed(text), text);
}

TEST(LineEditor, ArrowsBringOldLinesBackAndTheNewOne) {
  LineEditor editor("> ");
  for (const std::string_view line : {"first\r", "second\r"}) {
    editor.feed(line);
    EXPECT_EQ(editor.next(), Typed::kLine);
    editor.take(true);
  }
  editor.feed("draft\x1b[A\x1b[A\x1b[A");
  EXPECT_EQ(editor.next(), Typed::kMore);
  Screen screen(80);
  screen.write(editor.draw(80, 24));
  EXPECT_EQ(screen.lines_[0], "> first");
  editor.feed("\x1b[B\x1b[B");
  EXPECT_EQ(editor.next(), Typed::kMore);
  EXPECT_EQ(editor.take(false), "draft");
}

TEST(LineEditor, LongLinesWrapAndAreDrawnOverThemselves) {
  LineEditor editor("> ");
  Screen screen(10);
  std::string text;
  for (int i = 0; i < 30; ++i) {
    text += static_cast<char>('a' + i % 26);
    editor.feed(std::string_view(text).substr(text.size() - 1));
    EXPECT_EQ(editor.next(), Typed::kMore);
    screen.write(editor.draw(10, 24));
    std::string shown;
    for (const std::string& line : screen.lines_) shown += line;
    EXPECT_EQ(shown, "> " + text);
    EXPECT_EQ(screen.row_ * 10 + screen.column_, shown.size());
  }
  editor.feed("\x1b[D\x1b[D\x1b[D");
  EXPECT_EQ(editor.next(), Typed::kMore);
  screen.write(editor.draw(10, 24));
  EXPECT_EQ(screen.row_ * 10 + screen.column_, 29U);
  editor.feed("\x15");
  EXPECT_EQ(editor.next(), Typed::kMore);
  screen.write(editor.draw(10, 24));
  EXPECT_EQ(screen.lines_, std::vector<std::string>{"> bcd"});
}

TEST(LineEditor, MoreThanTheScreenShowsTheCursorsPart) {
  LineEditor editor("> ");
  Screen screen(10);
  editor.feed("0123456789abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(editor.next(), Typed::kMore);
  screen.write(editor.draw(10, 3));
  EXPECT_EQ(screen.lines_, (std::vector<std::string>{"89abcdefgh", "ijklmnopqr", "stuvwxyz"}));
  editor.feed("\x01");
  EXPECT_EQ(editor.next(), Typed::kMore);
  screen.write(editor.draw(10, 3));
  EXPECT_EQ(screen.lines_.front(), "> 01234567");
  EXPECT_EQ(screen.row_, 0U);
}

}  // namespace
}  // namespace shoal::cli
