// Which of OpenAI's two generation endpoints an answer belongs to. Threads: any, as plain data.
#pragma once

#include <cstdint>

namespace shoal::wire::openai {

enum class AnswerKind : std::uint8_t { kChat, kText };

}  // namespace shoal::wire::openai
