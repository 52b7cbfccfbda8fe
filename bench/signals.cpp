// What the signals and the choice of a token cost, beside a decode step of the model whose rows they are of.
//   signals_bench MODEL.gguf [THREADS]
// Prints the least and the median of many rounds in microseconds, and the share of a decode step of one sequence.
#include "shoal/worker/signals.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>

#include "shoal/worker/llama/llama_model.h"
#include "shoal/worker/sampler.h"

namespace {

using namespace shoal;

struct Times {
  double least, median;
};

Times times_of(int rounds, const std::function<void()>& work) {
  std::vector<double> us;
  for (int i = 0; i < rounds; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::sort(us);
  return {us.front(), us[us.size() / 2]};
}

void show(const char* what, Times times, double step_us) {
  std::printf("%-46s %9.1f %9.1f %8.2f %%\n", what, times.least, times.median, 100 * times.least / step_us);
}

const char* name_of(worker::SignalKernel kernel) {
  switch (kernel) {
    case worker::SignalKernel::kBase:
      return "signals of a row, base (SSE2 on x86-64)";
    case worker::SignalKernel::kAvx2:
      return "signals of a row, AVX2";
    case worker::SignalKernel::kAvx512:
      return "signals of a row, AVX-512";
  }
  return "";
}

// The row after 64 tokens, and what a step costs there.
Times decode(worker::Model& model, std::vector<float>& row) {
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
  return times_of(200, step);
}

void choices(const std::vector<float>& row, std::span<const std::int32_t> ends, double step_us) {
  const std::int32_t best = worker::argmax(row);
  const auto one = [&](const char* what, const types::SamplingParams& params, std::span<const std::int32_t> forbidden) {
    worker::Sampler sampler(params, 1);
    for (std::int32_t id = 0; id < 200; ++id) sampler.accept(id * 7);
    show(what, times_of(300, [&] { (void)sampler.choose(row, forbidden, best); }), step_us);
  };
  types::SamplingParams params;
  params.temperature = 0;
  one("choice, greedy", params, {});
  one("choice, greedy, ends forbidden", params, ends);
  params.repetition_penalty = 1.1F;
  one("choice, greedy, repetition penalty", params, {});
  params = {};
  one("choice, temperature 1", params, {});
  params.top_p = 0.95F;
  one("choice, temperature 1, top_p 0.95", params, {});
  params = {};
  params.top_k = 40;
  one("choice, temperature 1, top_k 40", params, {});
  params = {};
  params.min_p = 0.05F;
  one("choice, temperature 1, min_p 0.05", params, {});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "signals_bench MODEL.gguf [THREADS]\n");
    return 2;
  }
  worker::llama::install_handlers();
  if (!worker::llama::load_backends().ok()) return 1;
  worker::llama::LoadOptions options;
  options.model_fd = open(argv[1], O_RDONLY | O_CLOEXEC);
  options.context_length = 1024;
  options.slots = 1;
  options.threads = argc > 2 ? static_cast<std::uint32_t>(std::atoi(argv[2])) : 2;
  auto model = worker::llama::load(options);
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", model.error().message().c_str());
    return 1;
  }
  std::vector<float> row;
  const Times step = decode(**model, row);
  std::printf("%zu logits, %u threads\n%-46s %9s %9s\n", row.size(), options.threads, "us", "least", "median");
  show("decode step of one sequence", step, step.least);
  for (const worker::SignalKernel kernel : worker::signal_kernels()) {
    show(name_of(kernel), times_of(1000, [&] { (void)worker::measure_with(kernel, row); }), step.least);
  }
  choices(row, (*model)->end_tokens(), step.least);
  return 0;
}
