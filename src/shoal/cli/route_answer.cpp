#include "shoal/cli/route_answer.h"

#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/text.h"
#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/router_comparison.h"
#include "shoal/routing/answer_gain_file.h"
#include "shoal/routing/answer_gain_fit.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;
using routing::AnswerGain;

std::string line(const evaluation::RouterReport& report) {
  return fmt::format("{:<14} {:.3f} +-{:.3f}, mean of folds {:.3f}, AUROC {:.3f}\n", report.name,
                     report.score.measures.apgr, report.score.by_row.standard_error, report.mean_of_folds,
                     report.score.difficulty_auroc);
}

json::object model_json(const AnswerGain::Parts& parts, const std::string& sha256) {
  const routing::GainOrigin& o = parts.origin;
  json::array curve;
  for (const routing::GainPoint& point : parts.curve)
    curve.push_back(json::object{{"gain", point.gain}, {"share", point.share}, {"score", point.score}});
  json::object weights;
  for (std::size_t i = 0; i < routing::kAnswerParts; ++i) {
    const std::string_view name = routing::kAnswerPartNames[i];
    weights[json::string_view(name.data(), name.size())] = parts.weights[i].weight;
  }
  return {{"weak", o.weak},
          {"strong", o.strong},
          {"rows", o.rows},
          {"weak_score", o.weak_score},
          {"strong_score", o.strong_score},
          {"data", o.data},
          {"date", o.date},
          {"command", o.command},
          {"apgr", o.apgr},
          {"apgr_error", o.apgr_error},
          {"mean_gain", parts.mean},
          {"weights", std::move(weights)},
          {"curve", std::move(curve)},
          {"sha256", sha256}};
}

std::string weights_text(const AnswerGain::Parts& parts) {
  std::string out;
  for (std::size_t i = 0; i < routing::kAnswerParts; ++i) {
    if (parts.weights[i].weight > 0)
      out += fmt::format("{}{} {:.2f}", out.empty() ? "" : ", ", routing::kAnswerPartNames[i], parts.weights[i].weight);
  }
  return out;
}

}  // namespace

Result<std::string> train_answer_router(const AnswerTraining& training, const evaluation::OutcomeTable& table,
                                        evaluation::OutcomePair pair, const std::filesystem::path& file, bool json) {
  if (!training.answer_length.empty()) SHOAL_TRY(evaluation::take_answer_lengths(table, training.answer_length, pair));
  const std::vector<evaluation::NamedRouter> routers = {
      evaluation::fixed("answer-length",
                        {.scores = SHOAL_TRY(evaluation::answer_length_scores(pair.rows)), .confidences = {}}),
      evaluation::trained("learned-answer", evaluation::answer_router(evaluation::AnswerTarget::kGain))};
  const evaluation::Comparison compared = SHOAL_TRY(evaluation::compare_routers(
      pair.rows, routers, {.folds = training.folds, .partitions = 1, .first_seed = training.seed}));
  const evaluation::RouterReport& learned = compared.routers.back();
  AnswerGain::Parts parts =
      SHOAL_TRY(routing::fit_answer_gain(evaluation::AnswerRows(pair.rows).rows(), {.seed = training.seed})).parts();
  routing::GainOrigin& origin = parts.origin;
  origin.weak = training.weak;
  origin.strong = training.strong;
  origin.data = training.data;
  origin.date = training.date;
  origin.command = training.command;
  origin.apgr = learned.score.measures.apgr;
  origin.apgr_error = learned.score.by_row.standard_error;
  const AnswerGain model(std::move(parts));
  const std::string sha256 = SHOAL_TRY(routing::save_answer_gain(model, file));
  if (json) {
    json::object out = model_json(model.parts(), sha256);
    out["answer_length_apgr"] = compared.routers.front().score.measures.apgr;
    out["auroc"] = learned.confidence->auroc;
    out["ece"] = learned.confidence->ece;
    out["file"] = file.string();
    return json::serialize(out) + "\n";
  }
  const routing::GainOrigin& o = model.parts().origin;
  std::string out = fmt::format(
      "{} rows: {} scores {:.3f}, {} {:.3f}\n\nAPGR, cross-validated over {} folds (0.5 is "
      "chance):\n",
      o.rows, o.weak, o.weak_score, o.strong, o.strong_score, training.folds);
  out += line(learned) + line(compared.routers.front());
  out += fmt::format("Its confidences: AUROC {:.3f}, ECE {:.3f} (debiased), Brier {:.3f}\n", learned.confidence->auroc,
                     learned.confidence->ece, learned.confidence->brier);
  return out + fmt::format("\nWeights: {}\nWrote {}\n", weights_text(model.parts()), file.string());
}

Result<std::string> show_answer_router(const std::filesystem::path& file, std::string_view question,
                                       std::string_view answer, bool json) {
  constexpr std::size_t kEffects = 12;
  const routing::LoadedAnswerGain loaded = SHOAL_TRY(routing::load_answer_gain(file));
  const AnswerGain::Parts& parts = loaded.model.parts();
  AnswerGain::Scratch scratch;
  const routing::GivenAnswer given{.prompt = question, .text = answer};
  const routing::AnswerScore score = loaded.model.score(given, scratch);
  const std::vector<routing::FeatureEffect> effects = loaded.model.explain(given, scratch, kEffects);
  if (json) {
    json::object out = model_json(parts, loaded.sha256);
    if (answer.empty()) return json::serialize(out) + "\n";
    json::array seen;
    for (const routing::FeatureEffect& one : effects)
      seen.push_back(json::object{{"name", one.name}, {"value", one.value}, {"effect", one.effect}});
    out["gain"] = score.gain;
    out["confidence"] = score.confidence;
    out["parts"] = json::array(score.parts.begin(), score.parts.end());
    out["seen"] = std::move(seen);
    return json::serialize(out) + "\n";
  }
  std::string out;
  if (!answer.empty()) {
    out += fmt::format("Right with probability {:.3f}; expected gain {:.3f}: {:.3f} on average", score.confidence,
                       score.gain, parts.mean);
    for (std::size_t i = 0; i < routing::kAnswerParts; ++i) {
      if (parts.weights[i].weight > 0) out += fmt::format(", {} {:+.3f}", routing::kAnswerPartNames[i], score.parts[i]);
    }
    out += "\n\nLog-odds of being wrong, beside the mean:\n";
    for (const routing::FeatureEffect& one : effects)
      out += fmt::format("{:>+8.3f}  {} {:.3g}\n", one.effect, base::escape_control(one.name), one.value);
    out += "\n";
  }
  const routing::GainOrigin& o = parts.origin;
  return out + fmt::format(
                   "Judge after the draft, of {}: {} rows, {} scores {:.3f}, {} {:.3f}\nAPGR {:.3f} +-{:.3f}, "
                   "cross-validated\nWeights: {}\nMade by `{}`\nSHA-256 {}\n",
                   o.date, o.rows, o.weak, o.weak_score, o.strong, o.strong_score, o.apgr, o.apgr_error,
                   weights_text(parts), o.command, loaded.sha256);
}

}  // namespace shoal::cli
