// Graders: what is right, what is not, and what must not be taken for either.
#include "shoal/evaluation/grader.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "shoal/evaluation/graders/parts.h"
#include "shoal/sandbox/sandbox.h"

namespace shoal::evaluation {
namespace {

using testing::HasSubstr;

GraderSettings with(GraderKind kind) {
  GraderSettings out;
  out.kind = kind;
  return out;
}
Gold answers(std::vector<std::string> right) {
  Gold out;
  out.answers = std::move(right);
  return out;
}
Grade graded(const GraderSettings& settings, const Gold& gold, const std::string& answer) {
  auto result = grade(settings, gold, answer);
  EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message());
  return result.ok() ? *result : Grade{};
}
double score(GraderKind kind, std::vector<std::string> right, const std::string& answer) {
  return graded(with(kind), answers(std::move(right)), answer).score;
}

TEST(GraderNames, GoBothWays) {
  for (const std::string& name : grader_names()) {
    const auto kind = grader_named(name);
    ASSERT_TRUE(kind) << name;
    EXPECT_EQ(grader_name(*kind), name);
  }
  EXPECT_EQ(grader_names().size(), 13U);
  EXPECT_FALSE(grader_named("nearly"));
}

TEST(ExactGrader, ForgivesOnlySpacesAtTheEnds) {
  EXPECT_EQ(score(GraderKind::kExact, {"Paris"}, " Paris\n"), 1);
  EXPECT_EQ(score(GraderKind::kExact, {"Paris"}, "paris"), 0);
  EXPECT_EQ(score(GraderKind::kExact, {"Paris"}, "Paris."), 0);
  EXPECT_EQ(score(GraderKind::kExact, {"a  b"}, "a b"), 0);
  EXPECT_EQ(score(GraderKind::kExact, {"x", "y"}, "y"), 1);
}

TEST(NormalisedGrader, ForgivesCaseAndMarks) {
  EXPECT_EQ(score(GraderKind::kNormalised, {"New York"}, "  new\nyork!"), 1);
  EXPECT_EQ(score(GraderKind::kNormalised, {"New York"}, "It is New York"), 0);
  EXPECT_EQ(score(GraderKind::kNormalised, {"5"}, "-5"), 0);
}

TEST(ContainsGrader, WantsWholeWords) {
  EXPECT_EQ(score(GraderKind::kContains, {"New York"}, "I think it is new york, no?"), 1);
  EXPECT_EQ(score(GraderKind::kContains, {"5"}, "5.25"), 0);
  EXPECT_EQ(score(GraderKind::kContains, {"5"}, "the answer is 5."), 1);
}

TEST(RegexGrader, FindsPatternsAndSaysWhenItGivesUp) {
  EXPECT_EQ(score(GraderKind::kRegex, {R"(\bcat(s)?\b)"}, "Two CATS"), 1);
  EXPECT_EQ(score(GraderKind::kRegex, {R"(^\d{3}$)"}, "1234"), 0);
  GraderSettings strict = with(GraderKind::kRegex);
  strict.ignore_case = false;
  EXPECT_EQ(graded(strict, answers({"cat"}), "CAT").score, 0);
  EXPECT_FALSE(grade(with(GraderKind::kRegex), answers({"(unclosed"}), "x").ok());
  // Backtracks without end: an error, and neither a crash nor a wrong answer.
  const auto hostile = grade(with(GraderKind::kRegex), answers({"(a|aa)*(a|aa)*(a|aa)*c"}), std::string(5000, 'a'));
  ASSERT_FALSE(hostile.ok());
  EXPECT_EQ(hostile.error().code(), ErrorCode::kInvalidData);
  // std::regex recurses once for each character here, and dies.
  EXPECT_EQ(score(GraderKind::kRegex, {"^(.|\n)*$"}, std::string(2000, 'a')), 1);
  EXPECT_FALSE(grade(with(GraderKind::kRegex), answers({"^(.|\n)*$"}), std::string(60000, 'a')).ok());
  EXPECT_FALSE(grade(with(GraderKind::kRegex), answers({std::string(5000, 'a')}), "x").ok());
  EXPECT_FALSE(grade(with(GraderKind::kRegex), answers({std::string(2000, '(') + std::string(2000, ')')}), "x").ok());
}

TEST(NumericGrader, FindsTheNumberThatAnAnswerEndsIn) {
  const auto number = [](const std::string& text) {
    const auto found = last_number(text);
    return found ? found->value : -99999;
  };
  EXPECT_EQ(number("12 apples and 5 pears: 17"), 17);
  EXPECT_EQ(number("It costs $1,234.50."), 1234.5);
  EXPECT_EQ(number("1,234,567"), 1234567);
  EXPECT_EQ(number("1,2"), 2) << "a list";
  EXPECT_EQ(number("1234,567"), 567) << "no group of thousands";
  EXPECT_EQ(number("about 1e3"), 1000);
  EXPECT_EQ(number("2.5E-2"), 0.025);
  EXPECT_EQ(number("-5"), -5);
  EXPECT_EQ(number("-$5"), -5);
  EXPECT_EQ(number("\xe2\x88\x92"
                   "7"),
            -7)
      << "U+2212";
  EXPECT_EQ(number("10-5"), 5) << "a difference has no minus five";
  EXPECT_EQ(number(".5"), 0.5);
  EXPECT_EQ(number("72."), 72);
  EXPECT_EQ(number("50%"), 50);
  EXPECT_EQ(number("so \\boxed{42} since 7 > 3"), 42) << "what is boxed wins";
  EXPECT_EQ(number("\\boxed{1} then \\boxed{\\text{about } 2}"), 2);
  EXPECT_EQ(number("\\boxed{3"), 3) << "cut off";
  EXPECT_EQ(number("48/2=24\n#### 72\nWell, 5 more words"), 72);
  EXPECT_EQ(number("version 1.2.3"), -99999);
  EXPECT_EQ(number("x2 and COVID19"), -99999);
  EXPECT_EQ(number("none"), -99999);
  EXPECT_EQ(number("1e999"), -99999) << "not finite";
  EXPECT_EQ(number(""), -99999);
}

TEST(NumericGrader, HasATolerance) {
  EXPECT_EQ(score(GraderKind::kNumeric, {"Natalia sold 72. #### 72"}, "The answer is 72 clips."), 1);
  EXPECT_EQ(score(GraderKind::kNumeric, {"72"}, "73"), 0);
  EXPECT_EQ(score(GraderKind::kNumeric, {"72"}, "seventy-two"), 0);
  EXPECT_EQ(score(GraderKind::kNumeric, {"0.3"}, "0.30000001"), 1);
  GraderSettings loose = with(GraderKind::kNumeric);
  loose.tolerance = 0.5;
  EXPECT_EQ(graded(loose, answers({"10"}), "10.5").score, 1);
  EXPECT_EQ(graded(loose, answers({"10"}), "10.51").score, 0);
  EXPECT_FALSE(check_gold(loose, answers({"ten"})).ok());
}

TEST(LabelGrader, TakesTheFirstLine) {
  EXPECT_EQ(score(GraderKind::kLabel, {"card_arrival"}, "\ncard_arrival\nText: more"), 1);
  EXPECT_EQ(score(GraderKind::kLabel, {"card_arrival"}, "card_arrivals"), 0);
  GraderSettings settings = with(GraderKind::kLabel);
  settings.labels = {"PlayMusic", "GetWeather"};
  EXPECT_EQ(label_of(settings, " playmusic. \nmore"), "PlayMusic");
  EXPECT_EQ(label_of(settings, "Dance!"), "dance");
}

TEST(Extract, GradesOnlyWhatThePatternFound) {
  GraderSettings settings = with(GraderKind::kNormalised);
  settings.extract = R"(answer is\s+(\w+))";
  EXPECT_EQ(graded(settings, answers({"B"}), "A? The answer is A. No, the answer is b!").score, 1) << "the last one";
  EXPECT_EQ(graded(settings, answers({"B"}), "B").score, 0);
}

Gold schema(const std::string& text) {
  Gold out;
  out.schema = boost::json::parse(text);
  return out;
}

TEST(SchemaGrader, ChecksWhatItKnows) {
  const GraderSettings json = with(GraderKind::kSchema);
  const Gold person = schema(
      R"({"type":"object","required":["name","age"],"additionalProperties":false,"properties":{
      "name":{"type":"string","minLength":1,"pattern":"^[A-Z]"},"age":{"type":"integer","minimum":0,"maximum":150},
      "tags":{"type":"array","items":{"enum":["a","b"]},"maxItems":2,"uniqueItems":true}}})");
  ASSERT_TRUE(check_gold(json, person).ok());
  EXPECT_EQ(graded(json, person, R"({"name":"Ada","age":36})").score, 1);
  EXPECT_EQ(graded(json, person, "Sure:\n```json\n{\"name\":\"Ada\",\"age\":36.0}\n```\nDone.").score, 1);
  EXPECT_EQ(graded(json, person, R"(Here: {"name":"Ada","age":36,"tags":["a","b"]} as asked)").score, 1);
  for (const char* const bad :
       {R"({"name":"Ada"})", R"({"name":"ada","age":1})", R"({"name":"Ada","age":1.5})", R"({"name":"Ada","age":-1})",
        R"({"name":"Ada","age":151})", R"({"name":"Ada","age":1,"x":1})", R"({"name":"Ada","age":1,"tags":["c"]})",
        R"({"name":"Ada","age":1,"tags":["a","a"]})", R"({"name":"Ada","age":1,"tags":["a","b","a"]})",
        R"({"name":"","age":1})", R"([1])", "{\"name\":", "no"}) {
    const Grade bad_grade = graded(json, person, bad);
    EXPECT_EQ(bad_grade.score, 0) << bad;
    EXPECT_FALSE(bad_grade.why.empty());
  }
  EXPECT_THAT(graded(json, person, R"({"name":"Ada","age":"x"})").why, HasSubstr("$.age: wanted integer"));
  const Gold either = schema(R"({"oneOf":[{"type":"integer"},{"type":"number","minimum":5}],"not":{"const":7}})");
  EXPECT_EQ(graded(json, either, "3").score, 1);
  EXPECT_EQ(graded(json, either, "6").score, 0) << "it fits both";
  EXPECT_EQ(graded(json, either, "5.5").score, 1);
  EXPECT_EQ(graded(json, either, "7").score, 0);
}

