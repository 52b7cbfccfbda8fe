#include "shoal/cli/route_certify.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/question_options.h"
#include "shoal/cli/risk_chart.h"
#include "shoal/routing/calibration_file.h"
#include "shoal/routing/certificate.h"
#include "shoal/routing/groups.h"
#include "shoal/routing/prefix_judge.h"
#include "shoal/routing/scored_labels.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kPercent = 100;
constexpr int kGateNotMet = 8;

struct Options {
  Questioning questions;
  std::string scores;  // a file; empty: answers of a model
  routing::CertifyOptions certify;
  routing::FitOptions fit;  // with which the tables were made
  std::string excludes;
  std::string charts;  // a folder; empty: none
  bool dry_run = false;
};

struct Report {
  std::vector<routing::Certificate> gates;     // certified or not
  std::vector<std::optional<fs::path>> files;  // as `gates`
  std::vector<std::string> reliability;        // as `gates`, a picture; empty: scores are no probabilities
  std::string source;                          // what the labels are
};

std::string command_line(const Options& o) {
  std::string out = fmt::format("shoal route certify --risk {} --confidence {} --seed {} ", o.certify.risk,
                                o.certify.confidence, o.certify.seed);
  if (o.scores.empty()) {
    out += fmt::format("{} --fit-held-out {} --fit-seed {}", question_options(o.questions), o.fit.held_out, o.fit.seed);
  } else {
    out += fmt::format("--task {} --scores {}", o.questions.task, fs::path(o.scores).filename().string());
  }
  if (!o.excludes.empty()) out += " --excludes " + base::json_string(o.excludes);
  return out;
}

Result<Report> from_scores(const Options& options) {
  const routing::ScoredLabels scored = SHOAL_TRY(routing::read_scored_labels(options.scores));
  routing::Certificate out;
  out.key.task = options.questions.task;
  out.scores = "file";
  out.shown = SHOAL_TRY(routing::certify(scored.labels, options.certify));
  out.data = scored.sha256;
  Report report;
  report.source = fmt::format("{} labels of {}", out.shown.labels, options.scores);
  report.reliability.push_back(reliability_svg(scored.labels));
  report.gates.push_back(std::move(out));
  return report;
}

// Questions that no table has seen: the tables of another file have seen none of this one, and those of this file have
// not seen what was held out of both. Errors: kInvalidData where the split cannot be made again.
Result<std::set<std::size_t>> clean_questions(const Options& options, const GradedAnswers& graded,
                                              const routing::Calibration& tables) {
  std::uint64_t place = std::numeric_limits<std::uint64_t>::max();
  bool seen = false;
  for (const routing::Table* table : {tables.prefix, tables.whole}) {
    if (table == nullptr || table->data != graded.data.sha256) continue;
    const auto labels = graded.labels(options.questions, table->key.tokens);
    // Made again it must be the same to the last bit: then this is the split that it was fitted with.
    routing::FitOptions then = options.fit;
    then.few = table->fitted_on < routing::kLeastLabels;
    const auto again = routing::fit_table(labels, then);
    if (!again.ok() || !(again->logistic == table->logistic) || again->checks != table->checks) {
      return Error(ErrorCode::kInvalidData,
                   fmt::format("a table was fitted on a part of this file, and another part than these options say: "
                               "give --fit-held-out, --fit-seed, --grader, --max-tokens and --stop as they were then "
                               "({}), or certify with another file",
                               table->command));
    }
    place = std::min(place, routing::first_fitted_place(labels, options.fit));
    seen = true;
  }
  std::set<std::size_t> out;
  for (const auto& [at, answer] : graded.answers) {
    if (at >= graded.data.questions.size()) continue;
    const std::string group = graded.data.questions[at].group();
    if (!seen || routing::group_place(group, options.fit.seed) < place) out.insert(at);
  }
  return out;
}

