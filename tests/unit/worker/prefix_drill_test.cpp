// A thousand prompts that branch like a tree, through the real worker and real weights, many at a time: what they have
// in common is computed once, and in the exact mode nobody can tell.
#include <fstream>
#include <random>
#include <set>

#include "drill.h"

namespace shoal {
namespace {

using Prompt = std::vector<std::int32_t>;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kPrompts = 80;  // the model is what takes the time, and has no secrets
#else
constexpr std::size_t kPrompts = 1000;
#endif

// Four trunks of 40 tokens, five branches of 40 on each, eight of 30 on each of those, and an end of its own for every
// prompt. Random ids: the worst that a cache can be asked to tell apart.
std::vector<Prompt> tree_of_prompts(std::size_t count, std::int32_t vocabulary) {
  std::mt19937 random(11);
  const auto tokens = [&](std::size_t length) {
    Prompt out(length);
    for (auto& id : out) id = static_cast<std::int32_t>(random() % static_cast<unsigned>(vocabulary - 10)) + 5;
    return out;
  };
  std::map<std::vector<int>, Prompt> parts;
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < count; ++i) {
    Prompt prompt;
    std::vector<int> path;
    for (const auto& [branches, length] : {std::pair{4U, 40U}, {5U, 40U}, {8U, 30U}}) {
      path.push_back(static_cast<int>(random() % branches));
      if (!parts.contains(path)) parts[path] = tokens(length);
      prompt.insert(prompt.end(), parts[path].begin(), parts[path].end());
    }
    for (const std::int32_t id : tokens(2 + random() % 4)) prompt.push_back(id);
    prompts.push_back(std::move(prompt));
  }
  return prompts;
}

// Tokens of the prompts when whatever begins alike is computed once.
std::size_t ideal_tokens(const std::vector<Prompt>& prompts) {
  std::set<Prompt> prefixes;
  for (const Prompt& prompt : prompts) {
    for (std::size_t length = 1; length <= prompt.size(); ++length)
      prefixes.emplace(prompt.begin(), prompt.begin() + static_cast<std::ptrdiff_t>(length));
  }
  return prefixes.size();
}

// A sampled answer, so that every bit of the logits counts.
ipc::Generate ask(const Prompt& prompt) {
  ipc::Generate request = greedy("", 4);
  request.prompt = prompt;
  request.ignore_eos = true;
  request.sampling.temperature = 1;
  request.sampling.seed = 5;
  return request;
}

class PrefixDrill : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_)) GTEST_SKIP() << "no test weights at " << model_;
    args_.context_length = 4096;
    args_.slots = 8;
    args_.threads = 2;
  }

  // Every answer, with at most a dozen requests in the worker at a time; and the tokens that it prefilled.
  std::map<std::uint64_t, Answer> answer_all(const std::vector<Prompt>& prompts, std::uint64_t& prefilled) {
    Worker worker(model_, args_);
    worker.expect<ipc::Ready>();
    std::map<std::uint64_t, Answer> answers;
    std::size_t sent = 0;
    for (std::size_t ended = 0; ended < prompts.size();) {
      for (; sent < prompts.size() && sent - ended < 12; ++sent) worker.send(sent + 1, ask(prompts[sent]));
      for (auto& [id, part] : collect(worker, 1)) {
        Answer& answer = answers[id];
        answer.ids.insert(answer.ids.end(), part.ids.begin(), part.ids.end());
        answer.logprobs.insert(answer.logprobs.end(), part.logprobs.begin(), part.logprobs.end());
        if (part.finished) answer.finished = part.finished;
        EXPECT_FALSE(part.failed) << part.failed->message;
      }
      ++ended;
    }
    worker.send(1'000'000, ipc::Tokenize{false, std::string("a")});
    worker.expect<ipc::Tokens>();  // the last Stats came before it
    prefilled = worker.stats().tokens_prefilled;
    return answers;
  }

  const std::filesystem::path model_ = weights("stories15M-q4_0.gguf");
  ipc::WorkerArgs args_;
};

constexpr std::int32_t kStoriesVocabulary = 32'000;

TEST_F(PrefixDrill, AThousandPromptsOfATreeComputeWhatTheyHaveInCommonOnce) {
  const auto prompts = tree_of_prompts(kPrompts, kStoriesVocabulary);
  const std::size_t ideal = ideal_tokens(prompts);
  args_.cold_cache_mib = 512;
  std::uint64_t prefilled = 0;
  answer_all(prompts, prefilled);
  RecordProperty("ideal", static_cast<int>(ideal));
  RecordProperty("prefilled", static_cast<int>(prefilled));
  EXPECT_GE(prefilled, ideal);
  EXPECT_LE(static_cast<double>(prefilled), 1.05 * static_cast<double>(ideal));
}

TEST_F(PrefixDrill, InTheExactModeEachAnswerIsWhatItIsAloneAndCold) {
  auto prompts = tree_of_prompts(kPrompts, kStoriesVocabulary);
  const std::size_t ideal = ideal_tokens(prompts);
  args_.exact = true;
  args_.cold_cache_mib = 2048;
  std::uint64_t prefilled = 0;
  const auto together = answer_all(prompts, prefilled);
  EXPECT_LE(static_cast<double>(prefilled), 1.05 * static_cast<double>(ideal));

  args_.keep_prefixes = false;
  Worker cold(model_, args_);
  cold.expect<ipc::Ready>();
  for (std::size_t i = 0; i < prompts.size(); i += 23) {
    cold.send(i + 1, ask(prompts[i]));
    const Answer alone = collect(cold, 1)[i + 1];
    ASSERT_EQ(alone.ids.size(), 4U);
    EXPECT_EQ(together.at(i + 1).ids, alone.ids) << i;
    EXPECT_EQ(together.at(i + 1).logprobs, alone.logprobs) << i << ": bit for bit";
  }
}

}  // namespace
}  // namespace shoal
