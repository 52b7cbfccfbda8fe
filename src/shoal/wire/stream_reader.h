// StreamReader: what the events of a provider's stream say, in the order in which they come, for one answer (or n) of
// one provider. It keeps what a dialect says only once, and numbers calls of tools from 0 without gaps, with the id and
// the name in the first piece alone.
//
//   auto reader = make_stream_reader(dialect, kind, request.params.n);
//   while (const auto event = ...) if (auto reply = SHOAL_TRY(reader->read(event.name, event.data))) use(*reply);
//   if (!reader->complete()) return cut_off();
//
// Owned by the coroutine that reads the stream. Threads: one.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/types/remote.h"
#include "shoal/wire/openai/answer_kind.h"

namespace shoal::wire {

class StreamReader {
 public:
  StreamReader() = default;
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;
  virtual ~StreamReader() = default;

  // `name` and `data` of one server-sent event; nothing when it says nothing, as a ping does. `raw` stays empty.
  // Errors: kBadAnswer when it is not what the dialect has at this place. Not called again after an error.
  [[nodiscard]] virtual Result<std::optional<types::RemoteReply>> read(std::string_view name,
                                                                       std::string_view data) = 0;

  // Whether each answer came to its end, in the way of the dialect: a stream that is over before broke off, however
  // cleanly the connection was closed.
  [[nodiscard]] virtual bool complete() const = 0;
};

// `answers`: how many were asked for. `kind`: of OpenAI's dialect; the others know chats alone.
[[nodiscard]] std::unique_ptr<StreamReader> make_stream_reader(types::Dialect dialect, openai::AnswerKind kind,
                                                               std::size_t answers);

}  // namespace shoal::wire
