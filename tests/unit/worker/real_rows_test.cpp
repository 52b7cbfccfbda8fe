// The scheduler over real models. The signals that it sends equal a float64 reference over the rows that the model
// gave it, whatever bias, penalties and temperature did to the choice; label scores equal those of one label at a time;
// a hidden state is what the logits are made of. Skipped where the weights are not there.
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
#include <unistd.h>

#include "shoal/base/clock.h"
#include "shoal/gguf/reader.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/llama/llama_model.h"
#include "shoal/worker/scheduler.h"
#include "shoal/worker/truth_probe.h"

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
  [[nodiscard]] std::vector<std::int32_t> continue_with(const std::string& text) override {
    return real_->continue_with(text);
  }
  [[nodiscard]] Result<std::vector<std::int32_t>> next_turn(const std::string& text) override {
    return real_->next_turn(text);
  }
  [[nodiscard]] Result<std::string> detokenize(std::span<const std::int32_t> tokens, bool skip_special) override {
    return real_->detokenize(tokens, skip_special);
  }
  [[nodiscard]] std::string token_bytes(std::int32_t token) override { return real_->token_bytes(token); }
  [[nodiscard]] std::span<const std::int32_t> end_tokens() const override { return real_->end_tokens(); }
  [[nodiscard]] DecodeStatus decode(std::span<const BatchToken> batch) override { return real_->decode(batch); }
  [[nodiscard]] DecodeStatus decode_with_state(const BatchToken& token, std::vector<float>& state) override {
    return real_->decode_with_state(token, state);
  }
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
  void set_threads(std::uint32_t threads) override { real_->set_threads(threads); }
  void interrupt() override { real_->interrupt(); }
  void clear_interrupt() override { real_->clear_interrupt(); }

  std::vector<std::vector<float>> rows;

 private:
  std::unique_ptr<Model> real_;
};

std::filesystem::path weights(const char* name) {
  const char* folder = std::getenv("SHOAL_TEST_WEIGHTS");
  return std::filesystem::path(folder != nullptr ? folder : SHOAL_SOURCE_DIR "/../shared/weights") / name;
}

std::unique_ptr<Model> load(const std::filesystem::path& path, bool exact) {
  llama::LoadOptions options;
  options.model_fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  options.context_length = 512;
  options.slots = 1;
  options.threads = 1;
  options.exact = exact;
  auto model = llama::load(options);
  EXPECT_TRUE(model.ok()) << model.error().message();
  return model.ok() ? std::move(model).value() : nullptr;
}

class RealRows : public testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    llama::install_handlers();
    EXPECT_TRUE(llama::load_backends().ok());
  }
  static std::filesystem::path path() { return weights(GetParam()); }
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

// What one request is answered, and then another, on a cache that is empty at first.
struct Answer {
  std::vector<types::Token> tokens;
  std::optional<ipc::Finished> finished;
  std::optional<ipc::Scored> scored;
  std::vector<float> state;
};
std::vector<Answer> ask(RecordingModel& model, const std::vector<ipc::Body>& requests) {
  const base::SystemClock clock;
  std::vector<Answer> answers(requests.size());
  model.rows.clear();
  std::function<void()> post_next;
  Scheduler scheduler(model, clock,
                      [&](std::uint64_t request, const ipc::Body& body) {
                        if (request == 0) return;
                        Answer& answer = answers[request - 1];
                        if (const auto* frame = std::get_if<ipc::TokenFrame>(&body))
                          answer.tokens.push_back(frame->token);
                        if (const auto* frame = std::get_if<ipc::Finished>(&body)) answer.finished = *frame;
                        if (const auto* frame = std::get_if<ipc::Scored>(&body)) answer.scored = *frame;
                        if (const auto* frame = std::get_if<ipc::HiddenState>(&body)) answer.state = frame->values;
                        if (const auto* failed = std::get_if<ipc::Failed>(&body)) ADD_FAILURE() << failed->message;
                        if (answer.finished || answer.scored) post_next();
                      },
                      {1, 64U << 20});
  std::size_t posted = 0;
  post_next = [&] {
    ipc::FrameHeader header;
    header.request = ++posted;
    header.deadline_ns = std::numeric_limits<std::int64_t>::max();
    if (posted <= requests.size()) return scheduler.post({header, requests[posted - 1]});
    scheduler.post({{}, ipc::Drain{}});
  };
  post_next();
  scheduler.run();
  model.on_progress({});
  for (std::int32_t number = 0; number < static_cast<std::int32_t>(model.shape().sequence_ids); ++number)
    model.shorten(number, 0);
  return answers;
}

