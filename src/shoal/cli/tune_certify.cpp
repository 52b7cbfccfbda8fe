#include "shoal/cli/tune_certify.h"

#include <algorithm>
#include <fstream>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/graded_answers.h"
#include "shoal/cli/risk_chart.h"
#include "shoal/cli/tune_commands.h"
#include "shoal/cli/tune_slots.h"
#include "shoal/learning/class_file.h"
#include "shoal/learning/slot_file.h"
#include "shoal/routing/certify.h"
#include "shoal/routing/json_file.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kGateNotMet = 8;
constexpr double kPercent = 100;

struct Options {
  TaskTestRequest scores;
  routing::CertifyOptions certify;
  bool dry_run = false;
};

std::string certificate_name(const std::string& task) {
  return task + ".certificate.json";
}

fs::path task_file(const config::Config& config, const std::string& task) {
  const std::string_view ending = is_slot_task(config, task) ? learning::kSlotFileEnding : learning::kClassFileEnding;
  return task_folder(config) / (task + std::string(ending));
}

// Texts alike in letters and digits are one.
std::string group_of(const TextScore& of) {
  std::string out;
  for (const char c : of.text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool kept = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) > 127;
    if (kept) out += upper ? static_cast<char>(c + 32) : c;
  }
  return out + "\n" + of.asked;
}

std::string command_line(const Options& options) {
  return fmt::format("shoal tune certify {} --risk {} --confidence {} --seed {}{} {}", options.scores.task,
                     options.certify.risk, options.certify.confidence, options.certify.seed,
                     options.scores.data.out_of_scope.empty()
                         ? ""
                         : " --out-of-scope " + base::json_string(options.scores.data.out_of_scope),
                     options.scores.data.path.filename().string());
}

struct Report {
  routing::Certificate certificate;
  std::optional<fs::path> file;
  std::size_t outside = 0;
  std::size_t outside_kept = 0;
};

std::string report_text(const Report& report, const std::string& task) {
  const routing::Certification& shown = report.certificate.shown;
  std::string out = fmt::format("{}: {} labels, {:.2f} % wrong, by its {} answers\n", task, shown.labels,
                                kPercent * static_cast<double>(shown.wrong) / static_cast<double>(shown.labels),
                                report.certificate.key.quantisation);
  if (shown.repeated > 0) out += fmt::format("{} more are copies and do not count\n", shown.repeated);
  out += "\n" + risk_chart(shown) + "\n";
  if (!shown.ok()) return out + "Refused: " + shown.refusal + ".\n";
  const routing::GatePoint& last = shown.certified.back();
  out +=
      fmt::format("Kept from a score of {:.4f} on: {:.1f} % of the answers ({:.1f} to {:.1f}), {} of {} that certify\n",
                  last.threshold, kPercent * last.coverage, kPercent * shown.coverage.low,
                  kPercent * shown.coverage.high, last.kept, shown.certifying);
  out += fmt::format(
      "Promised, with a confidence of {:.4g} %: at most {:.4g} % of them are wrong; here {} were ({:.2f} %)\n",
      kPercent * shown.options.confidence, kPercent * shown.options.risk, last.wrong, kPercent * last.risk);
  if (report.outside > 0) {
    out += fmt::format("The promise is not about texts out of scope; {} of {} of them would be kept\n",
                       report.outside_kept, report.outside);
  }
  if (!report.file) return out + "Nothing was written: --dry-run\n";
  return out + fmt::format("Wrote {}\nA running server uses it after `kill -HUP`, until the task is trained again.\n",
                           report.file->string());
}

std::string report_json(const Report& report) {
  const routing::Certification& shown = report.certificate.shown;
  if (!shown.ok()) {
    return fmt::format("{{\"certified\":false,\"labels\":{},\"wrong\":{},\"refusal\":{},\"more_labels\":{}}}\n",
                       shown.labels, shown.wrong, base::json_string(shown.refusal),
                       shown.more_labels ? fmt::format("{}", *shown.more_labels) : "null");
  }
  std::string out = routing::print_certificate(report.certificate);
  out.erase(out.rfind('}'));
  out += fmt::format(",\"certified_threshold\":{},\"out_of_scope\":{},\"out_of_scope_kept\":{},\"file\":{}}}",
                     routing::json_number(report.certificate.threshold()), report.outside, report.outside_kept,
                     report.file ? base::json_string(report.file->string()) : "null");
  std::erase(out, '\n');
  return out + "\n";
}

