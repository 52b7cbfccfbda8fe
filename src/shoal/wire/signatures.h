// Signed thoughts as JSON: the blocks have one shape in Anthropic's API and, as LiteLLM prints them, beside OpenAI's
// messages; the signature of a call stands where Google's own API of OpenAI's dialect has it. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "shoal/types/chat.h"
#include "shoal/wire/json_writer.h"

namespace shoal::wire {

// `index`: of a block that comes in a stream, by which OpenAI's SDKs join it with the others.
inline void write_thinking_block(JsonWriter& json, const types::ThinkingBlock& block,
                                 std::optional<std::size_t> index = {}) {
  json.object();
  if (index) json.key("index").integer(static_cast<std::int64_t>(*index));
  if (block.redacted.empty()) {
    json.key("type").string("thinking").key("thinking").string(block.thinking);
    json.key("signature").string(block.signature);
  } else {
    json.key("type").string("redacted_thinking").key("data").string(block.redacted);
  }
  json.end_object();
}

// A member of a call; nothing when there is no signature.
inline void write_extra_content(JsonWriter& json, std::string_view thought_signature) {
  if (thought_signature.empty()) return;
  json.key("extra_content").object().key("google").object();
  json.key("thought_signature").string(thought_signature).end_object().end_object();
}

}  // namespace shoal::wire
