#include "shoal/cli/tune_data.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/evaluation/csv.h"
#include "shoal/evaluation/jsonl.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 6> kTextNames = {"text", "prompt", "input", "utterance", "query", "question"};
constexpr std::array<std::string_view, 6> kLabelNames = {"label", "category", "intent", "class", "answer", "target"};

struct Names {
  std::string text;
  std::string label;
};

// Which of the fields that are there holds what. Errors: kInvalidData.
Result<std::string> pick(const std::string& wanted, std::span<const std::string_view> usual,
                         const std::vector<std::string>& there, std::string_view option) {
  const auto has = [&there](std::string_view name) { return std::ranges::find(there, name) != there.end(); };
  if (!wanted.empty() && has(wanted)) return wanted;
  if (wanted.empty()) {
    const auto found = std::ranges::find_if(usual, has);
    if (found != usual.end()) return std::string(*found);
  }
  std::string names;
  for (const std::string& name : there)
    names += (names.empty() ? "" : ", ") + evaluation::shown(std::string_view(name));
  return Error(ErrorCode::kInvalidData,
               fmt::format("no field {}; it has: {}. Name one with {}",
                           wanted.empty() ? fmt::format("is called {}", fmt::join(usual, ", ")) : wanted,
                           names.empty() ? "none" : names, option));
}

Result<Names> pick_names(const LabelledTextFields& from, const std::vector<std::string>& there) {
  Names out;
  out.text = SHOAL_TRY(pick(from.text, kTextNames, there, "--text-field"));
  out.label = SHOAL_TRY(pick(from.label, kLabelNames, there, "--label-field"));
  return out;
}

class Rows {
 public:
  explicit Rows(bool keep_repeated) : keep_repeated_(keep_repeated) {}

  // Errors: kInvalidData.
  Result<void> add(std::string text, std::string label, std::size_t line) {
    if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
      return Error(ErrorCode::kInvalidData, fmt::format("line {}: the text is empty", line));
    }
    if (label.empty()) return Error(ErrorCode::kInvalidData, fmt::format("line {}: the label is empty", line));
    auto& labels = labels_of_[text];
    const bool added = labels.insert(label).second;
    if (!added && !keep_repeated_) {
      ++out_.repeated;
      return {};
    }
    if (added && labels.size() == 2) {
      if (out_.contradicted++ == 0) {
        out_.contradiction = fmt::format("{} is {} and {}", evaluation::shown(std::string_view(text)), *labels.begin(),
                                         *labels.rbegin());
      }
    }
    out_.rows.push_back({std::move(text), std::move(label)});
    return {};
  }
  LabelledTexts take() { return std::move(out_); }

 private:
  const bool keep_repeated_;
  LabelledTexts out_;
  std::map<std::string, std::set<std::string>> labels_of_;
};

Result<void> read_csv(const LabelledTextFields& from, std::string_view bytes, Rows& rows) {
  const auto records = SHOAL_TRY(evaluation::parse_csv(bytes));
  if (records.empty()) return Error(ErrorCode::kInvalidData, "it is empty; wanted a header and rows");
  const std::vector<std::string>& header = records.front().fields;
  const Names names = SHOAL_TRY(pick_names(from, header));
  const auto place = [&header](const std::string& name) {
    return static_cast<std::size_t>(std::ranges::find(header, name) - header.begin());
  };
  const std::size_t text = place(names.text);
  const std::size_t label = place(names.label);
  for (std::size_t i = 1; i < records.size(); ++i) {
    std::vector<std::string> fields = records[i].fields;
    if (fields.size() <= std::max(text, label)) {
      return Error(ErrorCode::kInvalidData, fmt::format("line {}: it has {} fields, and the header {}", records[i].line,
                                                        fields.size(), header.size()));
    }
    evaluation::repair_utf8(fields[text]);
    SHOAL_TRY(rows.add(std::move(fields[text]), std::move(fields[label]), records[i].line));
  }
  return {};
}

Result<std::string> text_of(const json::object& from, const std::string& name, std::size_t line) {
  const json::value* const value = from.if_contains(name);
  if (value != nullptr && value->is_string()) return std::string(value->get_string());
  return Error(ErrorCode::kInvalidData,
               fmt::format("line {}: `{}` {}", line, name, value == nullptr ? "is missing" : "is not a text"));
}

Result<void> read_lines(const LabelledTextFields& from, std::string_view bytes, Rows& rows) {
  std::optional<Names> names;
  return evaluation::each_object(bytes, [&](const json::object& row, std::size_t line) -> Result<void> {
    if (!names) {
      std::vector<std::string> there;
      for (const auto& member : row) there.emplace_back(member.key());
      auto picked = pick_names(from, there);
      if (!picked.ok()) return Error(picked.error().code(), fmt::format("line {}: {}", line, picked.error().message()));
      names = std::move(picked).value();
    }
    std::string text = SHOAL_TRY(text_of(row, names->text, line));
    std::string label = SHOAL_TRY(text_of(row, names->label, line));
    return rows.add(std::move(text), std::move(label), line);
  });
}

}  // namespace

Result<LabelledTexts> read_labelled_texts(const LabelledTextFields& from) {
  const std::string bytes = SHOAL_TRY(evaluation::contents_of(from.path));
  Rows rows(from.repeated);
  const bool csv = from.path.extension() == ".csv";
  const Result<void> done = csv ? read_csv(from, bytes, rows) : read_lines(from, bytes, rows);
  if (!done.ok()) {
    return Error(done.error().code(), fmt::format("{}: {}", evaluation::shown(from.path), done.error().message()));
  }
  LabelledTexts out = rows.take();
  if (out.rows.empty()) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} has no rows; wanted a text and its label in each, as JSONL or as CSV with a header",
                             evaluation::shown(from.path)));
  }
  base::Sha256 sum;
  sum.update(bytes);
  out.sha256 = sum.finish();
  return out;
}

learning::ClassData class_data(const LabelledTexts& texts, const std::string& out_of_scope) {
  learning::ClassData out;
  std::map<std::string_view, std::uint32_t> numbers;
  const auto outside = [&](const LabelledText& row) { return !out_of_scope.empty() && row.label == out_of_scope; };
  for (const LabelledText& row : texts.rows) {
    if (!outside(row)) numbers.emplace(row.label, 0U);
  }
  for (auto& [label, number] : numbers) {
    number = static_cast<std::uint32_t>(out.labels.size());
    out.labels.emplace_back(label);
  }
  for (const LabelledText& row : texts.rows) {
    if (outside(row)) {
      out.outside.push_back(row.text);
      continue;
    }
    out.texts.push_back(row.text);
    out.classes.push_back(numbers.at(row.label));
  }
  return out;
}

}  // namespace shoal::cli
