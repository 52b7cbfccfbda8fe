#include <set>
#include <string>

#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "shoal/server/server.h"
#include "shoal/wire/openai/parse.h"

namespace shoal::server {
namespace {

namespace json = boost::json;

json::value document() {
  json::error_code ec;
  json::value value = json::parse(openapi_document(), ec);
  EXPECT_FALSE(ec) << ec.message();
  return value;
}

// Every $ref of the document.
void collect_references(const json::value& value, std::set<std::string>& found) {
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      if (key == "$ref") found.insert(std::string(member.get_string().data(), member.get_string().size()));
      collect_references(member, found);
    }
  } else if (const auto* array = value.if_array()) {
    for (const auto& item : *array) collect_references(item, found);
  }
}

TEST(OpenApi, EveryReferenceLeadsSomewhere) {
  const json::value doc = document();
  std::set<std::string> references;
  collect_references(doc, references);
  EXPECT_GE(references.size(), 10U);
  for (const std::string& reference : references) {
    json::error_code ec;
    EXPECT_NE(doc.find_pointer(reference.substr(1), ec), nullptr) << reference;
  }
}

TEST(OpenApi, TheParserKnowsEveryDocumentedParameterAndItsRange) {
  const json::value doc = document();
  const auto& properties = doc.at("components").at("schemas").at("ChatRequest").at("properties").get_object();
  EXPECT_TRUE(properties.contains("temperature") && properties.contains("messages") && properties.contains("tools"));
  EXPECT_FALSE(properties.contains("repeat_penalty"));
  for (const auto& [name, schema] : properties) {
    // A value of an impossible type is refused as such, not as unknown.
    const std::string body = R"({"messages":[{"role":"user","content":"x"}],")" +
                             std::string(name.data(), name.size()) + (name == "messages" ? "2\":1}" : R"(":[[[1]]]})");
    auto parsed = wire::openai::parse_chat_request(body);
    ASSERT_FALSE(parsed.ok()) << body;
    if (name != "messages") {
      EXPECT_EQ(parsed.error().code(), ErrorCode::kInvalidRequest) << body;
    }
  }
  EXPECT_EQ(properties.at("temperature").at("maximum").to_number<double>(), 2.0);
  EXPECT_EQ(properties.at("top_p").at("exclusiveMinimum").to_number<double>(), 0.0);
}

}  // namespace
}  // namespace shoal::server
