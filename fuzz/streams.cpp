// Fuzzes what reads a provider's stream: server-sent events, and the chunks of the three dialects. Beyond "no crash":
//  - the events do not depend on how the bytes were cut into reads;
//  - a stream is complete only when each answer has its end, counts are within each other, and calls of tools are
//  numbered
//    without gaps and named once;
//  - what is printed of it for a client of OpenAI's reads back as it was.
// SHOAL_PLANTED_BUG makes two line ends of a CRLF (net/sse_reader.cpp) that comes in two reads: the fuzzer must find
// it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/net/sse_reader.h"
#include "shoal/wire/openai/print.h"
#include "shoal/wire/openai/upstream.h"
#include "shoal/wire/stream_reader.h"

namespace {

namespace openai = shoal::wire::openai;
namespace types = shoal::types;
using shoal::net::SseReader;

constexpr std::size_t kMaxEvent = 4096;

void require(bool condition) {
  if (!condition) std::abort();
}

struct Event {
  std::string name;
  std::string data;
  bool operator==(const Event&) const = default;
};

// The events; whether one was too large. The first `cut` bytes come at once, the others in pieces of `piece`.
std::pair<std::vector<Event>, bool> read_events(std::string_view bytes, std::size_t cut, std::size_t piece) {
  SseReader reader(kMaxEvent);
  std::vector<Event> events;
  for (std::size_t at = 0; at <= bytes.size();) {
    const std::size_t length = at == 0 && cut > 0 ? cut : piece;
    reader.input() += bytes.substr(at, length);
    at += length;
    while (true) {
      const auto event = reader.next();
      if (!event.ok()) {
        require(event.error().code() == shoal::ErrorCode::kBadAnswer);
        return {std::move(events), true};
      }
      if (!*event) break;
      events.push_back({std::string((*event)->name), std::string((*event)->data)});
    }
    require(reader.input().size() <= kMaxEvent + piece + cut);
  }
  return {std::move(events), false};
}

// What is known of the answers of a stream so far.
struct Known {
  bool finished = false;
  std::vector<bool> named;  // by call
};

void check_print(const types::AnswerDelta& delta, std::size_t answers) {
  const openai::ChunkPrinter printer({openai::AnswerKind::kChat, "id", 1, "m"}, answers, {}, false);
  std::string out;
  printer.append_delta(out, delta);
  const auto back = openai::parse_chunk(out, openai::AnswerKind::kChat);
  require(back.ok());
  const auto* event = std::get_if<types::RemoteEvent>(&*back);
  require(event != nullptr && event->deltas.size() == 1 && event->deltas[0] == delta);
}

void check_event(const types::RemoteEvent& event, std::map<std::size_t, Known>& known, std::size_t answers) {
  if (event.usage) {
    const types::Usage& u = *event.usage;
    require(u.cached_tokens >= 0 && u.cache_write_5m_tokens >= 0 && u.cache_write_1h_tokens >= 0);
    require(std::int64_t{u.cached_tokens} + u.cache_write_5m_tokens + u.cache_write_1h_tokens <= u.prompt_tokens);
    require(u.reasoning_tokens >= 0 && u.reasoning_tokens <= u.completion_tokens);
  }
  for (const types::AnswerDelta& delta : event.deltas) {
    require(delta.answer < answers);
    Known& answer = known[delta.answer];
    answer.finished = answer.finished || delta.finish;
    for (const types::ToolCallDelta& call : delta.tool_calls) {
      require(call.index <= answer.named.size());
      if (call.index == answer.named.size()) answer.named.push_back(false);
      require(call.name.empty() || !answer.named[call.index]);
      answer.named[call.index] = answer.named[call.index] || !call.name.empty();
    }
    check_print(delta, answers);
  }
}

void check_dialect(types::Dialect dialect, const std::vector<Event>& events, std::size_t answers) {
  const auto reader = shoal::wire::make_stream_reader(dialect, openai::AnswerKind::kChat, answers);
  std::map<std::size_t, Known> known;
  for (const Event& event : events) {
    const auto reply = reader->read(event.name, event.data);
    if (!reply.ok()) {
      require(reply.error().code() == shoal::ErrorCode::kBadAnswer && reply.error().message().size() < 1000);
      return;
    }
    if (!*reply) continue;
    const auto* said = std::get_if<types::RemoteEvent>(&**reply);
    if (said == nullptr) return;
    check_event(*said, known, answers);
  }
  if (!reader->complete()) return;
  for (std::size_t i = 0; i < answers; ++i) require(known[i].finished);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto whole = read_events(bytes, bytes.size(), 1);
  require(read_events(bytes, 0, 1) == whole);
  require(read_events(bytes, data[1] % bytes.size(), bytes.size()) == whole);
  const std::size_t answers = 1 + data[0] / 128;
  switch (data[0] % 4) {
    case 0:
      check_dialect(types::Dialect::kOpenAi, whole.first, answers);
      break;
    case 1:
      check_dialect(types::Dialect::kAnthropic, whole.first, 1);
      break;
    default:
      check_dialect(types::Dialect::kGemini, whole.first, answers);
      break;
  }
  return 0;
}
