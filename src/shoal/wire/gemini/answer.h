// Gemini's API (generateContent), upward: what comes back. Threads: any; pure, but for the reader of one
// stream.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/remote.h"
#include "shoal/wire/remote_error.h"
#include "shoal/wire/stream_reader.h"

namespace shoal::wire::gemini {

using wire::parse_error;

// A whole GenerateContentResponse with `answers` candidates. Thoughts are part of the completion in `usage`, where
// Gemini counts them apart. A prompt that was blocked is content_filter for each answer. Errors: kBadAnswer.
[[nodiscard]] Result<types::RemoteReply> parse_answer(std::string_view body, std::size_t answers = 1);

// The chunks of alt=sse. There is no mark of the end: a stream is complete when each candidate has its finishReason.
class ChunkReader final : public StreamReader {
 public:
  explicit ChunkReader(std::size_t answers) : candidates_(answers) {}
  [[nodiscard]] Result<std::optional<types::RemoteReply>> read(std::string_view name, std::string_view data) override;
  [[nodiscard]] bool complete() const override;

 private:
  struct Candidate {
    std::size_t calls = 0;
    bool finished = false;
  };

  Result<types::RemoteReply> read_object(std::string_view text);
  Result<std::optional<types::RemoteError>> read_candidate(std::string_view text, std::string_view response_id,
                                                           types::RemoteEvent& event);
  Result<void> read_part(std::string_view part, std::string_view response_id, Candidate& candidate,
                         types::AnswerDelta& delta);

  std::vector<Candidate> candidates_;
};

}  // namespace shoal::wire::gemini