Result<int> certify(const CommandContext& context, Options options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  const bool quiet = context.json;
  options.scores.note = [quiet](const std::string& line) {
    if (!quiet) CommandContext::note(line + "\n");
  };
  const TaskScores scores = SHOAL_TRY(score_texts(*loaded.config, options.scores));
  if (scores.data == scores.training) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("{} is what {} was trained on; certify with texts that it has not seen",
                             options.scores.data.path.string(), options.scores.task));
  }
  Report report;
  std::vector<routing::ScoredLabel> labels;
  for (const TextScore& one : scores.texts) {
    if (one.outside) {
      ++report.outside;
    } else {
      labels.push_back({.score = one.score, .right = one.right, .group = group_of(one)});
    }
  }
  routing::Certificate& out = report.certificate;
  out.gate = routing::Gate::kWhole;
  out.key.task = options.scores.task;
  out.key.weights = SHOAL_TRY(base::sha256_of_file(task_file(*loaded.config, options.scores.task)));
  out.key.quantisation = scores.way;
  out.scores = "score";
  out.shown = SHOAL_TRY(routing::certify(labels, options.certify));
  out.excludes = options.scores.data.out_of_scope.empty() ? "" : "out-of-scope";
  out.data = scores.data;
  out.date = utc_date(base::SystemClock());
  out.command = command_line(options);
  if (out.shown.ok()) {
    const double threshold = out.threshold();
    report.outside_kept = static_cast<std::size_t>(std::ranges::count_if(
        scores.texts, [threshold](const TextScore& one) { return one.outside && one.score >= threshold; }));
    if (!options.dry_run) {
      report.file = SHOAL_TRY(routing::save_text(task_folder(*loaded.config), certificate_name(options.scores.task),
                                                 routing::print_certificate(out)));
    }
  }
  CommandContext::print(context.json ? report_json(report) : report_text(report, options.scores.task));
  return out.shown.ok() ? 0 : kGateNotMet;
}

}  // namespace

Result<std::optional<routing::Certificate>> task_certificate(const fs::path& folder, const std::string& task,
                                                             const std::string& sha256_of_task) {
  const fs::path path = folder / certificate_name(task);
  std::error_code error;
  if (!fs::exists(path, error)) return std::optional<routing::Certificate>();
  const std::string text = SHOAL_TRY(routing::read_text(path));
  auto parsed = routing::parse_certificate(text);
  if (!parsed.ok()) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("{}: {}", path.string(), parsed.error().message()));
  }
  if (parsed->key.weights != sha256_of_task || parsed->key.task != task) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("the task's file is another one than the certificate is for; `shoal tune certify {} DATA` "
                             "makes one for it",
                             task));
  }
  base::Sha256 sum;
  sum.update(text);
  parsed->sha256 = sum.finish();
  return std::optional(std::move(parsed).value());
}

Result<TaskScores> score_texts(const config::Config& config, const TaskTestRequest& request) {
  TaskScores out;
  if (is_slot_task(config, request.task)) {
    const learning::SlotModel model = SHOAL_TRY(load_slot_task(config, request.task));
    const SlotTexts read = SHOAL_TRY(read_slot_texts(request.data.path, model.slots));
    const learning::SlotQuality quality = learning::measure_slots(model, read.data.examples);
    for (std::size_t i = 0; i < quality.scored.size(); ++i) {
      const learning::SlotExample& of = read.data.examples[i];
      out.texts.push_back({of.text, fmt::format("{}", fmt::join(of.asked, ",")), quality.scored[i].score,
                           quality.scored[i].right, false});
    }
    out.way = "slots";
    out.data = read.sha256;
    out.training = model.data_sha256;
    return out;
  }
  TaskTestRequest plain = request;
  plain.typos = false;
  TaskTestReport report = SHOAL_TRY(test_task(config, plain));
  out.texts = std::move(report.scores);
  out.way = report.parts.back().name;
  out.data = report.data_sha256;
  out.training = report.training_sha256;
  return out;
}

Result<void> write_scores(const std::vector<TextScore>& texts, const fs::path& path) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  for (const TextScore& one : texts) {
    file << fmt::format("{{\"score\": {}, \"right\": {}, \"group\": {}, \"out_of_scope\": {}}}\n",
                        routing::json_number(one.score), one.right, base::json_string(group_of(one)), one.outside);
  }
  file.close();
  if (!file) return Error(ErrorCode::kIo, fmt::format("cannot write {}", path.string()));
  return {};
}

void add_tune_certify(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(group, context,
                                  {.name = "certify",
                                   .help = "Find from which score on answers of a task keep a promise about wrong ones",
                                   .example = "shoal tune certify intents other.jsonl --risk 0.02"});
  auto options = std::make_shared<Options>();
  const auto share = CLI::Range(1e-6, 1 - 1e-6).description("");
  command.add_option("task", options->scores.task, "The trained task")->required();
  add_labelled_options(command, options->scores.data);
  command.add_option("--risk", options->certify.risk, "The share of kept answers that may be wrong, such as 0.02")
      ->required()
      ->check(share)
      ->type_name("SHARE");
  command.add_option("--confidence", options->certify.confidence, "That this holds (default: 0.95)")
      ->check(share)
      ->type_name("SHARE");
  command.add_option("--seed", options->certify.seed, "Which half ranks and which certifies (default: 1)")
      ->type_name("S");
  command.add_flag("--dry-run", options->dry_run, "Write no certificate");
  on_run(command, context, [&context, options] { return certify(context, *options); });
}

}  // namespace shoal::cli
