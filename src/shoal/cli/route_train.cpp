#include "shoal/cli/route_train.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/graded_answers.h"
#include "shoal/cli/route_answer.h"
#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/outcome_table.h"
#include "shoal/evaluation/router_comparison.h"
#include "shoal/routing/answer_gain_file.h"
#include "shoal/routing/gain_file.h"
#include "shoal/routing/gain_fit.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using routing::GainModel;
using routing::GainOrigin;
using routing::GainPoint;

Result<void> check_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  if (!name.empty() && name.front() != '.' && std::ranges::all_of(name, plain)) return {};
  return Error(ErrorCode::kUsage, fmt::format("a router's name has letters, digits, '-', '_' and '.', and does not "
                                              "begin with a point; it cannot be `{}`",
                                              base::escape_control(name)));
}

// --- train

struct TrainOptions {
  std::string name;
  std::string outcomes;
  std::string weak;
  std::string strong;
  std::vector<std::string> exclude;
  evaluation::OutcomeOptions table;
  bool new_topics = false;
  bool robust = false;
  bool after_answer = false;
  std::string answer_length;
  std::size_t folds = 5;
  std::uint64_t seed = 1;
};

std::string command_line(const TrainOptions& o) {
  std::string out = fmt::format("shoal route train {} --outcomes {} --weak {} --strong {} --folds {} --seed {}", o.name,
                                fs::path(o.outcomes).filename().string(), o.weak, o.strong, o.folds, o.seed);
  if (o.new_topics) out += " --new-topics";
  if (o.robust) out += " --robust";
  if (o.after_answer) out += " --after-answer";
  if (!o.answer_length.empty()) out += " --answer-length " + o.answer_length;
  for (const std::string& file : o.exclude) out += " --exclude " + fs::path(file).filename().string();
  return out;
}

// Of what was learned from, row by row.
std::string hash_of(std::span<const evaluation::PairedRow> rows) {
  base::Sha256 hash;
  for (const evaluation::PairedRow& row : rows)
    hash.update(fmt::format("{}:{}\n{}:{}\n{} {}\n", row.prompt.size(), row.prompt, row.group.size(), row.group,
                            row.weak, row.strong));
  return hash.finish();
}

struct Trained {
  GainModel model;
  evaluation::RouterReport learned;
  evaluation::RouterReport length;
  std::size_t groups = 0;
  fs::path file;
  std::string sha256;
};

// Said before minutes of learning, not after.
Result<fs::path> writable_file(fs::path file) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (!error && ::access(file.parent_path().c_str(), W_OK) == 0) return file;
  if (!error) error = std::error_code(errno, std::generic_category());
  return Error(ErrorCode::kIo, fmt::format("cannot write to {}: {}", file.parent_path().string(), error.message()));
}

// What is held out is not learned from; and folds are not all of one size.
Result<void> check_rows(std::size_t rows, std::size_t folds) {
  constexpr double kUneven = 1.1;
  const auto needed = static_cast<std::size_t>(
      std::ceil(kUneven * static_cast<double>(routing::kLeastGainRows * folds) / static_cast<double>(folds - 1)));
  if (rows >= needed) return {};
  return Error(
      ErrorCode::kInvalidData,
      fmt::format("{} rows are too few: {} are needed, so that {} remain to learn from when one of {} folds is "
                  "held out; {} more. With 500 a router is barely better than the length of the text",
                  rows, needed, routing::kLeastGainRows, folds, needed - rows));
}

// Of the answers, where they are learned from.
std::string hash_of_answers(std::span<const evaluation::PairedRow> rows) {
  base::Sha256 hash;
  hash.update(hash_of(rows));
  for (const evaluation::PairedRow& row : rows)
    hash.update(fmt::format("{}:{}\n", row.weak_answer.size(), row.weak_answer));
  return hash.finish();
}

Result<std::string> train_after_answer(const TrainOptions& options, const std::string& data_dir, bool json) {
  if (options.new_topics || options.robust)
    return Error(ErrorCode::kUsage, "--after-answer goes with neither --new-topics nor --robust");
  const fs::path file = SHOAL_TRY(writable_file(routing::answer_router_file(data_dir, options.name)));
  const evaluation::OutcomeTable table = SHOAL_TRY(evaluation::read_outcomes(options.outcomes, options.table));
  evaluation::OutcomePair pair = SHOAL_TRY(evaluation::pair_outcomes(table, options.weak, options.strong));
  SHOAL_TRY(check_rows(pair.rows.size(), options.folds));
  const AnswerTraining training{.name = options.name,
                                .weak = options.weak,
                                .strong = options.strong,
                                .answer_length = options.answer_length,
                                .folds = options.folds,
                                .seed = options.seed,
                                .data = hash_of_answers(pair.rows),
                                .date = utc_date(base::SystemClock()),
                                .command = command_line(options)};
  return train_answer_router(training, table, std::move(pair), file, json);
}

