#include "shoal/cli/optimise_command.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/text.h"
#include "shoal/cli/progress.h"
#include "shoal/models/rewrite_json.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

struct OptimiseOptions {
  std::string name;
  OptimiseRequest request;
  bool undo = false;
};

bool measured(const models::RewriteCandidate& candidate) {
  return candidate.not_tested.empty();
}

std::string row_of(const std::string& type, const models::RewriteFigures& figures, const std::string& speed,
                   const std::string& kl, const std::string& agreement, const std::string& verdict) {
  return fmt::format("{:<8} {:>9} {:>9} {:>9.0f} {:>8.1f} {:>10.1f} {:>7} {:>8} {:>7} {:>8.2f}  {}\n", type,
                     base::human_bytes(figures.file_bytes), base::human_bytes(figures.resident_bytes), figures.prefill,
                     figures.decode, figures.streams, speed, kl, agreement, figures.perplexity, verdict);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// The source, as it was beside all candidates.
std::string source_row(const OptimiseReport& report, bool kept) {
  std::vector<models::RewriteFigures> all;
  for (const models::RewriteCandidate& candidate : report.candidates) {
    if (measured(candidate)) all.push_back(candidate.source);
  }
  if (all.empty()) return "";
  models::RewriteFigures figures = all.front();
  for (double models::RewriteFigures::* part :
       {&models::RewriteFigures::prefill, &models::RewriteFigures::decode, &models::RewriteFigures::streams}) {
    std::vector<double> values;
    for (const models::RewriteFigures& one : all) values.push_back(one.*part);
    figures.*part = median(std::move(values));
  }
  return row_of(report.source_type, figures, "1.00x", "0", "100 %", kept ? "the source, kept" : "the source");
}

std::string table(const OptimiseReport& report, const OptimiseRequest& request) {
  std::string out =
      fmt::format("{:<8} {:>9} {:>9} {:>9} {:>8} {:>10} {:>7} {:>8} {:>7} {:>8}  {}\n", "TYPE", "FILE", "MEMORY",
                  "PREFILL/S", "DECODE/S", "16 STREAMS", "SPEED", "KL", "TOP-1", "PPL", "VERDICT");
  out += source_row(report, !report.chosen);
  for (std::size_t i = 0; i < report.candidates.size(); ++i) {
    const models::RewriteCandidate& candidate = report.candidates[i];
    if (!measured(candidate)) {
      out += fmt::format("{:<8} {}\n", candidate.type, candidate.not_tested);
      continue;
    }
    const std::string against = models::objection(candidate, request.terms);
    const std::string verdict = report.chosen == i ? "chosen" : against.empty() ? "allowed" : "no: " + against;
    out += row_of(candidate.type, candidate.figures, fmt::format("{:.2f}x", candidate.speedup()),
                  fmt::format("{:.5f}", candidate.kl), fmt::format("{:.1f} %", 100 * candidate.agreement), verdict);
  }
  return out;
}

std::string to_json(const OptimiseReport& report, const OptimiseRequest& request) {
  json::array rows;
  for (const models::RewriteCandidate& candidate : report.candidates) {
    json::object row = models::to_json(candidate);
    if (measured(candidate)) row["objection"] = models::objection(candidate, request.terms);
    rows.push_back(std::move(row));
  }
  json::object out{{"event", "optimised"},
                   {"model", report.model.name},
                   {"source_type", report.source_type},
                   {"source_sha256", report.model.source_sha256()},
                   {"candidates", std::move(rows)},
                   {"dry_run", request.dry_run}};
  out["chosen"] = report.chosen ? json::value(report.candidates[*report.chosen].type) : json::value(nullptr);
  out["sha256"] = report.model.sha256;
  return json::serialize(out) + "\n";
}

std::string conclusion(const models::Installed& before, const OptimiseReport& report, const OptimiseRequest& request) {
  if (!report.chosen) {
    const bool went_back = before.rewrite && !report.model.rewrite;
    return fmt::format("{} {} {}: no candidate is allowed on these terms.\n", before.name,
                       went_back ? "is again what was delivered," : "stays", report.source_type);
  }
  const models::RewriteCandidate& chosen = report.candidates[*report.chosen];
  if (request.dry_run) return fmt::format("Without --dry-run {} would become {}.\n", before.name, chosen.type);
  return fmt::format(
      "{} is now {}, made of {}: no quality is gained by that.\n"
      "A running server uses it when it next loads the model. `shoal models optimise {} --undo` goes back.\n",
      before.name, chosen.type, report.source_type, before.name);
}

Result<int> undo(const CommandContext& context, const models::Store& store, const std::string& name) {
  const models::Installed model = SHOAL_TRY(store.undo_rewrite(name));
  CommandContext::print(context.json ? fmt::format("{{\"event\":\"undone\",\"model\":{},\"sha256\":{}}}\n",
                                                   base::json_string(name), base::json_string(model.sha256))
                                     : fmt::format("{} is again what was delivered, sha256 {}\n", name, model.sha256));
  return 0;
}

Result<int> run(const CommandContext& context, OptimiseOptions options, const models::Installed& model) {
  const auto loaded = SHOAL_TRY(context.load_config());
  const models::Store store(loaded.config->server.data_dir);
  if (options.undo) return undo(context, store, model.name);
  const base::SystemClock clock;
  Progress progress(clock, context.json);
  options.request.note = [&progress](const std::string& text) { progress.note(text); };
  const OptimiseReport report = SHOAL_TRY(optimise(*loaded.config, store, model, options.request));
  CommandContext::print(context.json ? to_json(report, options.request)
                                     : table(report, options.request) + conclusion(model, report, options.request));
  return 0;
}

}  // namespace