Result<Report> from_answers(const config::Config& config, const Options& options) {
  const Questioning& questions = options.questions;
  const routing::Tables loaded = routing::load_tables(calibration_folder(config));
  evaluation::LabelledData data = SHOAL_TRY(evaluation::read_labelled(questions.data));
  const GradedAnswers graded = SHOAL_TRY(answer_questions(config, questions, std::move(data)));
  routing::TableKey key = graded.key;
  key.tokens = questions.commit_tokens;
  const routing::Calibration tables = routing::find_calibration(loaded.tables, key);
  if (!tables.any()) {
    return Error(ErrorCode::kNotFound,
                 fmt::format("no calibration table is for {} as it runs here ({} {}, wanted {}): `shoal route fit` "
                             "makes one, best from other questions than those that certify",
                             graded.model, tables.gap->field, tables.gap->value, tables.gap->wanted));
  }
  const std::set<std::size_t> clean = SHOAL_TRY(clean_questions(options, graded, tables));
  if (clean.empty()) {
    return Error(ErrorCode::kInvalidData, "all answers of this file were fitted on: certify with another file");
  }
  Report report;
  report.source = fmt::format("{}: {} answers{}", graded.model, clean.size(),
                              clean.size() == graded.answers.size()
                                  ? ""
                                  : fmt::format(" of {}, those that no table was fitted on", graded.answers.size()));
  for (const routing::Gate gate : {routing::Gate::kStream, routing::Gate::kWhole}) {
    std::vector<routing::ScoredLabel> labels;
    for (const std::size_t at : clean) {
      const routing::Checks seen = graded.checks(at);
      labels.push_back(
          {.score = routing::decisive_confidence(tables, gate == routing::Gate::kStream, questions.commit_tokens,
                                                 graded.answers.at(at).logprobs, &seen),
           .right = graded.right(questions, at),
           .group = graded.data.questions[at].group()});
    }
    routing::Certificate out;
    out.key = key;
    out.gate = gate;
    out.scores = routing::scores_name(tables);
    out.shown = SHOAL_TRY(routing::certify(labels, options.certify));
    out.model = graded.model;
    out.data = graded.data.sha256;
    report.reliability.push_back(reliability_svg(labels));
    report.gates.push_back(std::move(out));
  }
  return report;
}

std::string gate_text(const routing::Certificate& gate, const std::optional<fs::path>& file) {
  const routing::Certification& shown = gate.shown;
  std::string out = gate.key.weights.empty() ? ""
                    : gate.gate == routing::Gate::kStream
                        ? fmt::format("Streams, by their first {} tokens\n\n", gate.key.tokens)
                        : "Answers that are sent whole\n\n";
  out += risk_chart(shown) + "\n";
  if (!shown.ok()) return out + "Refused: " + shown.refusal + ".\n\n";
  const routing::GatePoint& last = shown.certified.back();
  out += fmt::format("Kept from {:.4f} on: {:.1f} % of the answers ({:.1f} to {:.1f}), {} of {} that certify\n",
                     last.threshold, kPercent * last.coverage, kPercent * shown.coverage.low,
                     kPercent * shown.coverage.high, last.kept, shown.certifying);
  out += fmt::format(
      "Promised, with a confidence of {:.4g} %: at most {:.4g} % of them are wrong; here {} were ({:.1f} %)\n",
      kPercent * shown.options.confidence, kPercent * shown.options.risk, last.wrong, kPercent * last.risk);
  if (shown.certified.size() > 1) {
    out += fmt::format("{} stricter thresholds are certified too, up to {:.4f}\n", shown.certified.size() - 1,
                       shown.certified.front().threshold);
  }
  return out + (file ? fmt::format("Wrote {}\n\n", file->string()) : "Nothing was written: --dry-run\n\n");
}

std::string report_text(const Options& options, const Report& report) {
  const routing::Certification& any = report.gates.front().shown;
  std::string out =
      fmt::format("{}; {:.1f} % wrong{}\n", report.source,
                  kPercent * static_cast<double>(any.wrong) / static_cast<double>(any.labels),
                  any.late > 0 ? fmt::format(", {} of them after they had been committed", any.late) : "");
  if (any.repeated > 0) out += fmt::format("{} more are copies and do not count\n", any.repeated);
  out += any.least_escalated > 0
             ? fmt::format("For a risk of {:.4g} % any rule must escalate at least {:.1f} % of them\n\n",
                           kPercent * any.options.risk, kPercent * any.least_escalated)
             : fmt::format("A risk of {:.4g} % asks for no escalation: all of them together have less\n\n",
                           kPercent * any.options.risk);
  for (std::size_t i = 0; i < report.gates.size(); ++i) out += gate_text(report.gates[i], report.files[i]);
  const bool served =
      std::ranges::any_of(report.files, [](const auto& file) { return file.has_value(); }) && options.scores.empty();
  if (served) {
    out += fmt::format("A running server uses it after `kill -HUP`, for routes with task = \"{}\" and risk = {}.\n",
                       options.questions.task, options.certify.risk);
  }
  return out;
}

// The certificate's own text, whose numbers have all their digits, and what the file does not have.
std::string report_json(const Report& report) {
  std::string gates;
  for (std::size_t i = 0; i < report.gates.size(); ++i) {
    const routing::Certification& shown = report.gates[i].shown;
    std::string one = routing::print_certificate(report.gates[i]);
    one.erase(one.rfind('}'));
    one += fmt::format(",\"file\":{},\"refusal\":{},\"more_labels\":{}}}",
                       report.files[i] ? base::json_string(report.files[i]->string()) : "null",
                       shown.ok() ? "null" : base::json_string(shown.refusal),
                       shown.more_labels ? fmt::format("{}", *shown.more_labels) : "null");
    std::erase(one, '\n');
    gates += (i == 0 ? "" : ",") + one;
  }
  return fmt::format("{{\"source\":{},\"gates\":[{}]}}\n", base::json_string(report.source), gates);
}

