#include "shoal/wire/stream_reader.h"

#include "shoal/wire/anthropic/answer.h"
#include "shoal/wire/gemini/answer.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::wire {

std::unique_ptr<StreamReader> make_stream_reader(types::Dialect dialect, openai::AnswerKind kind, std::size_t answers) {
  switch (dialect) {
    case types::Dialect::kOpenAi:
      return std::make_unique<openai::ChunkReader>(kind, answers);
    case types::Dialect::kAnthropic:
      return std::make_unique<anthropic::EventReader>();
    case types::Dialect::kGemini:
      return std::make_unique<gemini::ChunkReader>(answers);
  }
  return nullptr;
}

}  // namespace shoal::wire
