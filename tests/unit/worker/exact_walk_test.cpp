// The exact mode at its word, on real models: a row of logits depends on the tokens before it, bit for bit, and on
// nothing else. Sequences walk through shared texts in steps and chunks of random size, beside random neighbours, are
// cut back and begin anew, and some steps are interrupted in their midst. Skipped where the weights are not there.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "shoal/worker/llama/llama_model.h"

namespace shoal::worker {
namespace {

constexpr int kSequences = 16;
constexpr int kTexts = 12;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kSteps = 15;  // the model is what takes the time, and has no secrets
#else
constexpr int kSteps = 300;
#endif

std::filesystem::path weights(const char* name) {
  const char* folder = std::getenv("SHOAL_TEST_WEIGHTS");
  return std::filesystem::path(folder != nullptr ? folder : SHOAL_SOURCE_DIR "/../shared/weights") / name;
}

std::unique_ptr<Model> load_exact(const std::filesystem::path& path) {
  llama::install_handlers();
  EXPECT_TRUE(llama::load_backends().ok());
  llama::LoadOptions options;
  options.model_fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  options.context_length = kSequences * 512;
  options.slots = kSequences;
  options.threads = 1;
  options.exact = true;
  auto model = llama::load(options);
  EXPECT_TRUE(model.ok()) << model.error().message();
  return model.ok() ? std::move(model).value() : nullptr;
}

class Walk {
 public:
  explicit Walk(Model& model) : model_(model) {
    for (auto& text : texts_) {
      text.resize(20 + below(100));
      for (std::int32_t& token : text) token = 5 + static_cast<std::int32_t>(below(6000));
    }
    for (Walker& walker : walkers_) walker.text = below(kTexts);
  }

  // One in `interrupt_every` is interrupted, somewhere; 0: none.
  void step(std::size_t interrupt_every) {
    plan();
    std::size_t looks = interrupt_every > 0 && below(interrupt_every) == 0 ? 1 + below(40) : 0;
    model_.on_progress([&] {
      if (looks > 0 && --looks == 0) model_.interrupt();
    });
    const DecodeStatus status = model_.decode(batch_);
    model_.on_progress({});
    model_.clear_interrupt();
    if (status == DecodeStatus::kInterrupted) {
      ++interrupted;
    } else {
      ASSERT_EQ(status, DecodeStatus::kDone);
      compare();
    }
    for (Walker& walker : walkers_) walk_on(walker, status);
  }

  int interrupted = 0;
  int compared = 0;
  int different = 0;

 private:
  struct Walker {
    std::size_t text = 0;
    std::size_t stored = 0;
    std::size_t taken = 0;  // in this step
  };

  std::size_t below(std::size_t bound) { return random_() % bound; }
  std::int32_t number(const Walker& walker) const { return static_cast<std::int32_t>(&walker - walkers_.data()); }

  void plan() {
    batch_.clear();
    std::vector<Walker*> order;
    for (Walker& walker : walkers_) {
      walker.taken = 0;
      if (below(3) != 0) order.push_back(&walker);
    }
    if (order.empty()) order.push_back(&walkers_[below(kSequences)]);
    if (below(2) == 0) std::ranges::shuffle(order, random_);
    for (Walker* walker : order) {
      const auto& text = texts_[walker->text];
      walker->taken = below(8) == 0 ? std::min(text.size() - walker->stored, 1 + below(below(2) == 0 ? 8 : 60)) : 1;
      for (std::size_t i = 1; i <= walker->taken; ++i) {
        const std::size_t at = walker->stored + i - 1;
        batch_.push_back({text[at], static_cast<std::int32_t>(at), number(*walker), i == walker->taken});
      }
    }
  }

  void compare() {
    for (std::size_t i = 0; i < batch_.size(); ++i) {
      if (!batch_[i].want_logits) continue;
      const std::span<const float> row = model_.logits(i);
      const std::size_t hash =
          std::hash<std::string_view>{}({reinterpret_cast<const char*>(row.data()), row.size_bytes()});
      const Walker& walker = walkers_[static_cast<std::size_t>(batch_[i].sequence)];
      const auto [known, first] = rows_.try_emplace({walker.text, batch_[i].position}, hash);
      if (first) continue;
      ++compared;
      if (known->second != hash) ++different;
    }
  }

  // What an interrupted step has computed is kept, but for the last token, whose row is lost.
  void walk_on(Walker& walker, DecodeStatus status) {
    if (status == DecodeStatus::kDone) {
      walker.stored += walker.taken;
    } else if (walker.taken > 0) {
      const auto length = static_cast<std::size_t>(model_.length(number(walker)));
      ASSERT_GE(length, walker.stored);
      walker.stored = std::min(length, walker.stored + walker.taken - 1);
      ASSERT_TRUE(model_.shorten(number(walker), static_cast<std::int32_t>(walker.stored)));
    }
    if (walker.stored < texts_[walker.text].size() && below(30) != 0) return;
    if (below(3) != 0) {
      walker = {.text = below(kTexts)};
    } else {
      walker.stored = below(std::max<std::size_t>(walker.stored, 1));
    }
    ASSERT_TRUE(model_.shorten(number(walker), static_cast<std::int32_t>(walker.stored)));
  }

  Model& model_;
  std::mt19937 random_{1};
  std::vector<std::vector<std::int32_t>> texts_{kTexts};
  std::vector<Walker> walkers_{kSequences};
  std::vector<BatchToken> batch_;
  std::map<std::pair<std::size_t, std::int32_t>, std::size_t> rows_;  // by text and position
};

class ExactWalk : public testing::TestWithParam<const char*> {};

TEST_P(ExactWalk, RowsDependOnTheTokensBeforeThemOnly) {
  const std::filesystem::path path = weights(GetParam());
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "needs " << path;
  const auto model = load_exact(path);
  ASSERT_NE(model, nullptr);
  Walk walk(*model);
  for (int i = 0; i < kSteps && !HasFatalFailure(); ++i) walk.step(2);
  EXPECT_GT(walk.interrupted, kSteps / 10);
  EXPECT_GT(walk.compared, kSteps);
  EXPECT_EQ(walk.different, 0) << "of " << walk.compared;
}

INSTANTIATE_TEST_SUITE_P(Models, ExactWalk, testing::Values("minimind2-small-26m-q4_0.gguf", "stories15M-q4_0.gguf"));

}  // namespace
}  // namespace shoal::worker