std::string in_words(const models::RewriteCandidate& candidate) {
  return fmt::format(
      "{:.2f}x as fast (prefill {:.2f}x, decode {:.2f}x, 16 streams {:.2f}x), {:+.0f} % memory, KL {:.5f}, top-1 "
      "{:.1f} %, "
      "perplexity {:.2f} against {:.2f}",
      candidate.speedup(), candidate.prefill_ratio, candidate.decode_ratio, candidate.streams_ratio,
      candidate.more_memory_percent(), candidate.kl, 100 * candidate.agreement, candidate.figures.perplexity,
      candidate.source.perplexity);
}

std::string summary(const OptimiseReport& report) {
  if (report.chosen) {
    const models::RewriteCandidate& chosen = report.candidates[*report.chosen];
    return fmt::format("{}: rewritten from {} as {}: {}; `shoal models optimise {} --undo` goes back",
                       report.model.name, report.source_type, chosen.type, in_words(chosen), report.model.name);
  }
  std::string reasons;
  for (const models::RewriteCandidate& candidate : report.candidates) {
    if (const std::string why = models::objection(candidate, {}); !why.empty())
      reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", candidate.type, why);
  }
  if (reasons.empty()) return "";
  return fmt::format("{} stays {}; not free: {}", report.model.name, report.source_type, reasons);
}

void add_optimise_command(CLI::App& group, CommandContext& context,
                          std::function<Result<models::Installed>(const std::string&)> find) {
  CLI::App& command = add_command(group, context,
                                  {.name = "optimise",
                                   .help = "Rewrite a model in the type that is fastest on this machine",
                                   .example = "shoal models optimise smollm2-135m-instruct --dry-run\n"
                                              "shoal models optimise smollm2-135m-instruct --agree-memory 40"});
  const auto options = std::make_shared<OptimiseOptions>();
  models::RewriteTerms& terms = options->request.terms;
  command.add_option("NAME", options->name, "An installed model")->required();
  command.add_option("--agree-memory", terms.most_memory_percent, "Percent more memory that it may take (default: 10)")
      ->check(CLI::Range(-100.0, 1000.0).description(""))
      ->type_name("PERCENT");
  command
      .add_option("--agree-kl", terms.most_kl, "Divergence from the source that it may have, in nats (default: 0.001)")
      ->check(CLI::Range(0.0, 100.0).description(""))
      ->type_name("X");
  command.add_option("--least-speedup", terms.least_speedup, "How much faster it must be (default: 1.3)")
      ->check(CLI::Range(0.0, 100.0).description(""))
      ->type_name("X");
  command.add_option("--candidate", options->request.forced, "Take this type, whatever the measurement says")
      ->type_name("TYPE");
  CLI::Option* const dry_run = command.add_flag("--dry-run", options->request.dry_run, "Measure, and change nothing");
  command.add_flag("--undo", options->undo, "Go back to the file as it was delivered")->excludes(dry_run);
  on_run(command, context, [&context, options, find = std::move(find)]() -> Result<int> {
    return run(context, *options, SHOAL_TRY(find(options->name)));
  });
}

}  // namespace shoal::cli
