// The signals that the scheduler sends equal a float64 reference over the rows that a real model gave it, whatever
// bias, penalties and temperature did to the choice. Skipped where the weights are not there.
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "shoal/base/clock.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/llama/llama_model.h"
#include "shoal/worker/scheduler.h"

#include "row_reference.h"

namespace shoal::worker {
namespace {

// Keeps every row that it hands out.
class RecordingModel final : public Model {
 public:
  explicit RecordingModel(std::unique_ptr<Model> real) : real_(std::move(real)) {}

  [[nodiscard]] const ModelShape& shape() const override { return real_->shape(); }
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(const PromptInput& prompt, bool add_special) override {
    return real_->tokenize(prompt, add_special);
  }
  [[nodiscard]] Result<std::string> detokenize(std::span<const std::int32_t> tokens, bool skip_special) override {
    return real_->detokenize(tokens, skip_special);
  }
  [[nodiscard]] std::string token_bytes(std::int32_t token) override { return real_->token_bytes(token); }
  [[nodiscard]] std::span<const std::int32_t> end_tokens() const override { return real_->end_tokens(); }
  [[nodiscard]] DecodeStatus decode(std::span<const BatchToken> batch) override { return real_->decode(batch); }
  [[nodiscard]] std::span<const float> logits(std::size_t batch_index) override {
    const std::span<const float> row = real_->logits(batch_index);
    rows.emplace_back(row.begin(), row.end());
    return row;
  }
  [[nodiscard]] std::int32_t length(std::int32_t sequence) override { return real_->length(sequence); }
  bool shorten(std::int32_t sequence, std::int32_t length) override { return real_->shorten(sequence, length); }
  bool share(std::int32_t from, std::int32_t to, std::int32_t begin, std::int32_t end) override {
    return real_->share(from, to, begin, end);
  }
  [[nodiscard]] std::optional<KvBlob> save(std::int32_t sequence, std::int32_t begin) override {
    return real_->save(sequence, begin);
  }
  [[nodiscard]] bool restore(std::int32_t sequence, const KvBlob& blob) override {
    return real_->restore(sequence, blob);
  }
  [[nodiscard]] std::int32_t any_token() const override { return real_->any_token(); }
  [[nodiscard]] Result<std::vector<std::vector<float>>> embed(
      std::span<const std::vector<std::int32_t>> inputs) override {
    return real_->embed(inputs);
  }
  void on_progress(std::function<void()> callback) override { real_->on_progress(std::move(callback)); }
  void interrupt() override { real_->interrupt(); }
  void clear_interrupt() override { real_->clear_interrupt(); }

  std::vector<std::vector<float>> rows;

 private:
  std::unique_ptr<Model> real_;
};

std::unique_ptr<Model> load(const std::filesystem::path& path) {
  llama::LoadOptions options;
  options.model_fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  options.context_length = 512;
  options.slots = 1;
  options.threads = 1;
  auto model = llama::load(options);
  EXPECT_TRUE(model.ok()) << model.error().message();
  return model.ok() ? std::move(model).value() : nullptr;
}

// A path: the weights of that name, or the model of the test store.
class RealRows : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    llama::install_handlers();
    EXPECT_TRUE(llama::load_backends().ok());
  }
  static std::filesystem::path path() {
    const char* folder = std::getenv("SHOAL_TEST_WEIGHTS");
    return std::filesystem::path(folder != nullptr ? folder : SHOAL_SOURCE_DIR "/../shared/weights") / GetParam();
  }
};

ipc::Generate story() {
  ipc::Generate request;
  request.prompt = std::string("Once upon a time, there was a little girl who");
  request.max_tokens = 60;
  request.credits = 1000;
  request.ignore_eos = true;
  request.top_logprobs = 3;
  request.sampling.temperature = 1.2F;
  request.sampling.seed = 5;
  return request;
}

