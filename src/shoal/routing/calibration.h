// Calibration: what the log-probabilities of an answer's tokens are worth as a probability that the answer is right. A
// Table says so for one model as it runs, one sampler, one task and one number of tokens; `shoal route fit` makes it
// from answers that were graded, calibration_file.h keeps it. Nothing here is a guess for another model or task: a
// table whose key differs in one field is not used, and which field that was is told.
// Owned by value; a set of them is immutable and shared. Threads: any; pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/routing/answer_checks.h"
#include "shoal/statistics/ranking.h"
#include "shoal/types/chat.h"

namespace shoal::routing {

// Of the tokens of an answer so far, the one that ends it not among them. Log-probabilities are of the raw logits,
// natural logarithm, and taken from [-30, 0].
struct Statistic {
  std::int32_t tokens = 0;
  double first = 0;
  double sum = 0;
  double least = 0;

  void add(double logprob);
};

inline constexpr std::size_t kFeatures = 4;
inline constexpr std::array<std::string_view, kFeatures> kFeatureNames = {"first_logprob", "mean_logprob",
                                                                          "least_logprob", "log_tokens"};
// The first three grow with the probability of the tokens; their weights are never negative, so that a more probable
// answer never counts as less sure, and ceiling() is exact.
inline constexpr std::size_t kMonotone = 3;

using Features = std::array<double, kFeatures>;

// REQUIRES: at least one token.
[[nodiscard]] Features features_of(const Statistic& statistic);

// A logistic model over standardised features.
struct Logistic {
  Features center{};
  Features spread{};  // > 0
  Features weight{};
  double bias = 0;

  [[nodiscard]] double score(const Features& features) const;  // logit
  bool operator==(const Logistic&) const = default;
};

// Checks that a table of complete answers may weigh beside its tokens: those that are always from 0 to 1, so that
// ceiling() is exact.
inline constexpr std::array kJudgedChecks = {Check::kCut,
                                             Check::kOpen,
                                             Check::kRefused,
                                             Check::kOtherLanguage,
                                             Check::kRepeated,
                                             Check::kFormat,
                                             Check::kAsksOn,
                                             Check::kEmpty,
                                             Check::kWrong,
                                             Check::kWrongShare,
                                             Check::kNoStatement,
                                             Check::kUnmarked,
                                             Check::kNoNumber,
                                             Check::kNotWhole,
                                             Check::kFinalGiven,
                                             Check::kFinalNotLast,
                                             Check::kFinalNotComputed,
                                             Check::kUnusedShare,
                                             Check::kAnyUnused,
                                             Check::kAnyStray};

struct CheckWeight {
  Check check = Check::kCut;
  double center = 0;
  double spread = 1;  // > 0
  double weight = 0;

  // What the check adds to the score, beside an answer of which it is 0.
  [[nodiscard]] double effect(const Checks& checks) const;
  bool operator==(const CheckWeight&) const = default;
};

// From that score on, up to the next step.
struct Step {
  double score = 0;
  double probability = 0;

  bool operator==(const Step&) const = default;
};

// What a table is for. All of it must be the same.
struct TableKey {
  std::string weights;        // SHA-256 of the model file
  std::string quantisation;   // "Q4_1"
  std::string chat_template;  // its SHA-256; "none": prompts as they are
  std::string sampler;        // sampler_name()
  std::string task;
  std::int32_t tokens = 0;  // the first so many of an answer; 0: answers that are complete

  bool operator==(const TableKey&) const = default;
};

// How well the table did on answers that it was not fitted on.
using statistics::Bin;
using statistics::Reliability;

struct Table {
  TableKey key;
  Logistic logistic;
  std::vector<CheckWeight> checks;  // of complete answers alone; empty: tokens are all that is weighed
  std::vector<Step> steps;          // isotonic, in the order of the scores; empty: the logistic model's own probability
  std::size_t fitted_on = 0;        // answers
  double fitted_right = 0;          // share of them
  Reliability held_out;
  std::string model;  // its name when it was fitted, for people
  std::string data;   // SHA-256 of the labelled file
  std::string grader;
  std::string date;  // "2026-11-22"
  std::string command;
  std::string sha256;  // of the file as it is printed; empty: not kept in one

  // That an answer with this statistic is right. `answer`: what was seen of it; not needed where there are no checks.
  // REQUIRES: at least one token.
  [[nodiscard]] double confidence(const Statistic& statistic, const Checks* answer = nullptr) const;
  // The log-odds that it is made of, where there are no steps.
  [[nodiscard]] double score(const Statistic& statistic, const Checks* answer = nullptr) const;
  // The most that confidence() can become when the answer has `tokens` tokens, the first of which are those of
  // `statistic`, whatever its checks. REQUIRES: at least one token, and no more than `tokens`.
  [[nodiscard]] double ceiling(const Statistic& statistic, std::int32_t tokens) const;
};

// "greedy", or every parameter that moves the choice of tokens.
[[nodiscard]] std::string sampler_name(const types::SamplingParams& sampling);

// What differs, and what something else has: "quantisation", "Q8_0", "Q4_1".
struct Gap {
  std::string field;
  std::string value;
  std::string wanted;
};

// Where two keys differ first, their tokens aside; kSameKey: nowhere. Of two fields the one that says more comes
// first.
inline constexpr std::size_t kSameKey = 5;
[[nodiscard]] std::size_t first_difference(const TableKey& a, const TableKey& b);
// REQUIRES: such a field.
[[nodiscard]] Gap gap_between(const TableKey& running, const TableKey& wanted, std::size_t field);

// The tables that judge a request: of the first tokens, and of complete answers. Point into the span.
struct Calibration {
  const Table* prefix = nullptr;
  const Table* whole = nullptr;
  // Where both are missing: what differs from the nearest table.
  std::optional<Gap> gap;

  [[nodiscard]] bool any() const { return prefix != nullptr || whole != nullptr; }
};

// `running` is the key of what would answer now, with the tokens after which the decision falls.
[[nodiscard]] Calibration find_calibration(std::span<const Table> tables, const TableKey& running);

}  // namespace shoal::routing
