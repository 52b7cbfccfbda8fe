#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "shoal/wire/openai/parse.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::wire::openai {
namespace {

RequestPatch to(std::string_view model) {
  RequestPatch patch;
  patch.model = model;
  return patch;
}

TEST(PatchRequest, OnlyTheModelChanges) {
  const std::string body = "{ \"a\" : 1.50,\"model\":\"old\" ,\"messages\":[{\"model\":\"m\\u0065\"}]}\n";
  EXPECT_EQ(patch_request(body, to("new\"name")),
            "{ \"a\" : 1.50,\"model\":\"new\\\"name\" ,\"messages\":[{\"model\":\"m\\u0065\"}]}\n");
  EXPECT_EQ(patch_request(R"({"messages":[]})", to("m")), R"({"messages":[],"model":"m"})");
  EXPECT_EQ(patch_request(R"({"model":null,"messages":[]})", to("m")), R"({"model":"m","messages":[]})");
  EXPECT_EQ(patch_request(R"({"\u006dodel":"x"})", to("m")), R"({"\u006dodel":"m"})");
  EXPECT_EQ(patch_request("{ }", to("m")), R"({"model":"m" })");
}

TEST(PatchRequest, WhatIsShoalsOwnIsCutWithOneComma) {
  const struct {
    const char* body;
    const char* wanted;
  } cases[] = {
      {R"({"x_shoal":{},"model":"a"})", R"({"model":"m"})"},
      {R"({"model":"a","x_shoal":{}})", R"({"model":"m"})"},
      {R"({"model":"a" , "x_shoal":{"signals":false} , "n":1})", R"({"model":"m" , "n":1})"},
      {R"({"x_shoal":{},"ignore_eos":false,"model":"a","n":1})", R"({"model":"m","n":1})"},
      {R"({"model":"a","n":1,"ignore_eos":false, "x_shoal":{} })", R"({"model":"m","n":1 })"},
      {R"({"ignore_eos":false,"model":"a","x_shoal":null})", R"({"model":"m"})"},
      {R"({"ignore_eos":false,"x_shoal":null})", R"({"model":"m"})"},
      {R"({"model":"a","messages":[{"x_shoal":1}]})", R"({"model":"m","messages":[{"x_shoal":1}]})"},
  };
  for (const auto& c : cases) EXPECT_EQ(patch_request(c.body, to("m")), c.wanted) << c.body;
}

TEST(PatchRequest, ASystemMessageGoesBeforeTheOthers) {
  RequestPatch patch = to("m");
  patch.system_prompt = "be \"brief\"\n";
  EXPECT_EQ(
      patch_request(R"({"messages" : [ {"role":"user","content":"[]"}],"model":"a"})", patch),
      R"({"messages" : [{"role":"system","content":"be \"brief\"\n"}, {"role":"user","content":"[]"}],"model":"m"})");
  EXPECT_EQ(patch_request(R"({"messages":[ ],"model":"a"})", patch),
            R"({"messages":[{"role":"system","content":"be \"brief\"\n"} ],"model":"m"})");
}

TEST(PatchRequest, ALimitIsAddedOnlyWhereThereIsNone) {
  RequestPatch older = to("m");
  older.max_tokens = 7;
  RequestPatch newer = older;
  newer.limit = RequestPatch::Limit::kMaxCompletionTokens;
  EXPECT_EQ(patch_request(R"({"model":"a"})", older), R"({"model":"m","max_tokens":7})");
  EXPECT_EQ(patch_request(R"({"model":"a"})", newer), R"({"model":"m","max_completion_tokens":7})");
  for (const char* body : {R"({"model":"m","max_tokens":3})", R"({"max_completion_tokens":3,"model":"m"})",
                           R"({"model":"m","max_tokens":null,"max_completion_tokens":3})",
                           R"({"model":"m","max_completion_tokens":3,"max_tokens":null})"}) {
    EXPECT_EQ(patch_request(body, older), body);
    EXPECT_EQ(patch_request(body, newer), body);
  }
  EXPECT_EQ(patch_request(R"({"max_tokens":null,"model":"a"})", older), R"({"max_tokens":7,"model":"m"})");
  EXPECT_EQ(patch_request(R"({"max_tokens":null,"model":"a"})", newer),
            R"({"max_tokens":null,"model":"m","max_completion_tokens":7})");
  EXPECT_EQ(patch_request(R"({"max_tokens":null,"model":"a"})", to("m")), R"({"max_tokens":null,"model":"m"})");
}

