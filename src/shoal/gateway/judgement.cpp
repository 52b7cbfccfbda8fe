#include "shoal/gateway/judgement.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "shoal/base/sha256.h"
#include "shoal/gateway/drift.h"
#include "shoal/routing/tasks.h"

namespace shoal::gateway {
namespace {

constexpr std::size_t kHashDigits = 12;

std::string digits(std::string_view hash) {
  return std::string(hash.substr(0, kHashDigits));
}

// The tables were fitted for what runs, so their key is its.
std::string model_of(const routing::Calibration& tables) {
  const routing::Table* const table = tables.whole != nullptr ? tables.whole : tables.prefix;
  if (table == nullptr) return {};
  const routing::TableKey& key = table->key;
  return fmt::format("{} {} {} {} {}", digits(key.weights), key.quantisation, digits(key.chat_template), key.sampler,
                     key.task);
}

std::string model_of(const routing::Task& task) {
  const auto* const classes = std::get_if<learning::ClassModel>(&task.model);
  return fmt::format("task {} {}", task.name, classes == nullptr ? "" : digits(classes->data_sha256));
}

audit::Stratum stratum_of(const routing::Route& route, const AnswerRequest& request) {
  if (request.local_only || route.local_only) return audit::Stratum::kLocalOnly;
  return request.answers() == 1 ? audit::Stratum::kOpen : audit::Stratum::kSeveral;
}

}  // namespace

double audit_draw(std::string_view decision_id, std::int64_t seed) {
  constexpr std::size_t kDigits = 16;  // of 64 bits
  constexpr unsigned kUnused = 11;
  base::Sha256 sum;
  sum.update(fmt::format("{}:{}", seed, decision_id));
  const std::string hash = sum.finish();
  std::uint64_t bits = 0;
  std::from_chars(hash.data(), hash.data() + kDigits, bits, 16);
  return static_cast<double>(bits >> kUnused) * 0x1p-53;
}

std::vector<std::string_view> asked_of(const AnswerRequest& request) {
  if (request.chat != nullptr) return {routing::last_asked(request.chat->messages)};
  std::vector<std::string_view> out;
  for (const engine::Prompt& prompt : request.prompts) {
    const auto* const text = std::get_if<std::string>(&prompt.input);
    out.push_back(text != nullptr ? std::string_view(*text) : std::string_view());
  }
  return out;
}

Judgement::Judgement(const routing::Route& route, const routing::Certificate* certificate,
                     const routing::Calibration& tables, const AnswerRequest& request, bool audits)
    : route_(route),
      tables_(tables),
      audits_(audits && route.audit_share > 0),
      whole_(request.answers()),
      open_(request.answers()) {
  judged_.threshold = route.threshold;
  judged_.stratum = stratum_of(route, request);
  if (certificate != nullptr) judged_.certificate = certificate_id(*certificate);
  judged_.model = route.local_task != nullptr ? model_of(*route.local_task) : model_of(tables);
  if (tables.whole == nullptr || tables.whole->checks.empty()) return;
  said_.resize(request.answers());
  prompts_ = asked_of(request);
}

void Judgement::hear(const AnswerEvent& event) {
  if (const auto* token = std::get_if<engine::TokenEvent>(&event.what)) {
    whole_[event.answer].add(token->token.logprob);
    if (looks_back()) text_ += token->text;
    if (!said_.empty()) said_[event.answer] += token->text;
  } else if (const auto* finish = std::get_if<engine::FinishEvent>(&event.what)) {
    if (looks_back()) text_ += finish->text;
    --open_;
    const routing::Statistic& statistic = whole_[event.answer];
    std::optional<routing::Checks> seen;
    if (!said_.empty()) {
      const routing::AskedFor asked{.prompt = prompts_[event.answer * prompts_.size() / said_.size()],
                                    .cut = finish->reason == types::FinishReason::kLength};
      seen = routing::AnswerReader().read(asked, said_[event.answer] += finish->text);
    }
    if (tables_.whole == nullptr || statistic.tokens == 0) return;
    const double confidence = tables_.whole->confidence(statistic, seen ? &*seen : nullptr);
    least_ = std::min(least_.value_or(1), confidence);
  }
}

void Judgement::settle(routing::Verdict verdict, std::string_view decision_id) {
  verdict_ = verdict;
  if (verdict == routing::Verdict::kEscalate) {
    judged_.propensity = 1;
  } else if (looks_back()) {
    judged_.propensity = route_.audit_share;
    judged_.drawn = audit_draw(decision_id, route_.audit_seed) < route_.audit_share;
  }
}

void Judgement::hear(const types::RemoteEvent& event) {
  if (!compares()) return;
  for (const types::AnswerDelta& delta : event.deltas) theirs_ += delta.text;
}

std::optional<double> Judgement::late_miss() const {
  const bool late = verdict_ == routing::Verdict::kKeep && open_ == 0 && least_ && *least_ < route_.threshold;
  return late ? least_ : std::nullopt;
}

bool Judgement::compares() const {
  return looks_back() && verdict_ == routing::Verdict::kEscalate && open_ == 0;
}

std::optional<audit::Judged> Judgement::record(types::Decision decision, int status) const {
  if (verdict_ == routing::Verdict::kWait) return std::nullopt;
  audit::Judged out = judged_;
  const bool here = decision == types::Decision::kLocal || decision == types::Decision::kFailedOver;
  out.late = late_miss().has_value();
  // What is here though the judge did not want it, nobody else could or might answer.
  out.action = status != 200                         ? audit::Action::kRefused
               : !here                               ? audit::Action::kEscalated
               : verdict_ == routing::Verdict::kKeep ? audit::Action::kKept
                                                     : audit::Action::kKeptUnsure;
  // Known with some probability is what became of those that were kept, and of those whose place another took.
  if (out.action == audit::Action::kKeptUnsure || out.action == audit::Action::kRefused) out.propensity = 0;
  if (out.action != audit::Action::kKept) out.drawn = false;
  return out;
}

void count(JudgedCounts& counts, const audit::Judged& judged) {
  switch (judged.action) {
    case audit::Action::kKept:
      ++counts.kept;
      break;
    case audit::Action::kKeptUnsure:
      ++counts.kept_unsure;
      break;
    case audit::Action::kEscalated:
      ++counts.escalated;
      break;
    case audit::Action::kRefused:
      ++counts.refused;
      break;
  }
  counts.late_misses += judged.late && judged.action == audit::Action::kKept ? 1 : 0;
}

}  // namespace shoal::gateway
