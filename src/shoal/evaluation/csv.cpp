#include "shoal/evaluation/csv.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    constexpr std::string_view kMark = "\xEF\xBB\xBF";
    if (text_.starts_with(kMark)) at_ = line_begin_ = kMark.size();
  }

  Result<std::vector<CsvRecord>> run() {
    std::vector<CsvRecord> out;
    while (at_ < text_.size()) {
      if (ends_line()) {
        end_line();
        continue;
      }
      CsvRecord record{.fields = {}, .line = line_};
      for (;;) {
        record.fields.push_back(SHOAL_TRY(!at_end() && text_[at_] == '"' ? quoted() : plain()));
        if (at_end() || text_[at_] != ',') break;
        ++at_;
      }
      if (!at_end()) end_line();
      out.push_back(std::move(record));
    }
    return out;
  }

 private:
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] bool ends_line() const { return text_[at_] == '\n' || text_[at_] == '\r'; }

  void end_line() {
    at_ += text_.substr(at_).starts_with("\r\n") ? 2 : 1;
    ++line_;
    line_begin_ = at_;
  }

  Result<std::string> plain() {
    const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
    std::string out(text_.substr(at_, end - at_));
    at_ = end;
    return out;
  }

  Result<std::string> quoted() {
    const std::size_t line = line_;
    const std::size_t column = at_ - line_begin_ + 1;
    std::string out;
    for (++at_;;) {
      const std::size_t end = text_.find('"', at_);
      if (end == std::string_view::npos) {
        return Error(ErrorCode::kInvalidData,
                     fmt::format("line {}, column {}: the quoted field that begins here does not end", line, column));
      }
      take_lines(end);
      out += text_.substr(at_, end - at_);
      at_ = end + 1;
      if (at_end() || text_[at_] == ',' || ends_line()) return out;
      if (text_[at_] != '"') {
        return Error(ErrorCode::kInvalidData,
                     fmt::format("line {}, column {}: text after the closing quote of a field; a quote inside a quoted "
                                 "field is written twice",
                                 line_, at_ - line_begin_ + 1));
      }
      out += '"';
      ++at_;
    }
  }

  // Counts the lines that end before `end`, inside a quoted field.
  void take_lines(std::size_t end) {
    for (std::size_t i = at_; i < end; ++i) {
      const bool ends = text_[i] == '\n' || (text_[i] == '\r' && (i + 1 == text_.size() || text_[i + 1] != '\n'));
      if (!ends) continue;
      ++line_;
      line_begin_ = i + 1;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
  std::size_t line_begin_ = 0;
};

}  // namespace

Result<std::vector<CsvRecord>> parse_csv(std::string_view text) {
  return Parser(text).run();
}

std::size_t repair_utf8(std::string& text) {
  if (wire::is_utf8(text)) return 0;
  std::string out;
  std::size_t replaced = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t size = wire::utf8_character(rest);
    if (size == 0) {
      out += "\xEF\xBF\xBD";
      ++replaced;
    } else {
      out += rest.substr(0, size);
    }
    rest.remove_prefix(size == 0 ? 1 : size);
  }
  text = std::move(out);
  return replaced;
}

}  // namespace shoal::evaluation