ipc::Generate penalised_story() {
  ipc::Generate request = story();
  request.sampling.top_p = 0.9F;
  request.sampling.presence_penalty = 1.5F;
  request.sampling.frequency_penalty = 1.0F;
  request.sampling.repetition_penalty = 1.3F;
  for (std::int32_t id = 0; id < 300; ++id) {
    request.sampling.logit_bias.emplace_back(id, id % 3 == 0 ? 4.0F : -30.0F);
  }
  return request;
}

void expect_mean(const types::SignalSummary& found, const std::vector<double>& values, const char* what) {
  expect_close(found.mean, std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size()),
               what);
}

void expect_reference(RecordingModel& model, const ipc::Generate& request) {
  const base::SystemClock clock;
  std::vector<types::Token> tokens;
  std::optional<ipc::Finished> finished;
  model.rows.clear();
  Scheduler scheduler(
      model, clock,
      [&](std::uint64_t, const ipc::Body& body) {
        if (const auto* frame = std::get_if<ipc::TokenFrame>(&body)) tokens.push_back(frame->token);
        if (const auto* frame = std::get_if<ipc::Finished>(&body)) finished = *frame;
        if (const auto* failed = std::get_if<ipc::Failed>(&body)) ADD_FAILURE() << failed->message;
      },
      {1, 0});
  ipc::FrameHeader header;
  header.request = 1;
  header.deadline_ns = std::numeric_limits<std::int64_t>::max();
  scheduler.post({header, request});
  scheduler.post({{}, ipc::Drain{}});
  scheduler.run();
  ASSERT_TRUE(finished);
  ASSERT_EQ(tokens.size(), 60U);
  ASSERT_EQ(model.rows.size(), tokens.size());
  std::vector<double> logprobs, entropies, margins, certainties;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const ReferenceRow wanted(model.rows[i]);
    const types::Token& t = tokens[i];
    const auto logit = [&](std::int32_t id) { return model.rows[i][static_cast<std::size_t>(id)]; };
    logprobs.push_back(wanted.logprob(logit(t.id)));
    entropies.push_back(wanted.entropy);
    margins.push_back(wanted.margin);
    certainties.push_back(wanted.self_certainty);
    expect_close(t.logprob, logprobs.back(), "logprob");
    expect_close(t.entropy, wanted.entropy, "entropy");
    expect_close(t.margin, wanted.margin, "margin");
    expect_close(t.self_certainty, wanted.self_certainty, "self-certainty");
    for (const types::TopLogprob& top : t.top) expect_close(top.logprob, wanted.logprob(logit(top.id)), "top");
    for (const SignalKernel kernel : signal_kernels()) {
      expect_signals(model.rows[i], *measure_with(kernel, model.rows[i]), "kernel");
    }
  }
  const types::AnswerSignals& found = finished->signals;
  EXPECT_EQ(found.tokens, 60);
  expect_mean(found.logprob, logprobs, "mean logprob");
  expect_mean(found.entropy, entropies, "mean entropy");
  expect_mean(found.margin, margins, "mean margin");
  expect_mean(found.self_certainty, certainties, "mean self-certainty");
  expect_close(found.logprob.worst, *std::ranges::min_element(logprobs), "worst logprob");
  expect_close(found.entropy.worst, *std::ranges::max_element(entropies), "worst entropy");
}

TEST_P(RealRows, SignalsEqualTheReferenceWithBiasAndPenalties) {
  if (!std::filesystem::exists(path())) GTEST_SKIP() << "needs " << path();
  auto real = load(path());
  ASSERT_NE(real, nullptr);
  RecordingModel model(std::move(real));
  expect_reference(model, story());
  expect_reference(model, penalised_story());
}

INSTANTIATE_TEST_SUITE_P(Models, RealRows,
                         testing::Values("stories260K-f32.gguf", "minimind2-small-26m-q4_0.gguf",
                                         "stories15M-q4_0.gguf"));

}  // namespace
}  // namespace shoal::worker
