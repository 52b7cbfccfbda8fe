#include "shoal/evaluation/outcome_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>

#include "shoal/base/suggest.h"
#include "shoal/evaluation/csv.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

std::string names(const std::vector<std::string>& columns) {
  constexpr std::size_t kMost = 12;
  std::vector<std::string> out;
  for (const std::string& one : columns) {
    if (out.size() == kMost) {
      out.push_back(fmt::format("and {} more", columns.size() - kMost));
      break;
    }
    out.push_back(shown(std::string_view(one)));
  }
  return fmt::format("{}", fmt::join(out, ", "));
}

// A file as its columns and its rows of cells.
struct Sheet {
  std::vector<std::string> columns;
  std::vector<CsvRecord> rows;
};

Result<Sheet> csv_sheet(std::string_view text) {
  std::vector<CsvRecord> records = SHOAL_TRY(parse_csv(text));
  if (records.empty()) return wrong("the file is empty; its first line names the columns");
  Sheet out{.columns = std::move(records.front().fields), .rows = {}};
  records.erase(records.begin());
  std::set<std::string_view> seen;
  for (const std::string& column : out.columns) {
    if (!seen.insert(column).second)
      return wrong(fmt::format("line 1: there are two columns `{}`", shown(std::string_view(column))));
  }
  for (const CsvRecord& row : records) {
    if (row.fields.size() == out.columns.size()) continue;
    return wrong(fmt::format("line {}: {} fields, but the first line names {} columns", row.line, row.fields.size(),
                             out.columns.size()));
  }
  out.rows = std::move(records);
  return out;
}

std::string cell_of(const json::value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (value.is_bool()) return value.get_bool() ? "True" : "False";
  return value.is_null() ? "" : json::serialize(value);
}

Result<Sheet> jsonl_sheet(std::string_view text) {
  Sheet out;
  std::map<std::string, std::size_t, std::less<>> columns;
  SHOAL_TRY(each_object(text, [&](const json::object& object, std::size_t number) -> Result<void> {
    CsvRecord row{.fields = std::vector<std::string>(out.columns.size()), .line = number};
    for (const auto& [key, value] : object) {
      const auto [at, is_new] = columns.emplace(std::string(key), out.columns.size());
      if (is_new) {
        out.columns.emplace_back(key);
        row.fields.emplace_back();
      }
      row.fields[at->second] = cell_of(value);
    }
    out.rows.push_back(std::move(row));
    return {};
  }));
  return out;
}

std::size_t index_of(const std::vector<std::string>& columns, std::string_view name) {
  const auto found = std::ranges::find(columns, name);
  return found == columns.end() ? kNone : static_cast<std::size_t>(found - columns.begin());
}

// `wanted`, or the first of the names that such columns usually have.
Result<std::size_t> prompt_column(const Sheet& sheet, const std::string& wanted) {
  for (const std::string_view name : {std::string_view("prompt"), std::string_view("question")}) {
    const std::size_t at = index_of(sheet.columns, wanted.empty() ? std::string_view(name) : wanted);
    if (at != kNone) return at;
  }
  return wrong(fmt::format("no column {}; there are: {}. --prompt-column names another one",
                           wanted.empty() ? "`prompt` or `question`" : "`" + shown(std::string_view(wanted)) + "`",
                           names(sheet.columns)));
}

class TableReader {
 public:
  explicit TableReader(const OutcomeOptions& options) : options_(options) {}

  Result<void> exclude(const fs::path& path) {
    return read_jsonl(path, [&](const json::object& object, std::size_t) -> Result<void> {
      for (const char* name : {"eval_prompt", "prompt", "question"}) {
        const json::value* const prompt = object.if_contains(name);
        if (prompt == nullptr || !prompt->is_string()) continue;
        excluded_.insert(comparable_prompt(prompt->get_string()));
        return {};
      }
      return wrong("it has no text `eval_prompt`, `prompt` or `question`");
    });
  }

  Result<void> add(const fs::path& path) {
    Sheet sheet = SHOAL_TRY(read_sheet(path));
    const Result<void> taken = take(path, sheet);
    if (!taken.ok()) return wrong(fmt::format("{}: {}", shown(path), taken.error().message()));
    return {};
  }

  // After all files were added.
  Result<void> join(const fs::path& path) {
    Sheet sheet = SHOAL_TRY(read_sheet(path));
    const Result<void> joined = take_columns(sheet);
    if (!joined.ok()) return wrong(fmt::format("{}: {}", shown(path), joined.error().message()));
    return {};
  }

  OutcomeTable finish() { return std::move(table_); }

