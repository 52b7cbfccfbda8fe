#include "shoal/cli/tune_commands.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/tune_certify.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/cli/tune_slots.h"
#include "shoal/learning/class_file.h"
#include "shoal/statistics/binomial.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kWorstShown = 5;

std::string shown(std::string_view text) {
  return base::escape_control(text);
}

// --- probe

std::string quality_line(std::string_view name, const learning::ClassQuality& of, std::size_t outside) {
  std::string out = fmt::format(
      "{:<10} {:>6.2f} % right ({:.2f} to {:.2f}), log-loss {:.3f}; how sure it is: ECE "
      "{:.3f} (debiased), AUROC {:.3f}",
      name, 100 * of.accuracy, 100 * of.interval.low, 100 * of.interval.high, of.log_loss, of.right.ece,
      of.right.auroc);
  if (outside > 0) out += fmt::format("; out of scope: AUROC {:.3f}", of.outside_auroc);
  return out + "\n";
}

std::string worst_text(const ProbeReport& report) {
  std::string out;
  for (std::size_t i = 0; i < std::min(kWorstShown, report.fit.by_label.size()); ++i) {
    const learning::ClassFitReport::Label& one = report.fit.by_label[i];
    if (one.right == one.texts) break;
    out += fmt::format("{:>5} of {:<5} {}", one.right, one.texts, shown(report.labels[one.label]));
    if (one.taken > 0) out += fmt::format(", {} taken for {}", one.taken, shown(report.labels[one.taken_for]));
    out += '\n';
  }
  return out.empty() ? out : "\nThe hardest labels, right of all:\n" + out;
}

std::string probe_text(const ProbeReport& report, const std::string& task) {
  const bool fused = !report.embedder.empty();
  std::string out = fmt::format("{}: {} texts, {} labels", task, report.texts, report.labels.size());
  if (report.outside > 0) out += fmt::format(", {} texts out of scope", report.outside);
  if (report.read.repeated > 0) out += fmt::format("; {} rows like one before were left out", report.read.repeated);
  out += "\n";
  if (report.read.contradicted > 0) {
    out += fmt::format("{} texts have more than one label, which nobody can learn: {}\n", report.read.contradicted,
                       shown(report.read.contradiction));
  }
  out += fmt::format("\nOn texts that were held out, in {} folds (95 % intervals):\n", learning::kClassFolds);
  out += quality_line("hashed", report.fit.hashed, report.outside);
  if (fused) {
    out += fmt::format("{:<10} {:>6.2f} % right\n", "embedding", 100 * report.fit.probe_accuracy);
    out += quality_line("fused", report.fit.fused, report.outside);
  }
  out += fmt::format("{:<10} {:>6.2f} % right, hashed, with two letters swapped in one of five words\n", "typos",
                     100 * report.fit.typo_accuracy);
  if (report.fit.fused_typo_accuracy > 0) {
    out += fmt::format("{:<10} {:>6.2f} % right, fused, with an error in one of five words\n", "",
                       100 * report.fit.fused_typo_accuracy);
  }
  out += worst_text(report);
  std::string grid;
  for (const double one : learning::fusion_grid()) grid += fmt::format("{}{}", grid.empty() ? "" : ", ", one);
  const learning::ClassQuality& best = fused ? report.fit.fused : report.fit.hashed;
  out += fmt::format("\nChosen by log-loss on held-out texts{}: {} x hashed",
                     report.fit.fused_typo_accuracy > 0 ? " and their copies with typing errors" : "", best.of_hashed);
  if (fused) out += fmt::format(" + {} x embedding", best.of_probe);
  out +=
      fmt::format(", from {}\nEmbedded in {:.1f} s, trained in {:.1f} s\nWrote {} ({})\n", grid, report.embed_seconds,
                  report.fit_seconds, report.file.string(), base::human_bytes(report.file_bytes));
  return out +
         fmt::format("A running server uses it after `kill -HUP`: POST /v1/classify with \"task\": \"{}\".\n", task);
}

Result<int> probe(const CommandContext& context, ProbeRequest request) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  if (has_spans(request.data.path)) {
    SHOAL_TRY(check_task_name(request.task));
    const SlotProbeReport report =
        SHOAL_TRY(probe_slots(*loaded.config, request.data.path, request.task, request.seed));
    CommandContext::print(context.json ? slot_probe_json(report, request.task) : slot_probe_text(report, request.task));
    return 0;
  }
  const bool quiet = context.json;
  request.note = [quiet](const std::string& line) {
    if (!quiet) CommandContext::note(line + "\n");
  };
  const ProbeReport report = SHOAL_TRY(tune_probe(*loaded.config, request));
  if (!context.json) {
    CommandContext::print(probe_text(report, request.task));
    return 0;
  }
  const learning::ClassModel model = SHOAL_TRY(load_task(*loaded.config, request.task));
  json::value out = json::parse(model.report);
  json::object& object = out.as_object();
  object["task"] = request.task;
  object["file"] = report.file.string();
  object["file_bytes"] = report.file_bytes;
  object["embed_seconds"] = report.embed_seconds;
  object["fit_seconds"] = report.fit_seconds;
  object["embedder"] = report.embedder.empty() ? json::value() : json::value(report.embedder);
  CommandContext::print(json::serialize(out) + "\n");
  return 0;
}

