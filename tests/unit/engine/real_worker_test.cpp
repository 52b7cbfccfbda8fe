// The supervisor with the real shoal-worker and a model of 260 thousand weights: many clients, killed workers,
// cancelled answers. Skipped where the weights are not there.
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "unit/engine/harness.h"

namespace shoal::engine {
namespace {

class RealWorkerTest : public SupervisorTest {
 protected:
  RealWorkerTest() {
    const char* weights = std::getenv("SHOAL_TEST_WEIGHTS");
    const std::filesystem::path model =
        std::filesystem::path(weights != nullptr ? weights : "") / "stories260K-f32.gguf";
    options_.worker_path = std::filesystem::path(SHOAL_BIN_DIR) / "shoal-worker";
    options_.threads = 1;
    options_.max_failures = 10;
    here_ = std::filesystem::exists(model);
    for (const char* name : {"a", "b"}) {
      models_.at(name).info.path = model;
      models_.at(name).info.embeds = false;
      models_.at(name).info.context_length = 128;
    }
  }
  void SetUp() override {
    if (!here_) GTEST_SKIP() << "needs $SHOAL_TEST_WEIGHTS/stories260K-f32.gguf";
  }

  static GenerateRequest story(const std::string& model, std::int32_t tokens) {
    GenerateRequest request = ask(model, "Once upon a time");
    request.sampling.temperature = 0;
    request.max_tokens = tokens;
    request.ignore_eos = true;
    return request;
  }

  bool here_ = false;
};

TEST_F(RealWorkerTest, ThirtyTwoClientsGetTheSameGreedyAnswer) {
  std::vector<Answer> answers(32);
  for (auto& out : answers) {
    side([&](base::Yield yield) { out = answer(story("a", 40), yield); });
  }
  run([](base::Yield) {});
  for (const auto& out : answers) {
    EXPECT_TRUE(out.finished) << out.code() << (out.error ? out.error->message() : "");
    EXPECT_EQ(out.tokens, 40);
    EXPECT_EQ(out.text, answers[0].text);
  }
  EXPECT_FALSE(answers[0].text.empty());
  EXPECT_EQ(status("a").restarts, 0U);
}

TEST_F(RealWorkerTest, InAStormOfKillsEachRequestEndsInAnAnswerOrATypedError) {
  std::vector<Answer> answers(48);
  for (auto& out : answers) {
    side([&](base::Yield yield) { out = answer(story("a", 100), yield); });
  }
  bool over = false;
  side([&](base::Yield yield) {
    while (!over) {
      const Answer out = answer(story("b", 100), yield);
      EXPECT_TRUE(out.finished) << "another model felt the kills: " << out.code();
    }
  });
  run([&](base::Yield yield) {
    for (std::uint64_t kills = 1; kills <= 3; ++kills) {
      const std::uint64_t before = status("a").tokens_decoded;
      ASSERT_TRUE(eventually(yield, [&] { return status("a").tokens_decoded > before + 450; }));
      ASSERT_EQ(::kill(status("a").pid, SIGKILL), 0);
      ASSERT_TRUE(eventually(yield, [&] { return status("a").restarts == kills; }));
    }
    over = true;
  });
  int answered = 0;
  for (const auto& out : answers) {
    EXPECT_TRUE(out.finished || out.code() == "worker_crashed") << out.code();
    answered += out.finished ? 1 : 0;
  }
  EXPECT_GT(answered, 0);
  EXPECT_LT(answered, 48);
  EXPECT_EQ(status("b").restarts, 0U);
}

TEST_F(RealWorkerTest, CancelledAnswersLeaveTheirSlotsToOthers) {
  run([&](base::Yield yield) {
    std::vector<std::unique_ptr<Generation>> running;
    for (int i = 0; i < 8; ++i) {
      auto started = supervisor().start(story("a", 100), yield);
      ASSERT_TRUE(started.ok()) << started.error().message();
      running.push_back(std::move(started).value());
    }
    running.clear();
    const Answer out = answer(story("a", 20), yield);
    EXPECT_TRUE(out.finished) << out.code();
    EXPECT_EQ(out.tokens, 20);
  });
}

TEST_F(RealWorkerTest, APromptLongerThanTheContextIsRefusedWithBothNumbers) {
  run([&](base::Yield yield) {
    std::string prompt;
    for (int i = 0; i < 4'000; ++i) prompt += "once upon a time ";
    const Answer out = answer("a", prompt, yield);
    EXPECT_EQ(out.code(), "context_length_exceeded");
    EXPECT_NE(out.error->message().find("128"), std::string::npos) << out.error->message();
  });
}

TEST_F(RealWorkerTest, AHeartbeatOfTheRealWorkerIsAnswered) {
  options_.idle_heartbeat_ms = 20;
  options_.heartbeat_timeout_ms = 5'000;
  run([&](base::Yield yield) {
    ASSERT_TRUE(supervisor().load("a", yield).ok());
    const auto until = base::Deadline::after_ms(clock(), 200);
    ASSERT_TRUE(eventually(yield, [&] { return until.passed(clock()); }));
    EXPECT_TRUE(answer(story("a", 5), yield).finished);
    EXPECT_EQ(status("a").restarts, 0U);
  });
}

TEST_F(RealWorkerTest, ADamagedFileIsRefusedTyped) {
  models_.at("a").info.path = models_.file("damaged");
  std::ofstream(models_.file("damaged")) << "GGUF" << std::string(1000, '\xff');
  run([&](base::Yield yield) {
    const Answer out = answer(story("a", 5), yield);
    EXPECT_EQ(out.code(), "model_invalid") << (out.error ? out.error->message() : "");
  });
}

TEST_F(RealWorkerTest, DrainEndsTheWorkerByItself) {
  run([&](base::Yield yield) {
    EXPECT_TRUE(answer(story("a", 5), yield).finished);
    supervisor().drain(base::Deadline::after_ms(clock(), 5'000), yield);
    EXPECT_EQ(status("a").pid, 0);
  });
}

}  // namespace
}  // namespace shoal::engine
