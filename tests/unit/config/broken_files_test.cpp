// Files that are wrong, and what is said about them: each fault by place, cause and advice.
#include <fstream>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/config/load.h"

namespace shoal::config {
namespace {

struct Expected {
  std::uint32_t line;
  std::uint32_t column;
  std::string_view message;     // a part of it
  std::string_view suggestion;  // a part of it; empty: none is given
};
struct Case {
  std::string_view name;
  std::string_view text;
  std::vector<Expected> faults;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

class BrokenFile : public testing::TestWithParam<Case> {};

TEST_P(BrokenFile, IsReportedExactly) {
  Config config;
  std::vector<Origin> origins;
  const std::vector<Fault> faults = apply_toml(GetParam().text, "f.toml", "/etc/shoal", config, origins);
  ASSERT_EQ(faults.size(), GetParam().faults.size()) << (faults.empty() ? "" : to_error(faults).message());
  for (std::size_t i = 0; i < faults.size(); ++i) {
    const Expected& expected = GetParam().faults[i];
    const std::string shown = render(faults[i]);
    EXPECT_EQ(faults[i].line, expected.line) << shown;
    EXPECT_EQ(faults[i].column, expected.column) << shown;
    EXPECT_NE(faults[i].message.find(expected.message), std::string::npos) << shown;
    EXPECT_EQ(expected.suggestion.empty(), faults[i].suggestion.empty()) << shown;
    EXPECT_NE(faults[i].suggestion.find(expected.suggestion), std::string::npos) << shown;
  }
}

constexpr std::string_view kAny = "`shoal config reference`";

INSTANTIATE_TEST_SUITE_P(
    All, BrokenFile,
    testing::Values(
        Case{
            "unknown_key", "[server]\nprot = 80\n", {{2, 1, "unknown key `prot` in [server]", "did you mean `port`?"}}},
        Case{"case_of_key", "[server]\nPort = 80\n", {{2, 1, "unknown key `Port`", "`port`"}}},
        Case{"swapped_words", "[engine]\nmodel_default = \"x\"\n", {{2, 1, "model_default", "`default_model`"}}},
        Case{"wrong_section",
             "[server]\nslots = 4\n",
             {{2, 1, "unknown key `slots` in [server]", "it belongs in [engine]"}}},
        Case{"key_at_top", "port = 80\n", {{1, 1, "unknown key `port`", "it belongs in [server]"}}},
        Case{"typo_of_other_section", "[log]\nhots = \"::1\"\n", {{2, 1, "hots", "`host` in [server]"}}},
        Case{"nothing_near", "[log]\nzzzzzz = 1\n", {{2, 1, "zzzzzz", kAny}}},
        Case{"unknown_section", "[sever]\nport = 80\n", {{1, 2, "unknown key `sever`", "did you mean [server]?"}}},
        Case{"section_as_value", "log = \"debug\"\n", {{1, 1, "`log` is a section", "write [log]"}}},
        Case{"string_for_integer",
             "[server]\nport = \"80\"\n",
             {{2, 8, "wanted an integer from 0 to 65535, got a string", "port = 80, without quotes"}}},
        Case{"word_for_integer", "[server]\nport = \"http\"\n", {{2, 8, "wanted an integer", ""}}},
        Case{"float_for_integer", "[server]\nport = 80.5\n", {{2, 8, "a number with a fraction", ""}}},
        Case{"too_large", "[server]\nport = 65536\n", {{2, 8, "from 0 to 65535, got 65536", ""}}},
        Case{"negative", "[engine]\nslots = -1\n", {{2, 9, "from 1 to 64, got -1", ""}}},
        Case{"zero_slots", "[engine]\nslots = 0\n", {{2, 9, "got 0", ""}}},
        Case{"choice",
             "[log]\nlevel = \"loud\"\n",
             {{2, 9, "wanted one of \"debug\", \"info\", \"warn\", \"error\", \"off\", got \"loud\"", ""}}},
        Case{"choice_typo", "[log]\nlevel = \"wran\"\n", {{2, 9, "did you mean \"warn\"?", ""}}},
        Case{"sandbox_typo", "[engine]\nsandbox = \"requried\"\n", {{2, 11, "did you mean \"required\"?", ""}}},
        Case{"bool_for_choice", "[engine]\nsandbox = false\n", {{2, 11, "got a boolean", ""}}},
        Case{"string_for_bool", "[models]\nfound = \"yes\"\n", {{2, 9, "wanted true or false, got a string", ""}}},
        Case{"quoted_bool",
             "[models]\nfound = \"false\"\n",
             {{2, 9, "wanted true or false", "found = false, without quotes"}}},
        Case{"string_for_list",
             "[models]\ndirs = \"/models\"\n",
             {{2, 8, "wanted a list of strings, got a string", ""}}},
        Case{"list_of_numbers", "[models]\ndirs = [1]\n", {{2, 8, "something other than strings", ""}}},
        Case{"table_for_value", "[server.port]\nx = 1\n", {{1, 1, "got a table", ""}}},
        Case{"date_for_string", "[server]\nhost = 2026-01-01\n", {{2, 8, "a date or time", ""}}},
        Case{"nul_in_path", "[server]\ndata_dir = \"a\\u0000b\"\n", {{2, 12, "NUL", ""}}},
        Case{"future_version", "version = 2\n", {{1, 11, "wanted version = 1", ""}}},
        Case{"version_text", "version = \"1\"\n", {{1, 11, "wanted version = 1", ""}}},
        Case{"secret_as_value",
             "[server]\napi_keys = [\"sk-1\"]\n",
             {{2, 1, "unknown key `api_keys`", "server.api_keys_file"}}},
        Case{"after_umlauts", "[server]\n\"größe\" = 1\n", {{2, 1, "größe", kAny}}},
        Case{"indented", "[server]\n  prot = 80\n", {{2, 3, "prot", "`port`"}}},
        Case{"all_in_one_run",
             "[server]\nprot = 80\nport = 70000\n[log]\nlevel = 3\n[enigne]\nslots = 1\n",
             {{2, 1, "prot", "`port`"},
              {3, 8, "70000", ""},
              {5, 9, "got an integer", ""},
              {6, 2, "enigne", "[engine]"}}},
        Case{"no_value", "[server]\nport =\n", {{2, 7, "", ""}}},
        Case{"open_string", "[server]\nhost = \"127\n", {{2, 12, "", ""}}},
        Case{"open_section", "[server\nport = 1\n", {{1, 8, "", ""}}},
        Case{"key_twice", "[server]\nport = 1\nport = 2\n", {{3, 8, "port", ""}}},
        Case{"not_toml", "{\"server\": {}}\n", {{1, 1, "", ""}}}),
    [](const testing::TestParamInfo<Case>& param) { return std::string(param.param.name); });

TEST(Fault, IsShownWithItsLineAndACaret) {
  Config config;
  std::vector<Origin> origins;
  const std::vector<Fault> faults = apply_toml("[server]\n\tprot = 80\n", "f.toml", "", config, origins);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(render(faults[0]),
            "f.toml:2:2: error: unknown key `prot` in [server]\n"
            "  2 |  prot = 80\n"
            "    |  ^^^^\n"
            "  did you mean `port`?");
}

TEST(Fault, NoFileCanDriveTheTerminal) {
  Config config;
  std::vector<Origin> origins;
  const std::vector<Fault> faults = apply_toml("[server]\n\"\\u001b[2J\" = 1\n", "f\x1b.toml", "", config, origins);
  ASSERT_EQ(faults.size(), 1U);
  EXPECT_EQ(render(faults[0]).find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace shoal::config
