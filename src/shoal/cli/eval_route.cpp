#include "shoal/cli/eval_route.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/outcome_table.h"
#include "shoal/evaluation/published_routers.h"
#include "shoal/evaluation/router.h"
#include "shoal/evaluation/router_comparison.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;
using evaluation::Comparison;
using evaluation::NamedRouter;
using evaluation::OutcomePair;
using evaluation::OutcomeTable;
using evaluation::PairedRow;
using evaluation::RouterReport;

// Those that learn from the rows of the other folds, by the name that --router takes. Where whole groups are held out,
// the gain model is fitted for topics that it does not know.
std::map<std::string, evaluation::MakeRouter> learning_routers(bool by_group) {
  using routing::GainScope;
  const GainScope scope = by_group ? GainScope::kNewTopics : GainScope::kSameTopics;
  return {{"group", evaluation::make_group_router},
          {"learned", evaluation::learned_router({.scope = scope, .segments = 1})},
          {"learned-answer", evaluation::answer_router(evaluation::AnswerTarget::kGain)},
          {"learned-answer-wrong", evaluation::answer_router(evaluation::AnswerTarget::kWrong)},
          {"learned-robust", evaluation::learned_router({.scope = scope, .segments = 3})}};
}

constexpr std::string_view kScoresPrefix = "scores:";
constexpr std::string_view kColumnPrefix = "column:";

struct EvalRouteOptions {
  std::string outcomes;
  std::string weak;
  std::string strong;
  std::vector<std::string> routers;
  std::vector<std::string> exclude;
  std::vector<std::string> join;
  std::string published;
  std::string answer_length;
  evaluation::OutcomeOptions table;
  evaluation::ComparisonOptions comparison;
  std::optional<double> weak_usd;  // per thousand requests
  std::optional<double> strong_usd;
};

Error unknown_router(const std::string& name) {
  std::vector<std::string> known = {"random",        "length",      "oracle",     "oracle-difficulty",
                                    "answer-length", "column:NAME", "scores:FILE"};
  for (const auto& [learning, make] : learning_routers(false)) known.push_back(learning);
  std::string near = base::suggest(name, known);
  const std::string instead =
      near.empty() ? fmt::format("; there are: {}", fmt::join(known, ", ")) : fmt::format("; did you mean `{}`?", near);
  return Error(ErrorCode::kUsage, fmt::format("there is no router `{}`{}", base::escape_control(name), instead))
      .with_suggestion(std::move(near));
}

Result<NamedRouter> router_named(const std::string& name, bool by_group, const OutcomeTable& table,
                                 std::span<const PairedRow> rows) {
  if (name == "random") return evaluation::random_router(name);
  if (name == "length") return evaluation::fixed(name, {.scores = evaluation::length_scores(rows), .confidences = {}});
  if (name == "oracle") return evaluation::fixed(name, {.scores = evaluation::oracle_scores(rows), .confidences = {}});
  if (name == "oracle-difficulty")
    return evaluation::fixed(name, {.scores = evaluation::difficulty_scores(rows), .confidences = {}});
  if (name == "answer-length")
    return evaluation::fixed(name, {.scores = SHOAL_TRY(evaluation::answer_length_scores(rows)), .confidences = {}});
  if (name.starts_with(kColumnPrefix)) {
    const std::string column = name.substr(kColumnPrefix.size());
    return evaluation::fixed(name,
                             {.scores = SHOAL_TRY(evaluation::column_numbers(table, rows, column)), .confidences = {}});
  }
  if (name.starts_with(kScoresPrefix)) {
    const std::string file = name.substr(kScoresPrefix.size());
    return evaluation::fixed(name, SHOAL_TRY(evaluation::read_scores(file, rows)));
  }
  const auto routers = learning_routers(by_group);
  const auto learning = routers.find(name);
  if (learning == routers.end()) return unknown_router(name);
  return evaluation::trained(name, learning->second);
}

// What a table is, before any router.
struct Facts {
  std::size_t rows = 0;
  std::size_t excluded = 0;
  std::size_t incomplete = 0;
  std::size_t replaced = 0;
  double weak = 0;  // accuracies
  double strong = 0;
  double gain = 0;  // share of rows that the strong model does better, and worse
  double harm = 0;
};