Result<Trained> train(const TrainOptions& options, const std::string& data_dir) {
  const fs::path file = SHOAL_TRY(writable_file(routing::router_file(data_dir, options.name)));
  const evaluation::OutcomeTable table = SHOAL_TRY(evaluation::read_outcomes(options.outcomes, options.table));
  const evaluation::OutcomePair pair = SHOAL_TRY(evaluation::pair_outcomes(table, options.weak, options.strong));
  SHOAL_TRY(check_rows(pair.rows.size(), options.folds));
  const routing::GainFitOptions fit{
      .scope = options.new_topics ? routing::GainScope::kNewTopics : routing::GainScope::kSameTopics,
      .segments = options.robust ? 3 : 1,
      .seed = options.seed};
  const std::vector<evaluation::NamedRouter> routers = {
      evaluation::fixed("length", {.scores = evaluation::length_scores(pair.rows), .confidences = {}}),
      evaluation::trained("learned", evaluation::learned_router(fit))};
  evaluation::Comparison compared = SHOAL_TRY(evaluation::compare_routers(
      pair.rows, routers,
      {.folds = options.folds, .partitions = 1, .first_seed = options.seed, .by_group = options.new_topics}));
  GainModel::Parts parts = SHOAL_TRY(routing::fit_gain(evaluation::GainRows(pair.rows).rows(), fit)).parts();
  evaluation::RouterReport& learned = compared.routers.back();
  GainOrigin& origin = parts.origin;
  origin.weak = options.weak;
  origin.strong = options.strong;
  origin.data = hash_of(pair.rows);
  origin.date = utc_date(base::SystemClock());
  origin.command = command_line(options);
  origin.apgr = learned.score.measures.apgr;
  // Requests of one topic go together: the error by topic is the honest one where there are topics.
  origin.apgr_error = learned.score.by_group && options.new_topics ? learned.score.by_group->standard_error
                                                                   : learned.score.by_row.standard_error;
  GainModel model(std::move(parts));
  std::string sha256 = SHOAL_TRY(routing::save_gain(model, file));
  return Trained{std::move(model), std::move(learned), std::move(compared.routers.front()), compared.groups, file,
                 std::move(sha256)};
}

// The points of the curve nearest to shares that people think in.
std::vector<GainPoint> shown_points(const std::vector<GainPoint>& curve) {
  std::vector<GainPoint> out;
  for (const double share : {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0}) {
    const auto at = std::ranges::lower_bound(curve, share, {}, &GainPoint::share);
    if (at != curve.end() && (out.empty() || out.back() != *at)) out.push_back(*at);
  }
  return out;
}

std::string curve_text(const GainModel::Parts& parts) {
  const GainOrigin& o = parts.origin;
  std::string out = fmt::format("{:>10} {:>12} {:>8}\n{:>10} {:>10.1f} % {:>8.3f}\n", "LEAST GAIN", "SENT ON", "SCORE",
                                "-", 0.0, o.weak_score);
  for (const GainPoint& point : shown_points(parts.curve))
    out += fmt::format("{:>10.3f} {:>10.1f} % {:>8.3f}\n", point.gain, 100 * point.share, point.score);
  return out;
}

std::string weights_text(const GainModel::Parts& parts) {
  std::string out;
  for (std::size_t i = 0; i < routing::kGainParts; ++i) {
    if (parts.weights[i].weight > 0)
      out += fmt::format("{}{} {:.2f}", out.empty() ? "" : ", ", routing::kGainPartNames[i], parts.weights[i].weight);
  }
  return out + (parts.segments == 3 ? "; words and topics by thirds of the text, the middle one counts" : "");
}

std::string trained_text(const TrainOptions& options, const Trained& done) {
  const GainOrigin& o = done.model.parts().origin;
  const auto line = [](std::string_view name, const evaluation::RouterReport& report) {
    const std::string by_group =
        report.score.by_group ? fmt::format(" (+-{:.3f} by group)", report.score.by_group->standard_error) : "";
    return fmt::format("{:<8} {:.3f} +-{:.3f}{}, mean of folds {:.3f}\n", name, report.score.measures.apgr,
                       report.score.by_row.standard_error, by_group, report.mean_of_folds);
  };
  std::string out =
      fmt::format("{} rows: {} scores {:.3f}, {} {:.3f}\n\n", o.rows, o.weak, o.weak_score, o.strong, o.strong_score);
  out += fmt::format("APGR, cross-validated over {} folds{} (0.5 is chance):\n", options.folds,
                     options.new_topics ? " of whole groups" : "");
  out += line("learned", done.learned) + line("length", done.length);
  out += fmt::format("\nWeights: {}\nOn rows that each part had not seen:\n\n{}\nWrote {}\n",
                     weights_text(done.model.parts()), curve_text(done.model.parts()), done.file.string());
  return out;
}

