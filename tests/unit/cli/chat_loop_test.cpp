#include "shoal/cli/chat_loop.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal::cli {
namespace {

// Says what it was told to say, turn by turn, and keeps what it was asked.
class Script final : public Answerer {
 public:
  struct Line {
    std::string text;
    Result<TurnEnd> end;
  };
  explicit Script(std::vector<Line> lines) : lines_(std::move(lines)) {}

  Result<TurnEnd> chat(const Turn& turn, const TextSink& sink) override {
    std::string all;
    for (const types::Message& message : turn.messages) all += message.content + "|";
    asked.push_back(all);
    Line& line = lines_[asked.size() - 1];
    if (!line.text.empty()) sink(line.text);
    return line.end;
  }
  Result<std::string> resolve(const std::string& model) override {
    if (model == "none") return Error(ErrorCode::kModelNotFound, "no");
    return "resolved";
  }
  Result<Embeddings> embed(const std::string&, const std::vector<std::string>&) override { return Embeddings{}; }

  std::vector<std::string> asked;

 private:
  std::vector<Line> lines_;
};

// Puts `text` on the standard input for the life of a test.
class Input {
 public:
  explicit Input(const std::string& text) : before_(::dup(STDIN_FILENO)) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    EXPECT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(ends[1]);
    ::dup2(ends[0], STDIN_FILENO);
    ::close(ends[0]);
  }
  ~Input() {
    ::dup2(before_, STDIN_FILENO);
    ::close(before_);
  }
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

 private:
  int before_;
};

Turn told() {
  Turn turn;
  turn.messages.push_back({types::Role::kSystem, "be kind", {}});
  return turn;
}

TEST(ChatLoop, WhatWasSaidGoesAlong) {
  const Input input("one\n\ntwo");
  Script script({{"first", TurnEnd{"stop", {}}}, {"second", TurnEnd{"length", {}}}});
  EXPECT_EQ(*chat_loop(script, told()), 0);
  EXPECT_EQ(script.asked, (std::vector<std::string>{"be kind|one|", "be kind|one|first|two|"}));
}

TEST(ChatLoop, ATurnThatFailedOrSaidNothingIsForgotten) {
  const Input input("fails\nstopped at once\nsays nothing\nstopped late\nlast\n");
  const Error stopped(ErrorCode::kCancelled, "stopped");
  Script script({{"half", Error(ErrorCode::kWorkerCrashed, "it died")},
                 {"", stopped},
                 {"", TurnEnd{"stop", {}}},
                 {"partly", stopped},
                 {"end", TurnEnd{"stop", {}}}});
  EXPECT_EQ(*chat_loop(script, told()), 0);
  ASSERT_EQ(script.asked.size(), 5U);
  EXPECT_EQ(script.asked[1], "be kind|stopped at once|");
  EXPECT_EQ(script.asked[2], "be kind|says nothing|");
  EXPECT_EQ(script.asked[3], "be kind|stopped late|");
  EXPECT_EQ(script.asked[4], "be kind|stopped late|partly|last|");
}

TEST(ChatLoop, ClearKeepsWhatTheModelIsToldFirst) {
  const Input input("one\n/clear\n/nonsense\n/etc/hosts is what?\n\xff\n/bye\nnever\n");
  Script script({{"first", TurnEnd{"stop", {}}}, {"second", TurnEnd{"stop", {}}}});
  EXPECT_EQ(*chat_loop(script, told()), 0);
  EXPECT_EQ(script.asked, (std::vector<std::string>{"be kind|one|", "be kind|/etc/hosts is what?|"}));
}

TEST(ChatLoop, AModelThatIsNotThereEndsItAtOnce) {
  const Input input("one\n");
  Script script({});
  Turn turn;
  turn.model = "none";
  EXPECT_EQ(chat_loop(script, turn).error().code(), ErrorCode::kModelNotFound);
  EXPECT_TRUE(script.asked.empty());
}

}  // namespace
}  // namespace shoal::cli
