#include "shoal/evaluation/learned_router.h"

#include <optional>
#include <utility>

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

}  // namespace

GainRows::GainRows(std::span<const PairedRow> rows) {
  comparable_.reserve(rows.size());
  gain_rows_.reserve(rows.size());
  for (const PairedRow& row : rows) comparable_.push_back(comparable_prompt(row.prompt));
  for (std::size_t i = 0; i < rows.size(); ++i)
    gain_rows_.push_back({rows[i].prompt, rows[i].group, comparable_[i], rows[i].weak, rows[i].strong});
}

MakeRouter learned_router(const routing::GainFitOptions& options) {
  return [options](std::uint64_t seed) {
    routing::GainFitOptions seeded = options;
    seeded.seed = seed;
    return std::make_unique<LearnedRouter>(seeded);
  };
}

}  // namespace shoal::evaluation
