// AnswerGain: what asking the large model would gain over an answer that the small one has given, and how sure that
// answer is to be right: the judge after a draft, as GainModel is the one before it. It weighs what can be seen of the
// answer (answer_checks.h), the shape of the question, what questions with such words usually lead to (how long an
// answer, how many steps, how often wrong) beside what this one led to, and the answer's words. Fitted by
// answer_gain_fit.h, kept by answer_gain_file.h. The same class scores in `shoal route` and in the benchmark.
//
// Where only the length of an answer is known, its words and checks say nothing, and the model is one of question and
// length.
//
// Immutable once made. Threads: any, each with its own Scratch; score() allocates nothing after the first call with it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/learning/text_features.h"
#include "shoal/learning/trees.h"
#include "shoal/routing/answer_checks.h"
#include "shoal/routing/gain_model.h"

namespace shoal::routing {

struct GivenAnswer {
  std::string_view prompt;
  std::string_view text{};  // empty: not known
  double bytes = 0;         // of the answer, where its text is not known
  bool cut = false;
};

// What is expected of a question before it is answered. The first are about scores, the others are checks.
enum class Expected : std::uint8_t { kGain, kWeakWrong, kStrongWrong, kDifficulty, kBytes, kFact };
inline constexpr std::array kFacts = {Check::kStatements, Check::kMultiplied, Check::kDivided,
                                      Check::kAdded,      Check::kSubtracted, Check::kFinal};
inline constexpr std::size_t kExpected = static_cast<std::size_t>(Expected::kFact) + kFacts.size();
using Expectations = std::array<double, kExpected>;

// A linear model of hashed words, one weight for each bucket.
inline constexpr std::size_t kAnswerBuckets = std::size_t{1} << 15U;
struct HashedWords {
  std::vector<float> rarity;  // kAnswerBuckets; empty: there is no such model
  std::vector<float> weight;  // as many, for each target
};

// The question's words and shape, for each of what is expected.
struct QuestionModel {
  HashedWords words;
  learning::Shape center{};
  learning::Shape spread{};  // > 0
  std::array<learning::Shape, kExpected> shape{};
  Expectations mean{};
};

inline constexpr std::size_t kLengthFeatures = 5;
// Heads may be of the first ones alone: what is expected and the length; and the checks; and the question's shape.
inline constexpr std::size_t kBriefFeatures = kExpected + kLengthFeatures;
inline constexpr std::size_t kCheckedFeatures = kBriefFeatures + kChecks + kFacts.size() + 1;
inline constexpr std::size_t kAnswerFeatures = kCheckedFeatures + learning::kShapeFeatures;
using AnswerFeatures = std::array<float, kAnswerFeatures>;

// Logistic, over standardised features.
struct AnswerHead {
  AnswerFeatures weight{};
  double bias = 0;
};

enum class AnswerPart : std::uint8_t { kGains, kWrong, kTrees, kWords, kQuestion };
inline constexpr std::size_t kAnswerParts = 5;
inline constexpr std::array<std::string_view, kAnswerParts> kAnswerPartNames = {"gains", "wrong", "trees", "words",
                                                                                "question"};

struct AnswerScore {
  double gain = 0;
  double confidence = 0;                     // that the answer is right
  std::array<double, kAnswerParts> parts{};  // what each adds to the mean; they and the mean make the gain
};

// What one feature adds to the log-odds that the answer is wrong.
struct FeatureEffect {
  std::string name;
  double value = 0;
  double effect = 0;
};

class AnswerGain {
 public:
  struct Scratch {
    AnswerReader reader;
    learning::TextFeatures question;
    learning::TextFeatures answer;
    std::string masked;
    AnswerFeatures features{};
  };
  struct Parts {
    double mean = 0;  // gain of all rows
    std::array<PartWeight, kAnswerParts> weights{};
    QuestionModel question;
    HashedWords words;  // of the answer
    AnswerFeatures center{};
    AnswerFeatures spread{};  // > 0
    AnswerHead gains;         // that the large model does better
    AnswerHead wrong;         // that the answer is wrong
    learning::Trees trees;
    std::vector<GainPoint> curve;  // by falling gain
    GainOrigin origin;
  };

  // REQUIRES: sizes that fit together, as answer_gain_fit.h and answer_gain_file.h see to.
  explicit AnswerGain(Parts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] AnswerScore score(const GivenAnswer& given, Scratch& scratch) const;
  // What moves the confidence most, the strongest first. Allocates.
  [[nodiscard]] std::vector<FeatureEffect> explain(const GivenAnswer& given, Scratch& scratch, std::size_t most) const;
  [[nodiscard]] const Parts& parts() const { return parts_; }

 private:
  Parts parts_;
};

// The steps, for fitting as for scoring.
[[nodiscard]] Checks read_checks(const GivenAnswer& given, AnswerReader& reader);
// The answer as its words are read: each run of digits is one 0.
void mask_digits(std::string_view text, std::string& out);
[[nodiscard]] Expectations expect(const QuestionModel& model, learning::TextFeatures& question);
[[nodiscard]] double weigh(const HashedWords& model, std::size_t target,
                           std::span<const learning::HashedFeature> words);
void assemble(const Expectations& expected, const Checks& checks, const learning::Shape& shape, AnswerFeatures& out);
[[nodiscard]] double log_odds(const AnswerHead& head, const AnswerFeatures& standardised);
void standardise(const AnswerFeatures& center, const AnswerFeatures& spread, AnswerFeatures& features);
[[nodiscard]] std::string feature_name(std::size_t feature);

}  // namespace shoal::routing
