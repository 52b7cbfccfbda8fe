#include "shoal/gateway/local_requests.h"

#include <algorithm>
#include <utility>

namespace shoal::gateway {

std::vector<engine::GenerateRequest> local_requests(const AnswerRequest& request, const std::string& model,
                                                    base::Deadline deadline, bool streams) {
  std::vector<engine::GenerateRequest> requests;
  for (std::size_t at = 0; at < request.prompt_count(); ++at) {
    for (std::int32_t i = 0; i < request.params.n; ++i) {
      engine::GenerateRequest& one = requests.emplace_back();
      one.model = model;
      one.principal = request.principal.number;
      one.deadline = deadline;
      one.prompt = request.chat != nullptr ? engine::Prompt{request.chat->messages} : request.prompts[at];
      one.sampling = request.params.sampling;
      if (one.sampling.seed) *one.sampling.seed += static_cast<std::uint64_t>(i);
      one.max_tokens = request.params.max_tokens;
      one.stop = request.params.stop;
      one.top_logprobs = request.params.top_logprobs;
      one.ignore_eos = request.params.ignore_eos;
      one.p_true = request.params.p_true;
      one.streams = streams;
      one.hidden_state = request.params.hidden_state && i == 0;  // the answers to one prompt share it
    }
  }
  return requests;
}

void add_finished(types::Receipt& receipt, const AnswerRequest& request, std::size_t answer,
                  engine::FinishEvent& finish) {
  // The answers to one prompt share it: count it once.
  if (answer % static_cast<std::size_t>(request.params.n) == 0) {
    receipt.usage.prompt_tokens += finish.usage.prompt_tokens;
    receipt.usage.cached_tokens += finish.usage.cached_tokens;
  }
  receipt.usage.completion_tokens += finish.usage.completion_tokens;
  receipt.exact = finish.exact;
  receipt.timings.queue_us = std::max(receipt.timings.queue_us, finish.timings.queue_us);
  receipt.timings.prefill_us = std::max(receipt.timings.prefill_us, finish.timings.prefill_us);
  receipt.timings.decode_us = std::max(receipt.timings.decode_us, finish.timings.decode_us);
  receipt.signals[answer] = finish.signals;
  if (!finish.hidden_state.empty())
    receipt.hidden_states[answer / static_cast<std::size_t>(request.params.n)] = std::move(finish.hidden_state);
}

}  // namespace shoal::gateway
