// Tables on disk: what is written is read back, and what is damaged is named and not used.
#include "shoal/routing/calibration_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "unit/routing/tables.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct CalibrationFileTest : testing::Test {
  void TearDown() override { fs::remove_all(folder); }
  static Table sample() {
    Table table = table_of({.first = 0.1, .mean = 1.0 / 3, .least = 0, .log_tokens = -2.5}, -0.7, 16);
    table.logistic.center = {-1.0 / 7, -2, -3, 1};
    table.logistic.spread = {0.5, 1e-3, 2, 1};
    table.steps = {{-1, 0.25}, {0.5, 0.75}};
    table.held_out.bins = {{30, 0.21, 0.2}, {31, 0.81, 0.9}};
    table.data = "d00d";
    table.grader = "exact";
    table.date = "2026-11-22";
    table.command = "shoal route fit --task \"snips\"";
    return table;
  }
  // The sample with `from` replaced.
  static std::string damaged(const std::string& from, const std::string& to) {
    std::string text = print_table(sample());
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }
  static std::string fault(const std::string& text) {
    const auto parsed = parse_table(text);
    return parsed.ok() ? "none" : parsed.error().message();
  }

  const fs::path folder = fs::path(testing::TempDir()) / ("calibration_" + std::to_string(::getpid()));
};

TEST_F(CalibrationFileTest, WhatIsWrittenIsReadBack) {
  const Table table = sample();
  const auto back = parse_table(print_table(table));
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ(back->key, table.key);
  EXPECT_EQ(back->logistic.weight, table.logistic.weight) << "bit for bit";
  EXPECT_EQ(back->logistic.center, table.logistic.center);
  EXPECT_EQ(back->logistic.spread, table.logistic.spread);
  EXPECT_EQ(back->logistic.bias, table.logistic.bias);
  EXPECT_EQ(back->steps, table.steps);
  EXPECT_EQ(back->held_out, table.held_out);
  EXPECT_EQ(back->fitted_on, table.fitted_on);
  EXPECT_EQ(back->fitted_right, table.fitted_right);
  EXPECT_EQ(back->command, table.command);
  EXPECT_EQ(back->data + back->grader + back->date + back->model, "d00dexact2026-11-22small");
}

