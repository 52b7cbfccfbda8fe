#include "shoal/routing/arithmetic.h"

#include <algorithm>
#include <cmath>

namespace shoal::routing {
namespace {

constexpr std::size_t kMostTokens = 48;  // of one side of a statement; a longer one is passed over
constexpr double kRounding = 0.011;      // of the value, or of 1 where that is more
constexpr double kExact = 1e-6;
constexpr double kMostError = 1e9;
constexpr double kLargest = 1e15;  // beyond it doubles are not whole numbers

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct Token {
  char kind = 'n';  // a number, or one of + - * / ( )
  double value = 0;
  int decimals = 0;
  bool percent = false;
};

// One side of a statement, computed.
struct Side {
  double value = 0;
  double first = 0;  // its first number
  int decimals = 0;  // of its only number
  int operations = 0;
  bool percent = false;  // its only number is one
};

// A run of tokens, as long as nothing breaks it.
class Run {
 public:
  void clear() {
    size_ = 0;
    open_ = 0;
    bad_ = false;
  }
  void spoil() { bad_ = true; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] bool bad() const { return bad_; }
  [[nodiscard]] std::size_t open() const { return open_; }
  [[nodiscard]] bool ends_value() const {
    return size_ > 0 && (tokens_[size_ - 1].kind == 'n' || tokens_[size_ - 1].kind == ')');
  }
  [[nodiscard]] Token* last() { return size_ == 0 ? nullptr : &tokens_[size_ - 1]; }

  void add(Token token) {
    // "1 1/2" and other numbers side by side mean what only their reader knows.
    if (token.kind == 'n' && ends_value()) bad_ = true;
    if (token.kind == '(' && ends_value()) add({.kind = '*'});
    if (size_ == kMostTokens) bad_ = true;
    if (bad_) return;
    if (token.kind == '(') ++open_;
    if (token.kind == ')') --open_;
    tokens_[size_++] = token;
  }

  // Nothing where it is not an expression, or its value is not finite or too large.
  [[nodiscard]] std::optional<Side> side() {
    if (bad_ || size_ == 0) return std::nullopt;
    at_ = open_ > 0 && tokens_[0].kind == '(' ? 1 : 0;  // "(5 + 3 = 8)"
    if (open_ > at_) return std::nullopt;
    Side out;
    const std::size_t begin = at_;
    const std::optional<double> value = sum();
    if (!value || at_ != size_ || !std::isfinite(*value) || std::abs(*value) > kLargest) return std::nullopt;
    out.value = *value;
    bool seen = false;
    for (std::size_t i = begin; i < size_; ++i) {
      const Token& token = tokens_[i];
      if (token.kind == 'n') {
        if (!seen) out.first = token.value;
        seen = true;
        out.decimals = token.decimals;
        out.percent = token.percent;
      } else if (i > begin && token.kind != '(' && token.kind != ')' && tokens_[i - 1].kind != '(') {
        ++out.operations;
      }
    }
    return out;
  }

  template <class Each>
  void each(Each each) const {
    for (std::size_t i = 0; i < size_; ++i) each(tokens_[i], i);
  }

 private:
  std::optional<double> sum() {
    std::optional<double> out = product();
    while (out && at_ < size_ && (tokens_[at_].kind == '+' || tokens_[at_].kind == '-')) {
      const bool minus = tokens_[at_++].kind == '-';
      const std::optional<double> next = product();
      if (!next) return std::nullopt;
      out = minus ? *out - *next : *out + *next;
    }
    return out;
  }
  std::optional<double> product() {
    std::optional<double> out = factor();
    while (out && at_ < size_ && (tokens_[at_].kind == '*' || tokens_[at_].kind == '/')) {
      const bool over = tokens_[at_++].kind == '/';
      const std::optional<double> next = factor();
      if (!next || (over && *next == 0)) return std::nullopt;
      out = over ? *out / *next : *out * *next;
    }
    return out;
  }
  std::optional<double> factor() {
    if (at_ == size_) return std::nullopt;
    const Token& token = tokens_[at_++];
    if (token.kind == 'n') return token.percent ? token.value / 100 : token.value;
    if (token.kind == '-') {
      const std::optional<double> of = factor();
      return of ? std::optional<double>(-*of) : std::nullopt;
    }
    if (token.kind != '(') return std::nullopt;
    const std::optional<double> inside = sum();
    if (!inside || at_ == size_ || tokens_[at_].kind != ')') return std::nullopt;
    ++at_;
    return inside;
  }

  std::array<Token, kMostTokens> tokens_{};
  std::size_t size_ = 0;
  std::size_t open_ = 0;
  std::size_t at_ = 0;
  bool bad_ = false;
};

// Reads one text, or the inside of one note.
class Reader {
 public:
  Reader(std::string_view text, bool note, Arithmetic& out) : text_(text), note_(note), out_(out) {}

