#include "shoal/wire/outgoing.h"

#include <utility>

#include <fmt/format.h>

namespace shoal::wire {
namespace {

Result<void> check_messages(const types::ChatRequest& request, const Vocabulary& words) {
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const types::Message& message = request.messages[i];
    if (!words.names && !message.name.empty()) return unsaid(fmt::format("messages[{}].name", i), words);
    for (std::size_t k = 0; k < message.parts.size(); ++k) {
      const std::string& detail = message.parts[k].detail;
      if (!words.image_detail && !detail.empty() && detail != "auto") {
        return unsaid(fmt::format("messages[{}].content[{}].image_url.detail", i, k), words);
      }
    }
  }
  return {};
}

}  // namespace

Error unsaid(std::string param, const Vocabulary& words) {
  return Error(ErrorCode::kUnsupportedParameter,
               fmt::format("{} cannot be said to {}; leave it out", param, words.dialect))
      .with_param(std::move(param));
}

Result<void> check_words(const types::ChatRequest& request, const Vocabulary& words) {
  // What no field holds is lost in print; what only Shoal's own engine shows no provider can show.
  for (const types::Need& need : request.needs) {
    if (need.kind == types::NeedKind::kOpenAi || need.kind == types::NeedKind::kSignals)
      return unsaid(need.param, words);
  }
  const types::GenerationParams& p = request.params;
  const types::SamplingParams& s = p.sampling;
  const struct {
    std::string_view param;
    bool asked;
    bool known;
  } fields[] = {
      {"n", p.n != 1, words.n},
      {"seed", s.seed.has_value(), words.seed},
      {"logprobs", p.logprobs, words.logprobs},
      {"logit_bias", !s.logit_bias.empty(), words.logit_bias},
      {"presence_penalty", s.presence_penalty != 0, words.penalties},
      {"frequency_penalty", s.frequency_penalty != 0, words.penalties},
      {"temperature", s.temperature != 1, words.temperature},
      {"top_p", s.top_p != 1, words.top_p},
      {"top_k", s.top_k != 0, words.top_k},
      {"min_p", s.min_p != 0, words.local_sampling},
      {"repetition_penalty", s.repetition_penalty != 1, words.local_sampling},
      {"ignore_eos", p.ignore_eos, false},
      {"x_shoal.signals", p.signals, false},
      {"x_shoal.p_true", p.p_true, false},
      {"x_shoal.hidden_state", p.hidden_state, false},
  };
  for (const auto& field : fields) {
    if (field.asked && !field.known) return unsaid(std::string(field.param), words);
  }
  return check_messages(request, words);
}

}  // namespace shoal::wire
