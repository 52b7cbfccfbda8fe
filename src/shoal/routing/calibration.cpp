#include "shoal/routing/calibration.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include <fmt/format.h>

namespace shoal::routing {
namespace {

constexpr double kLeastLogprob = -30;
// Rounding may differ between a ceiling and the confidence that it bounds.
constexpr double kSlack = 1e-9;

double probability_of(const Table& table, double score) {
  if (table.steps.empty()) return 1 / (1 + std::exp(-score));
  auto after = std::ranges::upper_bound(table.steps, score, {}, &Step::score);
  if (after != table.steps.begin()) --after;
  return after->probability;
}

// What a check adds that is 0.
double at_zero(const CheckWeight& one) {
  return -one.weight * one.center / one.spread;
}

struct Field {
  std::string_view name;
  std::string TableKey::* member;
};
// The first that differs is told: one that says more comes before one that follows from it.
constexpr std::array kFields = {Field{"task", &TableKey::task}, Field{"quantisation", &TableKey::quantisation},
                                Field{"weights", &TableKey::weights}, Field{"chat_template", &TableKey::chat_template},
                                Field{"sampler", &TableKey::sampler}};

static_assert(kFields.size() == kSameKey);

std::string shown(const Field& field, const TableKey& key) {
  constexpr std::size_t kHashDigits = 12;
  const std::string& value = key.*field.member;
  if (value.empty()) return "unknown";
  const bool hash = field.name == "weights" || field.name == "chat_template";
  return hash ? value.substr(0, kHashDigits) : value;
}

}  // namespace

void Statistic::add(double logprob) {
  const double p = logprob >= kLeastLogprob ? std::min(logprob, 0.0) : kLeastLogprob;  // no number, too
  if (tokens == 0) first = p;
  least = tokens == 0 ? p : std::min(least, p);
  sum += p;
  ++tokens;
}

Features features_of(const Statistic& statistic) {
  assert(statistic.tokens > 0);
  const auto tokens = static_cast<double>(statistic.tokens);
  return {statistic.first, statistic.sum / tokens, statistic.least, std::log(tokens)};
}

double Logistic::score(const Features& features) const {
  double out = bias;
  for (std::size_t i = 0; i < kFeatures; ++i) out += weight[i] * (features[i] - center[i]) / spread[i];
  return out;
}

double CheckWeight::effect(const Checks& checks) const {
  return weight * static_cast<double>(value_of(checks, check)) / spread;
}

double Table::score(const Statistic& statistic, const Checks* answer) const {
  assert(checks.empty() || answer != nullptr);
  double out = logistic.score(features_of(statistic));
  for (const CheckWeight& one : checks) out += (answer != nullptr ? one.effect(*answer) : 0) + at_zero(one);
  return out;
}

double Table::confidence(const Statistic& statistic, const Checks* answer) const {
  return probability_of(*this, score(statistic, answer));
}

double Table::ceiling(const Statistic& statistic, std::int32_t tokens) const {
  assert(tokens >= statistic.tokens);
  Statistic best = statistic;  // followed by tokens that were certain
  best.tokens = tokens;
  double score = logistic.score(features_of(best));
  for (const CheckWeight& one : checks) score += std::max(one.weight, 0.0) / one.spread + at_zero(one);
  return probability_of(*this, score + kSlack);
}

std::string sampler_name(const types::SamplingParams& s) {
  const bool penalised = s.presence_penalty != 0 || s.frequency_penalty != 0 || s.repetition_penalty != 1;
  if (s.temperature == 0 && !penalised && s.logit_bias.empty()) return "greedy";
  std::string out = fmt::format("temperature {} top_p {} top_k {} min_p {}", s.temperature, s.top_p, s.top_k, s.min_p);
  if (penalised) {
    out += fmt::format(" presence {} frequency {} repetition {}", s.presence_penalty, s.frequency_penalty,
                       s.repetition_penalty);
  }
  for (const auto& [token, bias] : s.logit_bias) out += fmt::format(" bias {}:{}", token, bias);
  return out;
}

std::size_t first_difference(const TableKey& a, const TableKey& b) {
  std::size_t i = 0;
  while (i < kFields.size() && a.*kFields[i].member == b.*kFields[i].member) ++i;
  return i;
}

Gap gap_between(const TableKey& running, const TableKey& wanted, std::size_t field) {
  const Field& f = kFields.at(field);
  return {.field = std::string(f.name), .value = shown(f, running), .wanted = shown(f, wanted)};
}

Calibration find_calibration(std::span<const Table> tables, const TableKey& running) {
  Calibration out;
  const Table* nearest = nullptr;
  std::size_t furthest = 0;
  for (const Table& table : tables) {
    const std::size_t same = first_difference(table.key, running);
    if (same == kSameKey) {
      if (table.key.tokens == 0) out.whole = &table;
      if (table.key.tokens != 0 && table.key.tokens == running.tokens) out.prefix = &table;
    }
    if (nearest == nullptr || same > furthest) {
      nearest = &table;
      furthest = same;
    }
  }
  if (out.any()) return out;
  if (nearest == nullptr) {
    out.gap = {.field = "table", .value = "none", .wanted = "one for this task"};
  } else if (furthest == kSameKey) {
    out.gap = {.field = "commit_tokens",
               .value = fmt::format("{}", running.tokens),
               .wanted = fmt::format("{}", nearest->key.tokens)};
  } else {
    out.gap = gap_between(running, nearest->key, furthest);
  }
  return out;
}

}  // namespace shoal::routing
