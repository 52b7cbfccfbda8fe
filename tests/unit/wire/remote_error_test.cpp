#include "shoal/wire/remote_error.h"

#include <gtest/gtest.h>

#include "shoal/wire/json_text.h"

namespace shoal::wire {
namespace {

// type|code|param|message
std::string read(int status, std::string_view body) {
  const types::RemoteError error = parse_error(status, body);
  EXPECT_EQ(error.status, status);
  return error.type + "|" + error.code + "|" + error.param + "|" + error.message;
}

TEST(RemoteError, TheShapesThatProvidersSend) {
  struct Case {
    const char* who;
    const char* body;
    const char* wanted;
  };
  for (
      const Case& c : {
          Case{
              "OpenAI",
              R"({"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}})",
              "invalid_request_error|context_length_exceeded|messages|too long"},
          Case{"OpenAI, nulls", R"({"error":{"message":"no","type":"server_error","param":null,"code":null}})",
               "server_error|||no"},
          Case{"vLLM", R"({"error":{"message":"bad","type":"BadRequestError","param":"n","code":400}})",
               "BadRequestError|400|n|bad"},
          Case{"vLLM, earlier",
               R"({"object":"error","message":"bad","type":"BadRequestError","param":null,"code":400})",
               "BadRequestError|400||bad"},
          Case{"llama-server",
               R"({"error":{"code":400,"message":"exceeds","type":"exceed_context_size_error","n_prompt_tokens":9}})",
               "exceed_context_size_error|400||exceeds"},
          Case{"Ollama", R"({"error":"model \"x\" not found"})", R"(|||model "x" not found)"},
          Case{"Ollama, its /v1", R"({"error":{"message":"m","type":"api_error","param":null,"code":null}})",
               "api_error|||m"},
          Case{"FastAPI", R"({"detail":"Not Found"})", "|||Not Found"},
          Case{
              "FastAPI, fields",
              R"({"detail":[{"type":"int_parsing","loc":["body","messages",0,"n"],"msg":"not a number","input":"x"}]})",
              "int_parsing||messages.0.n|not a number"},
          Case{"Mistral", R"({"object":"error","message":{"detail":[{"loc":["body","x"],"msg":"m"}]},"type":"t"})",
               "t||x|m"},
          Case{"Mistral, plain", R"({"message":"Unauthorized","request_id":"1"})", "|||Unauthorized"},
          Case{"TGI", R"({"error":"too long","error_type":"validation"})", "|||too long"},
          Case{"Azure", R"({"statusCode":401,"message":"denied"})", "|||denied"},
          Case{"OpenRouter", R"({"error":{"code":429,"message":"slow","metadata":{"raw":{}}},"user_id":"u"})",
               "|429||slow"},
          Case{"Anthropic", R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})",
               "overloaded_error|||Overloaded"},
          Case{"OpenAI, flat", R"({"type":"error","code":"server_error","message":"m","param":null})",
               "|server_error||m"},
          Case{"Gemini", R"({"error":{"code":400,"message":"no key","status":"INVALID_ARGUMENT","details":[]}})",
               "INVALID_ARGUMENT|400||no key"},
          Case{
              "Gemini, a key",
              R"({"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}})",
              "INVALID_ARGUMENT|API_KEY_INVALID||m"},
          Case{"Gemini, its OpenAI surface",
               R"([{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}])",
               "RESOURCE_EXHAUSTED|429||quota"},
          Case{"a page", "<html>\r\n<head><TITLE>502 Bad Gateway</TITLE></head></html>", "|||502 Bad Gateway"},
          Case{"text", " upstream\n connect \t error\x01 ", "|||upstream connect error"},
          Case{"a string", R"("only text")", "|||only text"},
          Case{"something else", R"({"oops":[1,2]})", R"(|||{"oops":[1,2]})"},
          Case{"escapes", R"({"error":{"message":"a\u00e9\n\"b\""}})", "|||a\xC3\xA9\n\"b\""},
      }) {
    EXPECT_EQ(read(418, c.body), c.wanted) << c.who;
  }
}

TEST(RemoteError, GeminiSaysInTheBodyWhenToComeBack) {
  const auto wait = [](std::string_view delay) {
    return parse_error(429,
                       R"({"error":{"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":")" +
                           std::string(delay) + R"("}],"code":429,"message":"m"}})")
        .retry_after_ms;
  };
  EXPECT_EQ(wait("17s"), 17'000);
  EXPECT_EQ(wait("0.25s"), 250);
  EXPECT_EQ(wait("999999999s"), 86'400'000) << "a day at most";
  EXPECT_EQ(wait("-3s"), 0);
  for (const char* const none : {"", "s", "17", "17m", "nans"}) EXPECT_FALSE(wait(none)) << none;
}

TEST(RemoteError, NothingSaidIsSaidSo) {
  for (const char* body : {"", "  ", "{}", "[]", "null", R"({"error":null})", R"({"error":{}})"}) {
    const types::RemoteError error = parse_error(503, body);
    EXPECT_FALSE(error.message.empty()) << body;
    EXPECT_EQ(error.code + error.type + error.param, "") << body;
  }
  EXPECT_EQ(parse_error(503, "").message, "HTTP status 503");
  EXPECT_EQ(parse_error(0, "").message, "an unnamed error");
}

TEST(RemoteError, LongAndHostileBodiesStayShort) {
  std::string word = R"({"error":{"message":"x)";
  for (int i = 0; i < 5000; ++i) word += "\xE2\x82\xAC";
  word += R"(","code":")" + std::string(5000, 'c') + R"(","param":")" + std::string(5000, 'p') + "\"}}";
  const types::RemoteError error = parse_error(400, word);
  EXPECT_LE(error.message.size(), 1010U);
  EXPECT_TRUE(is_utf8(error.message));
  EXPECT_LE(error.code.size(), 110U);
  EXPECT_LE(error.param.size(), 110U);
  EXPECT_LE(parse_error(400, std::string(1'000'000, '<')).message.size(), 1010U);
  EXPECT_LE(parse_error(400, std::string(1'000'000, '[')).message.size(), 1010U);
  std::string deep;
  for (int i = 0; i < 60; ++i) deep += "[";
  deep += R"({"error":"x"})";
  for (int i = 0; i < 60; ++i) deep += "]";
  EXPECT_EQ(parse_error(400, deep).message, "x");
}

}  // namespace
}  // namespace shoal::wire
