// Checks: what can be seen of an answer without a model: whether its sums come out, whether it ends, repeats itself,
// refuses, is in the prompt's language, uses the numbers that it was given, has the form that was asked for. Each is a
// number; 0 where there is nothing to see. Weights for them are learned (fit.h, answer_gain_fit.h), not guessed here.
//
// What a model was fitted on and what a server reads must be the same to the bit: both go through AnswerReader, and any
// change of what it makes of an answer must change kChecksVersion.
//
// One pass or a few over at most kMostPrompt and kMostAnswer bytes; any bytes are safe. Nothing is allocated after
// construction, but for JSON where that was asked for. Owned by whoever reads, one for each thread. Threads: one at a
// time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace shoal::routing {

inline constexpr std::uint32_t kChecksVersion = 1;

enum class Check : std::uint8_t {
  // Of any answer.
  kCut,            // 1: it ended because no more tokens were allowed
  kOpen,           // 1: it ends in the middle: a letter or a comma without a mark, a fence that is not closed
  kRefused,        // 1: it begins by declining, or says that it does not know
  kOtherLanguage,  // 1: another than the prompt's
  kRepeated,       // share of its runs of four words that it had before
  kRepeatedLines,  // lines that it had before
  kFormat,         // 1: JSON was asked for, and it is none, or has not what its schema requires
  kHedged,         // "maybe", "assume", "approximately": how many
  kDenies,         // "cannot", "not possible": how many
  kConcludes,      // "so", "therefore": how many
  kAsksOn,         // 1: it goes on with a question of its own: "Question:", "Q:"
  kEmpty,          // 1: it has no letter and no digit
  kBytes,          // ln(1 + bytes)
  kLines,          // ln(1 + lines that are not empty)
  // Of sums.
  kStatements,   // ln(1 + statements)
  kWrong,        // 1: one of them is wrong
  kWrongShare,   // of all statements
  kWrongPlain,   // wrong ones in the text
  kWrongNotes,   // wrong ones between << and >>
  kWorst,        // ln(1 + relative error of the worst)
  kRounded,      // right but for rounding
  kChained,      // a = b = c
  kNotes,        // statements between << and >>
  kUnreadNotes,  // those that are no arithmetic
  kPlain,        // statements in the text
  kNoStatement,  // 1: there is none
  kMultiplied,   // operations
  kDivided,
  kAdded,
  kSubtracted,
  kNegative,   // results below 0
  kBroken,     // results that are not whole
  kLargest,    // ln(1 + the largest result)
  kVariables,  // "let", and x by itself: how many
  // Of the number that it ends with: after ####, "answer is", "answer:" or \boxed, else the last.
  kUnmarked,          // 1: none of these is there
  kNoNumber,          // 1: nor any number
  kNotWhole,          // 1: it is not whole
  kFinalGiven,        // 1: the prompt has it
  kFinalNotLast,      // 1: it is not the last result
  kFinalNotComputed,  // 1: it is no result at all
  kFinalZero,         // 1
  kFinal,             // ln(1 + |it|)
  kFinalHuge,         // 1: more than a hundred times the prompt's largest number
  // Of the prompt's numbers.
  kGiven,         // different ones
  kUnused,        // of those, not in the answer
  kAnyUnused,     // 1: such a one
  kUnusedShare,   // of those that are given
  kStray,         // operands that are given nowhere and computed nowhere
  kAnyStray,      // 1: such a one
  kLargestGiven,  // ln(1 + the largest)
  kLeastGiven,    // ln(1 + the least)
  kGivenBroken,   // that are not whole
  kGivenWords,    // written as words: "half", "twelve", "dozen"
};
inline constexpr std::size_t kChecks = static_cast<std::size_t>(Check::kGivenWords) + 1;
// "wrong_share", for files and receipts.
[[nodiscard]] std::string_view check_name(Check check);

using Checks = std::array<float, kChecks>;
[[nodiscard]] constexpr float value_of(const Checks& checks, Check check) {
  return checks[static_cast<std::size_t>(check)];
}

struct AskedFor {
  std::string_view prompt{};  // what the user wrote
  bool cut = false;           // the answer ended because no more tokens were allowed
  bool json = false;          // JSON was asked for,
  std::string_view schema{};  // and of this JSON Schema; empty: of none
};

inline constexpr std::size_t kMostPrompt = std::size_t{16} << 10U;
inline constexpr std::size_t kMostAnswer = std::size_t{64} << 10U;

class AnswerReader {
 public:
  AnswerReader() : seen_(kSlots) {}

  // Of a long prompt or answer the first quarter of what is allowed and the rest from its end.
  [[nodiscard]] Checks read(const AskedFor& asked, std::string_view answer);

 private:
  static constexpr std::size_t kSlots = std::size_t{1} << 13U;
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t stamp = 0;
  };

  void read_repeats(std::string_view answer, Checks& out);
  // Whether it was there; then it is.
  bool see(std::uint64_t hash);

  std::vector<Slot> seen_;
  std::uint32_t stamp_ = 0;
  std::size_t used_ = 0;
};

}  // namespace shoal::routing
