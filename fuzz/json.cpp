// Fuzzes what reads and writes JSON for clients. Beyond "no crash":
//  - accepted text is UTF-8 and is accepted again after it was printed;
//  - walking over an object's text shows the members and values that its document has;
//  - a patched object is the one that was, but for what the patch is about;
//  - a chat request that was accepted is printed as JSON in each dialect, or refused by name;
//  - a provider's answer, chunk or error, whatever it is, is read or refused;
//  - the parsers of the three endpoints end in a value or in an error whose body is JSON;
//  - any bytes, printed as a string, read back as valid JSON, the same when they were UTF-8.
// SHOAL_PLANTED_BUG leaves one control character unescaped (wire/json_text.cpp): the fuzzer must find it; no seed has
// one.
#include "shoal/wire/json.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "shoal/wire/anthropic/request.h"
#include "shoal/wire/gemini/request.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/openai/parse.h"
#include "shoal/wire/openai/print.h"
#include "shoal/wire/openai/request.h"
#include "shoal/wire/openai/upstream.h"

namespace {

namespace json = boost::json;
namespace wire = shoal::wire;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_walk(std::string_view text, const json::object& object) {
  wire::JsonWalk walk(text);
  auto member = object.begin();
  while (walk.next()) {
    require(member != object.end());
    require(wire::json_string(walk.key_range().of(text)) == std::string(member->key().data(), member->key().size()));
    const auto value = wire::JsonDocument::parse(walk.value());
    require(value.ok() && value->root() == member->value());
    if (const auto string = wire::json_string(walk.value())) {
      require(member->value().is_string() && *string == std::string_view(member->value().get_string()));
    }
    ++member;
  }
  require(member == object.end());
}

void check_patch(std::string_view text, const json::object& object) {
  wire::openai::RequestPatch patch;
  patch.model = "patched \"name\"";
  patch.max_tokens = 7;
  patch.include_usage = true;
  json::object wanted = object;
  wanted.erase("x_shoal");
  wanted.erase("ignore_eos");
  wanted["model"] = "patched \"name\"";
  const auto absent = [&wanted](const char* key) { return !wanted.contains(key) || wanted.at(key).is_null(); };
  if (absent("max_tokens") && absent("max_completion_tokens")) wanted["max_tokens"] = 7;
  if (absent("stream_options") || !wanted.at("stream_options").is_object()) wanted["stream_options"] = json::object();
  wanted["stream_options"].get_object()["include_usage"] = true;
  const auto patched = wire::JsonDocument::parse(wire::openai::patch_request(text, patch));
  require(patched.ok() && patched->root() == json::value(wanted));

  json::object answer = object;
  answer.erase("usage");
  const auto without = wire::JsonDocument::parse(wire::openai::without_usage(std::string(text)));
  require(without.ok() && without->root() == json::value(answer));
  answer = object;
  answer["x_shoal"] = json::object({{"a", 1}});
  const auto with = wire::JsonDocument::parse(wire::openai::with_x_shoal(text, R"({"a":1})"));
  require(with.ok() && with->root() == json::value(answer));
}

void check_document(std::string_view text) {
  wire::JsonLimits limits;
  limits.nodes = 1000;
  limits.depth = 16;
  const auto document = wire::JsonDocument::parse(text, limits);
  require(wire::check_json(text, limits).ok() == document.ok());
  if (!document.ok()) return;
  require(wire::is_utf8(text));
  require(wire::JsonDocument::parse(json::serialize(document->root())).ok());
  if (const auto object = document->request_object(); object.ok()) {
    check_walk(text, **object);
    check_patch(text, **object);
  }
}

template <class Request>
void check_parser(const shoal::Result<Request>& parsed) {
  if (parsed.ok()) return;
  std::string body;
  wire::openai::append_error(body, parsed.error());
  require(wire::JsonDocument::parse(body).ok());
  require(body.size() < 1000);
}

// What was accepted is said in each dialect, as JSON, or refused by name; in OpenAI's it reads back.
void check_requests(std::string_view text) {
  const auto request = wire::openai::parse_chat_request(text);
  if (!request.ok()) return;
  wire::OutgoingOptions options;
  options.model = "m";
  options.max_tokens = 7;
  options.sampling = true;
  const auto check = [](const shoal::Result<std::string>& printed) {
    require(printed.ok() ? wire::JsonDocument::parse(*printed).ok() : !printed.error().param().empty());
  };
  check(wire::anthropic::print_request(*request, options));
  check(wire::gemini::print_request(*request, options));
  const auto printed = wire::openai::print_request(*request, options);
  check(printed);
  if (!printed.ok()) return;
  const auto again = wire::openai::parse_chat_request(*printed);
  require(again.ok() && again->messages == request->messages);
}

void check_reply(const shoal::Result<shoal::types::RemoteReply>& reply) {
  if (!reply.ok()) {
    require(reply.error().code() == shoal::ErrorCode::kBadAnswer && reply.error().message().size() < 1000);
    return;
  }
  const auto* event = std::get_if<shoal::types::RemoteEvent>(&*reply);
  if (event == nullptr || !event->usage) return;
  const shoal::types::Usage& usage = *event->usage;
  require(usage.reasoning_tokens >= 0 && usage.reasoning_tokens <= usage.completion_tokens);
  require(usage.cached_tokens >= 0 && usage.cache_write_5m_tokens >= 0);
  require(usage.cached_tokens + usage.cache_write_5m_tokens <= usage.prompt_tokens);
}

void check_upstream(std::string_view text) {
  namespace openai = wire::openai;
  check_reply(openai::parse_chunk(text, openai::AnswerKind::kChat));
  check_reply(openai::parse_chunk(text, openai::AnswerKind::kText));
  check_reply(openai::parse_answer(text, openai::AnswerKind::kChat));
  const shoal::types::RemoteError error = wire::parse_error(400, text);
  require(!error.message.empty() && error.message.size() < 1100 && error.code.size() < 200 && error.param.size() < 200);
}

void check_printing(std::string_view bytes) {
  std::string printed;
  wire::append_json_string(printed, bytes);
  const auto document = wire::JsonDocument::parse(printed);
  require(document.ok() && document->root().is_string());
  const auto& text = document->root().get_string();
  require(wire::is_utf8(bytes) == (std::string_view(text.data(), text.size()) == bytes));
  require(wire::is_utf8(wire::shortened(text.c_str())));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_document(text);
  check_parser(wire::openai::parse_chat_request(text));
  check_parser(wire::openai::parse_completion_request(text));
  check_parser(wire::openai::parse_embedding_request(text));
  check_requests(text);
  check_upstream(text);
  check_printing(text);
  return 0;
}
