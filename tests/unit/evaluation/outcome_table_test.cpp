#include "shoal/evaluation/outcome_table.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OutcomeTableTest : public testing::Test {
 protected:
  OutcomeTableTest() { fs::create_directories(folder_); }
  ~OutcomeTableTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, std::string_view text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string fault(const fs::path& path, const OutcomeOptions& options = {}) {
    const auto table = read_outcomes(path, options);
    if (!table.ok()) return table.error().message();
    const auto pair = pair_outcomes(*table, "small", "large");
    return pair.ok() ? "" : pair.error().message();
  }

  const fs::path folder_ =
      fs::temp_directory_path() / ("outcomes-" + std::to_string(testing::UnitTest::GetInstance()->random_seed()) + "-" +
                                   testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(OutcomeTableTest, ReadsAFolderWithAGroupPerFile) {
  write("birds.csv", "prompt,small,large\nOne?,True,False\n\"Two,\nthree?\",False,True\n");
  write("fish.csv", "large,prompt,small\n1,Four?,0.25\n");
  write("notes.txt", "not a table");
  const auto table = read_outcomes(folder_, {});
  ASSERT_TRUE(table.ok()) << table.error().message();
  const auto pair = pair_outcomes(*table, "small", "large");
  ASSERT_TRUE(pair.ok()) << pair.error().message();
  ASSERT_EQ(pair->rows.size(), 3U);
  EXPECT_EQ(pair->rows[1].prompt, "Two,\nthree?");
  EXPECT_EQ(pair->rows[1].group, "birds");
  EXPECT_EQ(pair->rows[1].strong, 1);
  EXPECT_EQ(pair->rows[2].group, "fish");
  EXPECT_EQ(pair->rows[2].weak, 0.25);
}

TEST_F(OutcomeTableTest, ReadsAnswersCostsAndOwnGroups) {
  const fs::path file = write("x.csv",
                              "question,topic,ok:small,ok:large,small_response,large_cost\n"
                              "One?,birds,1,0,it is one,0.002\nTwo?,fish,0,1,,\n");
  const auto table = read_outcomes(file, {.group_column = "topic"});
  ASSERT_TRUE(table.ok()) << table.error().message();
  const auto pair = pair_outcomes(*table, "small", "large");
  ASSERT_TRUE(pair.ok()) << pair.error().message();
  EXPECT_EQ(pair->rows[0].weak_answer, "it is one");
  EXPECT_EQ(pair->rows[0].strong_usd, 0.002);
  EXPECT_FALSE(pair->rows[0].weak_usd.has_value());
  EXPECT_FALSE(pair->rows[1].strong_usd.has_value());
  EXPECT_EQ(pair->rows[1].group, "fish");
}

TEST_F(OutcomeTableTest, ReadsLinesOfJson) {
  const fs::path file = write("x.jsonl",
                              "{\"prompt\": \"One?\", \"small\": true, \"large\": 0.5}\n\n"
                              "{\"large\": 1, \"prompt\": \"Two?\", \"small\": false, \"note\": null}\n"
                              "{\"prompt\": \"Three?\", \"small\": true}\n");
  const auto table = read_outcomes(file, {});
  ASSERT_TRUE(table.ok()) << table.error().message();
  const auto pair = pair_outcomes(*table, "small", "large");
  ASSERT_TRUE(pair.ok()) << pair.error().message();
  ASSERT_EQ(pair->rows.size(), 2U);
  EXPECT_EQ(pair->incomplete, 1U);
  EXPECT_EQ(pair->rows[0].weak, 1);
  EXPECT_EQ(pair->rows[0].strong, 0.5);
  EXPECT_EQ(pair->rows[1].strong, 1);
}

TEST_F(OutcomeTableTest, LeavesOutWhatIsContaminated) {
  const fs::path file = write("x.csv", "prompt,small,large\n\"What IS  it?\nA. 1\",1,0\nOther?,0,1\n");
  const fs::path bad = write("bad.jsonl", "{\"train_prompt\": \"y\", \"eval_prompt\": \"what is it a 1\"}\n");
  const auto table = read_outcomes(file, {.exclude = {bad}});
  ASSERT_TRUE(table.ok()) << table.error().message();
  EXPECT_EQ(table->excluded, 1U);
  ASSERT_EQ(table->rows.size(), 1U);
  EXPECT_EQ(table->rows[0].prompt, "Other?");
}

TEST_F(OutcomeTableTest, JoinsColumnsById) {
  const fs::path file = write("x.csv", "id,prompt,ok:small,ok:large\n7,One?,1,0\n8,Two?,,1\n9,Three?,0,1\n");
  const fs::path more = write("more.csv", "small,id\n300,9\n100,7\n200,8\n50,6\n");
  const auto table = read_outcomes(file, {.join = {more}});
  ASSERT_TRUE(table.ok()) << table.error().message();
  const auto pair = pair_outcomes(*table, "small", "large");
  ASSERT_TRUE(pair.ok()) << pair.error().message();
  const auto numbers = column_numbers(*table, pair->rows, "small");
  ASSERT_TRUE(numbers.ok()) << numbers.error().message();
  EXPECT_EQ(*numbers, (std::vector<double>{100, 300}));  // the second row has no outcome
  EXPECT_THAT(column_numbers(*table, pair->rows, "prompt").error().message(),
              HasSubstr("x.csv, line 2, column `prompt`: `One?` is not a number"));
  EXPECT_THAT(column_numbers(*table, pair->rows, "smal").error().message(), HasSubstr("did you mean `small`?"));
  const auto joined = [&](std::string_view text) { return fault(file, {.join = {write("bad.csv", text)}}); };
  EXPECT_THAT(joined("id,n\n7,1\n"), HasSubstr("bad.csv: no row has the `id` 8 of "));
  EXPECT_THAT(joined("id,n\n7,1\n7,2\n"), HasSubstr("line 3: the `id` 7 occurs twice"));
  EXPECT_THAT(joined("id,prompt\n7,1\n"), HasSubstr("has a column `prompt` already"));
  EXPECT_THAT(joined("n\n7\n"), HasSubstr("which this file does not have"));
}

TEST_F(OutcomeTableTest, TakesLengthsWhereAnswersAreMissing) {
  const fs::path file = write("x.csv",
                              "question,ok:small,ok:large,ok:third,small_response,chars\n"
                              "One?,1,1,0,it is one,500\nTwo?,0,1,0,,70\nThree?,0,1,,,-1\n");
  const auto table = read_outcomes(file, {});
  ASSERT_TRUE(table.ok()) << table.error().message();
  auto pair = pair_outcomes(*table, "small", "large");
  ASSERT_TRUE(pair.ok()) << pair.error().message();
  EXPECT_EQ(pair->rows[0].weak_answer_bytes, 9);
  EXPECT_EQ(pair->rows[1].weak_answer_bytes, 0);
  EXPECT_NEAR(*pair->rows[0].difficulty, 1.0 / 3, 1e-12);
  EXPECT_NEAR(*pair->rows[1].difficulty, 2.0 / 3, 1e-12);
  EXPECT_FALSE(pair->rows[2].difficulty) << "two models say nothing beside themselves";
  EXPECT_THAT(take_answer_lengths(*table, "chars", *pair).error().message(), HasSubstr("not below 0"));
  pair->rows.pop_back();
  ASSERT_TRUE(take_answer_lengths(*table, "chars", *pair).ok());
  EXPECT_EQ(pair->rows[0].weak_answer_bytes, 9) << "of an answer that is there its own length counts";
  EXPECT_EQ(pair->rows[1].weak_answer_bytes, 70);
  EXPECT_THAT(take_answer_lengths(*table, "char", *pair).error().message(), HasSubstr("chars"));
}

TEST_F(OutcomeTableTest, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(fault(write("a.csv", "prompt,small,large\nOne?,1,1\nTwo?,yes,1\n")),
              HasSubstr("a.csv, line 3, column `small`: an outcome is True, False or a number from 0 to 1, not `yes`"));
  EXPECT_THAT(fault(write("b.csv", "prompt,small,large\nOne?,1\n")),
              HasSubstr("b.csv, line 2: 2 fields, but the first line names 3 columns"));
  EXPECT_THAT(fault(write("c.csv", "text,small,large\nOne?,1,1\n")),
              HasSubstr("c.csv: no column `prompt` or `question`; there are: text, small, large"));
  EXPECT_THAT(fault(write("d.csv", "prompt,smal,large\nOne?,1,1\n")),
              HasSubstr("no column of outcomes for the model `small`; did you mean `smal`?"));
  EXPECT_THAT(fault(write("e.csv", "prompt,small,large\nOne?,,1\n")), HasSubstr("no row has an outcome of both"));
  EXPECT_THAT(fault(write("f.csv", "prompt,small,small\n")), HasSubstr("two columns `small`"));
  EXPECT_THAT(fault(write("g.csv", "prompt,small,large\n\" \",1,1\n")), HasSubstr("line 2: the prompt is empty"));
  EXPECT_THAT(fault(write("h.jsonl", "{\"prompt\": \"x\"}\nnonsense\n")),
              HasSubstr("h.jsonl, line 2: it is not a JSON object"));
  EXPECT_THAT(fault(write("i.csv", "")), HasSubstr("the file is empty"));
  EXPECT_THAT(fault(write("j.csv", "prompt,small,large,large_cost\nOne?,1,1,-2\n")),
              HasSubstr("a cost is a number of USD"));
  EXPECT_THAT(fault(folder_ / "none.csv"), HasSubstr("cannot open"));
  EXPECT_THAT(fault(write("k.csv", "prompt,small,large\nOne?,1,1\n"), {.group_column = "topic"}),
              HasSubstr("no column `topic` for the groups"));
}

TEST_F(OutcomeTableTest, PromptsAreComparableWithoutCaseAndMarks) {
  EXPECT_EQ(comparable_prompt("  What -- is\n\"THIS\"?  "), "what is this");
  EXPECT_EQ(comparable_prompt("\xE2\x80\x9CWhat\xE2\x80\x9D is this\xE2\x80\xA6"), "what is this");
  EXPECT_NE(comparable_prompt("2+2"), comparable_prompt("2+3"));
  EXPECT_EQ(comparable_prompt("Gr\xC3\xB6\xC3\x9F"
                              "e"),
            "gr\xC3\xB6\xC3\x9F"
            "e");
}

}  // namespace
}  // namespace shoal::evaluation