TEST(PatchRequest, StreamsAreAskedForTheirUsage) {
  RequestPatch patch = to("m");
  patch.include_usage = true;
  EXPECT_EQ(patch_request(R"({"model":"a","stream":true})", patch),
            R"({"model":"m","stream":true,"stream_options":{"include_usage":true}})");
  EXPECT_EQ(patch_request(R"({"stream_options":null,"model":"a"})", patch),
            R"({"stream_options":{"include_usage":true},"model":"m"})");
  EXPECT_EQ(patch_request(R"({"stream_options":{"include_usage" : false },"model":"a"})", patch),
            R"({"stream_options":{"include_usage" : true },"model":"m"})");
  EXPECT_EQ(patch_request(R"({"stream_options":{},"model":"a"})", patch),
            R"({"stream_options":{"include_usage":true},"model":"m"})");
  EXPECT_EQ(patch_request(R"({"stream_options":{"include_obfuscation":false},"model":"a"})", patch),
            R"({"stream_options":{"include_obfuscation":false,"include_usage":true},"model":"m"})");
}

TEST(PatchRequest, AllOfItAtOnce) {
  RequestPatch patch = to("gpt");
  patch.max_tokens = 128;
  patch.include_usage = true;
  const std::string body =
      R"({"ignore_eos":false,"messages":[{"role":"user","content":"x_shoal \"model\""}],"x_shoal":{},"stream":true,"n":2})";
  ASSERT_TRUE(parse_chat_request(body).ok());
  const std::string patched = patch_request(body, patch);
  EXPECT_EQ(
      patched,
      R"({"messages":[{"role":"user","content":"x_shoal \"model\""}],"stream":true,"n":2,"model":"gpt","max_tokens":128,"stream_options":{"include_usage":true}})");
  EXPECT_TRUE(parse_chat_request(patched).ok());
}

TEST(PatchRequest, EveryOrderOfMembersGivesTheSameObject) {
  std::vector<std::string> members = {R"("model":"a")", R"("x_shoal":{"a":[]})", R"("n":1)", R"("ignore_eos":true)",
                                      R"("stream_options":{})"};
  std::ranges::sort(members);
  RequestPatch patch = to("m");
  patch.max_tokens = 5;
  patch.include_usage = true;
  const boost::json::value wanted =
      boost::json::parse(R"({"model":"m","n":1,"stream_options":{"include_usage":true},"max_tokens":5})");
  do {
    std::string body = "{";
    for (const std::string& member : members) body += (body.size() > 1 ? "," : "") + member;
    EXPECT_EQ(boost::json::parse(patch_request(body + "}", patch)), wanted) << body;
  } while (std::ranges::next_permutation(members).found);
}

TEST(Relay, AReceiptGoesBeforeTheLastBrace) {
  EXPECT_EQ(with_x_shoal(R"({"id":"a","usage":null})", R"({"route":"x"})"),
            R"({"id":"a","usage":null,"x_shoal":{"route":"x"}})");
  EXPECT_EQ(with_x_shoal("{}", "1"), R"({"x_shoal":1})");
  EXPECT_EQ(with_x_shoal(" { \n} ", "1"), " {\"x_shoal\":1 \n} ");
  EXPECT_EQ(with_x_shoal(R"({"x\u005fshoal":{"of":"another"},"a":1})", "1"), R"({"a":1,"x_shoal":1})") << "escaped";
  EXPECT_EQ(with_x_shoal("{\"a\":\"}\"}\n", "1"), "{\"a\":\"}\",\"x_shoal\":1}\n");
  EXPECT_EQ(with_x_shoal(R"({"x_shoal":{"of":"another"},"a":1})", "1"), R"({"a":1,"x_shoal":1})");
  EXPECT_EQ(with_x_shoal(R"({"a":1,"x_shoal":{"of":"another"}})", "1"), R"({"a":1,"x_shoal":1})");
}

TEST(Relay, UsageThatWasNotAskedForIsCut) {
  EXPECT_EQ(without_usage(R"({"id":"a","choices":[],"usage":null})"), R"({"id":"a","choices":[]})");
  EXPECT_EQ(without_usage(R"({"usage":{"prompt_tokens":1} , "id":"a"})"), R"({"id":"a"})");
  EXPECT_EQ(without_usage(R"({"id":"a", "usage":null ,"x":1})"), R"({"id":"a", "x":1})");
  EXPECT_EQ(without_usage(R"({"usage":null})"), "{}");
  const std::string other = R"({"id":"usage","choices":[{"usage":1}]})";
  EXPECT_EQ(without_usage(other), other);
}

}  // namespace
}  // namespace shoal::wire::openai