 private:
  Result<Sheet> read_sheet(const fs::path& path) {
    std::string text = SHOAL_TRY(contents_of(path));
    table_.replaced += repair_utf8(text);
    Result<Sheet> sheet = path.extension() == ".jsonl" ? jsonl_sheet(text) : csv_sheet(text);
    if (!sheet.ok()) return wrong(fmt::format("{}, {}", shown(path), sheet.error().message()));
    return sheet;
  }

  Result<void> take_columns(Sheet& sheet) {
    const std::size_t theirs = index_of(sheet.columns, "id");
    const std::size_t ours = index_of(table_.columns, "id");
    if (theirs == kNone || ours == kNone)
      return wrong(fmt::format("rows are joined by a column `id`, which {} does not have",
                               theirs == kNone ? "this file" : "the table"));
    std::map<std::string_view, const CsvRecord*> known;
    for (CsvRecord& record : sheet.rows) {
      record.fields.resize(sheet.columns.size());
      if (!known.emplace(record.fields[theirs], &record).second)
        return wrong(fmt::format("line {}: the `id` {} occurs twice", record.line,
                                 shown(std::string_view(record.fields[theirs]))));
    }
    std::vector<std::size_t> places;
    for (const std::string& column : sheet.columns) {
      if (column != "id" && places_.contains(column))
        return wrong(fmt::format("the table has a column `{}` already", shown(std::string_view(column))));
      places.push_back(place_of(column));
    }
    for (OutcomeRow& row : table_.rows) {
      const auto found = known.find(row.cells[ours]);
      if (found == known.end()) {
        return wrong(fmt::format("no row has the `id` {} of {}, line {}", shown(std::string_view(row.cells[ours])),
                                 shown(table_.files[row.file]), row.line));
      }
      row.cells.resize(table_.columns.size());
      for (std::size_t i = 0; i < places.size(); ++i) {
        if (i != theirs) row.cells[places[i]] = found->second->fields[i];
      }
    }
    return {};
  }

  Result<void> take(const fs::path& path, Sheet& sheet) {
    const std::size_t prompt = SHOAL_TRY(prompt_column(sheet, options_.prompt_column));
    const std::size_t group = options_.group_column.empty() ? kNone : index_of(sheet.columns, options_.group_column);
    if (group == kNone && !options_.group_column.empty()) {
      return wrong(fmt::format("no column `{}` for the groups; there are: {}",
                               shown(std::string_view(options_.group_column)), names(sheet.columns)));
    }
    std::vector<std::size_t> places;
    for (const std::string& column : sheet.columns) places.push_back(place_of(column));
    const std::size_t file = table_.files.size();
    table_.files.push_back(path);
    for (CsvRecord& record : sheet.rows) {
      record.fields.resize(sheet.columns.size());  // a line of JSON need not have every field
      OutcomeRow row{.prompt = record.fields[prompt],
                     .group = group == kNone ? path.stem().string() : record.fields[group],
                     .cells = std::vector<std::string>(table_.columns.size()),
                     .file = file,
                     .line = record.line};
      if (row.prompt.find_first_not_of(" \t\r\n") == std::string::npos)
        return wrong(fmt::format("line {}: the prompt is empty", record.line));
      if (excluded_.contains(comparable_prompt(row.prompt))) {
        ++table_.excluded;
        continue;
      }
      for (std::size_t i = 0; i < places.size(); ++i) row.cells[places[i]] = std::move(record.fields[i]);
      table_.rows.push_back(std::move(row));
    }
    return {};
  }

  std::size_t place_of(const std::string& column) {
    const auto [at, is_new] = places_.emplace(column, table_.columns.size());
    if (is_new) table_.columns.push_back(column);
    return at->second;
  }

  const OutcomeOptions& options_;
  std::set<std::string> excluded_;
  std::map<std::string, std::size_t> places_;
  OutcomeTable table_;
};

Result<std::vector<fs::path>> files_at(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return std::vector<fs::path>{path};
  std::vector<fs::path> out;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    const fs::path ending = it->path().extension();
    if (ending == ".csv" || ending == ".jsonl") out.push_back(it->path());
  }
  if (error) return base::errno_error("cannot read the folder " + shown(path), error.value());
  if (out.empty()) return wrong(fmt::format("the folder {} has no .csv and no .jsonl file", shown(path)));
  std::ranges::sort(out);
  return out;
}

