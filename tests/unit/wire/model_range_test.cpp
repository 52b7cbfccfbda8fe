#include "shoal/wire/model_range.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace shoal::wire {
namespace {

std::string cut(std::string_view body) {
  const auto range = model_range(body);
  return range ? std::string(body.substr(range->begin, range->end - range->begin)) : "none";
}

TEST(ModelRange, FindsTheTopLevelValueOnly) {
  EXPECT_EQ(cut(R"({"model":"a"})"), R"("a")");
  EXPECT_EQ(cut(" \n{ \"x\" : [1, {\"model\": \"no\"}], \t\"model\" :\r\n \"yes\" , \"y\": 2}"), R"("yes")");
  EXPECT_EQ(cut(R"({"x":{"model":"no"}})"), "none");
  EXPECT_EQ(cut(R"({"models":"no","mode":"no"})"), "none");
  EXPECT_EQ(cut(R"(["model"])"), "none");
  EXPECT_EQ(cut(R"({})"), "none");
}

TEST(ModelRange, ReadsEscapes) {
  EXPECT_EQ(cut(R"({"\u006d\u006Fdel":"a"})"), R"("a")");
  EXPECT_EQ(cut(R"({"a\"model\":":"}","model":"q\"\\"})"), R"("q\"\\")");
  EXPECT_EQ(cut(R"({"\\model":"no","model":"yes"})"), R"("yes")");
}

TEST(ModelRange, TakesAnyKindOfValue) {
  EXPECT_EQ(cut(R"({"model":null})"), "null");
  EXPECT_EQ(cut(R"({"model":{"a":["}"]} ,"b":1})"), R"({"a":["}"]})");
  EXPECT_EQ(cut(R"({"model":12})"), "12");
}

TEST(ModelRange, PatchingChangesTheModelAndNoOtherByte) {
  const std::string body = "{ \"a\" : 1.50,\"model\":\"old\" ,\"messages\":[{\"model\":\"m\\u0065\"}]}\n";
  const auto range = model_range(body);
  ASSERT_TRUE(range);
  EXPECT_EQ(with_model(body, *range, "new\"name"),
            "{ \"a\" : 1.50,\"model\":\"new\\\"name\" ,\"messages\":[{\"model\":\"m\\u0065\"}]}\n");
}

TEST(ModelRange, NeverLeavesTheBody) {
  const std::string body = R"({"a":{"b":["\"",1]},"model":"x\\","c":[{"model":1}]})";
  for (std::size_t length = 0; length <= body.size(); ++length) {
    const auto range = model_range(std::string_view(body).substr(0, length));
    if (range) {
      EXPECT_LE(range->begin, range->end);
      EXPECT_LE(range->end, length);
    }
  }
}

}  // namespace
}  // namespace shoal::wire
