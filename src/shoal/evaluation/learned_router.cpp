#include "shoal/evaluation/learned_router.h"

#include <optional>
#include <utility>

#include "shoal/routing/answer_gain.h"
#include "shoal/routing/gain_model.h"

namespace shoal::evaluation {
namespace {

class LearnedRouter final : public TrainableRouter {
 public:
  explicit LearnedRouter(const routing::GainFitOptions& options) : options_(options) {}

  Result<void> fit(std::span<const PairedRow> rows) override {
    model_ = SHOAL_TRY(routing::fit_gain(GainRows(rows).rows(), options_));
    return {};
  }
  double score(const RouterInput& input) const override { return model_->score(input.prompt, scratch_).gain; }

 private:
  const routing::GainFitOptions options_;
  std::optional<routing::GainModel> model_;
  mutable routing::GainModel::Scratch scratch_;
};

class AnswerRouter final : public TrainableRouter {
 public:
  AnswerRouter(AnswerTarget target, std::uint64_t seed) : target_(target), seed_(seed) {}

  Result<void> fit(std::span<const PairedRow> rows) override {
    model_ = SHOAL_TRY(routing::fit_answer_gain(AnswerRows(rows).rows(), {.seed = seed_}));
    return {};
  }
  double score(const RouterInput& input) const override {
    const routing::AnswerScore found = model_->score(given(input), scratch_);
    return target_ == AnswerTarget::kGain ? found.gain : 1 - found.confidence;
  }
  std::optional<double> confidence(const RouterInput& input) const override {
    return model_->score(given(input), scratch_).confidence;
  }

 private:
  static routing::GivenAnswer given(const RouterInput& input) {
    return {.prompt = input.prompt, .text = input.weak_answer, .bytes = input.weak_answer_bytes};
  }

  const AnswerTarget target_;
  const std::uint64_t seed_;
  std::optional<routing::AnswerGain> model_;
  mutable routing::AnswerGain::Scratch scratch_;
};

}  // namespace

GainRows::GainRows(std::span<const PairedRow> rows) {
  comparable_.reserve(rows.size());
  gain_rows_.reserve(rows.size());
  for (const PairedRow& row : rows) comparable_.push_back(comparable_prompt(row.prompt));
  for (std::size_t i = 0; i < rows.size(); ++i)
    gain_rows_.push_back({rows[i].prompt, rows[i].group, comparable_[i], rows[i].weak, rows[i].strong});
}

AnswerRows::AnswerRows(std::span<const PairedRow> rows) {
  comparable_.reserve(rows.size());
  for (const PairedRow& row : rows) comparable_.push_back(comparable_prompt(row.prompt));
  for (std::size_t i = 0; i < rows.size(); ++i) {
    answer_rows_.push_back(
        {.given = {.prompt = rows[i].prompt, .text = rows[i].weak_answer, .bytes = rows[i].weak_answer_bytes},
         .group = comparable_[i],
         .weak = rows[i].weak,
         .strong = rows[i].strong,
         .difficulty = rows[i].difficulty});
  }
}

MakeRouter answer_router(AnswerTarget target) {
  return [target](std::uint64_t seed) { return std::make_unique<AnswerRouter>(target, seed); };
}

MakeRouter learned_router(const routing::GainFitOptions& options) {
  return [options](std::uint64_t seed) {
    routing::GainFitOptions seeded = options;
    seeded.seed = seed;
    return std::make_unique<LearnedRouter>(seeded);
  };
}

}  // namespace shoal::evaluation
