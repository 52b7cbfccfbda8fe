#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/cli/process.h"

namespace shoal::cli {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class CommandLine : public testing::Test {
 protected:
  Ended shoal(std::vector<std::string> args, std::vector<std::string> variables = {}) {
    return Process(home_, std::move(args), std::move(variables)).wait();
  }

  TemporaryFolder home_;
};

TEST_F(CommandLine, EveryCommandShowsAnExampleInItsHelp) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"serve"},
                                                          {"run"},
                                                          {"chat"},
                                                          {"embed"},
                                                          {"ps"},
                                                          {"top"},
                                                          {"doctor"},
                                                          {"config"},
                                                          {"explain"},
                                                          {"config", "check"},
                                                          {"config", "show"},
                                                          {"version"},
                                                          {"completion"},
                                                          {"config", "schema"},
                                                          {"config", "explain"},
                                                          {"config", "reference"}};
  for (std::vector<std::string> command : commands) {
    const std::string name = command.empty() ? "shoal" : command.back();
    command.emplace_back("--help");
    const Ended ended = shoal(command);
    EXPECT_EQ(ended.code, 0) << name;
    EXPECT_THAT(ended.out, HasSubstr("Example:\n  shoal ")) << name;
    EXPECT_EQ(ended.err, "") << name;
  }
}

TEST_F(CommandLine, UnknownCommandsGetTheNearestName) {
  const Ended ended = shoal({"srve"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_THAT(ended.err, StartsWith("error: `shoal` has no command `srve`; did you mean `shoal serve`?\nfix: "));
}

TEST_F(CommandLine, UnknownCommandsOfAGroupToo) {
  const Ended ended = shoal({"config", "chek"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("did you mean `shoal config check`?"));
}

TEST_F(CommandLine, UnknownOptionsGetTheNearestName) {
  const Ended ended = shoal({"serve", "--prot", "1"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("`shoal serve` has no option `--prot`; did you mean `--port`?"));
}

TEST_F(CommandLine, WhatIsTooFarIsNotGuessed) {
  const Ended ended = shoal({"frobnicate"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, Not(HasSubstr("did you mean")));
  EXPECT_THAT(ended.err, HasSubstr("serve"));  // it lists what there is
}

TEST_F(CommandLine, ArgumentsCannotDriveTheTerminal) {
  EXPECT_THAT(shoal({"\x1b[2Jx"}).err, Not(HasSubstr("\x1b[2J")));
}

TEST_F(CommandLine, WithoutACommandItShowsHelpAndFails) {
  const Ended ended = shoal({});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("Subcommands:"));
}

TEST_F(CommandLine, VersionIsTextOrJson) {
  EXPECT_THAT(shoal({"version"}).out, testing::MatchesRegex("shoal [0-9]+\\.[0-9]+\\.[0-9]+\n"));
  EXPECT_EQ(shoal({"--version"}).out, shoal({"version"}).out);
  EXPECT_THAT(shoal({"version", "--json"}).out, StartsWith(R"({"name":"shoal","version":")"));
}

TEST_F(CommandLine, CompletionKnowsCommandsAndOptions) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Ended ended = shoal({"completion", shell});
    EXPECT_EQ(ended.code, 0) << shell;
    EXPECT_THAT(ended.out, HasSubstr("doctor")) << shell;
    EXPECT_THAT(ended.out, HasSubstr("no-models")) << shell;
    EXPECT_THAT(ended.out, HasSubstr("check")) << shell;
  }
  EXPECT_EQ(shoal({"completion", "tcsh"}).code, 2);
}

TEST_F(CommandLine, RunWithoutAPromptSaysSo) {
  const Ended ended = shoal({"run", "some-model"});
  EXPECT_EQ(ended.code, 2);
  EXPECT_THAT(ended.err, HasSubstr("there is no prompt"));
}

TEST_F(CommandLine, ABrokenConfigurationStopsEveryCommandThatReadsIt) {
  const std::string file = home_.write("shoal.toml", "[server]\nprot = 1\n");
  for (const char* command : {"serve", "ps", "chat"}) {
    const Ended ended = shoal({command, "--config", file});
    EXPECT_EQ(ended.code, 3) << command;
    EXPECT_THAT(ended.err, HasSubstr("shoal.toml:2:1")) << command;
    EXPECT_THAT(ended.err, HasSubstr("port")) << command;
  }
}

}  // namespace
}  // namespace shoal::cli