TEST_F(CalibrationFileTest, WhatCannotBeIsNamed) {
  EXPECT_THAT(fault("{"), HasSubstr("not a JSON object"));
  EXPECT_THAT(fault("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(fault(damaged("shoal-calibration-1", "shoal-calibration-9")), HasSubstr("format"));
  EXPECT_THAT(fault(damaged("\"weight\": [0.1", "\"weight\": [-0.1")), HasSubstr("logistic.weight"));
  EXPECT_THAT(fault(damaged("\"spread\": [0.5", "\"spread\": [0")), HasSubstr("logistic.spread"));
  EXPECT_THAT(fault(damaged("\"bias\": -0.7", "\"bias\": 1e999")), HasSubstr("logistic.bias"));
  EXPECT_THAT(fault(damaged("\"bias\": -0.7", "\"bias\": null")), HasSubstr("logistic.bias"));
  EXPECT_THAT(fault(damaged("\"probability\": 0.75", "\"probability\": 0.2")), HasSubstr("steps"));
  EXPECT_THAT(fault(damaged("\"probability\": 0.75", "\"probability\": 1.5")), HasSubstr("steps.probability"));
  EXPECT_THAT(fault(damaged("\"fitted_on\": 1000", "\"fitted_on\": 199")), HasSubstr("fitted_on"));
  EXPECT_THAT(fault(damaged("\"tokens\": 16", "\"tokens\": -1")), HasSubstr("key.tokens"));
  EXPECT_THAT(fault(damaged("\"task\": \"snips\"", "\"task\": \"\"")), HasSubstr("key.task"));
  EXPECT_THAT(fault(damaged("\"weights\": \"b179c9523d0e6a0f\"", "\"weights\": 7")), HasSubstr("key.weights"));
  EXPECT_THAT(fault(damaged("\"answers\": 31", "\"answers\": 0")), HasSubstr("held_out.bins.answers"));
  EXPECT_THAT(fault(damaged("\"steps\": [", "\"stairs\": [")), HasSubstr("steps"));
}

TEST_F(CalibrationFileTest, EveryTruncationIsRefused) {
  const std::string text = print_table(sample());
  for (std::size_t length = 0; length + 2 < text.size(); ++length) {
    EXPECT_FALSE(parse_table(text.substr(0, length)).ok()) << length;
  }
}

TEST_F(CalibrationFileTest, AFolderIsReadByNameAndDamageIsTold) {
  EXPECT_TRUE(load_tables(folder).tables.empty()) << "a folder that is not there";
  Table other = sample();
  other.key.task = "../up";
  ASSERT_TRUE(save_table(sample(), folder).ok());
  const auto saved = save_table(other, folder);
  ASSERT_TRUE(saved.ok());
  EXPECT_EQ(saved->filename(), "_._up.small.b179c9523d0e.k16.json") << "it stays in the folder";
  std::ofstream(folder / "a-copy.json") << print_table(sample());
  std::ofstream(folder / "broken.json") << "{";
  std::ofstream(folder / "notes.txt") << "{";
  const Tables tables = load_tables(folder);
  ASSERT_EQ(tables.tables.size(), 2U);
  ASSERT_EQ(tables.bad.size(), 2U);
  EXPECT_EQ(tables.bad[0].path.filename(), "broken.json");
  EXPECT_THAT(tables.bad[1].error.message(), HasSubstr("same key"));
}

TEST_F(CalibrationFileTest, ANewTableTakesThePlaceOfTheOldOne) {
  Table table = sample();
  ASSERT_TRUE(save_table(table, folder).ok());
  table.date = "2027-01-01";
  ASSERT_TRUE(save_table(table, folder).ok());
  const Tables tables = load_tables(folder);
  ASSERT_EQ(tables.tables.size(), 1U);
  EXPECT_EQ(tables.tables[0].date, "2027-01-01");
  EXPECT_TRUE(tables.bad.empty());
}

Table checked_table() {
  Table table = table_of({.mean = 5}, 3);
  table.checks = {{.check = Check::kWrong, .center = 0.25, .spread = 0.5, .weight = -1.5},
                  {.check = Check::kCut, .center = 0.1, .spread = 0.3, .weight = 0.25}};
  return table;
}

TEST(CalibrationFile, KeepsChecks) {
  const Table table = checked_table();
  const std::string text = print_table(table);
  EXPECT_THAT(text, testing::HasSubstr("\"shoal-calibration-2\""));
  const auto again = parse_table(text);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(again->checks, table.checks);
  EXPECT_EQ(print_table(*again), text);
  EXPECT_NE(table_sha256(*again), table_sha256(table_of({.mean = 5}, 3)));
}

TEST(CalibrationFile, OneWithoutChecksIsTheTextThatItWasBefore) {
  const std::string text = print_table(table_of({.mean = 5}, 3));
  EXPECT_THAT(text, testing::HasSubstr("\"shoal-calibration-1\""));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("checks")));
  EXPECT_TRUE(parse_table(text)->checks.empty());
}

TEST(CalibrationFile, RefusesChecksThatItCannotMake) {
  const std::string text = print_table(checked_table());
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string out = text;
    out.replace(out.find(from), from.size(), to);
    const auto table = parse_table(out);
    return table.ok() ? std::string("loaded") : table.error().message();
  };
  EXPECT_THAT(with("\"checks_version\": 1", "\"checks_version\": 2"), testing::HasSubstr("fit it again"));
  EXPECT_THAT(with("\"wrong\"", "\"wonky\""), testing::HasSubstr("a check that a table may weigh"));
  EXPECT_THAT(with("\"wrong\"", "\"bytes\""), testing::HasSubstr("a check that a table may weigh"));
  EXPECT_THAT(with("\"wrong\"", "\"cut\""), testing::HasSubstr("each check once"));
  EXPECT_THAT(with("\"spread\": 0.5", "\"spread\": 0"), testing::HasSubstr("spread"));
  EXPECT_THAT(with("\"tokens\": 0", "\"tokens\": 4"), testing::HasSubstr("no complete answer"));
  EXPECT_THAT(with("calibration-2", "calibration-3"), testing::HasSubstr("format"));
}

}  // namespace
}  // namespace shoal::routing
