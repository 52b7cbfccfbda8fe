// A language model as the grader, by a rubric in words, and whether it may be one. A pairwise judge sees two answers in
// both orders: only a verdict that does not depend on the order counts, any other is a tie. A single one gives a score
// from 1 to 5. Either is used only when people labelled at least kLeastGoldPairs pairs and it agrees with them more
// often than a coin would, with a one-sided 95 % bound (Clopper-Pearson); a tie or a garbled answer does not agree.
// What it says is read strictly: what is no verdict is counted as such and never guessed. Place: inside evaluation/;
// suite.h has its settings, run.h asks it. Owned by value. Threads: any; pure, but for judge_trial(), which is as
// ask_all().
//
// Source: Zheng et al. 2023, "Judging LLM-as-a-judge with MT-bench and chatbot arena" (position bias, swapped orders).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "shoal/base/result.h"
#include "shoal/evaluation/asker.h"
#include "shoal/evaluation/prompt.h"

namespace shoal::evaluation {

inline constexpr std::size_t kLeastGoldPairs = 200;
inline constexpr double kJudgeChance = 0.5;

enum class Better : std::uint8_t { kFirst, kSecond, kTie };

// Two answers to one question, and which of them people found better.
struct GoldPair {
  std::string id;  // "id", else the beginning of the hash of the line
  Prompt prompt;
  std::string reference;  // "answer"; empty: none
  std::string first;      // "a"
  std::string second;     // "b"
  Better better = Better::kTie;
};
// Of {"prompt" or "messages", "a", "b", "better": "a", "b" or "tie", "answer", "id"}. Errors: kInvalidData.
[[nodiscard]] Result<GoldPair> read_gold_pair(const boost::json::object& row);
// The same for pairs that are the same, whichever is "a".
[[nodiscard]] std::string content_of(const GoldPair& pair);

struct JudgeSettings {
  std::string judge;  // a route or a model of the server
  std::string rubric;
  bool pairwise = true;  // against the row's answer; else a score
  std::int64_t max_tokens = 256;
  std::vector<GoldPair> gold;
  std::string gold_sha256;
};

// What a pairwise judge is asked: `first` is shown as A.
[[nodiscard]] std::string pair_body(const JudgeSettings& settings, const Prompt& prompt, std::string_view first,
                                    std::string_view second);
// What a single one is asked. An empty reference is not shown.
[[nodiscard]] std::string score_body(const JudgeSettings& settings, const Prompt& prompt, std::string_view reference,
                                     std::string_view answer);

// "Verdict: A", "Verdict: B" or "Verdict: tie" as the last line and nowhere before, or such a word alone. Nothing: it
// is no verdict.
[[nodiscard]] std::optional<Better> read_verdict(std::string_view said);
// "Score: 4" in the same way, 1 to 5.
[[nodiscard]] std::optional<int> read_score(std::string_view said);

struct JudgeCounts {
  std::size_t judged = 0;   // pairs, or answers, with a verdict
  std::size_t garbled = 0;  // with an answer that is no verdict
  std::size_t failed = 0;   // whose request failed
  std::size_t unasked = 0;  // the run ended before
  std::size_t flips = 0;    // of `judged`: each order had a winner, and they were two
  std::size_t first = 0;    // of `flips`: it took what it saw first
};

// What the judge says of two answers, from what it said in both orders (of a single one: of both scores); what is
// wrong, and what to count. Nothing: there is no verdict.
struct PairVerdict {
  std::optional<Better> better;
  std::string why;
};
[[nodiscard]] PairVerdict pair_verdict(const JudgeSettings& settings, const Reply& first, const Reply& second,
                                       JudgeCounts& counts);

// How often the judge agrees with people.
struct JudgeTrial {
  std::string judge;
  std::string identity;  // what is behind it
  std::string key;       // hash of the identity, the rubric and how it is asked: results of two keys do not compare
  std::string rubric_sha256;  // as the gold's, the beginning
  std::string gold_sha256;
  bool pairwise = true;
  std::size_t pairs = 0;    // that people decided
  std::size_t ties = 0;     // that people did not: not part of the test
  std::size_t agreed = 0;   // of `pairs`
  std::size_t opposed = 0;  // the others are ties of the judge, or garbled
  std::size_t longer = 0;   // of `pairs`: the longer answer is the better one
  JudgeCounts counts;       // of all pairs
  double low = 0;           // of the share that agreed, one-sided, 95 %
  std::size_t asked = 0;
  std::size_t kept = 0;
  double spent_usd = 0;
  Ended ended = Ended::kComplete;

  [[nodiscard]] bool usable() const {
    return ended == Ended::kComplete && pairs >= kLeastGoldPairs && low > kJudgeChance;
  }
};
// Errors: as ask_all(), and those of a request that failed for good.
[[nodiscard]] Result<JudgeTrial> judge_trial(const JudgeSettings& settings, const RunOptions& options,
                                             const Server& server, AnswerJournal& journal);

// "171 of 220 pairs, 77.7 %, at least 72.6 %; ..." in a sentence; of a judge, of what it graded.
[[nodiscard]] std::string trial_sentence(const JudgeTrial& trial);
[[nodiscard]] std::string bias_sentence(const JudgeCounts& counts, bool pairwise);
[[nodiscard]] std::string trial_json(const JudgeTrial& trial);

}  // namespace shoal::evaluation
