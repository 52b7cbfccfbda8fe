// Byte-level BPE, as GPT-2 and Llama 3 have it: the merges are ranks, and how a text is cut before them must be one
// of the ways that llama.cpp knows. Inside models/convert only. Threads: any.
#pragma once

#include <string>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"
#include "shoal/models/convert/fields.h"
#include "shoal/models/convert/tokenizer.h"

namespace shoal::models::convert {

// Errors: kModelInvalid; kUnimplemented for a normalizer or pre-tokenizer that llama.cpp does not have.
[[nodiscard]] Result<TokenizerKind> read_byte_bpe(const Fields& tokenizer, const Vocabulary& vocabulary);

// llama.cpp's name of a pre-tokenizer (tokenizer.ggml.pre), recognised by its whole definition: not by a hash of what
// it makes of a sample, which is how llama.cpp's converter does it. `ignores_merges`: a word that is a token stays one.
// Errors: kUnimplemented.
[[nodiscard]] Result<std::string> pre_tokenizer_name(const boost::json::value& definition, bool ignores_merges);

}  // namespace shoal::models::convert
