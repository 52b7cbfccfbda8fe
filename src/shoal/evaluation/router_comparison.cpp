#include "shoal/evaluation/router_comparison.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace shoal::evaluation {
namespace {

constexpr std::size_t kGroupsForErrors = 10;
constexpr double kConfidence = 0.95;

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

Result<std::vector<Partition>> partitions_of(std::span<const PairedRow> rows, const ComparisonOptions& options) {
  std::vector<Partition> out;
  for (std::size_t i = 0; i < options.partitions; ++i) {
    Partition one{.seed = options.first_seed + i, .fold_of = {}};
    one.fold_of = options.by_group ? SHOAL_TRY(group_folds(rows, options.folds, one.seed))
                                   : random_folds(rows, options.folds, one.seed);
    for (std::size_t fold = 0; fold < options.folds; ++fold) {
      if (std::ranges::find(one.fold_of, fold) == one.fold_of.end())
        return wrong(fmt::format("there are fewer different prompts than the {} folds", options.folds));
    }
    out.push_back(std::move(one));
  }
  return out;
}

void add_folds(RouterReport& report, std::span<const PairedRow> rows, const ScoresFile& scored,
               const Partition& partition, double& gaps) {
  for (std::size_t fold = 0; fold <= *std::ranges::max_element(partition.fold_of); ++fold) {
    std::vector<PairedRow> inside;
    std::vector<double> scores;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (partition.fold_of[i] != fold) continue;
      inside.push_back(rows[i]);
      scores.push_back(scored.scores[i]);
    }
    const CurveMeasures found = RouterCurve(inside, scores).measures();
    if (std::isnan(found.apgr)) {
      ++report.undefined_folds;
      continue;
    }
    const double gap = found.strong - found.weak;
    report.mean_of_folds += found.apgr;
    report.gap_weighted_folds += gap * found.apgr;
    gaps += gap;
  }
}

// The numbers that are means over the partitions.
template <class Each>
void each_number(RouterScore& score, const Each& each) {
  for (double* const number :
       {&score.measures.apgr, &score.measures.cpt50, &score.measures.cpt80, &score.measures.audc, &score.normalised,
        &score.group_weighted_apgr, &score.routellm_apgr, &score.difficulty_auroc, &score.augrc}) {
    each(*number);
  }
}

void add_numbers(RouterScore& sum, RouterScore one) {
  std::vector<double> numbers;
  each_number(one, [&](double number) { numbers.push_back(number); });
  std::size_t next = 0;
  each_number(sum, [&](double& number) { number += numbers[next++]; });
}

struct Scoring {
  RouterReport report;
  std::vector<double> first;  // scores of the first partition
};

Result<Scoring> score_one(std::span<const PairedRow> rows, const NamedRouter& router,
                          std::span<const Partition> partitions, const ComparisonOptions& options) {
  Scoring out;
  RouterReport& report = out.report;
  report.name = router.name;
  double gaps = 0;
  for (const Partition& partition : partitions) {
    ScoresFile scored = SHOAL_TRY(router.score(rows, partition));
    assert(scored.scores.size() == rows.size());
    add_folds(report, rows, scored, partition, gaps);
    const bool first = report.pooled.empty();
    // Errors are those of the first partition: resampling the others would say the same again.
    const RouterScore score =
        score_router(rows, scored.scores, {.resamples = first ? options.resamples : 1, .seed = options.first_seed});
    report.pooled.push_back(score.measures.apgr);
    if (!first) {
      add_numbers(report.score, score);
      continue;
    }
    report.score = score;
    report.arena = arena_points(rows, RouterCurve(rows, scored.scores), options.prices);
    if (!scored.confidences.empty()) {
      std::vector<statistics::Scored> judged;
      for (std::size_t i = 0; i < rows.size(); ++i) judged.push_back({scored.confidences[i], rows[i].weak >= 0.5});
      report.confidence = statistics::reliability(judged);
    }
    out.first = std::move(scored.scores);
  }
  each_number(report.score, [&](double& number) { number /= static_cast<double>(partitions.size()); });
  report.gap_weighted_folds /= gaps;
  report.mean_of_folds /= static_cast<double>(partitions.size() * options.folds - report.undefined_folds);
  return out;
}

}  // namespace

NamedRouter trained(std::string name, MakeRouter make) {
  return {.name = std::move(name),
          .score = [make = std::move(make)](std::span<const PairedRow> rows, const Partition& partition)
              -> Result<ScoresFile> { return cross_fit(rows, partition.fold_of, make, partition.seed); }};
}

NamedRouter fixed(std::string name, ScoresFile scores) {
  return {
      .name = std::move(name),
      .score = [scores = std::move(scores)](std::span<const PairedRow> /*rows*/,
                                            const Partition& /*partition*/) -> Result<ScoresFile> { return scores; }};
}

NamedRouter random_router(std::string name) {
  return {.name = std::move(name),
          .score = [](std::span<const PairedRow> rows, const Partition& partition) -> Result<ScoresFile> {
            return ScoresFile{.scores = random_scores(rows.size(), partition.seed), .confidences = {}};
          }};
}

Result<Comparison> compare_routers(std::span<const PairedRow> rows, std::span<const NamedRouter> routers,
                                   const ComparisonOptions& options) {
  assert(!rows.empty() && options.folds >= 2 && options.partitions > 0);
  double gap = 0;
  for (const PairedRow& row : rows) gap += row.strong - row.weak;
  if (!(gap > 0)) {
    return wrong(
        fmt::format("the strong model is not better than the weak one on these {} rows ({:+.3f} on average): "
                    "there is nothing to route for. Are --weak and --strong the right way round?",
                    rows.size(), gap / static_cast<double>(rows.size())));
  }
  const std::vector<Partition> partitions = SHOAL_TRY(partitions_of(rows, options));
  const std::vector<std::size_t> groups = group_numbers(rows);
  Comparison out;
  out.groups = *std::ranges::max_element(groups) + 1;
  out.difference_by_group = out.groups >= kGroupsForErrors;
  const double comparisons = std::max(1.0, static_cast<double>(routers.size()) - 1);
  const statistics::BootstrapOptions resampling{
      .resamples = options.resamples, .confidence = 1 - (1 - kConfidence) / comparisons, .seed = options.first_seed};
  std::optional<RouterCurve> first;
  for (const NamedRouter& router : routers) {
    Scoring scoring = SHOAL_TRY(score_one(rows, router, partitions, options));
    RouterCurve curve(rows, scoring.first);
    if (first) {
      const auto estimate = [&](const statistics::Statistic& statistic) {
        return out.difference_by_group ? statistics::group_bootstrap(groups, statistic, resampling)
                                       : statistics::bootstrap(rows.size(), statistic, resampling);
      };
      scoring.report.difference =
          estimate([&](std::span<const double> counts) { return curve.apgr(counts) - first->apgr(counts); });
      scoring.report.auroc_difference = estimate([&](std::span<const double> counts) {
        return curve.difficulty_auroc(counts) - first->difficulty_auroc(counts);
      });
      scoring.report.verdict = statistics::verdict(*scoring.report.difference);
    } else {
      first = std::move(curve);
    }
    out.routers.push_back(std::move(scoring.report));
  }
  return out;
}

}  // namespace shoal::evaluation