// risk.svg and reliability.svg; of a model's answers one of each for streams and for whole answers.
Result<void> write_charts(const Report& report, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  for (std::size_t i = 0; i < report.gates.size(); ++i) {
    const routing::Certificate& gate = report.gates[i];
    const char* const which = gate.key.weights.empty()              ? ""
                              : gate.gate == routing::Gate::kStream ? "-stream"
                                                                    : "-whole";
    const auto write = [&](const char* name, const std::string& text) -> Result<void> {
      if (text.empty()) return {};
      const fs::path path = folder / fmt::format("{}{}.svg", name, which);
      std::ofstream file(path, std::ios::binary | std::ios::trunc);
      file << text << std::flush;
      if (!file) return Error(ErrorCode::kIo, fmt::format("cannot write {}", path.string()));
      return {};
    };
    SHOAL_TRY(write("risk", gate.shown.curve.empty() ? "" : risk_svg(gate.shown)));
    SHOAL_TRY(write("reliability", report.reliability[i]));
  }
  return {};
}

Result<int> certify(const CommandContext& context, Options options) {
  if (options.scores.empty() == options.questions.data.empty()) {
    return Error(ErrorCode::kUsage, "give --scores FILE, or --data FILE and --model NAME");
  }
  if (options.scores.empty() && options.questions.model.empty()) {
    return Error(ErrorCode::kUsage, "--data needs the --model that answers it");
  }
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  finish_question_options(options.questions);
  Report report = SHOAL_TRY(options.scores.empty() ? from_answers(*loaded.config, options) : from_scores(options));
  bool any = false;
  for (routing::Certificate& gate : report.gates) {
    gate.excludes = options.excludes;
    gate.command = command_line(options);
    gate.date = utc_date(base::SystemClock());
    any = any || gate.shown.ok();
    std::optional<fs::path>& file = report.files.emplace_back();
    if (gate.shown.ok() && !options.dry_run) {
      file = SHOAL_TRY(routing::save_certificate(gate, fs::path(loaded.config->server.data_dir) / "certificates"));
    }
  }
  if (!options.charts.empty()) SHOAL_TRY(write_charts(report, options.charts));
  CommandContext::print(context.json ? report_json(report) : report_text(options, report));
  return any ? 0 : kGateNotMet;
}

}  // namespace

void add_route_certify(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(
      group, context,
      {.name = "certify",
       .help = "Find the threshold that keeps a promise about wrong answers, and write it down as a certificate",
       .example = "shoal route certify --risk 0.05 --task intents --model smollm2-135m-instruct --data other.jsonl\n"
                  "shoal route certify --risk 0.02 --confidence 0.95 --task intents --scores scores.jsonl"});
  auto options = std::make_shared<Options>();
  const auto share = CLI::Range(1e-6, 1 - 1e-6).description("");
  command.add_option("--risk", options->certify.risk, "The share of kept answers that may be wrong, such as 0.05")
      ->required()
      ->check(share)
      ->type_name("SHARE");
  command.add_option("--confidence", options->certify.confidence, "That this holds (default: 0.95)")
      ->check(share)
      ->type_name("SHARE");
  command
      .add_option("--scores", options->scores,
                  "A label a line: {\"score\": 0.9, \"right\": true, \"group\": TEXT, \"late\": false}")
      ->type_name("FILE");
  add_question_options(command, options->questions, false);
  command.add_option("--fit-held-out", options->fit.held_out, "As --held-out of the `shoal route fit` (default: 0.3)")
      ->check(CLI::Range(0.05, 0.9).description(""))
      ->type_name("SHARE");
  command.add_option("--fit-seed", options->fit.seed, "As --seed of the `shoal route fit` (default: 1)")
      ->type_name("S");
  command.add_option("--seed", options->certify.seed, "Which half ranks and which certifies (default: 1)")
      ->type_name("S");
  command.add_option("--excludes", options->excludes, "What the labels have none of, for the certificate")
      ->type_name("TEXT");
  command
      .add_option("--charts", options->charts,
                  "Also draw the risk curve, and what scores promised and what came true, as SVG files into DIR")
      ->type_name("DIR");
  command.add_flag("--dry-run", options->dry_run, "Write no certificate");
  on_run(command, context, [&context, options] { return certify(context, *options); });
}

}  // namespace shoal::cli
