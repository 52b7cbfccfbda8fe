// What more labels are worth: curve_bench FOLDER WEAK STRONG [EXCLUDE], arguments as promises_bench has them. The gain
// model is fitted on a part of the rows of four folds, drawn by the seed, each a part of the next larger one, and
// scored on the fifth; APGR is the mean of the folds of all partitions. Standard errors are by row: partitions share
// the rows, so that more of them make the draw matter less and the error not smaller. SHOAL_BENCH_PLOT: a file for the
// plot.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/router.h"
#include "shoal/evaluation/router_score.h"
#include "shoal/evaluation/svg.h"
#include "shoal/routing/gain_fit.h"
#include "shoal/statistics/bootstrap.h"
#include "shoal/statistics/random.h"

#include "bars.h"

namespace {

using namespace shoal;
using evaluation::PairedRow;

constexpr std::size_t kFolds = 5;
constexpr std::size_t kResamples = 300;
constexpr std::size_t kSizes[] = {275, 500, 1'000, 2'000, 4'000, 8'000, SIZE_MAX};

struct Point {
  double rows = 0;  // mean
  double apgr = 0;
  double error = 0;
  double least = 0;  // partition
  double most = 0;
};

struct Fold {
  std::vector<PairedRow> fitted;  // in a drawn order
  std::vector<PairedRow> held;
};

std::vector<Fold> folds_of(std::span<const PairedRow> rows, std::uint64_t seed) {
  const std::vector<std::size_t> of = evaluation::random_folds(rows, kFolds, seed);
  std::vector<Fold> out(kFolds);
  const std::vector<std::size_t> order = statistics::Random(statistics::mixed(seed)).permutation(rows.size());
  for (const std::size_t i : order) {
    for (std::size_t k = 0; k < kFolds; ++k) (of[i] == k ? out[k].held : out[k].fitted).push_back(rows[i]);
  }
  return out;
}

struct Scored {
  double apgr = 0;
  double error = 0;
};

Result<Scored> score_fold(const Fold& fold, std::size_t size, std::uint64_t seed) {
  const std::span<const PairedRow> fitted = std::span(fold.fitted).first(std::min(size, fold.fitted.size()));
  const evaluation::GainRows gains(fitted);
  const auto model = SHOAL_TRY(
      routing::fit_gain(gains.rows(), {.scope = routing::GainScope::kSameTopics, .segments = 1, .seed = seed}));
  routing::GainModel::Scratch scratch;
  std::vector<double> scores;
  for (const PairedRow& row : fold.held) scores.push_back(model.score(row.prompt, scratch).gain);
  const evaluation::RouterCurve curve(fold.held, scores);
  const auto found =
      statistics::bootstrap(fold.held.size(), [&](std::span<const double> counts) { return curve.apgr(counts); },
                            {.resamples = kResamples, .confidence = 0.95, .seed = seed});
  return Scored{.apgr = curve.measures().apgr, .error = found.standard_error};
}

Result<std::vector<Point>> learn(std::span<const PairedRow> rows, std::size_t partitions) {
  std::vector<Point> out;
  for (const std::size_t size : kSizes) {
    Point point{.least = 2, .most = -2};
    for (std::uint64_t seed = 1; seed <= partitions; ++seed) {
      double apgr = 0;
      double squares = 0;
      for (const Fold& fold : folds_of(rows, seed)) {
        const Scored scored = SHOAL_TRY(score_fold(fold, size, seed));
        apgr += scored.apgr / kFolds;
        squares += scored.error * scored.error;
        point.rows +=
            static_cast<double>(std::min(size, fold.fitted.size())) / static_cast<double>(kFolds * partitions);
      }
      point.apgr += apgr / static_cast<double>(partitions);
      point.error += std::sqrt(squares) / kFolds / static_cast<double>(partitions);
      point.least = std::min(point.least, apgr);
      point.most = std::max(point.most, apgr);
    }
    bench::line(fmt::format("APGR after {:.0f} rows", point.rows), point.apgr, "",
                fmt::format("+- {:.3f}, partitions {:.3f} to {:.3f}", point.error, point.least, point.most));
    out.push_back(point);
  }
  return out;
}

// By least squares, over the points from 1,000 rows on.
double per_doubling(std::span<const Point> points) {
  double n = 0;
  double x = 0;
  double y = 0;
  double xx = 0;
  double xy = 0;
  for (const Point& point : points) {
    if (point.rows < 1'000) continue;
    const double at = std::log2(point.rows);
    n += 1;
    x += at;
    y += point.apgr;
    xx += at * at;
    xy += at * point.apgr;
  }
  return (n * xy - x * y) / (n * xx - x * x);
}

std::string plot_of(std::span<const Point> points) {
  double low = 1;
  double high = 0;
  std::vector<evaluation::At> line;
  for (const Point& point : points) {
    low = std::min(low, point.apgr - 2 * point.error);
    high = std::max(high, point.apgr + 2 * point.error);
    line.push_back({point.rows, point.apgr});
  }
  evaluation::Plot plot("Learning curve", "rows that the router learned from", "APGR, %",
                        evaluation::Scale::powers(points.front().rows, points.back().rows),
                        evaluation::Scale::around(low, high), false);
  plot.line(line, "s0");
  for (const Point& point : points) {
    plot.point({point.rows, point.apgr}, {point.apgr - 1.96 * point.error, point.apgr + 1.96 * point.error}, "s0",
               fmt::format("{:.0f} rows: {:.3f} +- {:.3f}", point.rows, point.apgr, point.error));
  }
  return plot.file();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  const bool quick = std::erase(words, "--quick") > 0;
  if (words.size() < 4 || words.size() > 5) {
    fmt::print(stderr, "usage: {} FOLDER WEAK STRONG [EXCLUDE] [--quick]\n", words.at(0));
    return 2;
  }
  const auto outcomes = bench::read_outcomes(words);
  const auto points =
      outcomes.ok() ? learn(outcomes->pair.rows, quick ? 1 : 3) : Result<std::vector<Point>>(outcomes.error());
  if (!points.ok()) {
    fmt::print(stderr, "{}\n", points.error().message());
    return 1;
  }
  bench::line("APGR per doubling of rows, from 1,000 on", per_doubling(*points), "", "least squares");
  if (const char* const file = std::getenv("SHOAL_BENCH_PLOT")) std::ofstream(file) << plot_of(*points);
  return 0;
}
