#include "shoal/evaluation/router.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/evaluation/jsonl.h"
#include "shoal/statistics/random.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

class GroupRouter final : public TrainableRouter {
 public:
  Result<void> fit(std::span<const PairedRow> rows) override {
    for (const PairedRow& row : rows) {
      for (Gain* const gain : {&groups_[std::string(row.group)], &all_}) {
        gain->sum += row.strong - row.weak;
        gain->rows += 1;
      }
    }
    return {};
  }

  [[nodiscard]] double score(const RouterInput& input) const override {
    const auto found = groups_.find(input.group);
    return (found == groups_.end() ? all_ : found->second).mean();
  }

 private:
  struct Gain {
    double sum = 0;
    double rows = 0;
    [[nodiscard]] double mean() const { return rows > 0 ? sum / rows : 0; }
  };
  std::map<std::string, Gain, std::less<>> groups_;
  Gain all_;
};

// Each name gets the fold of its place in a drawn order, so that folds have about as many names each.
std::map<std::string, std::size_t> folds_of_names(std::map<std::string, std::size_t> names, std::size_t folds,
                                                  std::uint64_t seed) {
  const std::vector<std::size_t> place = statistics::Random(seed).permutation(names.size());
  std::size_t next = 0;
  for (auto& [name, fold] : names) fold = place[next++] % folds;
  return names;
}

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

struct LineOfScores {
  double score = 0;
  double confidence = -1;  // none
};

Result<LineOfScores> read_line(const json::object& object) {
  const json::value* const score = object.if_contains("score");
  const json::value* const confidence = object.if_contains("confidence");
  if (score == nullptr || !score->is_number()) return wrong("it has no number `score`");
  LineOfScores out{.score = score->to_number<double>(), .confidence = -1};
  if (!std::isfinite(out.score)) return wrong("its `score` is not finite");
  if (confidence == nullptr || confidence->is_null()) return out;
  if (confidence->is_number()) out.confidence = confidence->to_number<double>();
  if (!(out.confidence >= 0 && out.confidence <= 1)) return wrong("its `confidence` is not a number from 0 to 1");
  return out;
}

}  // namespace

std::unique_ptr<TrainableRouter> make_group_router(std::uint64_t /*seed*/) {
  return std::make_unique<GroupRouter>();
}

std::vector<std::size_t> random_folds(std::span<const PairedRow> rows, std::size_t folds, std::uint64_t seed) {
  assert(folds >= 2);
  std::vector<std::string> names;
  names.reserve(rows.size());
  for (const PairedRow& row : rows) names.push_back(comparable_prompt(row.prompt));
  std::map<std::string, std::size_t> numbers;
  for (const std::string& name : names) numbers.emplace(name, 0);
  numbers = folds_of_names(std::move(numbers), folds, seed);
  std::vector<std::size_t> out;
  out.reserve(rows.size());
  for (const std::string& name : names) out.push_back(numbers.at(name));
  return out;
}

Result<std::vector<std::size_t>> group_folds(std::span<const PairedRow> rows, std::size_t folds, std::uint64_t seed) {
  assert(folds >= 2);
  std::map<std::string, std::size_t> numbers;
  for (const PairedRow& row : rows) numbers.emplace(std::string(row.group), 0);
  if (numbers.size() < folds) {
    return wrong(
        fmt::format("to hold out whole groups takes at least as many groups as folds: {} and {}; "
                    "--group-column names a column of groups, --folds takes at least 2",
                    numbers.size(), folds));
  }
  numbers = folds_of_names(std::move(numbers), folds, seed);
  std::vector<std::size_t> out;
  out.reserve(rows.size());
  for (const PairedRow& row : rows) out.push_back(numbers.at(std::string(row.group)));
  return out;
}

Result<ScoresFile> cross_fit(std::span<const PairedRow> rows, std::span<const std::size_t> fold_of,
                             const MakeRouter& make, std::uint64_t seed) {
  assert(!rows.empty() && rows.size() == fold_of.size());
  ScoresFile out{.scores = std::vector<double>(rows.size()), .confidences = std::vector<double>(rows.size())};
  bool confident = true;
  for (std::size_t fold = 0; fold <= *std::ranges::max_element(fold_of); ++fold) {
    std::vector<PairedRow> train;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (fold_of[i] != fold) train.push_back(rows[i]);
    }
    if (train.size() == rows.size()) continue;
    if (train.empty()) return wrong("all rows are in one fold: nothing is left to learn from");
    const std::unique_ptr<TrainableRouter> router = make(seed);
    SHOAL_TRY(router->fit(train));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (fold_of[i] != fold) continue;
      const RouterInput input{.prompt = rows[i].prompt,
                              .group = rows[i].group,
                              .weak_answer = rows[i].weak_answer,
                              .weak_answer_bytes = rows[i].weak_answer_bytes};
      out.scores[i] = router->score(input);
      const std::optional<double> confidence = router->confidence(input);
      confident = confident && confidence.has_value();
      out.confidences[i] = confidence.value_or(0);
      if (!std::isfinite(out.scores[i])) return Error(ErrorCode::kInternal, "a router gave a score that is not finite");
    }
  }
  if (!confident) out.confidences.clear();
  return out;
}

std::vector<double> random_scores(std::size_t rows, std::uint64_t seed) {
  statistics::Random random(seed);
  std::vector<double> out(rows);
  for (double& score : out) score = random.uniform();
  return out;
}

std::vector<double> length_scores(std::span<const PairedRow> rows) {
  std::vector<double> out;
  for (const PairedRow& row : rows) out.push_back(static_cast<double>(row.prompt.size()));
  return out;
}

Result<std::vector<double>> answer_length_scores(std::span<const PairedRow> rows) {
  std::vector<double> out;
  for (const PairedRow& row : rows)
    out.push_back(row.weak_answer.empty() ? row.weak_answer_bytes : static_cast<double>(row.weak_answer.size()));
  if (std::ranges::all_of(out, [](double length) { return length == 0; })) {
    return wrong(
        "the table does not have the weak model's answers, in a column NAME_response; --answer-length names a "
        "column of their lengths");
  }
  return out;
}

Result<ScoresFile> read_scores(const std::filesystem::path& path, std::span<const PairedRow> rows) {
  std::map<std::string, LineOfScores> known;
  Result<void> read = read_jsonl(path, [&](const json::object& object, std::size_t) -> Result<void> {
    const json::value* const prompt = object.if_contains("prompt");
    if (prompt == nullptr || !prompt->is_string()) return wrong("it has no text `prompt`");
    known[comparable_prompt(prompt->get_string())] = SHOAL_TRY(read_line(object));
    return {};
  });
  if (!read.ok()) return std::move(read).error();
  ScoresFile out;
  std::size_t missing = 0;
  std::string_view example;
  bool confident = true;
  for (const PairedRow& row : rows) {
    const auto found = known.find(comparable_prompt(row.prompt));
    if (found == known.end()) {
      if (missing++ == 0) example = row.prompt;
      continue;
    }
    out.scores.push_back(found->second.score);
    out.confidences.push_back(found->second.confidence);
    confident = confident && found->second.confidence >= 0;
  }
  if (missing > 0) {
    return wrong(fmt::format("{}: {} of {} rows of the table have no score, the first is `{}`", shown(path), missing,
                             rows.size(), shown(example)));
  }
  if (!confident) out.confidences.clear();
  return out;
}

}  // namespace shoal::evaluation
