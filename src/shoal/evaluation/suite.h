// A suite: questions with what is right, how to ask them, and how to grade the answers. A TOML file, or a folder with a
// suite.toml, and the JSONL files that it names. docs/how-to/evaluate.md describes both.
// Use: `Suite suite = SHOAL_TRY(read_suite(path))`. Owned by value. Threads: any; reading blocks on the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/grader.h"
#include "shoal/evaluation/judge.h"
#include "shoal/evaluation/prompt.h"

namespace shoal::evaluation {

// How each question is asked.
struct AskSettings {
  std::int64_t max_tokens = 256;
  double temperature = 0;
  std::string system;  // before the messages of rows that have no system message; empty: none
  std::vector<std::string> stop;
  std::optional<std::int64_t> seed;
};

struct SuiteRow {
  std::string id;  // "id", else the beginning of the hash of what is asked and what is right
  Prompt prompt;
  Gold gold;
  std::vector<std::string> slices;  // its values of Suite::slices; empty text: it has none
};

struct Suite {
  std::string name;
  std::string description;
  std::vector<std::filesystem::path> data;
  GraderSettings grader;
  AskSettings ask;
  std::optional<JudgeSettings> judge{};  // of the grader "judge"
  std::filesystem::path gold{};          // the file of its labelled pairs
  std::vector<std::string> slices;       // fields of the rows that results are told apart by
  // What is compared: the share of right answers, else the mean score.
  bool by_score = false;
  double margin = 0.01;  // by how much a route may be worse before that matters
  std::vector<SuiteRow> rows;
  std::string sha256;  // of all that was read

  [[nodiscard]] const std::vector<std::string>& labels() const { return grader.labels; }
};

// Errors: kIo; kInvalidConfig, which lists every fault with file, line and field, as far as twenty.
[[nodiscard]] Result<Suite> read_suite(const std::filesystem::path& path);

// The body that asks it, of POST /v1/chat/completions; a text is one message of the user.
[[nodiscard]] std::string chat_body(const Suite& suite, const SuiteRow& row, std::string_view route);

}  // namespace shoal::evaluation
