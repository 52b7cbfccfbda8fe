#include "shoal/cli/line_editor.h"

#include <algorithm>
#include <clocale>
#include <cwchar>
#include <utility>

#include <fmt/format.h>
#include <locale.h>

#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

// Keys, as xterm and those after it send them. Source: invisible-island.net, ctlseqs, "PC-Style Function Keys" and
// "Bracketed Paste Mode".
constexpr std::string_view kPasteBegin = "[200~";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr std::size_t kLongestSequence = 32;
constexpr std::size_t kHistory = 1'000;

constexpr char ctrl(char letter) {
  return static_cast<char>(letter & 0x1f);
}
constexpr char kEscape = '\x1b';
constexpr char kDelete = '\x7f';

// wcwidth() answers for the locale of the thread; the program has none.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_ != nullptr) before_ = ::uselocale(locale_);
  }
  ~Utf8Locale() {
    if (locale_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_ = nullptr;
};

char32_t code_point(std::string_view character) {
  const auto first = static_cast<unsigned char>(character.front());
  if (character.size() == 1) return first;
  char32_t value = first & (0x7fU >> character.size());
  for (const char c : character.substr(1)) value = (value << 6U) | (static_cast<unsigned char>(c) & 0x3fU);
  return value;
}

// What stands for a character on the screen, and its columns there.
struct Cell {
  std::string_view shown;
  std::size_t columns;
};
Cell cell_of(std::string_view character) {
  if (character == "\n") return {"⏎", 1};
  if (character == "\t") return {" ", 1};
  const int width = ::wcwidth(static_cast<wchar_t>(code_point(character)));
  if (width < 0) return {"?", 1};
  return {character, static_cast<std::size_t>(width)};
}

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t';
}

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0U) == 0x80;
}

std::string up(std::size_t rows) {
  return rows == 0 ? "" : fmt::format("\x1b[{}A", rows);
}

}  // namespace

LineEditor::Typed LineEditor::next() {
  while (!pending_.empty()) {
    if (pasting_) {
      if (!paste()) return Typed::kMore;
      continue;
    }
    const std::size_t had = pending_.size();
    const Typed typed = key();
    if (typed != Typed::kMore) return typed;
    if (pending_.size() == had) return typed;  // the rest of the key has not come
  }
  return Typed::kMore;
}

// One key from the front of pending_, which stays as it is while the key is not complete.
LineEditor::Typed LineEditor::key() {
  const char first = pending_.front();
  if (first == kEscape) {
    if (pending_.size() < 2) return Typed::kMore;
    std::size_t length = 2;
    if (pending_[1] == '[') {
      const auto final =
          std::find_if(pending_.begin() + 2, pending_.end(), [](char c) { return c >= '@' && c <= '~'; });
      if (final == pending_.end() && pending_.size() < kLongestSequence) return Typed::kMore;
      length = static_cast<std::size_t>(final - pending_.begin()) + (final == pending_.end() ? 0 : 1);
    } else if (pending_[1] == 'O') {
      if (pending_.size() < 3) return Typed::kMore;
      length = 3;
    }
    const std::string sequence = pending_.substr(1, length - 1);
    pending_.erase(0, length);
    escape(sequence);
    return Typed::kMore;
  }
  if (static_cast<unsigned char>(first) < 0x20 || first == kDelete) {
    pending_.erase(0, 1);
    return control(first);
  }
  const auto lead = static_cast<unsigned char>(first);
  const std::size_t wanted = lead < 0xc2 || lead > 0xf4 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const bool more_may_come = std::all_of(pending_.begin() + 1, pending_.end(), is_continuation);
  if (pending_.size() < wanted && more_may_come) return Typed::kMore;
  const std::size_t length = wire::utf8_character(pending_);
  if (length > 0) insert(std::string_view(pending_).substr(0, length));
  pending_.erase(0, std::max<std::size_t>(length, 1));
  return Typed::kMore;
}

