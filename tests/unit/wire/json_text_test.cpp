#include "shoal/wire/json_text.h"

#include <limits>

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "shoal/base/suggest.h"

namespace shoal::wire {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonText, EscapesWhatMustBeAndNothingElse) {
  EXPECT_EQ(json_of("a\"b\\c/\b\f\n\r\t\x01\x1f\x7f é 漢 🐟"),
            "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f é 漢 🐟\"");
  EXPECT_EQ(json_of("a\xE2\x80\xA8z\xE2\x80\xA9"), "\"a\\u2028z\\u2029\"");
  EXPECT_EQ(json_of(std::string_view("\0", 1)), "\"\\u0000\"");
}

TEST(JsonText, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  EXPECT_EQ(json_of("a\xF0\x9F\x90z"), "\"a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDz\"");
  EXPECT_EQ(json_of("\xC0\xAF"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"") << "overlong";
  EXPECT_EQ(json_of("\xED\xA0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"") << "surrogate";
}

TEST(JsonText, EveryByteAndEveryPairComesBackAsValidJson) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const std::string text{static_cast<char>(a), static_cast<char>(b)};
      boost::json::error_code ec;
      const auto value = boost::json::parse(json_of(text), ec);
      ASSERT_FALSE(ec) << a << " " << b;
      const std::string_view back(value.get_string().data(), value.get_string().size());
      ASSERT_EQ(is_utf8(text), back == text) << a << " " << b;
    }
  }
}

TEST(JsonText, NumbersAreShortAndReadBack) {
  std::string out;
  append_json_number(out, 0.1F);
  out += ' ';
  append_json_number(out, -0.00001F);
  out += ' ';
  append_json_number(out, 1.0);
  out += ' ';
  append_json_number(out, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(out, "0.1 -1e-05 1 -9223372036854775808");
}

TEST(JsonText, ShortenedCutsBetweenCharacters) {
  const std::string fish = "🐟";
  std::string text = "abc";
  for (int i = 0; i < 20; ++i) text += fish;
  const std::string cut = shortened(text);
  EXPECT_TRUE(is_utf8(cut));
  EXPECT_LE(cut.size(), 51U);
  EXPECT_TRUE(cut.ends_with("..."));
  EXPECT_EQ(shortened("short"), "short");
}

TEST(Suggest, FindsWhatWasMeant) {
  const std::string_view names[] = {"temperature", "top_p", "top_k", "max_tokens", "stop"};
  EXPECT_EQ(base::suggest("temprature", names), "temperature");
  EXPECT_EQ(base::suggest("Temperature", names), "temperature");
  EXPECT_EQ(base::suggest("tokens_max", names), "max_tokens");
  EXPECT_EQ(base::suggest("sotp", names), "stop");
  EXPECT_EQ(base::suggest("something_else", names), "");
  EXPECT_EQ(base::suggest("", names), "");
}

}  // namespace
}  // namespace shoal::wire