Facts facts_of(const OutcomeTable& table, const OutcomePair& pair) {
  Facts out{
      .rows = pair.rows.size(), .excluded = table.excluded, .incomplete = pair.incomplete, .replaced = table.replaced};
  const auto n = static_cast<double>(out.rows);
  for (const PairedRow& row : pair.rows) {
    out.weak += row.weak / n;
    out.strong += row.strong / n;
    out.gain += row.strong > row.weak ? 1 / n : 0;
    out.harm += row.strong < row.weak ? 1 / n : 0;
  }
  return out;
}

std::string number(double value, const char* missing = "-") {
  return std::isnan(value) ? missing : fmt::format("{:.3f}", value);
}
std::string error_text(const std::optional<statistics::Estimate>& estimate) {
  return estimate ? number(estimate->standard_error) : "-";
}
std::string percent(double share) {
  return std::isnan(share) ? "-" : fmt::format("{:.1f} %", 100 * share);
}

std::string difference_text(const RouterReport& router, std::string_view first) {
  if (!router.difference) return "";
  const statistics::Interval& interval = router.difference->interval;
  return fmt::format("{:+.3f} [{:+.3f}, {:+.3f}] {}", router.difference->value, interval.low, interval.high,
                     router.verdict == statistics::Verdict::kCannotTell
                         ? std::string("cannot tell")
                         : fmt::format("{} than {}", statistics::verdict_name(router.verdict), first));
}

std::string head_text(const EvalRouteOptions& options, const Facts& facts, const Comparison& comparison) {
  std::string out =
      fmt::format("{} rows of {} {}: {} is right in {}, {} in {}; it does better in {} and worse in {}\n", facts.rows,
                  comparison.groups, comparison.groups == 1 ? "group" : "groups", options.weak, percent(facts.weak),
                  options.strong, percent(facts.strong), percent(facts.gain), percent(facts.harm));
  if (facts.excluded > 0) out += fmt::format("{} excluded rows are left out\n", facts.excluded);
  if (facts.incomplete > 0) out += fmt::format("{} rows without both outcomes are left out\n", facts.incomplete);
  if (facts.replaced > 0) out += fmt::format("{} bytes were no UTF-8 and were replaced\n", facts.replaced);
  const evaluation::ComparisonOptions& how = options.comparison;
  out +=
      fmt::format("{} folds {}, {} {}, seeds from {}; standard errors by {} resamples of rows, and of whole groups\n\n",
                  how.folds, how.by_group ? "of whole groups" : "at random", how.partitions,
                  how.partitions == 1 ? "partition" : "partitions", how.first_seed, how.resamples);
  return out;
}

std::string arena_text(std::string_view strong, const Comparison& comparison, std::size_t width) {
  std::string out = fmt::format(
      "\nRouterArena's score by the share that goes to {}; the best share is chosen on these rows\n", strong);
  out += fmt::format("{:<{}}  {:>6} {:>6} {:>6} {:>6} {:>6} {:>15}\n", "ROUTER", width, "0 %", "25 %", "50 %", "75 %",
                     "100 %", "BEST");
  for (const RouterReport& router : comparison.routers) {
    out += fmt::format("{:<{}} ", router.name, width);
    for (std::size_t i = 0; i < 5; ++i) out += fmt::format(" {:>6.3f}", router.arena[i].score);
    const evaluation::ArenaPoint& best = router.arena.back();
    out += fmt::format(" {:>15}\n", fmt::format("{:.3f} at {:.0f} %", best.score, 100 * best.share));
  }
  return out;
}

// A note where the rows are not those that the numbers were computed on.
std::string published_text(const evaluation::PublishedSet& set, std::size_t rows) {
  std::string out = fmt::format("\nPublished: {}. Compare with ROUTELLM, their integral{}\n", set.source,
                                set.rows == rows || set.rows == 0
                                    ? ""
                                    : fmt::format("; but these are {} rows, and theirs were {}", rows, set.rows));
  out += fmt::format("{:<28} {:<30} {:>8} {:>7} {:>7}\n", "ROUTER", "TRAINED ON", "APGR", "CPT50", "CPT80");
  for (const evaluation::PublishedRouter& router : set.routers) {
    out += fmt::format("{:<28} {:<30} {:>8.3f} {:>7} {:>7}\n", router.router, router.trained_on, router.apgr,
                       percent(router.cpt50), percent(router.cpt80));
  }
  return out;
}

