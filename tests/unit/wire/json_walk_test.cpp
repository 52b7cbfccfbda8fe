#include "shoal/wire/json_walk.h"

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace shoal::wire {
namespace {

std::string walked(std::string_view text) {
  std::string out;
  JsonWalk walk(text);
  while (walk.next()) {
    if (!out.empty()) out += ' ';
    out += walk.key_range().of(text);
    out += '=';
    out += walk.value();
    EXPECT_EQ(walk.value_range().of(text), walk.value());
  }
  return out;
}

TEST(JsonWalk, MembersAsTheyLieThere) {
  EXPECT_EQ(walked(R"({"a":"x"})"), R"("a"="x")");
  EXPECT_EQ(walked(" \n{ \"a\" : [1, {\"b\": \"no\"}], \t\"c\" :\r\n \"yes\" , \"d\": 2}"),
            "\"a\"=[1, {\"b\": \"no\"}] \"c\"=\"yes\" \"d\"=2");
  EXPECT_EQ(walked(R"({"a":null,"b":{"x":["}","\"{"]} ,"c":-1.5e3})"), R"("a"=null "b"={"x":["}","\"{"]} "c"=-1.5e3)");
  EXPECT_EQ(walked("{}"), "");
  EXPECT_EQ(walked(" { } "), "");
}

TEST(JsonWalk, ItemsHaveNoName) {
  EXPECT_EQ(walked(R"([1,"a,b" , [2,3] ,{"x":"]"}, true])"), R"(=1 ="a,b" =[2,3] ={"x":"]"} =true)");
  EXPECT_EQ(walked("[]"), "");
  EXPECT_EQ(walked("[ [] ]"), "=[]");
  JsonWalk items(R"(["model"])");
  ASSERT_TRUE(items.next());
  EXPECT_FALSE(items.is("model") || items.is(""));
}

TEST(JsonWalk, OtherValuesHaveNoParts) {
  for (const char* text : {"", " ", "1", R"("{\"a\":1}")", "null"}) EXPECT_EQ(walked(text), "") << text;
}

TEST(JsonWalk, ReadsEscapesOfStringsAndNames) {
  EXPECT_EQ(json_member(R"({"\u006d\u006Fdel":"a"})", "model"), R"("a")");
  EXPECT_EQ(json_member(R"({"a\"model\":":"}","model":"q\"\\"})", "model"), R"("q\"\\")");
  EXPECT_EQ(json_member(R"({"\\model":"no","model":"yes"})", "model"), R"("yes")");
  EXPECT_EQ(json_member(R"({"models":"no","mode":"no","x":{"model":"no"}})", "model"), "");
  EXPECT_EQ(json_member(R"({"model":1,"model":2})", "model"), "2");
  EXPECT_EQ(json_member(R"({"a\\":"\\\\","b":"\\\""})", "b"), R"("\\\"")");
}

TEST(JsonWalk, ValuesAreWhatAParserReads) {
  for (const char* text : {R"("")", R"("plain")", R"("\"\\\/\b\f\n\r\t")", R"("\u0000x\u00e9\u20AC\ud83d\ude00.")",
                           "\"\xC3\xA9\"", R"("\u007f\u0080\u07ff\u0800\uffff")"}) {
    const auto wanted = boost::json::parse(text);
    const auto& string = wanted.get_string();
    EXPECT_EQ(json_string(text), std::string(string.data(), string.size())) << text;
  }
  for (const char* text : {"", "1", "null", "[]", "\""}) EXPECT_FALSE(json_string(text)) << text;
}

TEST(JsonWalk, WholeNumbersHoweverTheyAreWritten) {
  for (const auto& [text, wanted] : {std::pair<const char*, std::int64_t>{"0", 0},
                                     {"-7", -7},
                                     {"12.0", 12},
                                     {"1.2e1", 12},
                                     {"9223372036854775807", 9223372036854775807}}) {
    EXPECT_EQ(json_integer(text), wanted) << text;
  }
  for (const char* text : {"1.5", "1e300", "9223372036854775808", "true", "\"1\"", "", "null"}) {
    EXPECT_FALSE(json_integer(text)) << text;
  }
}

TEST(JsonWalk, NullAndAbsentAskForNothing) {
  EXPECT_TRUE(json_is_null("null") && json_is_null(""));
  EXPECT_FALSE(json_is_null("0") || json_is_null("\"null\""));
}

TEST(JsonWalk, NeverLeavesTheText) {
  const std::string body = R"({"a":{"b":["\"",1]},"model":"x\\","c":[{"model":"\u0041"}],"d":-1.5e3})";
  for (std::size_t begin = 0; begin <= body.size(); ++begin) {
    for (std::size_t end = begin; end <= body.size(); ++end) {
      const std::string text = body.substr(begin, end - begin);  // with a terminator that a sanitizer guards
      JsonWalk walk(text);
      std::size_t last = 0;
      while (walk.next()) {
        EXPECT_LE(last, walk.value_range().begin);
        EXPECT_LE(walk.value_range().begin, walk.value_range().end);
        EXPECT_LE(walk.value_range().end, text.size());
        last = walk.value_range().end;
        static_cast<void>(walk.is("model"));
        static_cast<void>(json_string(walk.value()));
        static_cast<void>(json_integer(walk.value()));
      }
    }
  }
}

}  // namespace
}  // namespace shoal::wire
