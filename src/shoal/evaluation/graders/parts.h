// The graders, one function each, and what they share. Place: inside evaluation/; grade() calls them.
// Threads: any; pure, but for grade_code(), which blocks.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

#include "shoal/base/result.h"
#include "shoal/evaluation/grader.h"

namespace shoal::evaluation {

// A number as people and models write it: "1,234.5", "-3", "1e3", "−2".
struct FoundNumber {
  double value = 0;
  std::string text;
};
// The one that an answer ends in: in the last \boxed{}, else after the last "####", else the last of all. Nothing:
// there is none.
[[nodiscard]] std::optional<FoundNumber> last_number(std::string_view text);

// The JSON of an answer: all of it, else a fenced block, else from the first brace or bracket to the last one.
// Errors: kInvalidData.
[[nodiscard]] Result<boost::json::value> json_of(std::string_view answer);

// Empty: `value` fits; else where it does not, "$.price: wanted a number". Keywords: type, enum, const, properties,
// required, additionalProperties, items, minItems, maxItems, uniqueItems, minLength, maxLength, pattern, minimum,
// maximum, exclusiveMinimum, exclusiveMaximum, multipleOf, anyOf, allOf, oneOf, not; title, description, default,
// examples and $schema are passed over. Errors: kInvalidData for any other, rather than to pass what was not
// checked.
[[nodiscard]] Result<std::string> schema_fault(const boost::json::value& schema, const boost::json::value& value);
// Errors: kInvalidData, as above, wherever in the schema.
[[nodiscard]] Result<void> check_schema(const boost::json::value& schema);

// Whether the pattern is found; Boost.Regex keeps its states on the heap and gives up in time, where std::regex would
// run over the stack. Errors: kInvalidData for a pattern that is none or takes too long.
[[nodiscard]] Result<bool> found(std::string_view pattern, bool ignore_case, std::string_view text);
// What the first group, else all of the pattern, matched last; nothing: it is not found.
[[nodiscard]] Result<std::optional<std::string>> extracted(std::string_view pattern, bool ignore_case,
                                                           std::string_view text);

[[nodiscard]] Grade grade_numeric(const GraderSettings& settings, const Gold& gold, std::string_view answer);
[[nodiscard]] Result<Grade> grade_schema(const Gold& gold, std::string_view answer);
[[nodiscard]] Result<Grade> grade_fields(const Gold& gold, std::string_view answer);
[[nodiscard]] Grade grade_token_f1(const Gold& gold, std::string_view answer);
[[nodiscard]] Grade grade_set_f1(const GraderSettings& settings, const Gold& gold, std::string_view answer);
[[nodiscard]] Grade grade_coverage(const Gold& gold, std::string_view answer);
[[nodiscard]] Result<Grade> grade_code(const GraderSettings& settings, const Gold& gold, std::string_view answer);

// The first block between ``` lines, without its language; nothing: there is none.
[[nodiscard]] std::optional<std::string_view> fenced(std::string_view answer);

}  // namespace shoal::evaluation