void add_probe(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(group, context,
                                  {.name = "probe",
                                   .help = "Train a classifier of texts on labelled examples",
                                   .example = "shoal tune probe intents.jsonl --task intents"});
  auto request = std::make_shared<ProbeRequest>();
  add_labelled_options(command, request->data);
  command.add_option("--task", request->task, "What /v1/classify will know it by")->required()->type_name("NAME");
  CLI::Option* const embedder =
      command
          .add_option("--embedder", request->embedder, "Embedding model (default: the configured one, or the first)")
          ->type_name("MODEL");
  command.add_flag("--no-embedder", request->no_embedder, "Train the hashed part alone: microseconds, less accurate")
      ->excludes(embedder);
  command.add_flag("!--no-typos", request->typos,
                   "Do not train on a copy of each text with typing errors: a smaller file, more errors on such texts");
  command.add_option("--seed", request->seed, "Of the folds and of the order (default: 1)")->type_name("S");
  on_run(command, context, [&context, request] { return probe(context, *request); });
}

// --- test

double share(std::size_t part, std::size_t all) {
  return static_cast<double>(part) / static_cast<double>(all);
}

std::string test_text(const TaskTestReport& report, const std::string& task) {
  std::string out = fmt::format("{}: {} texts", task, report.texts);
  if (report.outside > 0) out += fmt::format(", {} out of scope", report.outside);
  out += "\n";
  for (const TaskTestPart& part : report.parts) {
    const double accuracy = share(part.right, report.texts);
    const double error = std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(report.texts));
    const statistics::Interval interval = statistics::clopper_pearson(part.right, report.texts);
    out += fmt::format(
        "{:<7} {:.2f} % right (standard error {:.2f}; 95 %: {:.2f} to {:.2f}); with swaps {:.2f} %; how sure it is: "
        "ECE {:.3f} (debiased), AUROC {:.3f}",
        part.name, 100 * accuracy, 100 * error, 100 * interval.low, 100 * interval.high,
        100 * share(part.right_with_swaps, report.texts), part.reliability.ece, part.reliability.auroc);
    if (report.outside > 0) out += fmt::format("; out of scope: AUROC {:.4f}", part.outside_auroc);
    out += "\n";
  }
  return out +
         fmt::format("A decision of the hashed part: p50 {:.1f} us, p99 {:.1f} us\n", report.p50_us, report.p99_us);
}

std::string test_json(const TaskTestReport& report) {
  json::object out{{"texts", report.texts},
                   {"out_of_scope_texts", report.outside},
                   {"p50_us", report.p50_us},
                   {"p99_us", report.p99_us}};
  for (const TaskTestPart& part : report.parts) {
    const double accuracy = share(part.right, report.texts);
    const statistics::Interval interval = statistics::clopper_pearson(part.right, report.texts);
    out[part.name] =
        json::object{{"accuracy", accuracy},
                     {"standard_error", std::sqrt(accuracy * (1 - accuracy) / static_cast<double>(report.texts))},
                     {"low", interval.low},
                     {"high", interval.high},
                     {"accuracy_with_swaps", share(part.right_with_swaps, report.texts)},
                     {"ece", part.reliability.ece},
                     {"right_auroc", part.reliability.auroc},
                     {"out_of_scope_auroc", part.outside_auroc}};
  }
  return json::serialize(out) + "\n";
}

Result<int> test_slots(const CommandContext& context, const config::Config& config, const TaskTestRequest& request) {
  const learning::SlotModel model = SHOAL_TRY(load_slot_task(config, request.task));
  const SlotTexts read = SHOAL_TRY(read_slot_texts(request.data.path, model.slots));
  if (read.data.examples.empty()) return Error(ErrorCode::kInvalidData, "the data have no texts");
  const learning::SlotQuality quality = learning::measure_slots(model, read.data.examples);
  CommandContext::print(context.json ? slot_test_json(quality, model, request.seed)
                                     : slot_test_text(quality, model, request.seed));
  return 0;
}

Result<int> test(const CommandContext& context, TaskTestRequest request, const std::string& scores) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  if (is_slot_task(*loaded.config, request.task)) {
    if (!scores.empty()) {
      const TaskScores of = SHOAL_TRY(score_texts(*loaded.config, request));
      SHOAL_TRY(write_scores(of.texts, scores));
    }
    return test_slots(context, *loaded.config, request);
  }
  const bool quiet = context.json;
  request.note = [quiet](const std::string& line) {
    if (!quiet) CommandContext::note(line + "\n");
  };
  const TaskTestReport report = SHOAL_TRY(test_task(*loaded.config, request));
  if (!scores.empty()) SHOAL_TRY(write_scores(report.scores, scores));
  CommandContext::print(context.json ? test_json(report) : test_text(report, request.task));
  return 0;
}

