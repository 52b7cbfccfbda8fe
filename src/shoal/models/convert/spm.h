// The BPE that fast tokenizers make of a SentencePiece model: bytes as tokens of their own, spaces as U+2581. llama.cpp
// merges such a text by the scores of tokens where Hugging Face merges by ranks of pairs. Inside models/convert only.
// Threads: any.
#pragma once

#include <vector>

#include "shoal/base/result.h"
#include "shoal/models/convert/fields.h"
#include "shoal/models/convert/tokenizer.h"

namespace shoal::models::convert {

// Corrects the types of the unknown and the byte tokens, and the spaces of added tokens, in `vocabulary`.
// Errors: kModelInvalid; kUnimplemented for a normalizer or pre-tokenizer that does more than to mark spaces.
[[nodiscard]] Result<TokenizerKind> read_spm(const Fields& tokenizer, Vocabulary& vocabulary);

// The score of a token is minus the rank of the best merge that makes it, so that the highest score is merged first
// as the lowest rank is; what no merge makes is last.
[[nodiscard]] std::vector<float> merge_scores(const Merges& merges, const Vocabulary& vocabulary);

}  // namespace shoal::models::convert