json::object model_json(const GainModel::Parts& parts) {
  const GainOrigin& o = parts.origin;
  json::array curve;
  for (const GainPoint& point : parts.curve)
    curve.push_back(json::object{{"gain", point.gain}, {"share", point.share}, {"score", point.score}});
  json::object weights;
  for (std::size_t i = 0; i < routing::kGainParts; ++i) {
    const std::string_view name = routing::kGainPartNames[i];
    weights[json::string_view(name.data(), name.size())] = parts.weights[i].weight;
  }
  return {{"weak", o.weak},
          {"strong", o.strong},
          {"weak_score", o.weak_score},
          {"strong_score", o.strong_score},
          {"rows", o.rows},
          {"data", o.data},
          {"date", o.date},
          {"command", o.command},
          {"apgr", o.apgr},
          {"apgr_error", o.apgr_error},
          {"mean_gain", parts.mean},
          {"segments", parts.segments},
          {"topics", parts.topics.topics()},
          {"weights", std::move(weights)},
          {"curve", std::move(curve)}};
}

std::string trained_json(const Trained& done) {
  json::object out = model_json(done.model.parts());
  out["mean_of_folds"] = done.learned.mean_of_folds;
  out["length_apgr"] = done.length.score.measures.apgr;
  out["groups"] = done.groups;
  out["file"] = done.file.string();
  out["sha256"] = done.sha256;
  return json::serialize(out) + "\n";
}

Result<int> run_train(const CommandContext& context, TrainOptions options) {
  SHOAL_TRY(check_name(options.name));
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  options.table.exclude.assign(options.exclude.begin(), options.exclude.end());
  const std::string& data_dir = loaded.config->server.data_dir;
  if (!options.answer_length.empty() && !options.after_answer)
    return Error(ErrorCode::kUsage, "--answer-length is for --after-answer");
  if (options.after_answer) {
    CommandContext::print(SHOAL_TRY(train_after_answer(options, data_dir, context.json)));
    return 0;
  }
  const Trained done = SHOAL_TRY(train(options, data_dir));
  CommandContext::print(context.json ? trained_json(done) : trained_text(options, done));
  return 0;
}

// --- show

struct ShowOptions {
  std::string name;
  std::vector<std::string> words;
  std::string answer;
};

Error no_router(const fs::path& folder, const std::string& name, std::string_view ending) {
  std::vector<std::string> known;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ending) known.push_back(at->path().stem().string());
  }
  std::ranges::sort(known);
  if (known.empty()) {
    return {ErrorCode::kNotFound,
            fmt::format("there is no router in {}; `shoal route train NAME` makes one", folder.string())};
  }
  std::string all;
  for (const std::string& one : known) all += (all.empty() ? "" : ", ") + one;
  return {ErrorCode::kNotFound, fmt::format("there is no router `{}`; there are: {}", base::escape_control(name), all)};
}

struct Shown {
  routing::GainScore score;
  std::vector<routing::WordEffect> words;
};

std::string shown_text(const GainModel::Parts& parts, const Shown& shown) {
  std::string out = fmt::format("Expected gain {:.3f}: {:.3f} on average", shown.score.gain, parts.mean);
  for (std::size_t i = 0; i < routing::kGainParts; ++i) {
    if (parts.weights[i].weight > 0)
      out += fmt::format(", {} {:+.3f}", routing::kGainPartNames[i], shown.score.parts[i]);
  }
  out += "\n\n";
  for (const routing::WordEffect& word : shown.words)
    out += fmt::format("{:>+8.3f}  {}\n", word.effect, base::escape_control(word.words));
  return out;
}