std::string report_text(const EvalRouteOptions& options, const Facts& facts, const Comparison& comparison) {
  std::string out = head_text(options, facts, comparison);
  std::size_t width = 6;
  for (const RouterReport& router : comparison.routers) width = std::max(width, router.name.size());
  out += fmt::format("{:<{}}  {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6} {:>8} {:>6} {:>6}\n", "ROUTER", width,
                     "APGR", "+-ROW", "+-GRP", "FOLDS", "NORM", "CPT50", "CPT80", "AUDC", "ROUTELLM", "AUROC", "AUGRC");
  for (const RouterReport& router : comparison.routers) {
    const evaluation::RouterScore& score = router.score;
    out += fmt::format("{:<{}}  {:>6} {:>6} {:>6} {:>6} {:>6} {:>7} {:>7} {:>6} {:>8} {:>6} {:>6}\n", router.name,
                       width, number(score.measures.apgr), number(score.by_row.standard_error),
                       error_text(score.by_group), number(router.mean_of_folds), number(score.normalised),
                       percent(score.measures.cpt50), percent(score.measures.cpt80), number(score.measures.audc),
                       number(score.routellm_apgr), number(score.difficulty_auroc), number(score.augrc));
  }
  if (comparison.routers.size() > 1) {
    out += fmt::format("\nAPGR minus that of {}, with intervals by {} that hold together at 95 %\n",
                       comparison.routers.front().name, comparison.difference_by_group ? "group" : "row");
    for (const RouterReport& router : comparison.routers) {
      if (router.difference)
        out +=
            fmt::format("{:<{}}  {}\n", router.name, width, difference_text(router, comparison.routers.front().name));
    }
  }
  for (const RouterReport& router : comparison.routers) {
    if (!router.confidence) continue;
    out += fmt::format(
        "\n{}: its confidences have Brier {:.3f}, log-loss {:.3f}, ECE {:.3f} (debiased), AUROC {:.3f}\n", router.name,
        router.confidence->brier, router.confidence->log_loss, router.confidence->ece, router.confidence->auroc);
  }
  if (!comparison.routers.front().arena.empty()) out += arena_text(options.strong, comparison, width);
  if (const auto published = evaluation::published_set(options.published))
    out += published_text(*published, facts.rows);
  return out;
}

json::value or_null(double value) {
  return std::isfinite(value) ? json::value(value) : json::value(nullptr);
}

json::value estimate_json(const std::optional<statistics::Estimate>& estimate) {
  if (!estimate) return nullptr;
  return json::object{{"value", or_null(estimate->value)},
                      {"standard_error", or_null(estimate->standard_error)},
                      {"low", or_null(estimate->interval.low)},
                      {"high", or_null(estimate->interval.high)},
                      {"undefined_resamples", estimate->undefined}};
}

json::value confidence_json(const std::optional<statistics::Reliability>& found) {
  if (!found) return nullptr;
  json::array bins;
  for (const statistics::Bin& bin : found->bins)
    bins.push_back({{"answers", bin.answers}, {"predicted", bin.predicted}, {"right", bin.right}});
  return json::object{{"answers", found->answers}, {"brier", found->brier}, {"log_loss", found->log_loss},
                      {"ece", found->ece},         {"auroc", found->auroc}, {"bins", std::move(bins)}};
}

