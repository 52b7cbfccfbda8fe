#include "shoal/routing/prefix_judge.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace shoal::routing {
namespace {

// Rounded down: 0.7999 is shown below a threshold of 0.80.
std::string shown(double probability) {
  constexpr double kDigits = 100;
  constexpr double kRounding = 1e-9;  // 0.57 * 100 is 56.99999999999999
  return fmt::format("{:.2f}", std::floor(probability * kDigits + kRounding) / kDigits);
}

}  // namespace

std::string_view last_asked(std::span<const types::Message> messages) {
  for (std::size_t i = messages.size(); i-- > 0;) {
    if (messages[i].role == types::Role::kUser) return messages[i].content;
  }
  return {};
}

std::optional<double> decisive_confidence(const Calibration& tables, bool streams, std::int32_t commit_tokens,
                                          std::span<const float> logprobs, const Checks* answer) {
  const auto first = static_cast<std::size_t>(commit_tokens);
  if (logprobs.empty()) return std::nullopt;
  const auto judged_by = [&](const Table* table, std::size_t tokens) -> std::optional<double> {
    if (table == nullptr) return std::nullopt;
    Statistic statistic;
    for (const float logprob : logprobs.first(tokens)) statistic.add(logprob);
    return table->confidence(statistic, answer);
  };
  const bool reaches = logprobs.size() >= first;
  if (streams && reaches) return judged_by(tables.prefix, first);
  const std::optional<double> whole = judged_by(tables.whole, logprobs.size());
  if (!whole || !reaches || tables.prefix == nullptr) return whole;
  return std::min(*whole, *judged_by(tables.prefix, first));
}

bool PrefixJudge::weighs_checks() const {
  return options_.tables.whole != nullptr && !options_.tables.whole->checks.empty();
}

PrefixJudge::PrefixJudge(const JudgeOptions& options)
    : options_(options), answers_(options.answers), open_(options.answers) {
  assert(options.answers > 0 && options.commit_tokens > 0);
}

types::Reason PrefixJudge::held_against(std::string value, const char* effect) const {
  const std::string exact = fmt::format("{}", options_.threshold);
  const std::string padded = fmt::format("{:.2f}", options_.threshold);
  return {"confidence", std::move(value), "at least " + (padded.size() > exact.size() ? padded : exact), effect};
}

Verdict PrefixJudge::escalate(std::optional<double> confidence, types::Reason reason) {
  verdict_ = Verdict::kEscalate;
  confidence_ = confidence;
  reason_ = std::move(reason);
  return verdict_;
}

Verdict PrefixJudge::settle(Answer& answer, std::optional<double> confidence) {
  answer.settled = true;
  if (!confidence) {
    all_known_ = false;
  } else if (!confidence_ || *confidence < *confidence_) {
    confidence_ = confidence;
  }
  if (--open_ > 0) return verdict_;
  verdict_ = Verdict::kKeep;
  if (all_known_) {
    reason_ = held_against(shown(*confidence_), "keep");
  } else {
    confidence_.reset();
  }
  return verdict_;
}

Verdict PrefixJudge::unknown(Answer& answer, std::string why) {
  const bool keep = options_.keep_unknown;
  types::Reason reason{"confidence", "null", std::move(why), keep ? "keep" : "escalate"};
  if (!keep) return escalate(std::nullopt, std::move(reason));
  reason_ = std::move(reason);
  return settle(answer, std::nullopt);
}

// A check that saw nothing is not told.
void PrefixJudge::tell(const Table& table, const Checks& seen) {
  check_reasons_.clear();
  for (const CheckWeight& one : table.checks) {
    const double effect = one.effect(seen);
    if (effect == 0) continue;
    check_reasons_.push_back({fmt::format("check {}", check_name(one.check)),
                              fmt::format("{:.2f}", value_of(seen, one.check)), "log-odds of being right",
                              fmt::format("{:+.2f}", effect)});
  }
}

