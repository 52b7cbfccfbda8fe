// The OpenAI dialect, inward: request bodies into types/. Strict: what is documented by OpenAI is honoured or
// refused by name (tables in fields.h), every range is checked, nothing is dropped. Threads: any; pure.
#pragma once

#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"
#include "shoal/types/score.h"

namespace shoal::wire::openai {

// Errors of all: kInvalidJson (byte offset), kPayloadTooLarge, kInvalidRequest (param, wanted, came),
// kUnsupportedParameter (param, suggestion).
[[nodiscard]] Result<types::ChatRequest> parse_chat_request(std::string_view body);
[[nodiscard]] Result<types::CompletionRequest> parse_completion_request(std::string_view body);
[[nodiscard]] Result<types::EmbeddingRequest> parse_embedding_request(std::string_view body);
// The bodies of /v1/score and /v1/classify.
[[nodiscard]] Result<types::ScoreRequest> parse_score_request(std::string_view body);
[[nodiscard]] Result<types::ClassifyRequest> parse_classify_request(std::string_view body);
// The bodies of /v1/tokenize and /v1/detokenize, which OpenAI does not have: vLLM's names.
[[nodiscard]] Result<types::TokenizeRequest> parse_tokenize_request(std::string_view body);
[[nodiscard]] Result<types::DetokenizeRequest> parse_detokenize_request(std::string_view body);

}  // namespace shoal::wire::openai
