#include "shoal/learning/topic_table.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <limits>

#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

std::size_t bucket_of(std::uint64_t token) {
  return statistics::mixed(token) % TopicTable::kBuckets;
}

}  // namespace

double TopicTable::expected(std::span<const std::uint64_t> tokens, Scratch& scratch) const {
  // So many bytes at most add up to a number of 16 bits.
  constexpr std::size_t kTogether = 256;
  constexpr std::size_t kLine = 64;
  constexpr std::size_t kUsualTokens = 1'536;  // more than TextFeatures makes of any text: then it is allocated once
  const std::size_t n = means_.size();
  const std::size_t width = padded(n);
  scratch.reserve(width + std::max(tokens.size(), kUsualTokens));
  scratch.assign(width + tokens.size(), 0);
  const std::span<std::int32_t> rows = std::span(scratch).subspan(width);  // where each token's begins
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    rows[i] = static_cast<std::int32_t>(bucket_of(tokens[i]) * width);
    for (std::size_t at = 0; at < width; at += kLine)
      __builtin_prefetch(words_.data() + rows[i] + static_cast<std::ptrdiff_t>(at));
  }
  for (std::size_t lane = 0; lane < width; lane += kLane) {
    for (std::size_t begin = 0; begin < rows.size(); begin += kTogether) {
      std::array<std::int16_t, kLane> sums{};
      for (const std::int32_t at : rows.subspan(begin, std::min(kTogether, rows.size() - begin))) {
        const std::int8_t* const row = words_.data() + at + lane;
        for (std::size_t t = 0; t < kLane; ++t) sums[t] = static_cast<std::int16_t>(sums[t] + row[t]);
      }
      for (std::size_t t = 0; t < kLane; ++t) scratch[lane + t] += sums[t];
    }
  }
  const std::int32_t* const sums = scratch.data();
  const double scale = temperature_ / (kSteps * std::sqrt(static_cast<double>(tokens.size()) + 1));
  double most = -std::numeric_limits<double>::infinity();
  for (std::size_t t = 0; t < n; ++t) most = std::max(most, sums[t] * scale + priors_[t]);
  double weights = 0;
  double sum = 0;
  for (std::size_t t = 0; t < n; ++t) {
    const double weight = std::exp(sums[t] * scale + priors_[t] - most);
    weights += weight;
    sum += weight * means_[t];
  }
  return sum / weights;
}

TopicTable fit_topics(std::span<const TopicRow> rows, std::size_t topics, const TopicOptions& options) {
  assert(topics > 0);
  std::vector<double> counts(TopicTable::kBuckets * topics, options.smoothing);
  std::vector<double> totals(topics, options.smoothing * static_cast<double>(TopicTable::kBuckets));
  std::vector<double> sizes(topics);
  std::vector<double> sums(topics);
  double mean = 0;
  for (const TopicRow& row : rows) {
    assert(row.topic < topics);
    sizes[row.topic] += 1;
    sums[row.topic] += row.target;
    mean += row.target / static_cast<double>(rows.size());
    for (const std::uint64_t token : row.tokens) counts[bucket_of(token) * topics + row.topic] += 1;
    totals[row.topic] += static_cast<double>(row.tokens.size());
  }
  std::vector<float> priors(topics);
  std::vector<float> means(topics);
  for (std::size_t t = 0; t < topics; ++t) {
    // A topic without rows is as good as impossible, and no infinity.
    priors[t] = static_cast<float>(sizes[t] > 0 ? std::log(sizes[t]) : -1e6);
    means[t] = static_cast<float>((sums[t] + options.shrink * mean) / (sizes[t] + options.shrink));
  }
  const std::size_t width = TopicTable::padded(topics);
  std::vector<std::int8_t> words(TopicTable::kBuckets * width);
  std::vector<double> logs(topics);
  for (std::size_t b = 0; b < TopicTable::kBuckets; ++b) {
    double middle = 0;
    for (std::size_t t = 0; t < topics; ++t) {
      logs[t] = std::log(counts[b * topics + t] / totals[t]);
      middle += logs[t] / static_cast<double>(topics);
    }
    for (std::size_t t = 0; t < topics; ++t) {
      const double steps = std::round((logs[t] - middle) * TopicTable::kSteps);
      words[b * width + t] = static_cast<std::int8_t>(std::clamp(steps, -127.0, 127.0));
    }
  }
  return {std::move(words), std::move(priors), std::move(means), options.temperature};
}

}  // namespace shoal::learning