Verdict PrefixJudge::judge(Answer& answer, const Table* table, const char* without, const Checks* seen) {
  if (answer.statistic.tokens == 0) return unknown(answer, "an answer of some token");
  if (table == nullptr) return unknown(answer, without);
  const double confidence = table->confidence(answer.statistic, seen);
  const bool least = confidence < options_.threshold || !confidence_ || confidence < *confidence_;
  if (seen != nullptr && least) tell(*table, *seen);
  return hold(answer, confidence);
}

Verdict PrefixJudge::hold(Answer& answer, double confidence) {
  if (confidence >= options_.threshold) return settle(answer, confidence);
  return escalate(confidence, held_against(shown(confidence), "escalate"));
}

Verdict PrefixJudge::scored(std::size_t index, std::optional<double> confidence, std::string wanted) {
  if (verdict_ != Verdict::kWait) return verdict_;
  Answer& answer = answers_.at(index);
  return confidence ? hold(answer, *confidence) : unknown(answer, std::move(wanted));
}

// Over every way on: the answer ends before the K-th token, or comes to it. Nothing where one of them may be kept
// whatever its tokens are.
std::optional<double> PrefixJudge::ceiling(const Statistic& statistic) const {
  const auto [prefix, whole, gap] = options_.tables;
  if (options_.keep_unknown && (prefix == nullptr || whole == nullptr)) return std::nullopt;
  if (!options_.streams && prefix == nullptr) return std::nullopt;  // it may go on past the K-th
  double most = prefix != nullptr ? prefix->ceiling(statistic, options_.commit_tokens) : 0;
  for (std::int32_t n = statistic.tokens; whole != nullptr && n < options_.commit_tokens; ++n) {
    most = std::max(most, whole->ceiling(statistic, n));
  }
  return most;
}

Verdict PrefixJudge::add(std::size_t index, const types::Token& token, std::string_view text) {
  if (verdict_ != Verdict::kWait) return verdict_;
  Answer& answer = answers_.at(index);
  answer.statistic.add(token.logprob);
  if (weighs_checks()) answer.text += text;
  const std::int32_t tokens = answer.statistic.tokens;
  if (tokens > options_.commit_tokens) return verdict_;
  if (tokens == options_.commit_tokens) {
    if (options_.streams) return judge(answer, options_.tables.prefix, "a table for the first tokens");
    if (options_.tables.prefix == nullptr) return verdict_;
    const double confidence = options_.tables.prefix->confidence(answer.statistic);
    if (confidence >= options_.threshold) return verdict_;
    return escalate(confidence, held_against(shown(confidence), "escalate"));
  }
  const std::optional<double> most = ceiling(answer.statistic);
  if (!most || *most >= options_.threshold) return verdict_;
  return escalate(*most, held_against("at most " + shown(*most), "escalate"));
}

Verdict PrefixJudge::finish(std::size_t index, std::string_view text, bool cut) {
  if (verdict_ != Verdict::kWait) return verdict_;
  Answer& answer = answers_.at(index);
  if (answer.settled) return verdict_;
  constexpr const char* kWithout = "a table for complete answers";
  if (!weighs_checks()) return judge(answer, options_.tables.whole, kWithout);
  answer.text += text;
  const std::size_t prompts = options_.prompts.size();
  const std::string_view prompt = prompts == 0 ? "" : options_.prompts[index * prompts / options_.answers];
  const Checks seen = AnswerReader().read({.prompt = prompt, .cut = cut}, answer.text);
  return judge(answer, options_.tables.whole, kWithout, &seen);
}

Verdict PrefixJudge::late() {
  const bool all_there = std::ranges::all_of(answers_, [this](const Answer& answer) {
    return answer.settled || answer.statistic.tokens >= options_.commit_tokens;
  });
  if (verdict_ != Verdict::kWait || all_there) return verdict_;
  return escalate(std::nullopt, {"commit_ms", fmt::format("{}", options_.commit_ms),
                                 fmt::format("{} tokens by then", options_.commit_tokens), "escalate"});
}

}  // namespace shoal::routing