  void run() {
    while (at_ < text_.size()) step();
    end();
    if (note_ && stated_ == 0) ++out_.unread_notes;
  }

 private:
  [[nodiscard]] char peek(std::size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  [[nodiscard]] bool here(std::string_view what) const { return text_.substr(at_).starts_with(what); }
  // Whether a value follows after spaces.
  [[nodiscard]] bool value_after(std::size_t bytes) const {
    std::size_t i = at_ + bytes;
    while (i < text_.size() && text_[i] == ' ' && i < at_ + bytes + 2) ++i;
    return i < text_.size() && (is_digit(text_[i]) || text_[i] == '$' || text_[i] == '(' || text_[i] == '.');
  }

  void step() {
    const char c = text_[at_];
    const WrittenNumber number = read_number(text_, at_);
    if (number.bytes > 0) return take(number);
    if (c == ' ' || c == '\t' || c == '$') {
      ++at_;
    } else if (c == '=') {
      equals();
    } else if (c == '%' && run_.last() != nullptr && run_.last()->kind == 'n' && !run_.last()->percent) {
      run_.last()->percent = true;
      ++at_;
    } else if (here("<<") && !note_) {
      annotated();
    } else if (!operation(c)) {
      other(c);
    }
    if (c == '\n') line_begins_ = true;
  }

  void take(const WrittenNumber& number) {
    const std::size_t end = at_ + number.bytes;
    // A number that is glued to a single letter is a variable's factor; to digits and points, a version or a date.
    const bool begins = run_.empty() || run_.ends_value();
    const bool before = begins && at_ > 0 && (is_letter(text_[at_ - 1]) || text_[at_ - 1] == '_');
    const bool variable = end < text_.size() && is_letter(text_[end]) && text_[end] != 'x' && text_[end] != 'X' &&
                          (end + 1 == text_.size() || !is_letter(text_[end + 1]));
    run_.add({.kind = 'n', .value = number.value, .decimals = number.decimals});
    if (before || variable || number.too_large) run_.spoil();
    at_ = end;
    line_begins_ = false;
  }

  // Whether there is one; then it was taken.
  bool operation(char c) {
    char kind = '\0';
    std::size_t bytes = 1;
    if (c == '+' || c == '-' || c == '/' || (c == '*' && peek(1) != '*')) kind = c;
    if (c == '(') kind = '(';
    if (c == ')' && run_.open() > 0) kind = ')';
    if ((c == 'x' || c == 'X') && run_.ends_value() && value_after(1)) kind = '*';
    for (const auto& [text, meaning] : kLong) {
      if (kind == '\0' && here(text)) {
        kind = meaning;
        bytes = text.size();
      }
    }
    // "20% of 50"
    if (kind == '\0' && here("of ") && run_.last() != nullptr && run_.last()->percent) {
      kind = '*';
      bytes = 2;
    }
    if (kind == '\0') return false;
    const bool begins = run_.empty() && kind != '(';
    if (begins && line_begins_ && peek(bytes) == ' ') {
      at_ += bytes;  // the mark of a list
      line_begins_ = false;
      return true;
    }
    const bool sign = kind == '-' && value_after(bytes) && peek(bytes) != ' ' && !after_variable_;
    if (begins && !sign) run_.spoil();
    run_.add({.kind = kind});
    at_ += bytes;
    line_begins_ = false;
    return true;
  }

  void other(char c) {
    end();
    if (is_letter(c)) {
      const std::size_t begin = at_;
      while (at_ < text_.size() && is_letter(text_[at_])) ++at_;
      after_variable_ = at_ - begin == 1;
      line_begins_ = false;
      return;
    }
    after_variable_ = c == ')' || c == '}' || c == '^';
    const bool bracket =
        c == '\\' && std::string_view("()[]").find(peek(1)) != std::string_view::npos && peek(1) != '\0';
    if (c == '^' || (c == '\\' && !bracket)) run_.spoil();  // until the next break
    at_ += bracket ? 2 : 1;
    if (c != '\n' && c != '\r') line_begins_ = false;
  }

  void equals() {
    while (at_ < text_.size() && text_[at_] == '=') ++at_;  // "==" is one
    after_variable_ = false;
    line_begins_ = false;
    const std::optional<Side> side = take_side();
    if (left_ && side) state(*left_, *side);
    left_ = side;
  }

  // What breaks a run ends its statement.
  void end() {
    if (left_) {
      const std::optional<Side> side = take_side();
      if (side) state(*left_, *side);
    }
    left_.reset();
    chain_ = 0;
    run_.clear();
    after_variable_ = false;
  }

  void annotated() {
    const std::size_t close = text_.substr(at_, kLongestNote).find(">>");
    if (close == std::string_view::npos) {
      end();
      at_ += 2;
      return;
    }
    Reader(text_.substr(at_ + 2, close - 2), true, out_).run();
    at_ += close + 2;
  }

  std::optional<Side> take_side() {
    const std::optional<Side> out = run_.side();
    if (out) {
      run_.each([this](const Token& token, std::size_t i) {
        constexpr std::string_view kKinds = "*/+-";
        if (token.kind == 'n') out_.operands.add(token.value);
        const std::size_t kind = kKinds.find(token.kind);
        if (i > 0 && kind != std::string_view::npos) ++out_.operations[kind];
      });
    }
    run_.clear();
    return out;
  }

  void state(const Side& left, const Side& right) {
    if (left.operations + right.operations == 0) return;
    Statements& statements = note_ ? out_.notes : out_.plain;
    ++statements.read;
    ++stated_;
    if (++chain_ > 1) ++out_.chained;
    const auto error_to = [&](double stated) { return std::abs(left.value - stated); };
    double error = error_to(right.value);
    if (right.operations > 0) error = std::min(error, error_to(right.first));  // "5 + 3 = 8 / 2 = 4"
    if (right.percent && right.operations == 0) error = std::min(error, error_to(right.value * 100));
    const double of = std::max(1.0, std::abs(left.value));
    const double shown = right.operations == 0 && right.decimals > 0 ? std::pow(10.0, -right.decimals) : 0;
    if (error > std::max(kRounding * of, shown * (1 + kExact))) {
      ++statements.wrong;
      out_.worst = std::max(out_.worst, std::min(error / of, kMostError));
    } else if (error > kExact * of) {
      ++statements.rounded;
    }
    if (right.value < 0) ++out_.negative;
    if (std::abs(right.value - std::round(right.value)) > 1e-9) ++out_.broken;
    out_.largest = std::max(out_.largest, right.value);
    out_.last = right.value;
    out_.results.add(right.value);
  }

  static constexpr std::size_t kLongestNote = 160;
  struct LongOperation {
    std::string_view text;
    char kind;
  };
  static constexpr std::array<LongOperation, 6> kLong = {
      {{"\xC3\x97", '*'}, {"\xC3\xB7", '/'}, {"\xE2\x88\x92", '-'}, {"\\times", '*'}, {"\\cdot", '*'}, {"\\div", '/'}}};

  const std::string_view text_;
  const bool note_;
  Arithmetic& out_;
  std::size_t at_ = 0;
  Run run_;
  std::optional<Side> left_;
  std::uint32_t chain_ = 0;   // statements since the last break
  std::uint32_t stated_ = 0;  // of this text
  bool line_begins_ = true;
  bool after_variable_ = false;  // what is before the run may be one
};

}  // namespace

void NumberSet::add(double number) {
  if (size_ < kMost && !has(number)) numbers_[size_++] = number;
}

bool NumberSet::has(double number) const {
  return std::find(numbers_.begin(), numbers_.begin() + static_cast<std::ptrdiff_t>(size_), number) !=
         numbers_.begin() + static_cast<std::ptrdiff_t>(size_);
}

WrittenNumber read_number(std::string_view text, std::size_t at) {
  WrittenNumber out;
  std::size_t i = at;
  const auto digit = [&](std::size_t where) { return where < text.size() && is_digit(text[where]); };
  if (i >= text.size() || (!is_digit(text[i]) && !(text[i] == '.' && digit(i + 1)))) return out;
  double mantissa = 0;
  while (digit(i)) {
    mantissa = mantissa * 10 + (text[i++] - '0');
    const bool group =
        i < text.size() && text[i] == ',' && digit(i + 1) && digit(i + 2) && digit(i + 3) && !digit(i + 4);
    if (group) ++i;
  }
  if (i < text.size() && text[i] == '.' && digit(i + 1)) {
    ++i;
    double scale = 1;
    while (digit(i)) {
      if (out.decimals < 15) {
        mantissa = mantissa * 10 + (text[i] - '0');
        scale *= 10;
        ++out.decimals;
      }
      ++i;
    }
    mantissa /= scale;
  }
  out.bytes = i - at;
  out.too_large = !std::isfinite(mantissa);
  out.value = out.too_large ? 0 : mantissa;
  return out;
}

std::size_t read_numbers(std::string_view text, NumberSet& into) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < text.size();) {
    const WrittenNumber number = read_number(text, at);
    if (number.bytes > 0) {
      ++count;
      into.add(number.value);
    }
    at += std::max<std::size_t>(number.bytes, 1);
  }
  return count;
}

Arithmetic read_arithmetic(std::string_view text) {
  Arithmetic out;
  Reader(text, false, out).run();
  return out;
}

}  // namespace shoal::routing