void expect_reference(RecordingModel& model, const ipc::Generate& request) {
  const Answer answer = ask(model, {request}).front();
  const std::vector<types::Token>& tokens = answer.tokens;
  const std::optional<ipc::Finished>& finished = answer.finished;
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
  RecordingModel model(load(path(), false));
  expect_reference(model, story());
  expect_reference(model, penalised_story());
}

// Each label alone, token by token, on a sequence that has nothing else.
std::vector<double> one_at_a_time(Model& model, const std::vector<std::int32_t>& prompt,
                                  const std::vector<std::int32_t>& label) {
  std::vector<double> logprobs;
  std::vector<std::int32_t> tokens = prompt;
  tokens.insert(tokens.end(), label.begin(), label.end());
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const BatchToken token{tokens[i], static_cast<std::int32_t>(i), 0, true};
    EXPECT_EQ(model.decode({&token, 1}), DecodeStatus::kDone);
    const auto row = model.logits(0);
    if (i + 1 >= prompt.size())
      logprobs.push_back(ReferenceRow(row).logprob(row[static_cast<std::size_t>(tokens[i + 1])]));
  }
  model.shorten(0, 0);
  return logprobs;
}

TEST_P(RealRows, LabelScoresEqualOneLabelAtATime) {
  if (!std::filesystem::exists(path())) GTEST_SKIP() << "needs " << path();
  for (const bool exact : {false, true}) {
    RecordingModel model(load(path(), exact));
    ipc::Score request;
    request.prompt = std::string("Once upon a time, there was a little girl who");
    request.labels = {" liked", " had a big red ball.", " was", " had a dog and a cat and a bird, and she was happy",
                      "?"};
    const auto answers = ask(model, {request, request});
    const auto prompt = model.tokenize(std::get<std::string>(request.prompt), true);
    ASSERT_TRUE(prompt.ok());
    for (const Answer& answer : answers) {
      ASSERT_TRUE(answer.scored);
      ASSERT_EQ(answer.scored->labels.size(), request.labels.size());
      for (std::size_t i = 0; i < request.labels.size(); ++i) {
        const types::LabelLogprobs& label = answer.scored->labels[i];
        // A label's tokens spell it, without a space that nobody wrote.
        std::string spelt;
        for (const std::int32_t token : label.tokens) spelt += model.token_bytes(token);
        EXPECT_EQ(spelt, request.labels[i]);
        const auto wanted = one_at_a_time(model, *prompt, label.tokens);
        ASSERT_EQ(label.logprobs.size(), wanted.size());
        // Sums in another order, but in exact mode: one bit flips a rounded activation, and that moves what follows.
        for (std::size_t k = 0; k < wanted.size(); ++k)
          EXPECT_NEAR(label.logprobs[k], wanted[k], exact ? 1e-5 : 0.3) << request.labels[i] << " " << k;
      }
    }
    EXPECT_EQ(answers[1].scored->usage.cached_tokens, static_cast<std::int32_t>(prompt->size()) - 1);
  }
}