Result<std::optional<double>> number_of(std::string_view cell) {
  const std::size_t first = cell.find_first_not_of(" \t");
  if (first == std::string_view::npos) return std::optional<double>();
  cell = cell.substr(first, cell.find_last_not_of(" \t") + 1 - first);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
    return wrong(fmt::format("`{}` is not a number", shown(cell)));
  return std::optional<double>(value);
}

Result<std::optional<double>> outcome_of(std::string_view cell) {
  for (const std::string_view yes : {"True", "true", "TRUE"}) {
    if (cell == yes) return std::optional<double>(1);
  }
  for (const std::string_view no : {"False", "false", "FALSE"}) {
    if (cell == no) return std::optional<double>(0);
  }
  auto number = number_of(cell);
  if (!number.ok() || (number->has_value() && !(**number >= 0 && **number <= 1)))
    return wrong(fmt::format("an outcome is True, False or a number from 0 to 1, not `{}`", shown(cell)));
  return number;
}

Result<std::optional<double>> cost_of(std::string_view cell) {
  auto number = number_of(cell);
  if (!number.ok() || (number->has_value() && **number < 0))
    return wrong(fmt::format("a cost is a number of USD, not below 0, not `{}`", shown(cell)));
  return number;
}

struct ModelColumns {
  std::size_t outcome = kNone;
  std::size_t answer = kNone;
  std::size_t cost = kNone;
};

Result<ModelColumns> columns_of(const OutcomeTable& table, std::string_view model) {
  const std::string name(model);
  ModelColumns out{.outcome = index_of(table.columns, "ok:" + name),
                   .answer = index_of(table.columns, name + "_response"),
                   .cost = index_of(table.columns, name + "_cost")};
  if (out.outcome == kNone) out.outcome = index_of(table.columns, name);
  if (out.outcome != kNone) return out;
  std::vector<std::string> known;
  for (const std::string& column : table.columns)
    known.push_back(column.starts_with("ok:") ? column.substr(3) : column);
  std::string near = base::suggest(name, known);
  const std::string instead = near.empty() ? "; there are: " + names(known)
                                           : fmt::format("; did you mean `{}`?", shown(std::string_view(near)));
  return wrong(fmt::format("no column of outcomes for the model `{}`{}", shown(model), instead))
      .with_suggestion(std::move(near));
}

std::string_view cell(const OutcomeRow& row, std::size_t column) {
  return column < row.cells.size() ? std::string_view(row.cells[column]) : std::string_view();
}

// Reads cells of a table, and says where one is that cannot be read.
class CellReader {
 public:
  explicit CellReader(const OutcomeTable& table) : table_(table) {}

  template <class Read>
  Result<std::optional<double>> operator()(const OutcomeRow& row, std::size_t column, const Read& read) const {
    auto value = read(cell(row, column));
    if (value.ok()) return value;
    return wrong(fmt::format("{}, line {}, column `{}`: {}", shown(table_.files[row.file]), row.line,
                             shown(std::string_view(table_.columns[column])), value.error().message()));
  }

 private:
  const OutcomeTable& table_;
};

std::vector<std::size_t> outcome_columns(const OutcomeTable& table) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (table.columns[i].starts_with("ok:")) out.push_back(i);
  }
  return out;
}

Result<std::optional<double>> difficulty_of(const OutcomeRow& row, std::span<const std::size_t> columns,
                                            const CellReader& read) {
  constexpr double kLeast = 3;
  double models = 0;
  double wrong = 0;
  for (const std::size_t column : columns) {
    const std::optional<double> outcome = SHOAL_TRY(read(row, column, outcome_of));
    if (!outcome) continue;
    models += 1;
    wrong += 1 - *outcome;
  }
  return models < kLeast ? std::optional<double>() : std::optional<double>(wrong / models);
}

// Unicode's punctuation, spaces and symbols where text has them: Latin-1 marks, dashes, quotes and the like, currency,
// arrows, mathematics, and the marks of East Asia.
bool is_mark(char32_t c) {
  if (c < 0x80) return !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_');
  if (c < 0x100) return c == 0xD7 || c == 0xF7 || (c < 0xC0 && c != 0xAA && c != 0xB5 && c != 0xBA);
  return (c >= 0x2000 && c <= 0x206F) || (c >= 0x20A0 && c <= 0x20CF) || (c >= 0x2190 && c <= 0x2BFF) ||
         (c >= 0x3000 && c <= 0x3003) || (c >= 0x3008 && c <= 0x3020) || (c >= 0xFF01 && c <= 0xFF0F) || c == 0xFFFD;
}

