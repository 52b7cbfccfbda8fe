// Labelled texts, as `shoal tune` reads them: JSONL with an object a line, or CSV with a header.
// Owned by nobody; functions. Threads: the main thread; reading blocks on the disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/learning/class_fit.h"

namespace shoal::cli {

struct LabelledTextFields {
  std::filesystem::path path;
  std::string text;          // empty: the first of the usual names that is there
  std::string label;         // the same
  std::string out_of_scope;  // rows with this label have none of the others; empty: there are no such rows
  bool repeated = false;     // keep rows like one before: a test counts what it was given
};

struct LabelledText {
  std::string text;
  std::string label;
};
struct LabelledTexts {
  std::vector<LabelledText> rows;  // in the order of the file
  std::string sha256;              // of the file
  std::size_t repeated = 0;        // rows like one before, which are left out
  std::size_t contradicted = 0;    // texts that have more than one label; they stay with all of them
  std::string contradiction;       // the first of them, for people
};

// Errors: kIo; kInvalidData with the number of the line.
[[nodiscard]] Result<LabelledTexts> read_labelled_texts(const LabelledTextFields& from);

// Labels sorted by name; rows of `out_of_scope` are outside.
[[nodiscard]] learning::ClassData class_data(const LabelledTexts& texts, const std::string& out_of_scope);

}  // namespace shoal::cli
