// Label scores, the question after an answer and hidden states through the scheduler, over a fake model whose rows
// depend on every token before: each number is compared with a loop over all labels, one at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "shoal/worker/scheduler.h"

#include "fake_model.h"

namespace shoal::worker {
namespace {

// What FakeModel says next after `tokens`.
std::int32_t best_after(const std::vector<std::int32_t>& tokens) {
  std::uint64_t hash = 1469598103934665603ULL;
  for (const std::int32_t token : tokens) hash = (hash ^ static_cast<std::uint64_t>(token)) * 1099511628211ULL;
  return static_cast<std::int32_t>(hash % 900);
}

// log p of a token after `tokens`, as its rows have it: one logit of 10, the others 0.
double reference(const std::vector<std::int32_t>& tokens, std::int32_t next) {
  return (best_after(tokens) == next ? 10.0 : 0.0) - std::log(std::exp(10.0) + kVocabulary - 1);
}

ModelShape streams_shape() {
  ModelShape shape = small_shape();
  shape.one_cache = shape.shares_cells = false;
  shape.sequence_ids = 3;
  return shape;
}

class LabelsTest : public testing::TestWithParam<bool> {
 protected:
  LabelsTest() : model(GetParam() ? small_shape() : streams_shape()) { model.hashes = true; }

  void post(std::uint64_t id, ipc::Body body) {
    ipc::Frame frame;
    frame.header.request = id;
    frame.header.deadline_ns = std::numeric_limits<std::int64_t>::max();
    frame.body = std::move(body);
    scheduler.post(std::move(frame));
  }
  static ipc::Score ask(std::vector<std::int32_t> prompt, std::vector<std::string> labels) {
    ipc::Score request;
    request.prompt = std::move(prompt);
    request.labels = std::move(labels);
    return request;
  }
  static ipc::Generate story(std::vector<std::int32_t> prompt, std::int32_t max_tokens) {
    ipc::Generate request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.credits = 1000;
    request.sampling.temperature = 0;
    return request;
  }
  void run() {
    post(0, ipc::Drain{});
    scheduler.run();
  }
  void expect_scores(std::uint64_t request, const std::vector<std::int32_t>& prompt,
                     const std::vector<std::string>& labels) {
    ASSERT_TRUE(scored.contains(request)) << failed[request].message;
    const ipc::Scored& found = scored.at(request);
    ASSERT_EQ(found.labels.size(), labels.size());
    EXPECT_EQ(found.usage.prompt_tokens, static_cast<std::int32_t>(prompt.size()));
    for (std::size_t i = 0; i < labels.size(); ++i) {
      std::vector<std::int32_t> before = prompt;
      ASSERT_EQ(found.labels[i].logprobs.size(), labels[i].size()) << i;
      for (std::size_t k = 0; k < labels[i].size(); ++k) {
        EXPECT_EQ(found.labels[i].tokens[k], labels[i][k]);
        EXPECT_NEAR(found.labels[i].logprobs[k], reference(before, labels[i][k]), 1e-5) << labels[i] << " " << k;
        before.push_back(labels[i][k]);
      }
    }
  }