json::object router_json(const RouterReport& router) {
  const evaluation::RouterScore& score = router.score;
  json::array pooled;
  for (const double apgr : router.pooled) pooled.push_back(or_null(apgr));
  json::array arena;
  for (const evaluation::ArenaPoint& point : router.arena)
    arena.push_back({{"share", point.share},
                     {"accuracy", point.accuracy},
                     {"usd_per_1k", point.usd_per_1k},
                     {"score", point.score}});
  return {
      {"router", router.name},
      {"apgr", or_null(score.measures.apgr)},
      {"apgr_by_partition", std::move(pooled)},
      {"by_row", estimate_json(score.by_row)},
      {"by_group", estimate_json(score.by_group)},
      {"mean_of_folds", or_null(router.mean_of_folds)},
      {"gap_weighted_folds", or_null(router.gap_weighted_folds)},
      {"folds_without_gap", router.undefined_folds},
      {"apgr_normalised", or_null(score.normalised)},
      {"apgr_group_weighted", or_null(score.group_weighted_apgr)},
      {"apgr_routellm", or_null(score.routellm_apgr)},
      {"cpt50", or_null(score.measures.cpt50)},
      {"cpt80", or_null(score.measures.cpt80)},
      {"audc", or_null(score.measures.audc)},
      {"auroc_difficulty", score.difficulty_auroc},
      {"auroc_by_row", estimate_json(score.auroc_by_row)},
      {"augrc", score.augrc},
      {"confidence", confidence_json(router.confidence)},
      {"arena", std::move(arena)},
      {"difference", estimate_json(router.difference)},
      {"auroc_difference", estimate_json(router.auroc_difference)},
      {"verdict", router.difference ? json::value(statistics::verdict_name(router.verdict)) : json::value(nullptr)}};
}

json::value published_json(const std::optional<evaluation::PublishedSet>& set) {
  if (!set) return nullptr;
  json::array routers;
  for (const evaluation::PublishedRouter& router : set->routers)
    routers.push_back({{"router", router.router},
                       {"trained_on", router.trained_on},
                       {"apgr_routellm", router.apgr},
                       {"cpt50", router.cpt50},
                       {"cpt80", router.cpt80}});
  return json::object{
      {"set", set->name}, {"source", set->source}, {"rows", set->rows}, {"routers", std::move(routers)}};
}

std::string report_json(const EvalRouteOptions& options, const Facts& facts, const Comparison& comparison) {
  json::array routers;
  for (const RouterReport& router : comparison.routers) routers.push_back(router_json(router));
  const evaluation::ComparisonOptions& how = options.comparison;
  return json::serialize(json::object{{"weak", options.weak},
                                      {"strong", options.strong},
                                      {"rows", facts.rows},
                                      {"groups", comparison.groups},
                                      {"excluded", facts.excluded},
                                      {"incomplete", facts.incomplete},
                                      {"replaced_bytes", facts.replaced},
                                      {"weak_accuracy", facts.weak},
                                      {"strong_accuracy", facts.strong},
                                      {"gain", facts.gain},
                                      {"harm", facts.harm},
                                      {"folds", how.folds},
                                      {"partitions", how.partitions},
                                      {"first_seed", how.first_seed},
                                      {"held_out", how.by_group ? "groups" : "prompts"},
                                      {"resamples", how.resamples},
                                      {"difference_by", comparison.difference_by_group ? "group" : "row"},
                                      {"routers", std::move(routers)},
                                      {"published", published_json(evaluation::published_set(options.published))}}) +
         "\n";
}

Result<int> eval_route(const CommandContext& context, EvalRouteOptions options) {
  if (options.weak_usd.has_value() != options.strong_usd.has_value())
    return Error(ErrorCode::kUsage, "--weak-usd and --strong-usd belong together: give both, or neither");
  if (options.weak_usd)
    options.comparison.prices = {.weak_usd_per_1k = *options.weak_usd, .strong_usd_per_1k = *options.strong_usd};
  options.table.exclude.assign(options.exclude.begin(), options.exclude.end());
  options.table.join.assign(options.join.begin(), options.join.end());
  const OutcomeTable table = SHOAL_TRY(evaluation::read_outcomes(options.outcomes, options.table));
  OutcomePair pair = SHOAL_TRY(evaluation::pair_outcomes(table, options.weak, options.strong));
  if (!options.answer_length.empty()) SHOAL_TRY(evaluation::take_answer_lengths(table, options.answer_length, pair));
  std::vector<std::string> names = options.routers;
  if (names.empty()) {
    names = {"random", "length", "oracle", "oracle-difficulty"};
    const auto other = [&](const PairedRow& row) { return row.group != pair.rows.front().group; };
    if (std::ranges::any_of(pair.rows, other)) names.insert(names.begin() + 2, "group");
  }
  std::vector<NamedRouter> routers;
  for (const std::string& name : names)
    routers.push_back(SHOAL_TRY(router_named(name, options.comparison.by_group, table, pair.rows)));
  const Comparison comparison = SHOAL_TRY(evaluation::compare_routers(pair.rows, routers, options.comparison));
  const Facts facts = facts_of(table, pair);
  CommandContext::print(context.json ? report_json(options, facts, comparison)
                                     : report_text(options, facts, comparison));
  return 0;
}

}  // namespace

