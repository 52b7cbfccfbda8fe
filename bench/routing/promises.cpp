// What Shoal's promises are worth on outcomes that were really observed: promises_bench FOLDER WEAK STRONG [EXCLUDE],
// FOLDER with outcomes as `shoal eval route` reads them, such as routellm's mmlu_responses. The score is the weak
// model's share of right answers in the group of a request, learned on one half of the rows; everything else happens on
// the other half, whose truth is known. Seeded; printed with standard errors. The classes are those of the server and
// the commands. What `naive` is: the loosest threshold whose risk on the labels is the wanted one. What the escalated
// alone say: the share of wrong answers among those that were thrown away, which cost nothing to know.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "shoal/evaluation/outcome_table.h"
#include "shoal/routing/certify.h"
#include "shoal/routing/groups.h"
#include "shoal/statistics/e_process.h"
#include "shoal/statistics/random.h"
#include "shoal/statistics/weighted_risk.h"

#include "bars.h"

namespace {

using namespace shoal;
using statistics::mixed;
using statistics::Random;

constexpr int kRuns = 500;
constexpr double kPercent = 100;
// Bars, in percent, and of labels.
constexpr double kMostBroken = 5;
constexpr double kLeastCovered = 93;
constexpr double kMostLabels = 150;

struct Request {
  double score = 0;  // that the weak model is right
  bool wrong = false;
};

std::vector<Request> scored(std::span<const evaluation::PairedRow> rows) {
  struct Seen {
    double right = 0;
    double all = 0;
  };
  std::map<std::string_view, Seen> groups;
  const auto learns = [](const evaluation::PairedRow& row) { return routing::group_place(row.prompt, 1) % 2 == 0; };
  for (const evaluation::PairedRow& row : rows) {
    if (!learns(row)) continue;
    Seen& seen = groups[row.group];
    seen.right += row.weak;
    ++seen.all;
  }
  std::vector<Request> out;
  for (const evaluation::PairedRow& row : rows) {
    if (learns(row)) continue;
    const Seen& seen = groups[row.group];
    out.push_back({.score = (seen.right + 1) / (seen.all + 2), .wrong = row.weak < 0.5});
  }
  return out;
}

double true_risk(std::span<const Request> requests, double threshold) {
  double kept = 0;
  double wrong = 0;
  for (const Request& one : requests) {
    kept += one.score >= threshold ? 1 : 0;
    wrong += one.score >= threshold && one.wrong ? 1 : 0;
  }
  return kept > 0 ? wrong / kept : 0;
}

double share_kept(std::span<const Request> requests, double threshold) {
  const auto kept = std::ranges::count_if(requests, [=](const Request& one) { return one.score >= threshold; });
  return static_cast<double>(kept) / static_cast<double>(requests.size());
}

// The largest coverage whose risk on the labels is the wanted one: what the walk is compared with, and nothing else.
std::optional<double> naive_threshold(std::vector<routing::ScoredLabel> labels, double risk) {
  std::ranges::stable_sort(labels, std::greater(), [](const routing::ScoredLabel& label) { return *label.score; });
  std::optional<double> out;
  double wrong = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    wrong += labels[i].right ? 0 : 1;
    const bool last_of_ties = i + 1 == labels.size() || labels[i + 1].score < labels[i].score;
    if (last_of_ties && wrong <= risk * static_cast<double>(i + 1)) out = *labels[i].score;
  }
  return out;
}

void gates(std::span<const Request> requests) {
  for (const double risk : {0.10, 0.15, 0.20}) {
    std::set<double> scores;
    for (const Request& one : requests) scores.insert(one.score);
    double best = 0;
    for (const double score : scores) {
      if (true_risk(requests, score) <= risk) best = std::max(best, share_kept(requests, score));
    }
    for (const std::size_t count : {1'000U, 3'000U}) {
      int certified = 0;
      int broken = 0;
      int naive = 0;
      double coverage = 0;
      for (std::uint64_t run = 0; run < kRuns; ++run) {
        Random random(mixed(run));
        std::vector<routing::ScoredLabel> labels;
        for (std::size_t i = 0; i < count; ++i) {
          const Request& one = requests[random.index(requests.size())];
          labels.push_back({.score = one.score, .right = !one.wrong, .group = std::to_string(i)});
        }
        const auto shown = routing::certify(labels, {.risk = risk, .confidence = 0.95});
        if (shown.ok() && shown->ok()) {
          const double threshold = shown->certified.back().threshold;
          ++certified;
          broken += true_risk(requests, threshold) > risk ? 1 : 0;
          coverage += share_kept(requests, threshold);
        }
        const auto threshold = naive_threshold(std::move(labels), risk);
        naive += threshold && true_risk(requests, *threshold) > risk ? 1 : 0;
      }
      const std::string what = fmt::format("gates, {:.0f} % risk, {} labels: ", kPercent * risk, count);
      bench::share_line(what + "broken", static_cast<double>(broken) / kRuns, kRuns, bench::Bar{kMostBroken, true},
                        fmt::format("{} of {} certified", certified, kRuns));
      bench::line(what + "coverage", coverage / std::max(certified, 1), "",
                  fmt::format("of {:.3f} that is best", best));
      bench::share_line(what + "naive broken", static_cast<double>(naive) / kRuns, kRuns,
                        bench::Bar{kMostBroken, false}, "shown to break it");
    }
  }
}