TEST_P(RealRows, TheQuestionAfterTheAnswerChangesNothing) {
  if (!std::filesystem::exists(path())) GTEST_SKIP() << "needs " << path();
  for (const bool exact : {false, true}) {
    RecordingModel model(load(path(), exact));
    ipc::Generate plain = story();
    plain.sampling.temperature = 0;
    ipc::Generate asked = plain;
    asked.p_true = true;
    asked.hidden_state = true;
    const auto ids = [](const Answer& answer) {
      std::vector<std::int32_t> all;
      for (const types::Token& token : answer.tokens) all.push_back(token.id);
      return all;
    };
    const std::vector<std::int32_t> cold = ids(ask(model, {plain}).front());
    const auto answers = ask(model, {asked, plain});
    const std::vector<std::int32_t> said = ids(answers[0]);
    if (exact) {
      EXPECT_EQ(said, cold);
      EXPECT_EQ(ids(answers[1]), cold) << "what was kept is the conversation without the question";
    }
    ASSERT_TRUE(answers[0].finished->signals.p_true);
    EXPECT_GT(*answers[0].finished->signals.p_true, 0);
    EXPECT_LT(*answers[0].finished->signals.p_true, 1);
    EXPECT_EQ(answers[0].finished->usage.completion_tokens, static_cast<std::int32_t>(said.size()));
    // The same by hand: prompt, answer and question, and what comes next.
    const auto probe = TruthProbe::make(model, false);
    ASSERT_TRUE(probe.ok());
    std::vector<std::int32_t> tokens = *model.tokenize(std::get<std::string>(plain.prompt), true);
    tokens.insert(tokens.end(), said.begin(), said.end());
    tokens.insert(tokens.end(), probe->question.begin(), probe->question.end());
    const double yes = one_at_a_time(model, tokens, {probe->yes}).front();
    const double no = one_at_a_time(model, tokens, {probe->no}).front();
    EXPECT_NEAR(*answers[0].finished->signals.p_true, 1 / (1 + std::exp(no - yes)), exact ? 1e-5 : 0.1);
  }
}

// The last layer of a model is a matrix: its float32 weights times the hidden state are the logits.
TEST(RealStates, TimesTheOutputMatrixAreTheLogits) {
  const std::filesystem::path file = weights("stories260K-f32.gguf");
  if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
  llama::install_handlers();
  ASSERT_TRUE(llama::load_backends().ok());
  RecordingModel model(load(file, false));
  ipc::Generate request = story();
  request.hidden_state = true;
  const Answer answer = ask(model, {request}).front();
  ASSERT_EQ(answer.state.size(), model.shape().embedding_length);

  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  gguf::FileSource source(fd);
  const auto header = gguf::read_header(source);
  ASSERT_TRUE(header.ok());
  auto matrix = std::ranges::find(header->tensors, "output.weight", &gguf::Tensor::name);
  if (matrix == header->tensors.end())
    matrix = std::ranges::find(header->tensors, "token_embd.weight", &gguf::Tensor::name);
  ASSERT_NE(matrix, header->tensors.end());
  ASSERT_EQ(matrix->type, 0U) << "float32";
  std::vector<float> values(matrix->bytes / sizeof(float));
  ASSERT_TRUE(source.read(header->data_offset + matrix->offset,
                          {reinterpret_cast<char*>(values.data()), values.size() * sizeof(float)}));
  close(fd);
  const std::vector<float>& row = model.rows.front();
  for (std::size_t id = 0; id < row.size(); ++id) {
    double sum = 0;
    for (std::size_t i = 0; i < answer.state.size(); ++i)
      sum += static_cast<double>(values[id * answer.state.size() + i]) * static_cast<double>(answer.state[i]);
    EXPECT_NEAR(row[id], sum, 1e-4 * std::max(1.0, std::abs(sum))) << id;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealRows,
                         testing::Values("stories260K-f32.gguf", "minimind2-small-26m-q4_0.gguf",
                                         "stories15M-q4_0.gguf"));

}  // namespace
}  // namespace shoal::worker