void add_eval_route(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(
      group, context,
      {.name = "route",
       .help = "Say what routers are worth on a table of outcomes; no model is asked",
       .example =
           "shoal eval route --outcomes outcomes.csv --weak small --strong large --router random --router length",
       .config = false,
       .data_dir = false});
  auto options = std::make_shared<EvalRouteOptions>();
  evaluation::ComparisonOptions& how = options->comparison;
  command.add_option("--outcomes", options->outcomes, "A CSV or JSONL file, or a folder of them, one per group")
      ->required()
      ->type_name("PATH");
  command.add_option("--weak", options->weak, "The cheap model's column, NAME or ok:NAME")
      ->required()
      ->type_name("NAME");
  command.add_option("--strong", options->strong, "The dear one's")->required()->type_name("NAME");
  command
      .add_option("--router", options->routers,
                  "random, length, group, learned, learned-robust, learned-answer, learned-answer-wrong, oracle, "
                  "oracle-difficulty, answer-length, column:NAME or scores:FILE.jsonl; may be given again, the first "
                  "is what the others are compared "
                  "with (default: random, length, group and the oracles)")
      ->type_name("NAME")
      ->take_all();
  command.add_option("--exclude", options->exclude, "Prompts to leave out, a JSON object a line; may be given again")
      ->type_name("FILE");
  command
      .add_option("--join", options->join, "Files with further columns for rows of the same `id`; may be given again")
      ->type_name("FILE");
  std::vector<std::string> sets;
  for (const evaluation::PublishedSet& set : evaluation::published_sets()) sets.emplace_back(set.name);
  command
      .add_option("--published", options->published,
                  fmt::format("Also print what others published on {}", fmt::join(sets, ", ")))
      ->check(CLI::IsMember(sets).description(""))
      ->type_name("SET");
  command.add_option("--folds", how.folds, "That routers which learn are kept apart by (default: 5)")
      ->check(CLI::Range(2, 100).description(""))
      ->type_name("N");
  command.add_option("--seeds", how.partitions, "Partitions into folds, each by a seed of its own (default: 3)")
      ->check(CLI::Range(1, 100).description(""))
      ->type_name("N");
  command.add_option("--seed", how.first_seed, "The first of them (default: 1)")->type_name("S");
  command.add_flag("--by-group", how.by_group, "Hold out whole groups");
  command.add_option("--resamples", how.resamples, "For standard errors and intervals (default: 1000)")
      ->check(CLI::Range(2, 100'000).description(""))
      ->type_name("N");
  command
      .add_option("--answer-length", options->answer_length,
                  "Column with the lengths of the cheap model's answers, where its answers are not there")
      ->type_name("NAME");
  command
      .add_option("--prompt-column", options->table.prompt_column, "Where the question is (default: prompt, question)")
      ->type_name("NAME");
  command.add_option("--group-column", options->table.group_column, "Its group (default: the name of the file)")
      ->type_name("NAME");
  command.add_option("--weak-usd", options->weak_usd, "What 1,000 requests cost at the cheap model")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("USD");
  command.add_option("--strong-usd", options->strong_usd, "And at the dear one")
      ->check(CLI::Range(0.0, 1e9).description(""))
      ->type_name("USD");
  on_run(command, context, [&context, options] { return eval_route(context, *options); });
}

}  // namespace shoal::cli
