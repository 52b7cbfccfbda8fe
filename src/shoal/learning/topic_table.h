// TopicTable: what a number is on average in each topic, and a naive Bayes model that tells from a text's words which
// topics it may be of; together what the number is expected to be for that text. Topics are known when it is fitted
// only. What a word says for each topic is kept in one byte, so that a text of 300 words costs 300 lines of the cache.
// Immutable once made. Threads: any, each with its own Scratch; pure.
//
// Source: McCallum and Nigam 1998, "A comparison of event models for naive Bayes text classification" (multinomial).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace shoal::learning {

struct TopicRow {
  std::span<const std::uint64_t> tokens;  // hashes
  std::size_t topic = 0;
  float target = 0;
};

struct TopicOptions {
  double smoothing = 0.03;   // of a word's count in a topic
  double shrink = 20;        // rows' worth of pull of a topic's mean towards the mean of all
  double temperature = 1.0;  // of the log-likelihood, which is divided by the root of the text's length
};

class TopicTable {
 public:
  static constexpr std::size_t kBuckets = std::size_t{1} << 14U;
  static constexpr std::size_t kMostTopics = 1'024;
  static constexpr std::size_t kLane = 16;  // rows are filled up to a multiple of it, for vector instructions
  static constexpr double kSteps = 16;      // of a word's log-probability against its mean over the topics, in 1

  using Scratch = std::vector<std::int32_t>;  // expected() makes it as large as it needs

  TopicTable() = default;
  // As they were kept: see the accessors. REQUIRES: sizes that fit together.
  TopicTable(std::vector<std::int8_t> words, std::vector<float> priors, std::vector<float> means, double temperature)
      : words_(std::move(words)), priors_(std::move(priors)), means_(std::move(means)), temperature_(temperature) {}

  [[nodiscard]] static std::size_t padded(std::size_t topics) { return (topics + kLane - 1) / kLane * kLane; }
  [[nodiscard]] std::size_t topics() const { return means_.size(); }
  [[nodiscard]] const std::vector<std::int8_t>& words() const { return words_; }  // [bucket][topic, up to padded()]
  [[nodiscard]] const std::vector<float>& priors() const { return priors_; }      // ln of the rows of each topic
  [[nodiscard]] const std::vector<float>& means() const { return means_; }        // shrunk
  [[nodiscard]] double temperature() const { return temperature_; }

  // REQUIRES: at least one topic.
  [[nodiscard]] double expected(std::span<const std::uint64_t> tokens, Scratch& scratch) const;

 private:
  std::vector<std::int8_t> words_;
  std::vector<float> priors_;
  std::vector<float> means_;
  double temperature_ = 1;
};

// REQUIRES: topics below `topics`, which is at least 1 and at most kMostTopics.
[[nodiscard]] TopicTable fit_topics(std::span<const TopicRow> rows, std::size_t topics, const TopicOptions& options);

}  // namespace shoal::learning
