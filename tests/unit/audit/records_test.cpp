// A record comes back as it was; anything that is not exactly such a record is refused, by the name of the field.
#include "shoal/audit/records.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace shoal::audit {
namespace {

constexpr auto kLeast = static_cast<Pico>(static_cast<unsigned __int128>(1) << 127U);
constexpr Pico kMost = -(kLeast + 1);

Intent intent() {
  return {.attempt = "a1",
          .request = "r1",
          .unix_ms = 1'790'000'000'000,
          .principal = "p1",
          .provider = "openai",
          .model = "gpt-4o-mini",
          .purpose = "answer",
          .body_sha256 = "ab12",
          .body_bytes = 1234,
          .reserved_pico = 150'000,
          .price = "openai/gpt-4o-mini@2026-03-01",
          .route = "default"};
}

Outcome outcome() {
  return {
      .attempt = "a1",
      .unix_ms = 1'790'000'000'001,
      .kind = OutcomeKind::kSettled,
      .tokens = {.input = 1, .cache_read = 2, .cache_write_5m = 3, .cache_write_1h = 4, .output = 5, .reasoning = 6},
      .cost_pico = 77,
      .status = 200,
      .failure = "",
      .upstream_id = "chatcmpl-1"};
}

Receipt receipt() {
  return {.request = "r1",
          .unix_ms = 1'790'000'000'002,
          .principal = "p1",
          .route = "default",
          .model = "smollm2",
          .decision = Decision::kEscalated,
          .egress = "openai",
          .billed_micro = 12,
          .baseline_micro = -1,
          .prompt_tokens = 100,
          .completion_tokens = 20,
          .local_ms = 345,
          .durability = "strict",
          .status = 200,
          .confidence = 0.875,
          .detail = R"({"reasons": [1, 2.50, "x"]})",
          .baseline = Baseline{.provider = "openai",
                               .model = "gpt-4o",
                               .tokens = {.input = 1,
                                          .cache_read = 2,
                                          .cache_write_5m = 3,
                                          .cache_write_1h = 4,
                                          .output = 5,
                                          .reasoning = 6}},
          .judged = Judged{.action = Action::kKept,
                           .threshold = 0.8,
                           .propensity = 0.02,
                           .drawn = true,
                           .late = false,
                           .stratum = Stratum::kOpen,
                           .certificate = "3f0c",
                           .model = "b179 Q4_1"}};
}

Label label() {
  return {.request = "r1",
          .unix_ms = 1'790'000'000'003,
          .kind = LabelKind::kFeedback,
          .right = true,
          .source = "nurse",
          .how = "",
          .note = "as I said",
          .principal = "p1"};
}

template <class Record>
std::string text_of(const Record& record) {
  std::string text;
  print(record, text);
  return text;
}

// What stands in files, which every later Shoal reads.
TEST(Records, AreWrittenLikeThis) {
  EXPECT_EQ(text_of(intent()),
            R"({"v":1,"attempt":"a1","request":"r1","unix_ms":1790000000000,"principal":"p1","provider":"openai",)"
            R"("model":"gpt-4o-mini","purpose":"answer","body_sha256":"ab12","body_bytes":1234,)"
            R"("reserved_pico":"150000","price":"openai/gpt-4o-mini@2026-03-01","route":"default"})");
  EXPECT_EQ(text_of(outcome()),
            R"({"v":1,"attempt":"a1","unix_ms":1790000000001,"kind":"settled","input":1,"cache_read":2,)"
            R"("cache_write_5m":3,"cache_write_1h":4,"output":5,"reasoning":6,"cost_pico":"77","status":200,)"
            R"("failure":"","upstream_id":"chatcmpl-1"})");
  EXPECT_EQ(text_of(receipt()),
            R"({"v":3,"request":"r1","unix_ms":1790000000002,"principal":"p1","route":"default","model":"smollm2",)"
            R"("decision":"escalated","egress":"openai","billed_micro":12,"baseline_micro":-1,"prompt_tokens":100,)"
            R"("completion_tokens":20,"local_ms":345,"durability":"strict","status":200,"confidence":0.875,)"
            R"("detail":{"reasons": [1, 2.50, "x"]},"baseline":["openai","gpt-4o",1,2,3,4,5,6],)"
            R"("judged":["kept",0.8,0.02,true,false,"open","3f0c","b179 Q4_1"]})");
  EXPECT_EQ(text_of(label()),
            R"({"v":1,"request":"r1","unix_ms":1790000000003,"kind":"feedback","right":true,"source":"nurse",)"
            R"("how":"","note":"as I said","principal":"p1"})");
}

TEST(Records, ReceiptsOfVersionOneAreRead) {
  const std::string old =
      R"({"v":1,"request":"r1","unix_ms":1790000000002,"principal":"p1","route":"default","model":"smollm2",)"
      R"("decision":"escalated","egress":"openai","billed_micro":12,"baseline_micro":-1,"prompt_tokens":100,)"
      R"("completion_tokens":20,"local_ms":345,"durability":"strict","status":200,"confidence":0.875,)"
      R"("detail":{"reasons": [1, 2.50, "x"]}})";
  Receipt expected = receipt();
  expected.baseline.reset();
  expected.judged.reset();
  EXPECT_EQ(parse_receipt(old).value(), expected);
  std::string mixed = text_of(receipt());
  mixed.replace(0, 6, R"({"v":1)");
  EXPECT_EQ(parse_receipt(mixed).error().param(), "baseline") << "it came with version 2";
  std::string second = text_of(receipt());
  second.replace(0, 6, R"({"v":2)");
  EXPECT_EQ(parse_receipt(second).error().param(), "judged") << "it came with version 3";
}

TEST(Records, WhatWasJudgedIsWholeOrNone) {
  const std::string whole = text_of(receipt());
  const auto with = [&](const std::string& value) {
    std::string text = whole;
    const std::size_t begin = text.find("\"judged\":") + 9;
    text.replace(begin, text.size() - 1 - begin, value);
    return parse_receipt(text);
  };
  EXPECT_FALSE(with("null").value().judged);
  for (const std::string wrong :
       {R"({})", R"([])", R"(["kept",0.8,0.02,true,false,"open","c"])",
        R"(["kept",0.8,0.02,true,false,"open","c","m",1])", R"(["gone",0.8,0.02,true,false,"open","c","m"])",
        R"(["kept","0.8",0.02,true,false,"open","c","m"])", R"(["kept",0.8,null,true,false,"open","c","m"])",
        R"(["kept",0.8,0.02,1,false,"open","c","m"])", R"(["kept",0.8,0.02,true,false,"shut","c","m"])",
        R"(["kept",0.8,0.02,true,false,"open",0,"m"])"}) {
    EXPECT_EQ(with(wrong).error().param(), "judged") << wrong;
  }
  std::mt19937_64 random(7);
  for (int i = 0; i < 2000; ++i) {
    Receipt one = receipt();
    one.judged->threshold = std::generate_canonical<double, 53>(random);
    one.judged->propensity = std::generate_canonical<double, 53>(random);
    EXPECT_EQ(parse_receipt(text_of(one)).value(), one) << "to the last bit";
  }
  for (const Action action : {Action::kKept, Action::kKeptUnsure, Action::kEscalated, Action::kRefused}) {
    for (const Stratum stratum : {Stratum::kOpen, Stratum::kLocalOnly, Stratum::kSeveral}) {
      Receipt one = receipt();
      one.judged->action = action;
      one.judged->stratum = stratum;
      EXPECT_EQ(parse_receipt(text_of(one)).value(), one);
    }
  }
}

TEST(Records, ABaselineIsWholeOrNone) {
  const std::string whole = text_of(receipt());
  const auto with = [&](const std::string& value) {
    std::string text = whole;
    const std::size_t begin = text.find("\"baseline\":") + 11;
    text.replace(begin, text.find(",\"judged\"") - begin, value);
    return parse_receipt(text);
  };
  EXPECT_FALSE(with("null").value().baseline);
  for (const std::string wrong :
       {R"({})", R"([])", R"("x")", R"(["a","b",1,2,3,4,5])", R"(["a","b",1,2,3,4,5,6,7])", R"(["a",1,1,2,3,4,5,6])",
        R"([null,"b",1,2,3,4,5,6])", R"(["a","b",1,2,3,4,5,"6"])", R"(["a","b",1,2,3,4,5,6.5])"}) {
    EXPECT_EQ(with(wrong).error().param(), "baseline") << wrong;
  }
}

TEST(Records, ArePrintedBehindWhatIsThere) {
  std::string text = "x";
  print(intent(), text);
  EXPECT_EQ(text, "x" + text_of(intent()));
}

TEST(Records, ComeBackAsTheyWere) {
  EXPECT_EQ(parse_intent(text_of(intent())).value(), intent());
  EXPECT_EQ(parse_outcome(text_of(outcome())).value(), outcome());
  EXPECT_EQ(parse_receipt(text_of(receipt())).value(), receipt());
  EXPECT_EQ(parse_intent(text_of(Intent{})).value(), Intent{});
  EXPECT_EQ(parse_outcome(text_of(Outcome{})).value(), Outcome{});
  EXPECT_EQ(parse_receipt(text_of(Receipt{})).value(), Receipt{});
  EXPECT_EQ(parse_label(text_of(label())).value(), label());
  for (const LabelKind kind : {LabelKind::kAudit, LabelKind::kEscalation, LabelKind::kFeedback}) {
    Label one = label();
    one.kind = kind;
    EXPECT_EQ(parse_label(text_of(one)).value(), one);
  }
}

TEST(Records, NamesComeBack) {
  for (const OutcomeKind kind : {OutcomeKind::kSettled, OutcomeKind::kNotSent, OutcomeKind::kUnknown}) {
    Outcome one = outcome();
    one.kind = kind;
    EXPECT_EQ(parse_outcome(text_of(one)).value(), one);
  }
  EXPECT_EQ(name_of(OutcomeKind::kNotSent), "not_sent");
  EXPECT_EQ(name_of(OutcomeKind::kUnknown), "unknown");
  for (const Decision decision :
       {Decision::kLocal, Decision::kRemote, Decision::kEscalated, Decision::kFailedOver, Decision::kRefused}) {
    Receipt one = receipt();
    one.decision = decision;
    EXPECT_EQ(parse_receipt(text_of(one)).value(), one);
  }
  EXPECT_EQ(name_of(Decision::kFailedOver), "failed_over");
}

TEST(Records, AnyNumberComesBack) {
  std::mt19937_64 random(3);
  const auto number = [&] { return static_cast<std::int64_t>(random()) >> (random() % 64); };
  for (int i = 0; i < 2000; ++i) {
    Outcome one = outcome();
    one.unix_ms = number();
    one.tokens = {number(), number(), number(), number(), number(), number()};
    one.cost_pico = static_cast<Pico>(number()) * number();
    one.status = static_cast<std::int32_t>(number());
    EXPECT_EQ(parse_outcome(text_of(one)).value(), one);
    Receipt other = receipt();
    double confidence = 0;
    const std::uint64_t bits = random();
    std::memcpy(&confidence, &bits, sizeof confidence);
    other.confidence = i % 2 == 0 ? confidence : std::generate_canonical<double, 53>(random);
    const auto back = parse_receipt(text_of(other)).value();
    if (!std::isfinite(*other.confidence)) other.confidence.reset();
    EXPECT_EQ(back, other);
  }
  for (const Pico pico : {kLeast, kLeast + 1, kMost, kMost - 1, Pico{0}, Pico{-1}}) {
    Intent one = intent();
    one.reserved_pico = pico;
    EXPECT_EQ(parse_intent(text_of(one)).value(), one);
  }
  Intent one = intent();
  one.reserved_pico = kLeast;
  EXPECT_NE(text_of(one).find("\"-170141183460469231731687303715884105728\""), std::string::npos);
}

TEST(Records, AConfidenceThatIsNoNumberIsNone) {
  for (const double none : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Receipt one = receipt();
    one.confidence = none;
    one = parse_receipt(text_of(one)).value();
    EXPECT_FALSE(one.confidence.has_value());
  }
}

TEST(Records, ANumberThatIsTooLargeIsRefused) {
  std::string text = text_of(outcome());
  text.replace(text.find("\"status\":200"), 12, "\"status\":4294967496");
  EXPECT_EQ(parse_outcome(text).error().param(), "status");
}

TEST(Records, AnyTextComesBack) {
  std::mt19937 random(5);
  const auto append_utf8 = [](std::string& text, char32_t c) {
    const auto byte = [&](char32_t value) { text += static_cast<char>(value); };
    if (c < 0x80) {
      byte(c);
    } else if (c < 0x800) {
      byte(0xC0 | c >> 6U), byte(0x80 | (c & 0x3FU));
    } else if (c < 0x10000) {
      byte(0xE0 | c >> 12U), byte(0x80 | (c >> 6U & 0x3FU)), byte(0x80 | (c & 0x3FU));
    } else {
      byte(0xF0 | c >> 18U), byte(0x80 | (c >> 12U & 0x3FU)), byte(0x80 | (c >> 6U & 0x3FU)), byte(0x80 | (c & 0x3FU));
    }
  };
  for (char32_t c = 0; c < 0x300; ++c) {
    Intent one = intent();
    append_utf8(one.model, c);
    EXPECT_EQ(parse_intent(text_of(one)).value(), one) << static_cast<unsigned>(c);
  }
  for (int i = 0; i < 500; ++i) {
    Intent one = intent();
    for (int k = 0; k < 20; ++k) {
      const auto c = static_cast<char32_t>(random() % 0x110000);
      if (c < 0xD800 || c > 0xDFFF) append_utf8(k % 2 == 0 ? one.principal : one.route, c);
    }
    EXPECT_EQ(parse_intent(text_of(one)).value(), one);
  }
  Intent broken = intent();
  broken.model = "a\xff\"";
  EXPECT_EQ(parse_intent(text_of(broken)).value().model, "a\xef\xbf\xbd\"");
}

TEST(Records, TheDetailIsKeptToTheByte) {
  std::string deep;
  for (int i = 0; i < 64; ++i) deep += '[';
  deep += std::string(64, ']');
  for (const std::string& detail : {std::string(R"({ "a" : 1.0e0, "a":[ ] })"), std::string("[1,2]"), std::string("7"),
                                    std::string(R"("{,}")"), deep, std::string()}) {
    Receipt one = receipt();
    one.detail = detail;
    EXPECT_EQ(parse_receipt(text_of(one)).value(), one) << detail;
  }
  for (const std::string& detail :
       {std::string("{"), std::string("1,2"), std::string(R"(1,"x":2)"), "[" + deep + "]"}) {
    Receipt one = receipt();
    one.detail = detail;
    EXPECT_FALSE(parse_receipt(text_of(one)).ok()) << detail;
  }
}

// The members of the text of a record, each with its comma.
std::vector<std::string> members(const std::string& text) {
  std::vector<std::string> parts;
  int depth = 0;
  bool quoted = false;
  std::string part;
  for (const char c : text.substr(1, text.size() - 2)) {
    if (c == '"') quoted = !quoted;
    if (!quoted && (c == '{' || c == '[')) ++depth;
    if (!quoted && (c == '}' || c == ']')) --depth;
    if (c == ',' && depth == 0 && !quoted) {
      parts.push_back(std::exchange(part, ""));
    } else {
      part += c;
    }
  }
  parts.push_back(part);
  return parts;
}

std::string join(const std::vector<std::string>& parts) {
  std::string text = "{";
  for (const std::string& part : parts) text += (text.size() > 1 ? "," : "") + part;
  return text + "}";
}

template <class Record, class Parse>
void expect_strict(const Record& record, Parse parse) {
  const std::vector<std::string> parts = members(text_of(record));
  ASSERT_EQ(join(parts), text_of(record));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string name = parts[i].substr(1, parts[i].find('"', 1) - 1);
    auto missing = parts;
    missing.erase(missing.begin() + static_cast<std::ptrdiff_t>(i));
    const auto without = parse(join(missing));
    ASSERT_FALSE(without.ok()) << name;
    EXPECT_EQ(without.error().code(), ErrorCode::kJournalDamaged) << name;
    EXPECT_EQ(without.error().param(), name);

    auto twice = parts;
    twice.push_back(parts[i]);
    EXPECT_EQ(parse(join(twice)).error().param(), name);

    auto moved = parts;
    std::swap(moved[i], moved.back());
    EXPECT_TRUE(parse(join(moved)).ok()) << name;

    for (const std::string value : {"[]", "true", "1.5", "\"?\"", "-", "99999999999999999999999", "null"}) {
      auto other = parts;
      other[i] = "\"" + name + "\":" + value;
      const auto result = parse(join(other));
      const bool text_may = value == "\"?\"" && parts[i].find(":\"") != std::string::npos && name != "kind" &&
                            name != "decision" && !name.ends_with("_pico");
      const bool detail_may = name == "detail" && value != "-";
      const bool confidence_may =
          name == "confidence" && (value == "null" || value == "1.5" || value.starts_with("99"));
      const bool none_may = (name == "baseline" || name == "judged") && value == "null";
      const bool truth_may = name == "right" && value == "true";
      EXPECT_EQ(result.ok(), text_may || detail_may || confidence_may || none_may || truth_may) << name << " " << value;
    }
  }
  auto more = parts;
  more.emplace_back("\"extra\":1");
  EXPECT_EQ(parse(join(more)).error().param(), "extra");
  auto later = parts;
  later[0] = "\"v\":4";
  EXPECT_EQ(parse(join(later)).error().code(), ErrorCode::kUnimplemented);
  later[0] = "\"v\":0";
  EXPECT_EQ(parse(join(later)).error().code(), ErrorCode::kJournalDamaged);

