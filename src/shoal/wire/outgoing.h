// What is common to requests that are printed for a provider: those that did not come in its dialect, and Shoal's own,
// such as drafts and judgements. A field that a dialect cannot say is an error that names it: none is dropped silently.
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"

namespace shoal::wire {

// The two names that OpenAI has had for the limit of an answer; a server of its dialect may know one of them.
enum class LimitName : std::uint8_t { kMaxTokens, kMaxCompletionTokens };

struct OutgoingOptions {
  std::string_view model;                        // as the provider names it
  std::optional<std::int32_t> max_tokens;        // when the request sets no limit
  LimitName limit_name = LimitName::kMaxTokens;  // of OpenAI's dialect
  // Of Anthropic's: the model takes temperature, top_p and top_k, as those before Claude Opus 4.7 do, and the version
  // of the API that knows them is asked for.
  bool sampling = false;
};

// Of a request from one Shoal to another: through how many it came.
inline constexpr std::string_view kHopsHeader = "x-shoal-hops";

// What a dialect has words for, of what not all of them have.
struct Vocabulary {
  std::string_view dialect;  // as errors name it: "Anthropic's API"
  bool n = false;
  bool seed = false;
  bool logprobs = false;
  bool logit_bias = false;
  bool penalties = false;  // presence and frequency
  bool temperature = false;
  bool top_p = false;
  bool top_k = false;
  bool local_sampling = false;  // min_p, repetition_penalty
  bool names = false;           // messages[].name
  bool image_detail = false;
};

// kUnsupportedParameter: "`param` cannot be said to `dialect`, ...".
[[nodiscard]] Error unsaid(std::string param, const Vocabulary& words);

// Errors: kUnsupportedParameter for the first thing that `request` asks for and `words` lacks; what is no matter of a
// flag, such as tools and formats, is left to the printer.
[[nodiscard]] Result<void> check_words(const types::ChatRequest& request, const Vocabulary& words);

}  // namespace shoal::wire