void add_test(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(group, context,
                                  {.name = "test",
                                   .help = "Score a trained task on labelled texts that it has not seen",
                                   .example = "shoal tune test intents held-out.jsonl"});
  auto request = std::make_shared<TaskTestRequest>();
  request->data.repeated = true;
  command.add_option("task", request->task, "The trained task")->required();
  add_labelled_options(command, request->data);
  command.add_option("--seed", request->seed, "Of the typing errors (default: 1)")->type_name("S");
  auto scores = std::make_shared<std::string>();
  command
      .add_option("--scores", *scores,
                  "Also write the score of each text and whether its answer was right, an object a line, into FILE")
      ->type_name("FILE");
  on_run(command, context, [&context, request, scores] { return test(context, *request, *scores); });
}

// --- show

Result<int> show_slots(const CommandContext& context, const config::Config& config, const std::string& task) {
  const learning::SlotModel model = SHOAL_TRY(load_slot_task(config, task));
  json::object out{{"task", model.name},
                   {"date", model.date},
                   {"data_sha256", model.data_sha256},
                   {"slots", json::array(model.slots.begin(), model.slots.end())},
                   {"report", json::parse(model.report)}};
  if (context.json) {
    CommandContext::print(json::serialize(out) + "\n");
    return 0;
  }
  const json::object& held = out.at("report").at("held_out").as_object();
  std::string slots;
  for (const std::string& slot : model.slots) slots += (slots.empty() ? "" : ", ") + shown(slot);
  CommandContext::print(fmt::format("{}: slots {}, trained on {}\nF1 of spans on held-out texts {:.4f}\nData {}\n",
                                    model.name, slots, shown(model.date), held.at("f1").to_number<double>(),
                                    shown(model.data_sha256)));
  return 0;
}

Result<int> show(const CommandContext& context, const std::string& task) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  if (task.empty()) {
    const auto files = task_files(task_folder(*loaded.config));
    json::array names;
    std::string out;
    for (const auto& file : files) {
      names.emplace_back(file.stem().string());
      out += shown(file.stem().string()) + "\n";
    }
    if (files.empty()) out = "No task was trained yet: `shoal tune probe DATA --task NAME` does.\n";
    CommandContext::print(context.json ? json::serialize(json::object{{"tasks", std::move(names)}}) + "\n" : out);
    return 0;
  }
  if (is_slot_task(*loaded.config, task)) return show_slots(context, *loaded.config, task);
  const learning::ClassModel model = SHOAL_TRY(load_task(*loaded.config, task));
  json::object out{{"task", model.name},
                   {"date", model.date},
                   {"data_sha256", model.data_sha256},
                   {"labels", json::array(model.labels.begin(), model.labels.end())},
                   {"report", json::parse(model.report)}};
  if (model.embedder) {
    out["embedder"] = json::object{{"name", model.embedder->name}, {"sha256", model.embedder->sha256}};
  }
  if (context.json) {
    CommandContext::print(json::serialize(out) + "\n");
    return 0;
  }
  const json::object& report = out.at("report").as_object();
  const bool fused = report.contains("fused");
  const json::object& best = report.at(fused ? "fused" : "hashed").as_object();
  const auto percent = [&best](std::string_view name) { return 100 * best.at(name).to_number<double>(); };
  CommandContext::print(fmt::format(
      "{}: {} labels, trained on {} texts on {}, {}\n{:.2f} % right on held-out texts (95 %: {:.2f} to {:.2f})\n"
      "Data {}\n",
      model.name, model.labels.size(), report.at("texts").to_number<std::size_t>(), shown(model.date),
      model.embedder ? "with the embeddings of " + shown(model.embedder->name) : "without embeddings",
      percent("accuracy"), percent("low"), percent("high"), shown(model.data_sha256)));
  return 0;
}

void add_show(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(
      group, context,
      {.name = "show", .help = "List the trained tasks, or describe one", .example = "shoal tune show intents"});
  auto task = std::make_shared<std::string>();
  command.add_option("task", *task, "The task; all are listed without it");
  on_run(command, context, [&context, task] { return show(context, *task); });
}

}  // namespace

void add_labelled_options(CLI::App& command, LabelledTextFields& data) {
  command.add_option("data", data.path, "Texts with their labels: JSONL, or CSV with a header")->required();
  command.add_option("--text-field", data.text, "Its field with the text (default: text, or another usual name)")
      ->type_name("FIELD");
  command.add_option("--label-field", data.label, "Its field with the label (default: label, category, intent, ...)")
      ->type_name("FIELD");
  command
      .add_option("--out-of-scope", data.out_of_scope, "Rows with this label are examples of none of the other labels")
      ->type_name("LABEL");
}

void add_tune_commands(CLI::App& root, CommandContext& context) {
  CLI::App& group = add_command(root, context,
                                {.name = "tune",
                                 .help = "Train small models of your own on labelled examples",
                                 .example = "shoal tune probe intents.jsonl --task intents",
                                 .config = false,
                                 .data_dir = false,
                                 .json = false});
  group.require_subcommand(1);
  add_probe(group, context);
  add_test(group, context);
  add_tune_certify(group, context);
  add_show(group, context);
}

}  // namespace shoal::cli
