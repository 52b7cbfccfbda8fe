// What Shoal's promises are worth on outcomes that were really observed: promises_bench FOLDER WEAK STRONG, FOLDER with
// outcomes as `shoal eval route` reads them, such as routellm's mmlu_responses. The score is the weak model's share of
// right answers in the group of a request, learned on one half of the rows; everything else happens on the other half,
// whose truth is known. Seeded; printed with standard errors. The classes are those of the server and the commands.
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

namespace {

using namespace shoal;
using statistics::mixed;
using statistics::Random;

constexpr int kRuns = 500;
constexpr double kPercent = 100;

struct Request {
  double score = 0;  // that the weak model is right
  bool wrong = false;
};

double error_of(double share, double of) {
  return std::sqrt(std::max(share * (1 - share), 0.0) / of);
}

std::string with_error(double share, double of) {
  return fmt::format("{:5.1f} % +- {:.1f}", kPercent * share, kPercent * error_of(share, of));
}

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
  fmt::print("Certified gates, {} resamples each, promised with 95 %: broken / certified, coverage; naive: broken\n",
             kRuns);
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
      fmt::print("  risk {:2.0f} %, {} labels: {} / {}, coverage {:.3f} of {:.3f}; naive {}\n", kPercent * risk, count,
                 with_error(static_cast<double>(broken) / kRuns, kRuns), certified, coverage / std::max(certified, 1),
                 best, with_error(static_cast<double>(naive) / kRuns, kRuns));
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
  fmt::print(
      "\nAudits, {} replays of {} requests, {:.0f} audited: the 95 % interval covers the risk of what was kept\n"
      "  Hajek {}; doubly robust {} (mean width {:.3f}); the escalated alone would be inside in {}\n",
      kRuns, kRequests, audited / kRuns, with_error(static_cast<double>(hajek) / kRuns, kRuns),
      with_error(static_cast<double>(robust) / kRuns, kRuns), width / kRuns,
      with_error(static_cast<double>(escalated) / kRuns, kRuns));
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
  fmt::print("\nDrift from 5 to 10 %: median {} labels, nine of ten by {}; false alarms in {} labels {}\n",
             found[kDrifts / 2], found[kDrifts * 9 / 10], kLabels,
             with_error(static_cast<double>(false_alarms) / kDrifts, kDrifts));
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
  fmt::print("A/A, looked at after each of 1,000 pairs: a winner in {} of {} runs\n",
             with_error(static_cast<double>(winners) / kTests, kTests), kTests);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv, argv + argc);
  if (words.size() != 4) {
    fmt::print(stderr, "usage: {} FOLDER WEAK STRONG\n", words.at(0));
    return 2;
  }
  const auto table = evaluation::read_outcomes(words[1], {});
  if (!table.ok()) {
    fmt::print(stderr, "{}\n", table.error().message());
    return 1;
  }
  const auto pair = evaluation::pair_outcomes(*table, words[2], words[3]);
  if (!pair.ok()) {
    fmt::print(stderr, "{}\n", pair.error().message());
    return 1;
  }
  const std::vector<Request> requests = scored(pair->rows);
  fmt::print("{} requests whose truth is known, the weak model wrong in {:.1f} %\n\n", requests.size(),
             kPercent * true_risk(requests, 0));
  gates(requests);
  audits(requests);
  drift();
  nothing_against_nothing();
  return 0;
}