LineEditor::Typed LineEditor::control(char c) {
  switch (c) {
    case '\r':
    case '\n':
      cursor_ = text_.size();
      return Typed::kLine;
    case ctrl('C'):
      return Typed::kInterrupted;
    case ctrl('Z'):
      return Typed::kSuspend;
    case ctrl('D'):
      if (text_.empty()) return Typed::kEnd;
      erase(cursor_, after(cursor_));
      break;
    case ctrl('A'):
      cursor_ = 0;
      break;
    case ctrl('E'):
      cursor_ = text_.size();
      break;
    case ctrl('B'):
      cursor_ = before(cursor_);
      break;
    case ctrl('F'):
      cursor_ = after(cursor_);
      break;
    case ctrl('P'):
      if (recalled_ > 0) recall(recalled_ - 1);
      break;
    case ctrl('N'):
      if (recalled_ < history_.size()) recall(recalled_ + 1);
      break;
    case ctrl('K'):
      erase(cursor_, text_.size());
      break;
    case ctrl('U'):
      erase(0, cursor_);
      break;
    case ctrl('W'):
      erase(word_before(cursor_), cursor_);
      break;
    case ctrl('L'):
      clear_ = true;
      break;
    case ctrl('H'):
    case kDelete:
      erase(before(cursor_), cursor_);
      break;
    case '\t':
      insert(" ");
      break;
    default:
      break;
  }
  return Typed::kMore;
}

// `sequence` is what came after the escape.
void LineEditor::escape(std::string_view sequence) {
  const auto is = [&](std::initializer_list<std::string_view> keys) {
    return std::ranges::find(keys, sequence) != keys.end();
  };
  if (sequence == kPasteBegin) {
    pasting_ = true;
  } else if (is({"[D", "OD"})) {
    cursor_ = before(cursor_);
  } else if (is({"[C", "OC"})) {
    cursor_ = after(cursor_);
  } else if (is({"[A", "OA"})) {
    control(ctrl('P'));
  } else if (is({"[B", "OB"})) {
    control(ctrl('N'));
  } else if (is({"[H", "OH", "[1~", "[7~"})) {
    cursor_ = 0;
  } else if (is({"[F", "OF", "[4~", "[8~"})) {
    cursor_ = text_.size();
  } else if (is({"[3~"})) {
    erase(cursor_, after(cursor_));
  } else if (is({"b", "[1;5D", "[1;3D"})) {
    cursor_ = word_before(cursor_);
  } else if (is({"f", "[1;5C", "[1;3C"})) {
    cursor_ = word_after(cursor_);
  } else if (is({"d"})) {
    erase(cursor_, word_after(cursor_));
  } else if (is({"\x7f", "\x08"})) {
    erase(word_before(cursor_), cursor_);
  } else if (is({"\r", "\n"})) {
    insert("\n");
  }
}