  const std::string whole = text_of(record);
  for (std::size_t n = 0; n < whole.size(); ++n) EXPECT_FALSE(parse(whole.substr(0, n)).ok()) << n;
  EXPECT_FALSE(parse(whole + " ").ok());
  EXPECT_FALSE(parse(whole + whole).ok());
  EXPECT_FALSE(parse("[" + whole + "]").ok());
}

TEST(Records, NothingButARecordIsOne) {
  expect_strict(intent(), parse_intent);
  expect_strict(outcome(), parse_outcome);
  expect_strict(receipt(), parse_receipt);
  expect_strict(label(), parse_label);
  EXPECT_FALSE(parse_intent(text_of(outcome())).ok());
}

TEST(Records, AnAmountIsWrittenInOneWay) {
  const std::string text = text_of(intent());
  const auto with = [&](const std::string& amount) {
    std::string changed = text;
    changed.replace(changed.find("\"150000\""), 8, amount);
    return parse_intent(changed);
  };
  EXPECT_EQ(with("\"-5\"").value().reserved_pico, -5);
  for (const std::string amount :
       {"\"\"", "\"-\"", "\"-0\"", "\"007\"", "\"+1\"", "\"1.0\"", "\" 1\"", "150000",
        "\"170141183460469231731687303715884105728\"", "\"340282366920938463463374607431768211456\"",
        "\"3402823669209384634633746074317682114560000\""}) {
    EXPECT_EQ(with(amount).error().param(), "reserved_pico") << amount;
  }
}

}  // namespace
}  // namespace shoal::audit
