// Whether an answer is right, and how right: graders of suites. A grader takes the gold of a row and an answer, and
// says a score from 0 to 1, whether that counts as right, and why. What cannot be graded (a pattern that never ends, no
// sandbox for code) is an error and never a wrong answer.
// Owned by value. Threads: any; pure, but for code, which runs a program in the sandbox and blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "shoal/base/result.h"

namespace shoal::evaluation {

enum class GraderKind : std::uint8_t {
  kExact,       // the same bytes, but for spaces at both ends
  kNormalised,  // the same but for case, spaces, and marks at both ends
  kContains,    // an answer stands in it, in whole words
  kRegex,       // an answer, as a pattern (Perl's syntax), is found in it
  kNumeric,     // its last number is one of the answers, within the tolerance
  kLabel,       // its first line is one of the answers, normalised
  kSchema,      // it is JSON that fits the row's schema
  kFields,      // F1 of the fields of a JSON object
  kTokenF1,     // F1 of words, as for SQuAD; the best over the answers
  kSetF1,       // F1 of a list of things, in any order; the answers are the things
  kCoverage,    // the share of the row's facts that it states
  kCode,        // the share of the row's tests that its Python passes
  kJudge,       // a language model says by a rubric; judge.h, never grade()
};
// "exact", "normalised", ...; nothing for other names.
[[nodiscard]] std::string_view grader_name(GraderKind kind);
[[nodiscard]] std::optional<GraderKind> grader_named(std::string_view name);
[[nodiscard]] std::vector<std::string> grader_names();
// Whether its score is only ever 0 or 1.
[[nodiscard]] bool all_or_nothing(GraderKind kind);

struct GraderSettings {
  GraderKind kind = GraderKind::kNormalised;
  double right_from = 1;    // a score of at least this counts as right
  std::string extract;      // a pattern: only what its first group (else all of it) matched last is graded
  bool ignore_case = true;  // of patterns
  double tolerance = 0;     // numeric: absolute; the larger of both counts
  double relative_tolerance = 1e-6;
  std::string separator = ",";      // set-f1; line ends separate too
  std::vector<std::string> labels;  // label: all there are, in the order of the confusion matrix
  std::int64_t timeout_s = 10;      // code
  std::int64_t memory_mib = 512;    // code
  std::string python;               // code: an absolute path; empty: the system's
};

// What is right for one row. Which parts there must be depends on the grader.
struct Gold {
  std::vector<std::string> answers;
  std::vector<std::vector<std::string>> facts;  // each is stated when one of its wordings is
  boost::json::value schema;                    // null: none
  boost::json::value fields;                    // null: none
  std::vector<std::string> tests;               // Python statements, each a test of its own
};

struct Grade {
  double score = 0;
  bool right = false;
  std::string why;  // one line, for people

  bool operator==(const Grade&) const = default;
};

// Answers longer than this are not graded but wrong: no right one is.
inline constexpr std::size_t kMaxGradedBytes = std::size_t{256} << 10;

// Errors: kInvalidData for a pattern or schema that is none, or that takes too long; of kCode those of
// sandbox::run_confined().
[[nodiscard]] Result<Grade> grade(const GraderSettings& settings, const Gold& gold, std::string_view answer);

// Whether the row has what the grader needs, and whether that can be used. Errors: kInvalidData, saying what not.
[[nodiscard]] Result<void> check_gold(const GraderSettings& settings, const Gold& gold);

// The label that an answer gives: one of `labels` (as it is written there), else its first line as it is compared.
[[nodiscard]] std::string label_of(const GraderSettings& settings, std::string_view answer);

}  // namespace shoal::evaluation
