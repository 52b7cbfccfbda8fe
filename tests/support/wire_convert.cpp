// Lets tests in other languages reach the codecs of wire/: each line of its input is DIALECT OPERATION JSON, each line
// of its output the result as JSON, or {"error":{"code","param","message"}}.
//
//   request {...}    a chat request of OpenAI's, as it is said in the dialect
//   patch {...}      the same, of which the client's own bytes are passed on; with a prompt, of a text completion
//   target {...}     where such a request goes, and the headers that the dialect wants: ["/messages","x-api-key",...]
//   answer {...}     what a whole answer of the dialect says (tests/support/dialect_summary.h)
//   whole {...}      the same, as a client of OpenAI's gets it
//   stream [n, "..."]  what a stream for n answers says
//   chunks [n, "..."]  the same, as a client of OpenAI's gets it: an array of its chunks
#include <iostream>
#include <string>
#include <string_view>
#include <utility>

#include "shoal/wire/anthropic/answer.h"
#include "shoal/wire/anthropic/request.h"
#include "shoal/wire/gemini/answer.h"
#include "shoal/wire/gemini/request.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/openai/parse.h"
#include "shoal/wire/openai/request.h"
#include "shoal/wire/openai/upstream.h"

#include "support/dialect_summary.h"

namespace {

using shoal::Error;
using shoal::ErrorCode;
using shoal::Result;
using shoal::types::Dialect;
namespace openai = shoal::wire::openai;
namespace tests = shoal::tests;
namespace types = shoal::types;
namespace wire = shoal::wire;

constexpr std::size_t kMaxAnswers = 8;

Result<std::string> request(Dialect dialect, std::string_view body) {
  const types::ChatRequest parsed = SHOAL_TRY(openai::parse_chat_request(body));
  wire::OutgoingOptions options;
  options.model = "the-model";
  options.max_tokens = 1000;
  switch (dialect) {
    case Dialect::kOpenAi:
      return openai::print_request(parsed, options);
    case Dialect::kAnthropic:
      return wire::anthropic::print_request(parsed, options);
    case Dialect::kGemini:
      return wire::gemini::print_request(parsed, options);
  }
  return std::string();
}

Result<std::string> patch(std::string_view body) {
  const bool text = !wire::json_member(body, "prompt").empty();
  const types::GenerationParams params = text ? SHOAL_TRY(openai::parse_completion_request(body)).params
                                              : SHOAL_TRY(openai::parse_chat_request(body)).params;
  openai::RequestPatch wanted;
  wanted.model = "the-model";
  wanted.max_tokens = 1000;
  wanted.limit = wire::LimitName::kMaxCompletionTokens;
  wanted.include_usage = params.stream;
  return openai::patch_request(body, wanted);
}

Result<std::string> target(Dialect dialect, std::string_view body) {
  const types::ChatRequest parsed = SHOAL_TRY(openai::parse_chat_request(body));
  std::string out;
  wire::JsonWriter json(out);
  json.array();
  if (dialect == Dialect::kAnthropic) {
    json.string(wire::anthropic::kTarget).string(wire::anthropic::kKeyHeader);
    json.string(wire::anthropic::kVersionHeader).string(wire::anthropic::version({}));
  } else if (dialect == Dialect::kGemini) {
    json.string(wire::gemini::target("the-model", parsed.params.stream)).string(wire::gemini::kKeyHeader);
  }
  json.end_array();
  return out;
}

Result<types::RemoteReply> reply_of(Dialect dialect, std::string_view body) {
  switch (dialect) {
    case Dialect::kOpenAi:
      return openai::parse_answer(body, openai::AnswerKind::kChat);
    case Dialect::kAnthropic:
      return wire::anthropic::parse_answer(body);
    case Dialect::kGemini:
      return wire::gemini::parse_answer(body);
  }
  return types::RemoteReply();
}

Result<types::RemoteEvent> answer_of(Dialect dialect, std::string_view body) {
  types::RemoteReply reply = SHOAL_TRY(reply_of(dialect, body));
  if (auto* event = std::get_if<types::RemoteEvent>(&reply)) return std::move(*event);
  return Error(ErrorCode::kBadAnswer, std::get<types::RemoteError>(reply).message);
}

Result<std::string> answer(Dialect dialect, std::string_view body) {
  const types::RemoteEvent event = SHOAL_TRY(answer_of(dialect, body));
  tests::Summary summary;
  summary.add(event);
  summary.set_complete(event.last);
  return summary.text();
}

openai::AnswerHead head() {
  return {openai::AnswerKind::kChat, "chatcmpl-of-shoal", 1'760'000'000, "the-model"};
}

Result<std::string> whole(Dialect dialect, std::string_view body) {
  const types::RemoteEvent event = SHOAL_TRY(answer_of(dialect, body));
  std::vector<openai::Choice> choices;
  for (const types::AnswerDelta& delta : event.deltas) choices.push_back(openai::choice_of(delta));
  types::Receipt receipt;
  receipt.usage = event.usage.value_or(types::Usage());
  const openai::AnswerFacts facts = {.receipt = receipt};
  std::string out;
  openai::append_answer(out, head(), choices, {}, facts);
  return out;
}

// [n, "..."]
std::pair<std::size_t, std::string> stream_of(std::string_view argument) {
  wire::JsonWalk items(argument);
  std::size_t answers = 0;
  std::string bytes;
  while (items.next()) {
    if (const auto n = wire::json_integer(items.value())) answers = static_cast<std::size_t>(*n);
    if (auto text = wire::json_string(items.value())) bytes = *std::move(text);
  }
  return {std::min(answers, kMaxAnswers), std::move(bytes)};
}

std::string stream(Dialect dialect, std::string_view argument) {
  const auto [answers, bytes] = stream_of(argument);
  return tests::read_stream(dialect, answers, {bytes}).text();
}

std::string chunks(Dialect dialect, std::string_view argument) {
  const auto [answers, bytes] = stream_of(argument);
  openai::ChunkPrinter printer(head(), answers, {}, true);
  std::string out = "[";
  types::Usage usage;
  for (std::size_t i = 0; i < answers; ++i) {
    printer.append_role(out, i);
    out += ',';
  }
  const auto see = [&](const types::RemoteEvent& event) {
    usage = event.usage.value_or(usage);
    for (const types::AnswerDelta& delta : event.deltas) {
      printer.append_delta(out, delta);
      out += ',';
    }
  };
  static_cast<void>(tests::read_stream(dialect, answers, {bytes}, see));
  printer.append_usage(out, usage);
  return out + "]";
}

Result<std::string> convert(std::string_view line) {
  const auto word = [&line] {
    const std::size_t end = std::min(line.find(' '), line.size());
    const std::string_view found = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    return found;
  };
  const auto dialect = tests::dialect_of(word());
  const std::string_view operation = word();
  if (!dialect) return Error(ErrorCode::kUsage, "no such dialect");
  if (operation == "request") return request(*dialect, line);
  if (operation == "patch") return patch(line);
  if (operation == "target") return target(*dialect, line);
  if (operation == "answer") return answer(*dialect, line);
  if (operation == "whole") return whole(*dialect, line);
  if (operation == "stream") return stream(*dialect, line);
  if (operation == "chunks") return chunks(*dialect, line);
  return Error(ErrorCode::kUsage, "no such operation");
}

std::string describe(const Error& error) {
  std::string out;
  wire::JsonWriter json(out);
  json.object().key("error").object().key("code").string(error.info().slug);
  json.key("param").string(error.param()).key("message").string(error.message()).end_object().end_object();
  return out;
}

}  // namespace

int main() {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto result = convert(line);
    std::cout << (result.ok() ? *result : describe(result.error())) << std::endl;
  }
}