TEST(SchemaGrader, RefusesWhatItDoesNotCheck) {
  const GraderSettings json = with(GraderKind::kSchema);
  EXPECT_THAT(check_gold(json, schema(R"({"type":"string","format":"date"})")).error().message(),
              HasSubstr("`format`"));
  EXPECT_FALSE(check_gold(json, schema(R"({"type":"text"})")).ok());
  EXPECT_FALSE(check_gold(json, schema(R"({"properties":{"a":{"$ref":"#/x"}}})")).ok());
  EXPECT_FALSE(check_gold(json, schema(R"({"pattern":"("})")).ok());
  EXPECT_FALSE(check_gold(json, schema(R"({"required":"a"})")).ok());
  EXPECT_FALSE(check_gold(json, schema("3")).ok());
  EXPECT_FALSE(check_gold(json, Gold{}).ok());
}

TEST(FieldsGrader, IsF1OverPathsAndValues) {
  const GraderSettings fields = with(GraderKind::kFields);
  Gold gold;
  gold.fields = boost::json::parse(R"({"a":1,"b":"Two Words","c":{"d":[1,2]}})");
  EXPECT_EQ(graded(fields, gold, R"({"b":"two words.","a":1.0,"c":{"d":[2,1]}})").score, 1);
  EXPECT_DOUBLE_EQ(graded(fields, gold, R"({"a":1,"b":"x"})").score, 2.0 * 1 / (4 + 2));
  EXPECT_EQ(graded(fields, gold, "{}").score, 0);
  EXPECT_EQ(graded(fields, gold, R"({"x":{"a":1}})").score, 0) << "another path";
  gold.schema = boost::json::parse(R"({"required":["c"]})");
  EXPECT_EQ(graded(fields, gold, R"({"a":1})").score, 0) << "the schema comes first";
}

TEST(TokenF1, IsThatOfSquad) {
  EXPECT_EQ(score(GraderKind::kTokenF1, {"the Denver Broncos"}, "Denver Broncos"), 1);
  EXPECT_DOUBLE_EQ(score(GraderKind::kTokenF1, {"Denver Broncos"}, "The Broncos won, they say"), 2.0 * 1 / (2 + 4));
  EXPECT_EQ(score(GraderKind::kTokenF1, {"x"}, "the"), 0);
  EXPECT_EQ(score(GraderKind::kTokenF1, {"b b", "a c"}, "b"), 2.0 * 1 / 3) << "the best, each token once";
}

TEST(SetF1, IgnoresOrder) {
  EXPECT_EQ(score(GraderKind::kSetF1, {"red", "green", "blue"}, "Blue, red,\n- green"), 1);
  EXPECT_DOUBLE_EQ(score(GraderKind::kSetF1, {"red", "green", "blue"}, "red, red, pink"), 2.0 * 1 / (2 + 3));
  EXPECT_EQ(score(GraderKind::kSetF1, {"red"}, ""), 0);
}

TEST(Coverage, IsTheShareOfFacts) {
  Gold gold;
  gold.facts = {{"1969", "sixty-nine"}, {"Neil Armstrong"}, {"Apollo 11"}, {"July"}};
  const Grade partly = graded(with(GraderKind::kCoverage), gold, "In July 1969, Armstrong (Apollo 11) landed.");
  EXPECT_DOUBLE_EQ(partly.score, 0.75);
  EXPECT_FALSE(partly.right);
  EXPECT_THAT(partly.why, HasSubstr("Neil Armstrong"));
  GraderSettings lenient = with(GraderKind::kCoverage);
  lenient.right_from = 0.75;
  EXPECT_TRUE(graded(lenient, gold, "In July 1969, Armstrong (Apollo 11) landed.").right);
}

TEST(AnyGrader, WantsItsGoldAndBoundsItsAnswer) {
  EXPECT_FALSE(check_gold(with(GraderKind::kNormalised), Gold{}).ok());
  EXPECT_FALSE(check_gold(with(GraderKind::kNormalised), answers({"?!"})).ok());
  EXPECT_FALSE(check_gold(with(GraderKind::kCoverage), answers({"a"})).ok());
  EXPECT_FALSE(check_gold(with(GraderKind::kCode), answers({"a"})).ok());
  EXPECT_TRUE(check_gold(with(GraderKind::kExact), answers({"?!"})).ok());
  EXPECT_EQ(score(GraderKind::kContains, {"a"}, "a " + std::string(kMaxGradedBytes, 'x')), 0);
}

struct CodeGrader : testing::Test {
  void SetUp() override {
    if (!sandbox::support().missing.empty()) GTEST_SKIP() << "no sandbox here: " << sandbox::support().missing;
    settings.timeout_s = 5;
  }
  Grade run(const std::string& code, std::vector<std::string> tests) {
    Gold gold;
    gold.tests = std::move(tests);
    return graded(settings, gold, code);
  }
  GraderSettings settings = with(GraderKind::kCode);
};

TEST_F(CodeGrader, RunsTestsOneByOne) {
  const std::string add = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\n";
  const Grade good = run(add, {"assert add(1, 2) == 3", "assert add('\\u00e4', '\"') == '\\u00e4\"'"});
  EXPECT_TRUE(good.right) << good.why;
  const Grade half = run(add, {"assert add(1, 2) == 3", "assert add(1, 2) == 4"});
  EXPECT_EQ(half.score, 0.5);
  EXPECT_THAT(half.why, HasSubstr("test 2: AssertionError"));
  EXPECT_TRUE(run("import math, re, json, collections, itertools, random\nx = math.sqrt(4)", {"assert x == 2"}).right);
  EXPECT_THAT(run("def broken(:", {"assert True"}).why, HasSubstr("SyntaxError"));
}

TEST_F(CodeGrader, DoesNotBelieveWhoeverLeavesEarly) {
  EXPECT_EQ(run("import sys; sys.exit(0)", {"assert True"}).score, 0);
  EXPECT_EQ(run("import os; os._exit(0)", {"assert True"}).score, 0);
  EXPECT_EQ(run("print('0 ok\\nok', flush=True)\nimport os; os._exit(0)", {"assert True"}).score, 0);
}

TEST_F(CodeGrader, EndsWhatDoesNotEnd) {
  settings.timeout_s = 1;
  const Grade loop = run("while True: pass", {"assert True"});
  EXPECT_EQ(loop.score, 0);
  const Grade sleep = run("import time\ntime.sleep(60)", {"assert True"});
  EXPECT_EQ(sleep.score, 0);
  EXPECT_THAT(sleep.why, HasSubstr("within 1 s"));
  EXPECT_EQ(run("print('x' * 50_000_000)", {"assert False"}).score, 0);
}

TEST_F(CodeGrader, HasNoWayOut) {
  const auto fails = [&](const std::string& attack, const std::string& how) {
    const Grade refused = run(attack, {"assert True"});
    EXPECT_EQ(refused.score, 0) << attack;
    EXPECT_THAT(refused.why, HasSubstr(how)) << attack;
  };
  fails("open('/etc/passwd').read()", "PermissionError");
  fails("open('/tmp/shoal_escape', 'w').write('x')", "PermissionError");
  fails("import os; os.listdir('/')", "PermissionError");
  fails("import _socket; _socket.socket()", "PermissionError");
  fails("import os; os.fork()", "PermissionError");
  fails("import os; os.kill(os.getppid(), 9)", "PermissionError");
  fails("import os; os.system('true') == 0 or (_ for _ in ()).throw(PermissionError())", "PermissionError");
  fails("x = bytearray(2_000_000_000)", "MemoryError");
  fails("import resource; resource.setrlimit(resource.RLIMIT_CPU, (100, 100))", "Error");
}

TEST_F(CodeGrader, SaysWhenThereIsNoPython) {
  settings.python = "/nonexistent/python3";
  Gold gold;
  gold.tests = {"assert True"};
  const auto result = grade(settings, gold, "x = 1");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace shoal::evaluation