void audits(std::span<const Request> requests) {
  constexpr double kThreshold = 0.70;
  constexpr double kNear = 0.05;
  constexpr std::size_t kRequests = 8'000;
  int hajek = 0;
  int robust = 0;
  int escalated = 0;
  double audited = 0;
  double width = 0;
  for (std::uint64_t run = 0; run < kRuns; ++run) {
    Random random(mixed(run + 1'000'000));
    std::vector<statistics::KeptAnswer> kept;
    double wrong = 0;
    double thrown_away = 0;
    double wrong_there = 0;
    for (std::size_t i = 0; i < kRequests; ++i) {
      const Request& one = requests[random.index(requests.size())];
      if (one.score < kThreshold) {
        ++thrown_away;
        wrong_there += one.wrong ? 1 : 0;
        continue;
      }
      const double q = one.score < kThreshold + kNear ? 0.3 : 0.05;
      const bool seen = random.chance(q);
      kept.push_back({.propensity = q, .audited = seen, .wrong = seen && one.wrong, .predicted = 1 - one.score});
      wrong += one.wrong ? 1 : 0;
      audited += seen ? 1 : 0;
    }
    const double truth = wrong / static_cast<double>(kept.size());
    const auto weighted = statistics::hajek_risk(kept);
    const auto doubly = statistics::doubly_robust_risk(kept);
    hajek += weighted->interval.has(truth) ? 1 : 0;
    robust += doubly->interval.has(truth) ? 1 : 0;
    width += doubly->interval.high - doubly->interval.low;
    const statistics::RiskEstimate naive{.risk = wrong_there / thrown_away};
    escalated += weighted->interval.has(naive.risk) ? 1 : 0;
  }
  const auto cases = [](int count) { return static_cast<double>(count) / kRuns; };
  const bench::Bar covers{kLeastCovered, false};
  bench::share_line("audits, doubly robust: interval covers", cases(robust), kRuns, covers,
                    fmt::format("{:.0f} of {} audited", audited / kRuns, kRequests));
  bench::line("audits, doubly robust: mean width", kPercent * width / kRuns, "%", "of the 95 % interval");
  bench::share_line("audits, Hajek: interval covers", cases(hajek), kRuns, covers);
  bench::share_line("audits, the escalated alone: inside", cases(escalated), kRuns, bench::Bar{kLeastCovered, true},
                    "shown to fail");
}

void drift() {
  constexpr int kDrifts = 4'000;
  constexpr std::size_t kLabels = 3'000;
  std::vector<std::size_t> found;
  int false_alarms = 0;
  for (int run = 0; run < kDrifts; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 2'000'000));
    statistics::RiskAlarm risen({});
    while (risen.audits() < kLabels && !risen.add(random.chance(0.10))) continue;
    found.push_back(risen.audits());
    statistics::RiskAlarm calm({});
    while (calm.audits() < kLabels && !calm.add(random.chance(0.05))) continue;
    false_alarms += calm.alarmed() ? 1 : 0;
  }
  std::ranges::sort(found);
  bench::line("drift from 5 to 10 %: median labels", static_cast<double>(found[kDrifts / 2]), "",
              fmt::format("nine of ten by {}", found[kDrifts * 9 / 10]), bench::Bar{kMostLabels, true});
  bench::share_line(fmt::format("drift: false alarms in {} labels", kLabels),
                    static_cast<double>(false_alarms) / kDrifts, kDrifts, bench::Bar{kMostBroken, true},
                    fmt::format("{} runs", kDrifts));
}

void nothing_against_nothing() {
  constexpr int kTests = 10'000;
  int winners = 0;
  for (int run = 0; run < kTests; ++run) {
    Random random(mixed(static_cast<std::uint64_t>(run) + 3'000'000));
    statistics::PreferenceTest test(0.05);
    for (int i = 0; i < 1'000 && test.winner() == statistics::Preferred::kNeither; ++i) test.add(random.chance(0.5));
    winners += test.winner() != statistics::Preferred::kNeither ? 1 : 0;
  }
  bench::share_line("A/A, looked at after each of 1,000 pairs: a winner", static_cast<double>(winners) / kTests, kTests,
                    bench::Bar{kMostBroken, true}, fmt::format("{} runs", kTests));
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() < 4 || words.size() > 5) {
    fmt::print(stderr, "usage: {} FOLDER WEAK STRONG [EXCLUDE]\n", words.at(0));
    return 2;
  }
  const auto outcomes = bench::read_outcomes(words);
  if (!outcomes.ok()) {
    fmt::print(stderr, "{}\n", outcomes.error().message());
    return 1;
  }
  const std::vector<Request> requests = scored(outcomes->pair.rows);
  fmt::print("{} requests whose truth is known, the weak model wrong in {:.1f} %\n", requests.size(),
             kPercent * true_risk(requests, 0));
  gates(requests);
  audits(requests);
  drift();
  nothing_against_nothing();
  return 0;
}