char32_t code_point(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1FU) << 6U | (byte(1) & 0x3FU);
    case 3:
      return (byte(0) & 0x0FU) << 12U | (byte(1) & 0x3FU) << 6U | (byte(2) & 0x3FU);
    default:
      return (byte(0) & 0x07U) << 18U | (byte(1) & 0x3FU) << 12U | (byte(2) & 0x3FU) << 6U | (byte(3) & 0x3FU);
  }
}

}  // namespace

std::string comparable_prompt(std::string_view prompt) {
  std::string out;
  bool apart = false;
  while (!prompt.empty()) {
    const std::size_t size = wire::utf8_character(prompt);
    const std::string_view character = prompt.substr(0, size == 0 ? 1 : size);
    prompt.remove_prefix(character.size());
    if (size == 0 || is_mark(code_point(character))) {
      apart = true;
      continue;
    }
    if (apart && !out.empty()) out += ' ';
    apart = false;
    const char first = character.front();
    if (first >= 'A' && first <= 'Z') {
      out += static_cast<char>(first - 'A' + 'a');
    } else {
      out += character;
    }
  }
  return out;
}

Result<OutcomeTable> read_outcomes(const fs::path& path, const OutcomeOptions& options) {
  TableReader reader(options);
  for (const fs::path& file : options.exclude) SHOAL_TRY(reader.exclude(file));
  for (const fs::path& file : SHOAL_TRY(files_at(path))) SHOAL_TRY(reader.add(file));
  for (const fs::path& file : options.join) SHOAL_TRY(reader.join(file));
  return reader.finish();
}

Result<OutcomePair> pair_outcomes(const OutcomeTable& table, std::string_view weak, std::string_view strong) {
  const ModelColumns weak_at = SHOAL_TRY(columns_of(table, weak));
  const ModelColumns strong_at = SHOAL_TRY(columns_of(table, strong));
  const CellReader read(table);
  const std::vector<std::size_t> all = outcome_columns(table);
  OutcomePair out{.weak = std::string(weak), .strong = std::string(strong), .rows = {}, .incomplete = 0};
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const OutcomeRow& row = table.rows[i];
    const std::optional<double> low = SHOAL_TRY(read(row, weak_at.outcome, outcome_of));
    const std::optional<double> high = SHOAL_TRY(read(row, strong_at.outcome, outcome_of));
    if (!low || !high) {
      ++out.incomplete;
      continue;
    }
    const std::string_view answer = cell(row, weak_at.answer);
    out.rows.push_back({.prompt = row.prompt,
                        .group = row.group,
                        .weak = *low,
                        .strong = *high,
                        .weak_answer = answer,
                        .weak_answer_bytes = static_cast<double>(answer.size()),
                        .difficulty = SHOAL_TRY(difficulty_of(row, all, read)),
                        .weak_usd = SHOAL_TRY(read(row, weak_at.cost, cost_of)),
                        .strong_usd = SHOAL_TRY(read(row, strong_at.cost, cost_of)),
                        .row = i});
  }
  if (out.rows.empty())
    return wrong(fmt::format("no row has an outcome of both `{}` and `{}`", shown(weak), shown(strong)));
  return out;
}

Result<std::vector<double>> column_numbers(const OutcomeTable& table, std::span<const PairedRow> rows,
                                           std::string_view column) {
  const std::size_t at = index_of(table.columns, column);
  if (at == kNone) {
    std::string near = base::suggest(std::string(column), table.columns);
    const std::string instead = near.empty() ? "; there are: " + names(table.columns)
                                             : fmt::format("; did you mean `{}`?", shown(std::string_view(near)));
    return wrong(fmt::format("there is no column `{}`{}", shown(column), instead)).with_suggestion(std::move(near));
  }
  const CellReader read(table);
  std::vector<double> out;
  for (const PairedRow& row : rows) {
    const auto needed = [](std::string_view text) -> Result<std::optional<double>> {
      std::optional<double> number = SHOAL_TRY(number_of(text));
      if (!number) return wrong("the cell is empty, and a number is wanted");
      return number;
    };
    out.push_back(*SHOAL_TRY(read(table.rows[row.row], at, needed)));
  }
  return out;
}

Result<void> take_answer_lengths(const OutcomeTable& table, std::string_view column, OutcomePair& pair) {
  const std::vector<double> lengths = SHOAL_TRY(column_numbers(table, pair.rows, column));
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    if (lengths[i] < 0) return wrong(fmt::format("column `{}`: a length is not below 0", shown(column)));
    if (pair.rows[i].weak_answer.empty()) pair.rows[i].weak_answer_bytes = lengths[i];
  }
  return {};
}

}  // namespace shoal::evaluation
