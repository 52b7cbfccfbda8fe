// The tables of every parameter of the OpenAI dialect: what the parser reads and /openapi.json shows.
// Source: OpenAI's API reference (2026); vLLM's and llama.cpp's names for top_k, min_p, repetition_penalty,
// ignore_eos. Constant data. Threads: any.
#pragma once

#include <span>

#include "shoal/wire/fields.h"

namespace shoal::wire::openai {

[[nodiscard]] std::span<const FieldSpec> chat_fields();
[[nodiscard]] std::span<const FieldSpec> message_fields();
[[nodiscard]] std::span<const FieldSpec> content_part_fields();
[[nodiscard]] std::span<const FieldSpec> image_url_fields();
[[nodiscard]] std::span<const FieldSpec> tool_fields();
[[nodiscard]] std::span<const FieldSpec> function_fields();
[[nodiscard]] std::span<const FieldSpec> named_tool_choice_fields();
[[nodiscard]] std::span<const FieldSpec> function_name_fields();
[[nodiscard]] std::span<const FieldSpec> thinking_block_fields();
[[nodiscard]] std::span<const FieldSpec> tool_call_fields();
[[nodiscard]] std::span<const FieldSpec> called_function_fields();
[[nodiscard]] std::span<const FieldSpec> response_format_fields();
[[nodiscard]] std::span<const FieldSpec> json_schema_format_fields();
[[nodiscard]] std::span<const FieldSpec> completion_fields();
[[nodiscard]] std::span<const FieldSpec> stream_options_fields();
[[nodiscard]] std::span<const FieldSpec> embedding_fields();
[[nodiscard]] std::span<const FieldSpec> score_fields();
[[nodiscard]] std::span<const FieldSpec> classify_fields();
[[nodiscard]] std::span<const FieldSpec> tokenize_fields();
[[nodiscard]] std::span<const FieldSpec> detokenize_fields();
// `x_shoal` of chat and text completions: Shoal's own switches.
[[nodiscard]] std::span<const FieldSpec> generation_x_shoal_fields();

}  // namespace shoal::wire::openai
