// The vocabulary of label scoring: which of some given texts a model finds how probable. wire/ parses into these types
// and prints from them; gateway/ answers them. Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "shoal/types/chat.h"
#include "shoal/types/completion.h"

namespace shoal::types {

using LabelPrompt = std::variant<std::vector<Message>, std::string, std::vector<std::int32_t>>;

struct ScoreRequest {
  std::string model;  // empty: the configured default
  LabelPrompt prompt;
  std::vector<std::string> labels;
  bool mean = false;                        // compare log p per token, not of the whole label
  std::optional<LabelPrompt> content_free;  // calibrate with what the model says to this
  std::string user;
};

struct ClassifyRequest {
  std::string model;
  std::vector<std::string> inputs;
  std::string task;                             // one that was trained here; then there are no labels
  std::vector<std::vector<std::string>> asked;  // of each input: the slots that the last question was about; or none
  std::vector<std::string> labels;
  std::string instruction;  // empty: the default, which lists the labels
  bool mean = false;
  std::optional<std::string> content_free;  // an input without content, to calibrate with
  bool batch = false;                       // calibrate with the mean over all inputs
  std::string user;
};

// One label among those that it was compared with.
struct LabelScore {
  LabelLogprobs label;
  double logprob = 0;                          // the sum over its tokens
  std::optional<double> content_free_logprob;  // the same after the content-free prompt
  double probability = 0;                      // of all labels: they sum to 1
};

}  // namespace shoal::types
