// `shoal route train --after-answer` and `shoal route show --answer`: the judge after a draft, learned from a table
// with the weak model's answers, and what it makes of one answer. Owned by nobody; functions. Threads: the main thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/evaluation/outcome_table.h"

namespace shoal::cli {

struct AnswerTraining {
  std::string name;
  std::string weak;
  std::string strong;
  std::string answer_length;  // a column; empty: answers are there
  std::size_t folds = 5;
  std::uint64_t seed = 1;
  std::string data;     // SHA-256 of the rows
  std::string date;     // "2026-11-23"
  std::string command;  // for the file
};

// What is printed. Errors: those of the table, of fit_answer_gain() and of the file.
[[nodiscard]] Result<std::string> train_answer_router(const AnswerTraining& training,
                                                      const evaluation::OutcomeTable& table,
                                                      evaluation::OutcomePair pair, const std::filesystem::path& file,
                                                      bool json);
// What is printed. `answer` empty: of the file alone.
[[nodiscard]] Result<std::string> show_answer_router(const std::filesystem::path& file, std::string_view question,
                                                     std::string_view answer, bool json);

}  // namespace shoal::cli