Result<int> run_show(const CommandContext& context, const ShowOptions& options) {
  constexpr std::size_t kWords = 10;
  SHOAL_TRY(check_name(options.name));
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  std::error_code error;
  if (!options.answer.empty()) {
    const fs::path judge = routing::answer_router_file(loaded.config->server.data_dir, options.name);
    if (!fs::exists(judge, error)) return no_router(judge.parent_path(), options.name, routing::kAnswerGainEnding);
    const std::string question = fmt::format("{}", fmt::join(options.words, " "));
    CommandContext::print(SHOAL_TRY(show_answer_router(judge, question, options.answer, context.json)));
    return 0;
  }
  const fs::path file = routing::router_file(loaded.config->server.data_dir, options.name);
  if (!fs::exists(file, error)) return no_router(file.parent_path(), options.name, routing::kGainEnding);
  const routing::LoadedGain router = SHOAL_TRY(routing::load_gain(file));
  const GainModel::Parts& parts = router.model.parts();
  std::string text;
  for (const std::string& word : options.words) text += (text.empty() ? "" : " ") + word;
  Shown shown;
  if (!text.empty()) {
    GainModel::Scratch scratch;
    shown = {router.model.score(text, scratch), router.model.explain(text, scratch, kWords)};
  }
  if (context.json) {
    json::object out = model_json(parts);
    out["sha256"] = router.sha256;
    if (!text.empty()) {
      json::array words;
      for (const routing::WordEffect& word : shown.words)
        words.push_back(json::object{{"words", word.words}, {"effect", word.effect}});
      out["gain"] = shown.score.gain;
      out["parts"] = json::array(shown.score.parts.begin(), shown.score.parts.end());
      out["words"] = std::move(words);
    }
    CommandContext::print(json::serialize(out) + "\n");
    return 0;
  }
  const GainOrigin& o = parts.origin;
  if (!text.empty()) CommandContext::print(shown_text(parts, shown) + "\n");
  CommandContext::print(fmt::format(
      "Router {}, of {}: {} rows, {} scores {:.3f}, {} {:.3f}\nAPGR {:.3f} +-{:.3f}, cross-validated\nWeights: {}\n"
      "Made by `{}`\nSHA-256 {}\n\n{}",
      options.name, o.date, o.rows, o.weak, o.weak_score, o.strong, o.strong_score, o.apgr, o.apgr_error,
      weights_text(parts), o.command, router.sha256, curve_text(parts)));
  return 0;
}

}  // namespace

void add_route_train(CLI::App& group, CommandContext& context) {
  CLI::App& command =
      add_command(group, context,
                  {.name = "train",
                   .help = "Learn which requests gain from a large model, from a table of outcomes of both",
                   .example = "shoal route train mmlu --outcomes mmlu/ --weak mixtral-8x7b --strong gpt-4"});
  auto options = std::make_shared<TrainOptions>();
  command.add_option("name", options->name, "What the router is called")->required();
  command
      .add_option("--outcomes", options->outcomes,
                  "A CSV or JSONL file with prompts and how well each model answered them, or a folder of them")
      ->required()
      ->type_name("PATH");
  command.add_option("--weak", options->weak, "The column of the small model")->required()->type_name("NAME");
  command.add_option("--strong", options->strong, "The column of the large model")->required()->type_name("NAME");
  command.add_option("--exclude", options->exclude, "Prompts to leave out, a JSON object a line; may be given again")
      ->type_name("FILE");
  command.add_option("--prompt-column", options->table.prompt_column, "(default: prompt, else question)")
      ->type_name("NAME");
  command.add_option("--group-column", options->table.group_column, "The topic of a row (default: the file's name)")
      ->type_name("NAME");
  command.add_flag("--new-topics", options->new_topics,
                   "For requests of other topics than those of the table; whole groups are held out");
  command.add_flag("--robust", options->robust,
                   "Weigh thirds of the text and take the middle one, so that planted words do not decide");
  command.add_flag("--after-answer", options->after_answer,
                   "Learn to judge the small model's answers, of a column NAME_response, and not the questions alone");
  command
      .add_option("--answer-length", options->answer_length,
                  "Column with the lengths of these answers, where they are not there")
      ->type_name("NAME");
  command.add_option("--folds", options->folds, "Of the cross-validation (default: 5)")
      ->check(CLI::Range(2, 100).description(""))
      ->type_name("N");
  command.add_option("--seed", options->seed, "Which rows fall into which fold (default: 1)")->type_name("S");
  on_run(command, context, [&context, options] { return run_train(context, *options); });
}

void add_route_show(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(group, context,
                                  {.name = "show",
                                   .help = "Show a learned router, and what it makes of a question",
                                   .example = "shoal route show mmlu 'What is the integral of x^2?'"});
  auto options = std::make_shared<ShowOptions>();
  command.add_option("name", options->name, "The router")->required();
  command.add_option("question", options->words, "A question to weigh");
  command.add_option("--answer", options->answer, "What the small model answered, for one trained --after-answer")
      ->type_name("TEXT");
  on_run(command, context, [&context, options] { return run_show(context, *options); });
}

}  // namespace shoal::cli