// Takes what has come of a paste. False: more is to come.
bool LineEditor::paste() {
  const std::size_t end = pending_.find(kPasteEnd);
  std::size_t length = std::min(end, pending_.size());
  if (end == std::string::npos) {
    // The mark, or a character, may have come in part.
    const std::size_t held = std::min(length, kPasteEnd.size() - 1);
    length -= held;
    if (length > 0 && pending_[length - 1] == '\r') --length;  // it and a line feed are one line end
    while (length > 0 && is_continuation(pending_[length])) --length;
  }
  std::string text;
  for (std::size_t at = 0; at < length;) {
    const std::size_t size = wire::utf8_character(std::string_view(pending_).substr(at, length - at));
    const char c = pending_[at];
    if (c == '\r') {
      text += '\n';
      if (at + 1 < length && pending_[at + 1] == '\n') ++at;
    } else if (size > 0 && (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') && c != kDelete) {
      text += pending_.substr(at, size);
    }
    at += std::max<std::size_t>(size, 1);
  }
  insert(text);
  pending_.erase(0, length);
  if (end == std::string::npos) return false;
  pending_.erase(0, kPasteEnd.size());
  pasting_ = false;
  return true;
}

std::string LineEditor::take(bool remember) {
  std::string line = std::exchange(text_, {});
  cursor_ = 0;
  draft_.clear();
  if (remember && !line.empty() && (history_.empty() || history_.back() != line)) {
    if (history_.size() == kHistory) history_.erase(history_.begin());
    history_.push_back(line);
  }
  recalled_ = history_.size();
  return line;
}

std::string LineEditor::draw(std::size_t columns, std::size_t rows) {
  const Utf8Locale locale;
  columns = std::max<std::size_t>(columns, 2);
  std::vector<std::string> lines(1);
  std::size_t column = 0;
  std::size_t cursor_row = 0;
  std::size_t cursor_column = 0;
  const auto put = [&](std::string_view text, std::size_t cursor) {
    for (std::size_t at = 0; at <= text.size();) {
      const std::size_t size = at == text.size() ? 0 : std::max<std::size_t>(wire::utf8_character(text.substr(at)), 1);
      const Cell cell = size == 0 ? Cell{"", 1} : cell_of(text.substr(at, size));
      // Rows are broken here and not by the terminal: terminals differ in what a full row does to the cursor.
      if (column + cell.columns > columns && (size > 0 || at == cursor)) lines.emplace_back(), column = 0;
      if (at == cursor) cursor_row = lines.size() - 1, cursor_column = column;
      if (size == 0) break;
      lines.back() += cell.shown;
      column += cell.columns;
      at += size;
    }
  };
  put(prompt_, std::string::npos);
  put(text_, cursor_);

  rows = std::max<std::size_t>(rows, 1);
  const std::size_t first = cursor_row + 1 > rows ? cursor_row + 1 - rows : 0;
  const std::size_t last = std::min(first + rows, lines.size()) - 1;
  std::string out = clear_ ? "\x1b[H\x1b[2J" : up(drawn_row_) + "\r\x1b[J";
  for (std::size_t row = first; row <= last; ++row) out += (row == first ? "" : "\r\n") + lines[row];
  out += up(last - cursor_row) + "\r";
  if (cursor_column > 0) out += fmt::format("\x1b[{}C", cursor_column);
  drawn_row_ = cursor_row - first;
  clear_ = false;
  return out;
}

std::string LineEditor::leave(std::size_t columns, std::size_t rows) {
  cursor_ = text_.size();
  std::string out = draw(columns, rows) + "\r\n";
  forget_drawing();
  return out;
}

void LineEditor::insert(std::string_view text) {
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void LineEditor::erase(std::size_t from, std::size_t to) {
  text_.erase(from, to - from);
  cursor_ = from;
}

void LineEditor::recall(std::size_t index) {
  if (recalled_ == history_.size()) draft_ = text_;
  recalled_ = index;
  text_ = index == history_.size() ? draft_ : history_[index];
  cursor_ = text_.size();
}

// Of the character before, with the marks that combine with it.
std::size_t LineEditor::before(std::size_t at) const {
  const Utf8Locale locale;
  while (at > 0) {
    do --at;
    while (at > 0 && is_continuation(text_[at]));
    const std::string_view rest = std::string_view(text_).substr(at);
    if (cell_of(rest.substr(0, std::max<std::size_t>(wire::utf8_character(rest), 1))).columns > 0) break;
  }
  return at;
}

std::size_t LineEditor::after(std::size_t at) const {
  const Utf8Locale locale;
  for (bool first = true; at < text_.size(); first = false) {
    const std::string_view rest = std::string_view(text_).substr(at);
    const std::size_t size = std::max<std::size_t>(wire::utf8_character(rest), 1);
    if (!first && cell_of(rest.substr(0, size)).columns > 0) break;
    at += size;
  }
  return at;
}

std::size_t LineEditor::word_before(std::size_t at) const {
  while (at > 0 && is_blank(text_[at - 1])) --at;
  while (at > 0 && !is_blank(text_[at - 1])) --at;
  return at;
}

std::size_t LineEditor::word_after(std::size_t at) const {
  while (at < text_.size() && is_blank(text_[at])) ++at;
  while (at < text_.size() && !is_blank(text_[at])) ++at;
  return at;
}

}  // namespace shoal::cli
