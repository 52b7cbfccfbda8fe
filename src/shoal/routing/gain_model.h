// GainModel: what asking the large model would gain over the small one, told from the text of a request before anything
// is generated: the expected difference of their scores, in [-1, 1]. A sum of up to three small models: which words
// and pairs of words the text has together with its shape (a linear model), its shape alone (trees), and which topic it
// may be of (naive Bayes), weighted by what each was worth on rows that it had not seen. Fitted by gain_fit.h, kept by
// gain_file.h. The same class scores in the server, in `shoal route` and in the benchmark.
//
// Gain and not difficulty: what is too hard for both is not worth the money (research: on the hardest fifth of MATH a
// router by difficulty is worse than chance).
//
// Immutable and shared once made. Threads: any, each with its own Scratch; score() allocates nothing after the first
// call with that Scratch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/learning/text_features.h"
#include "shoal/learning/topic_table.h"
#include "shoal/learning/trees.h"

namespace shoal::routing {

// What a bucket of words says: how rare it is, and its weight.
struct WordWeight {
  float rarity = 0;  // ln((1 + texts) / (1 + texts that have it))
  float weight = 0;
};

// The linear model over hashed words and the standardised shape.
struct WordsAndShape {
  std::vector<WordWeight> words;  // kWordBuckets
  learning::Shape center{};
  learning::Shape spread{};  // > 0
  learning::Shape weight{};
};

enum class GainPart : std::uint8_t { kWords, kShape, kTopic };
inline constexpr std::size_t kGainParts = 3;
inline constexpr std::array<std::string_view, kGainParts> kGainPartNames = {"words", "shape", "topic"};

// How much of a part the sum has. A part that is worth nothing has weight 0, and is not computed.
struct PartWeight {
  double weight = 0;
  double center = 0;  // its mean over the rows that it was fitted on
};

// A point of the curve on rows that were held out: the requests whose gain is at least `gain` are this share, and
// sending them to the strong model, the others to the weak one, has this mean score.
struct GainPoint {
  double gain = 0;
  double share = 0;
  double score = 0;

  bool operator==(const GainPoint&) const = default;
};

// Where a model comes from, for people and for checks.
struct GainOrigin {
  std::string weak;
  std::string strong;
  std::string data;  // SHA-256 of the table that it was fitted on
  std::string date;  // "2026-11-23"
  std::string command;
  std::size_t rows = 0;
  double weak_score = 0;  // mean
  double strong_score = 0;
  double apgr = 0;        // cross-validated, on `rows`
  double apgr_error = 0;  // its standard error

  bool operator==(const GainOrigin&) const = default;
};

struct GainScore {
  double gain = 0;
  std::array<double, kGainParts> parts{};  // what each adds to the mean; they and the mean make the gain
};

// What a word, or two words in a row, add to the gain.
struct WordEffect {
  std::string words;
  double effect = 0;
};

class GainModel {
 public:
  struct Scratch {
    learning::TextFeatures features;
    learning::TopicTable::Scratch topics;
  };
  struct Parts {
    double mean = 0;  // gain of all rows
    std::array<PartWeight, kGainParts> weights{};
    // 1: the words of the whole text are weighed; 3: those of each third, and the middle one of the three counts, so
    // that a few words that somebody puts in front do not decide.
    int segments = 1;
    WordsAndShape words;
    learning::Trees trees;
    learning::TopicTable topics;
    std::vector<GainPoint> curve;  // by falling gain
    GainOrigin origin;
  };

  // REQUIRES: sizes that fit together, as gain_fit.h and gain_file.h see to.
  explicit GainModel(Parts parts) : parts_(std::move(parts)) {}

  [[nodiscard]] GainScore score(std::string_view text, Scratch& scratch) const;
  // The words that move the gain most, the strongest first. Allocates.
  [[nodiscard]] std::vector<WordEffect> explain(std::string_view text, Scratch& scratch, std::size_t most) const;
  [[nodiscard]] const Parts& parts() const { return parts_; }

 private:
  Parts parts_;
};

// Of a conversation, whose user said `turns`, the last one last: what the last one gains, or most of what an earlier
// one did, for "and now in French" is as hard as what it is about: state = max(gain, 0.7 state). Of long conversations
// the last kMostTurns turns. Source: vLLM semantic-router, issue 1458. REQUIRES: at least one turn.
inline constexpr double kTurnDecay = 0.7;
inline constexpr std::size_t kMostTurns = 8;
[[nodiscard]] double conversation_gain(const GainModel& model, std::span<const std::string_view> turns,
                                       GainModel::Scratch& scratch);

// The parts one by one, on a text that was read; for fitting as for scoring.
[[nodiscard]] double words_and_shape(const WordsAndShape& model, learning::TextFeatures& text, int segments);
[[nodiscard]] double topic_gain(const learning::TopicTable& table, const learning::TextFeatures& text, int segments,
                                learning::TopicTable::Scratch& scratch);

inline constexpr float kShapeScale = 0.06F;  // of the standardised shape beside words of length 1
inline constexpr float kShapeMost = 4;       // standard deviations

}  // namespace shoal::routing