  FakeModel model;
  base::SystemClock clock;
  std::map<std::uint64_t, ipc::Scored> scored;
  std::map<std::uint64_t, std::vector<std::int32_t>> tokens;
  std::map<std::uint64_t, ipc::Finished> finished;
  std::map<std::uint64_t, ipc::Failed> failed;
  std::map<std::uint64_t, std::vector<float>> states;
  std::function<void(std::uint64_t, const ipc::Body&)> on_frame;
  Scheduler scheduler{model,
                      clock,
                      [this](std::uint64_t r, const ipc::Body& b) {
                        if (const auto* all = std::get_if<ipc::Scored>(&b)) scored[r] = *all;
                        if (const auto* token = std::get_if<ipc::TokenFrame>(&b)) tokens[r].push_back(token->token.id);
                        if (const auto* done = std::get_if<ipc::Finished>(&b)) finished[r] = *done;
                        if (const auto* bad = std::get_if<ipc::Failed>(&b)) failed[r] = *bad;
                        if (const auto* state = std::get_if<ipc::HiddenState>(&b)) states[r] = state->values;
                        if (on_frame) on_frame(r, b);
                      },
                      {1, 0}};
};

TEST_P(LabelsTest, LabelsOfOneTokenNeedNothingButThePrompt) {
  post(1, ask({5, 6, 7}, {"a", "b", "c", "d", "e", "f", "g", "h", "i"}));
  run();
  expect_scores(1, {5, 6, 7}, {"a", "b", "c", "d", "e", "f", "g", "h", "i"});
  EXPECT_EQ(model.batches.size(), 1U);
  EXPECT_EQ(scored[1].usage.completion_tokens, 9);
}

TEST_P(LabelsTest, EqualToOneLabelAtATime) {
  std::vector<std::string> labels = {"x", "yes", "no", "yesterday", "perhaps not", "a label longer than a batch"};
  // One that the model would say itself.
  std::vector<std::int32_t> before = {9, 8, 7};
  std::string likely;
  for (int i = 0; i < 3; ++i) {
    std::int32_t next = best_after(before);
    if (next > 126) next = 'q';
    likely += static_cast<char>(next);
    before.push_back(next);
  }
  labels.push_back(likely + "!");
  post(1, ask({9, 8, 7}, labels));
  run();
  expect_scores(1, {9, 8, 7}, labels);
  std::size_t prompt_tokens = 0;
  for (const auto& batch : model.batches) {
    prompt_tokens +=
        static_cast<std::size_t>(std::ranges::count_if(batch, [](const auto& t) { return t.position < 3; }));
  }
  EXPECT_EQ(prompt_tokens, 3U) << "the prompt is computed once";
}

TEST_P(LabelsTest, BesideAnswersAndOtherScores) {
  post(1, story({3, 4, 5}, 12));
  post(2, ask({9, 8, 7}, {"one", "two", "three", "four", "five"}));
  post(3, ask({9, 8, 7}, {"two", "six"}));
  post(4, story({3, 4, 6}, 5));
  run();
  expect_scores(2, {9, 8, 7}, {"one", "two", "three", "four", "five"});
  expect_scores(3, {9, 8, 7}, {"two", "six"});
  std::vector<std::int32_t> answer = {3, 4, 5};
  for (const std::int32_t token : tokens[1]) {
    EXPECT_EQ(token, best_after(answer));
    answer.push_back(token);
  }
  EXPECT_EQ(tokens[1].size(), 12U);
  EXPECT_EQ(tokens[4].size(), 5U);
}

TEST_P(LabelsTest, ALabelThatIsInterruptedIsComputedAgain) {
  int decodes = 0;
  model.on_decode = [&] {
    if (++decodes % 2 == 0) model.next_status = DecodeStatus::kInterrupted;
  };
  post(1, ask({9, 8, 7}, {"one", "two", "three and more", "four"}));
  run();
  expect_scores(1, {9, 8, 7}, {"one", "two", "three and more", "four"});
}

TEST_P(LabelsTest, CancelledInTheMiddleItGivesEverythingBack) {
  int decodes = 0;
  model.on_decode = [&] {
    if (++decodes == 2) post(1, ipc::Cancel{});
  };
  post(1, ask({9, 8, 7}, {"a label longer than a batch", "another one of those", "and one more"}));
  post(2, ask({9, 8, 7}, {"one", "two"}));
  run();
  EXPECT_FALSE(scored.contains(1));
  expect_scores(2, {9, 8, 7}, {"one", "two"});
  EXPECT_LE(model.cells_alive(), 3U + 8U) << "the prompt may be kept";
}

TEST_P(LabelsTest, ManyRandomRequestsLeaveNothingBehind) {
  std::mt19937 random(5);
  std::map<std::uint64_t, std::pair<std::vector<std::int32_t>, std::vector<std::string>>> asked;
  for (std::uint64_t id = 1; id <= 150; ++id) {
    std::vector<std::int32_t> prompt(1 + random() % 12);
    for (std::int32_t& token : prompt) token = static_cast<std::int32_t>(random() % 3);
    if (id % 3 == 0) {
      auto request = story(prompt, static_cast<std::int32_t>(1 + random() % 9));
      request.p_true = id % 6 == 0;
      request.hidden_state = id % 9 == 0;
      post(id, request);
      continue;
    }
    std::vector<std::string> labels;
    for (std::size_t i = 1 + random() % 9; i > 0; --i) {
      std::string label(1 + random() % 12, 'a');
      for (char& c : label) c = static_cast<char>('a' + random() % 2);
      if (std::ranges::find(labels, label) == labels.end()) labels.push_back(label);
    }
    asked[id] = {prompt, labels};
    post(id, ask(prompt, labels));
  }
  run();
  for (const auto& [id, what] : asked) expect_scores(id, what.first, what.second);
  EXPECT_TRUE(failed.empty());
}

TEST_P(LabelsTest, WhatCannotFitIsRefusedWithNumbers) {
  post(1, ask(std::vector<std::int32_t>(30, 1), {"ok", "far too long for it"}));
  run();
  EXPECT_EQ(failed.at(1).code, ErrorCode::kContextLengthExceeded);
  EXPECT_NE(failed.at(1).message.find("30 tokens and the longest label 19"), std::string::npos) << failed.at(1).message;
}

TEST_P(LabelsTest, ABrokenRowIsAnError) {
  model.poison = true;
  post(1, ask({9, 8}, {"one", "two"}));
  run();
  EXPECT_EQ(failed.at(1).code, ErrorCode::kNumericFault);
}

// --- is the answer true?

TEST_P(LabelsTest, TheQuestionChangesNeitherTheAnswerNorWhatIsKept) {
  // A prompt after whose answer and question the model says True.
  const auto question = model.continue_with(std::string(TruthProbe::kText));
  std::vector<std::int32_t> all;
  std::int32_t first = -1;
  do {
    all = {++first, 1};
    for (int i = 0; i < 6; ++i) all.push_back(best_after(all));
    all.insert(all.end(), question.begin(), question.end());
  } while (best_after(all) != 'T');
  const std::vector<std::int32_t> conversation(all.begin(), all.begin() + 8);

  auto asked = story({first, 1}, 6);
  asked.p_true = true;
  post(1, asked);
  std::vector<std::int32_t> held;
  on_frame = [&](std::uint64_t request, const ipc::Body& body) {
    if (request == 1 && std::holds_alternative<ipc::Finished>(body)) held = model.content(0);
  };
  auto next = story(conversation, 3);
  next.prompt = conversation;
  post(2, next);
  run();
  EXPECT_EQ(tokens[1], std::vector<std::int32_t>(conversation.begin() + 2, conversation.end()));
  ASSERT_TRUE(finished.at(1).signals.p_true);
  EXPECT_NEAR(*finished.at(1).signals.p_true, 1 / (1 + std::exp(-10.0)), 1e-6);
  EXPECT_FALSE(finished.at(2).signals.p_true);
  EXPECT_EQ(finished.at(1).usage.completion_tokens, 6);
  EXPECT_EQ(finished.at(1).signals.tokens, 6);
  EXPECT_EQ(held, conversation) << "the question is gone again";
  EXPECT_EQ(tokens[2].front(), best_after(conversation));
}

TEST_P(LabelsTest, TheQuestionIsInterruptedAndAskedAgain) {
  auto asked = story({7, 7}, 2);
  asked.p_true = true;
  post(1, asked);
  int decodes = 0;
  model.on_decode = [&] {
    if (++decodes > 2 && decodes < 6) model.next_status = DecodeStatus::kInterrupted;
  };
  run();
  EXPECT_EQ(tokens[1].size(), 2U);
  EXPECT_TRUE(finished.at(1).signals.p_true);
}

TEST_P(LabelsTest, TheQuestionCountsAgainstTheContext) {
  auto asked = story(std::vector<std::int32_t>(30, 1), 10);
  post(1, asked);
  asked.p_true = true;
  post(2, asked);
  run();
  EXPECT_EQ(finished.count(1), 1U);
  EXPECT_EQ(failed.at(2).code, ErrorCode::kContextLengthExceeded);
  EXPECT_NE(failed.at(2).message.find("for the question of x_shoal.p_true"), std::string::npos) << failed.at(2).message;
}

// --- hidden states

TEST_P(LabelsTest, AHiddenStateIsOfTheLastPromptTokenAlone) {
  auto asked = story({5, 6, 77}, 3);
  asked.hidden_state = true;
  post(1, story({1, 2}, 8));
  post(2, asked);
  run();
  EXPECT_EQ(states.at(2), std::vector<float>{77});
  EXPECT_FALSE(states.contains(1));
  const auto alone = [](const auto& batch) { return batch.size() == 1 && batch[0].id == 77; };
  EXPECT_EQ(std::ranges::count_if(model.batches, alone), 1);
  EXPECT_EQ(tokens[2].front(), best_after({5, 6, 77}));
  EXPECT_EQ(tokens[1].size(), 8U);
}

TEST_P(LabelsTest, AHiddenStateOfAKeptPromptAndOfOneToken) {
  auto asked = story({5, 6, 77}, 3);
  post(1, asked);
  asked.hidden_state = true;
  post(2, asked);
  auto one = story({9}, 1);
  one.hidden_state = true;
  post(3, one);
  run();
  EXPECT_EQ(states.at(2), std::vector<float>{77});
  EXPECT_EQ(states.at(3), std::vector<float>{9});
  EXPECT_EQ(tokens[1], tokens[2]);
}

INSTANTIATE_TEST_SUITE_P(Caches, LabelsTest, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "Shared" : "Streams"; });

}  // namespace
}  // namespace shoal::worker
