// A table of outcomes: prompts, and how well each of several models answered them, from 0 (wrong) to 1 (right). It is
// what a router is scored on without asking anybody anything.
//
// A CSV or JSONL file, or a folder of them. Columns: the prompt (`prompt`, else `question`); one per model, named NAME
// or ok:NAME, with True, False or a number from 0 to 1; if you have them NAME_response, its answer, and NAME_cost, what
// that answer cost in USD. A row belongs to the group that --group-column names, else to the one of its file's name.
// Further columns, the lengths of answers say, can be joined from other files by the column `id`.
//
// Owned by value; pairs point into the table they were taken from. Threads: any; reading blocks on the disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::evaluation {

// What two prompts that are the same to a reader have in common: words in lower case (ASCII), one space between them,
// without marks. Contaminated prompts are recognised by it, and copies of a prompt stay on one side of a split.
[[nodiscard]] std::string comparable_prompt(std::string_view prompt);

struct OutcomeOptions {
  std::string prompt_column{};                   // empty: `prompt`, else `question`
  std::string group_column{};                    // empty: the name of the file, without its ending
  std::vector<std::filesystem::path> exclude{};  // JSONL with `eval_prompt`, `prompt` or `question`: rows to leave out
  std::vector<std::filesystem::path> join{};     // files whose columns are added to rows of the same `id`
};

struct OutcomeRow {
  std::string prompt;
  std::string group;
  std::vector<std::string> cells;  // by column; may be fewer than there are columns
  std::size_t file = 0;
  std::size_t line = 0;
};

struct OutcomeTable {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> columns;
  std::vector<OutcomeRow> rows;
  std::size_t excluded = 0;  // rows
  std::size_t replaced = 0;  // bytes that were no UTF-8
};

// Errors: kIo; kInvalidData with the file, and the line and column where there are some.
[[nodiscard]] Result<OutcomeTable> read_outcomes(const std::filesystem::path& path, const OutcomeOptions& options);

// A row for two models. The views point into the table.
struct PairedRow {
  std::string_view prompt;
  std::string_view group;
  double weak = 0;  // outcomes
  double strong = 0;
  std::string_view weak_answer;  // empty: not known
  double weak_answer_bytes = 0;  // 0: not known
  // Share of the models that are wrong there, of all columns ok:NAME; none: there are fewer than three.
  std::optional<double> difficulty{};
  std::optional<double> weak_usd{};
  std::optional<double> strong_usd{};
  std::size_t row = 0;  // of the table
};

struct OutcomePair {
  std::string weak;
  std::string strong;
  std::vector<PairedRow> rows;
  std::size_t incomplete = 0;  // rows without an outcome of both, left out
};

// Errors: kInvalidData for a model that has no column, with the nearest name, and for a cell that is no outcome;
// also when no row has both.
[[nodiscard]] Result<OutcomePair> pair_outcomes(const OutcomeTable& table, std::string_view weak,
                                                std::string_view strong);
// The bytes of the weak model's answers are what that column says, where the table does not have the answers. Errors:
// those of column_numbers(); kInvalidData where one is below 0.
[[nodiscard]] Result<void> take_answer_lengths(const OutcomeTable& table, std::string_view column, OutcomePair& pair);

// The numbers of a column, one for each of `rows`. Errors: kInvalidData for a column that is not there, with the
// nearest name, and for a cell that is no number.
[[nodiscard]] Result<std::vector<double>> column_numbers(const OutcomeTable& table, std::span<const PairedRow> rows,
                                                         std::string_view column);

}  // namespace shoal::evaluation
