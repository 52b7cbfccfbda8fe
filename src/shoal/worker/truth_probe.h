// TruthProbe: after its answer a model is asked whether that answer is true, and what it would say next is looked at;
// nothing is generated. P(True) of Kadavath et al. 2022, "Language Models (Mostly) Know What They Know", with the
// question put as the next turn of the conversation, or as text where the prompt was text.
// Owned by a Sequence. Threads: make() any; the rest the compute thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/completion.h"
#include "shoal/worker/model.h"
#include "shoal/worker/signals.h"

namespace shoal::worker {

struct TruthProbe {
  static constexpr std::string_view kQuestion = "Is your answer above true? Reply with one word, True or False.";
  // Where there is no conversation.
  static constexpr std::string_view kText = "\n\nIs the text above true? Reply with one word, True or False.\nReply:";

  std::vector<std::int32_t> question;  // tokens after those of the answer
  std::int32_t yes = 0;                // first tokens of the two replies
  std::int32_t no = 0;

  std::size_t answer_end = 0;  // tokens of prompt and answer; 0: not asked yet
  types::FinishReason reason = types::FinishReason::kStop;
  std::string text;  // of the frame that waits for the probe
  float said = 0;    // P(True)

  // Errors: kUnsupportedParameter (the tokenizer begins both replies alike), what the template says.
  [[nodiscard]] static Result<TruthProbe> make(Model& model, bool chat);
  [[nodiscard]] bool asked() const { return answer_end > 0; }
  // p(True) / (p(True) + p(False)).
  [[nodiscard]] float p_true(std::span<const float> row) const;
};

}  // namespace shoal::worker
