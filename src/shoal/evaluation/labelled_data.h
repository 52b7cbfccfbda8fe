// Labelled questions, as `shoal route fit` reads them, and whether an answer to one is right. A file has a question a
// line, in JSON: {"prompt": TEXT} or {"messages": [...]}, and {"answer": TEXT} or {"answers": [TEXT, ...]}.
// Threads: any; pure, but for read_labelled(), which blocks on the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/prompt.h"

namespace shoal::evaluation {

struct LabelledQuestion {
  Prompt prompt;
  std::vector<std::string> answers;  // each of them is right

  [[nodiscard]] bool chat() const { return prompt.index() == 0; }
  // The same for questions that differ in case, marks and spaces only: a label and its copy belong on one side of a
  // split.
  [[nodiscard]] std::string group() const;
};

struct LabelledData {
  std::vector<LabelledQuestion> questions;
  std::size_t repeated = 0;  // lines whose prompt had come before: they are left out, for they say nothing new
  std::string sha256;        // of the file
};

// Errors: kIo; kInvalidData with the number of the line.
[[nodiscard]] Result<LabelledData> read_labelled(const std::filesystem::path& path);
// One line. Errors: kInvalidData.
[[nodiscard]] Result<LabelledQuestion> parse_labelled(std::string_view line);

enum class Grader : std::uint8_t {
  kExact,     // the answer, normalised, is one of those given
  kContains,  // it has one of them in it, as whole words
  kLabel,     // its first line is one of them
};
[[nodiscard]] bool is_right(Grader grader, std::string_view answer, const LabelledQuestion& question);

}  // namespace shoal::evaluation
