// How long a decision takes: decision_bench FOLDER WEAK STRONG [EXCLUDE], arguments as promises_bench has them. A gain
// model is fitted on four fifths of the prompts, and scores the last fifth as the server does, one after the other.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/router.h"
#include "shoal/routing/gain_fit.h"
#include "shoal/routing/gain_model.h"

#include "bars.h"

namespace {

using namespace shoal;
using evaluation::PairedRow;

constexpr std::size_t kRounds = 9;
constexpr std::uint64_t kSeed = 1;
constexpr double kLongestUs = 20;

struct Times {
  double p50, p90, p99;
};

Times round_of(const routing::GainModel& model, const std::vector<std::string_view>& prompts) {
  routing::GainModel::Scratch scratch;
  std::vector<double> us;
  double sum = 0;
  for (const std::string_view prompt : prompts) {
    const auto begin = std::chrono::steady_clock::now();
    sum += model.score(prompt, scratch).gain;
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
  }
  if (!(sum > -1e9)) std::abort();  // the scores are used
  std::ranges::sort(us);
  return {us[us.size() / 2], us[us.size() * 9 / 10], us[us.size() * 99 / 100]};
}

void show(std::string_view name, const routing::GainModel& model, const std::vector<std::string_view>& prompts,
          std::optional<bench::Bar> bar) {
  std::vector<Times> rounds;
  static_cast<void>(round_of(model, prompts));  // warms the caches
  for (std::size_t i = 0; i < kRounds; ++i) rounds.push_back(round_of(model, prompts));
  const auto print = [&](const char* what, double Times::* of, std::optional<bench::Bar> wanted) {
    std::ranges::sort(rounds, {}, of);
    bench::line(fmt::format("decision, {}: {}", name, what), rounds[kRounds / 2].*of, "us",
                fmt::format("{:.1f} to {:.1f} in {} rounds", rounds.front().*of, rounds.back().*of, kRounds), wanted);
  };
  print("p50", &Times::p50, {});
  print("p90", &Times::p90, {});
  print("p99", &Times::p99, bar);
}

Result<void> measure(const bench::Outcomes& outcomes) {
  const std::vector<PairedRow>& rows = outcomes.pair.rows;
  const std::vector<std::size_t> folds = evaluation::random_folds(rows, 5, kSeed);
  std::vector<PairedRow> fitted;
  std::vector<std::string_view> held;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (folds[i] == 0) {
      held.push_back(rows[i].prompt);
    } else {
      fitted.push_back(rows[i]);
    }
  }
  const evaluation::GainRows gains(fitted);
  for (const int segments : {1, 3}) {
    const auto model = SHOAL_TRY(routing::fit_gain(
        gains.rows(), {.scope = routing::GainScope::kSameTopics, .segments = segments, .seed = kSeed}));
    const std::optional<bench::Bar> bar{bench::Bar{.value = kLongestUs, .at_most = true}};
    show(segments == 1 ? "gain" : "gain, robust", model, held, segments == 1 ? bar : std::nullopt);
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() < 4 || words.size() > 5) {
    fmt::print(stderr, "usage: {} FOLDER WEAK STRONG [EXCLUDE]\n", words.at(0));
    return 2;
  }
  const auto outcomes = bench::read_outcomes(words);
  const auto done = outcomes.ok() ? measure(*outcomes) : Result<void>(outcomes.error());
  if (!done.ok()) fmt::print(stderr, "{}\n", done.error().message());
  return done.ok() ? 0 : 1;
}
