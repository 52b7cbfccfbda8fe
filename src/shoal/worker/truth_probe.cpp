#include "shoal/worker/truth_probe.h"

#include <cmath>
#include <string>

namespace shoal::worker {

Result<TruthProbe> TruthProbe::make(Model& model, bool chat) {
  TruthProbe probe;
  if (chat) {
    probe.question = SHOAL_TRY(model.next_turn(std::string(kQuestion)));
  } else {
    probe.question = model.continue_with(std::string(kText));
  }
  // A reply stands at the begin of a turn, or after "Reply:".
  const std::vector<std::int32_t> yes = model.continue_with(chat ? "True" : " True");
  const std::vector<std::int32_t> no = model.continue_with(chat ? "False" : " False");
  if (probe.question.empty() || yes.empty() || no.empty() || yes.front() == no.front()) {
    return Error(ErrorCode::kUnsupportedParameter,
                 "x_shoal.p_true needs a model whose tokens tell \"True\" from \"False\" at once; this one's do not")
        .with_param("x_shoal.p_true");
  }
  probe.yes = yes.front();
  probe.no = no.front();
  return probe;
}

float TruthProbe::p_true(std::span<const float> row) const {
  const auto logit = [row](std::int32_t id) { return static_cast<double>(row[static_cast<std::size_t>(id)]); };
  // Both impossible is an even chance, not a number that is none.
  const double difference = logit(no) - logit(yes);
  return std::isnan(difference) ? 0.5F : static_cast<float>(1 / (1 + std::exp(difference)));
}

}  // namespace shoal::worker
