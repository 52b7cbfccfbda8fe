// What it costs to judge an answer, beside writing it: answer_signals_bench MODEL.gguf FOLDER WEAK STRONG [THREADS].
// FOLDER with outcomes as `shoal eval route` reads them, with the answers of WEAK. The signals of a token are measured
// on the model's own logits, its confidence as the judge adds it up; the checks, and the judge after the draft, on the
// answers of the table. An answer has as many tokens as it has bytes / 4. Everything is held against a decode step of
// one sequence. The bar: 1 %.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>

#include "shoal/evaluation/learned_router.h"
#include "shoal/routing/answer_checks.h"
#include "shoal/routing/answer_gain_fit.h"
#include "shoal/routing/calibration.h"
#include "shoal/worker/llama/llama_model.h"
#include "shoal/worker/sampler.h"
#include "shoal/worker/signals.h"

namespace {

using namespace shoal;

constexpr double kBytesPerToken = 4;
constexpr double kMostShare = 0.01;

double median_us(int rounds, const std::function<void()>& work) {
  std::vector<double> us;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(us);
  return us[us.size() / 2];
}

// The row after 64 tokens, and what a step costs there.
double decode_us(worker::Model& model, std::vector<float>& row) {
  std::int32_t token = model.any_token();
  std::int32_t position = 0;
  const auto step = [&] {
    const worker::BatchToken next{token, position++, 0, true};
    if (model.decode({&next, 1}) != worker::DecodeStatus::kDone) std::exit(1);
    const auto logits = model.logits(0);
    row.assign(logits.begin(), logits.end());
    token = worker::argmax(row);
  };
  for (int i = 0; i < 64; ++i) step();
  return median_us(200, step);
}

// Per token of the answers, each work done on every answer once a round.
double per_token_us(const std::vector<evaluation::PairedRow>& rows,
                    const std::function<void(const evaluation::PairedRow&)>& work) {
  double tokens = 0;
  for (const evaluation::PairedRow& row : rows) tokens += row.weak_answer_bytes / kBytesPerToken;
  return median_us(5,
                   [&] {
                     for (const evaluation::PairedRow& row : rows) work(row);
                   }) /
         tokens;
}

Result<int> run(const char* const* argv, std::uint32_t threads) {
  const evaluation::OutcomeTable table = SHOAL_TRY(evaluation::read_outcomes(argv[2], {}));
  const evaluation::OutcomePair pair = SHOAL_TRY(evaluation::pair_outcomes(table, argv[3], argv[4]));
  worker::llama::install_handlers();
  SHOAL_TRY(worker::llama::load_backends());
  worker::llama::LoadOptions options;
  options.model_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  options.context_length = 1024;
  options.slots = 1;
  options.threads = threads;
  const auto model = SHOAL_TRY(worker::llama::load(options));
  std::vector<float> row;
  const double step = decode_us(*model, row);
  routing::AnswerReader reader;
  routing::Statistic statistic;
  float kept = 0;  // so that nothing is computed for nobody
  const double signals = median_us(1000, [&] { kept += worker::measure(row)->entropy; });
  const double adding = median_us(1000,
                                  [&] {
                                    for (int i = 0; i < 100; ++i) statistic.add(-0.1);
                                  }) /
                        100;
  const double checks = per_token_us(pair.rows, [&](const evaluation::PairedRow& one) {
    kept += reader.read({.prompt = one.prompt}, one.weak_answer)[0];
  });
  const routing::AnswerGain gain = SHOAL_TRY(routing::fit_answer_gain(evaluation::AnswerRows(pair.rows).rows(), {}));
  routing::AnswerGain::Scratch scratch;
  const double judge = per_token_us(pair.rows, [&](const evaluation::PairedRow& one) {
    kept += static_cast<float>(gain.score({.prompt = one.prompt, .text = one.weak_answer}, scratch).gain);
  });
  fmt::print("{} logits, {} threads, {} answers ({:.0f})\n{:<44} {:>9} {:>9}\n", row.size(), threads, pair.rows.size(),
             statistic.tokens + static_cast<double>(kept) * 0, "", "us/token", "share");
  const auto show = [&](const char* what, double us) {
    fmt::print("{:<44} {:>9.3f} {:>7.3f} %\n", what, us, 100 * us / step);
  };
  show("decode step of one sequence", step);
  show("signals of a row of logits", signals);
  show("statistic of the calibration", adding);
  show("checks of the answer", checks);
  show("signals, statistic and checks", signals + adding + checks);
  show("the judge after the draft, its checks included", judge);
  const bool met = signals + adding + checks <= kMostShare * step;
  fmt::print("bar: at most {:.0f} % of decode: {}\n", 100 * kMostShare, met ? "met" : "MISSED");
  return met ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "answer_signals_bench MODEL.gguf FOLDER WEAK STRONG [THREADS]\n");
    return 2;
  }
  const auto done = run(argv, argc > 5 ? static_cast<std::uint32_t>(std::atoi(argv[5])) : 2);
  if (done.ok()) return *done;
  std::fprintf(stderr, "%s\n", done.error().message().c_str());
  return 1;
}
