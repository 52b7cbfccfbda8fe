#include "shoal/cli/eval_run.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/eval_client.h"
#include "shoal/cli/eval_commands.h"
#include "shoal/cli/interruptible.h"
#include "shoal/cli/signals.h"
#include "shoal/evaluation/report.h"
#include "shoal/evaluation/report_words.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;
using evaluation::Ended;

constexpr int kIncompleteExit = 1;
constexpr int kNoJudgeExit = 8;                // "gate not met" of the table in base/error.def
constexpr std::int64_t kNoteNs = 200'000'000;  // between two lines on a terminal

struct EvalRunOptions {
  std::string suite;
  std::string baseline;
  std::string out;
  std::string url;
  std::string key_env;
  evaluation::RunOptions run;
  double max_usd = -1;
};

// One line that is written over on a terminal; elsewhere one every tenth.
class Notes {
 public:
  // `what` there are: "answers" where it is empty.
  explicit Notes(std::string what) : what_(what.empty() ? "answers" : std::move(what)) {}

  void tell(const evaluation::RunProgress& at) {
    const bool last = at.there >= at.all;
    const std::size_t tenth = at.all == 0 ? 10 : 10 * at.there / at.all;
    const std::int64_t now = clock_.monotonic_ns();
    if (!last && (terminal_ ? now - told_ns_ < kNoteNs : tenth == told_tenth_)) return;
    told_ns_ = now;
    told_tenth_ = tenth;
    std::string line = fmt::format("{} of {} {}, {:.1f}/s", at.there, at.all, what_, at.per_second);
    if (at.errors > 0) line += fmt::format(", {} failed", at.errors);
    if (at.spent_usd > 0) line += fmt::format(", {} USD", evaluation::usd_text(at.spent_usd));
    if (!last && at.per_second > 0) {
      const double left_ms = 1000 * static_cast<double>(at.all - at.there) / at.per_second;
      line += fmt::format(", {} left", base::human_duration(static_cast<std::int64_t>(left_ms)));
    }
    CommandContext::note(terminal_ ? fmt::format("\r\x1b[K{}{}", line, last ? "\n" : "") : line + "\n");
    open_ = terminal_ && !last;
  }
  void end() {
    if (open_) CommandContext::note("\n");
    open_ = false;
  }

 private:
  const base::SystemClock clock_;
  const std::string what_;
  const bool terminal_ = base::is_terminal(STDERR_FILENO);
  std::int64_t told_ns_ = 0;
  std::size_t told_tenth_ = 11;
  bool open_ = false;
};

// In whole or not at all: a reader never sees half of it.
Result<void> write_file(const fs::path& path, const std::string& text) {
  const fs::path partial = path.string() + ".partial";
  {
    errno = 0;
    std::ofstream file(partial, std::ios::binary | std::ios::trunc);
    file << text << std::flush;
    file.close();
    if (!file) {
      const int cause = errno;
      std::error_code ignored;
      fs::remove(partial, ignored);
      return base::errno_error("cannot write " + path.string(), cause);
    }
  }
  std::error_code error;
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  return {};
}

std::string route_text(const evaluation::RouteSummary& route) {
  std::string out = fmt::format("{}: {} right", route.route, evaluation::measured_text(route.right));
  if (route.score) out += fmt::format(", score {}", evaluation::measured_text(*route.score));
  out += fmt::format("\n  {} USD, p50 {:.0f} ms, p95 {:.0f} ms, {} tokens in, {} out; {}\n",
                     evaluation::usd_text(route.cost_usd), route.latency_p50_ms, route.latency_p95_ms,
                     route.prompt_tokens, route.completion_tokens, evaluation::decisions_text(route));
  if (const std::string missing = evaluation::missing_text(route); !missing.empty())
    out += fmt::format("  not in these numbers: {}\n", missing);
  return out;
}

std::string report_text(const evaluation::Report& report, const fs::path& folder) {
  std::string out = fmt::format("{}: {} questions, grader {}\n\n", report.suite.name, report.suite.rows.size(),
                                evaluation::grader_name(report.suite.grader.kind));
  for (const evaluation::RouteSummary& route : report.routes) out += route_text(route);
  for (const std::string& sentence : evaluation::judge_sentences(report)) out += sentence + "\n";
  if (!report.comparisons.empty()) out += "\n";
  for (const evaluation::RouteComparison& one : report.comparisons)
    out += evaluation::verdict_sentence(one, report.suite.by_score) + "\n";
  const auto shown = std::ranges::count_if(report.slice_comparisons, [](const evaluation::RouteComparison& one) {
    return one.verdict != statistics::Verdict::kCannotTell;
  });
  for (const evaluation::RouteComparison& one : report.slice_comparisons) {
    if (one.verdict != statistics::Verdict::kCannotTell)
      out += evaluation::verdict_sentence(one, report.suite.by_score) + "\n";
  }
  if (!report.slice_comparisons.empty() && shown == 0)
    out += fmt::format("cannot tell any of {} slices apart\n", report.slice_comparisons.size());
  out += fmt::format("\n{} asked now, {} were there. Wrote {}/result.json, report.md and report.html\n",
                     report.run.asked, report.run.kept, folder.string());
  return base::escape_lines(out);
}

Result<std::string> key_of(const EvalRunOptions& options) {
  if (options.key_env.empty()) return std::string();
  const char* const value = std::getenv(options.key_env.c_str());
  if (value == nullptr || *value == '\0')
    return Error(ErrorCode::kUsage, fmt::format("--key-env: the variable {} is not set", options.key_env));
  return std::string(value);
}

// One run: asks, grades, and keeps what is spent.
class EvalRun {
 public:
  EvalRun(const evaluation::Suite& suite, evaluation::RunOptions options, const EvalClient& client,
          evaluation::AnswerJournal& journal, const Signals& interrupts)
      : suite_(suite), options_(std::move(options)), client_(client), journal_(journal), interrupts_(interrupts) {}

  // A judge that may not be used: a result without routes.
  Result<evaluation::RunResult> run() {
    evaluation::RunResult out;
    std::optional<evaluation::JudgeTrial> trial;
    if (suite_.judge) {
      // Names that are none are told before the judge is paid for.
      for (const std::string& route : options_.routes) (void)SHOAL_TRY(client_.server().identity(route));
      trial =
          SHOAL_TRY(evaluation::judge_trial(*suite_.judge, beginning("labelled pairs"), client_.server(), journal_));
      end(trial->spent_usd);
      out.trial = trial;
      out.ended = trial->ended;
      if (!trial->usable()) return out;
    }
    out = SHOAL_TRY(evaluation::run_suite(suite_, beginning(""), client_.server(), journal_));
    end(out.spent_usd);
    out.trial = std::move(trial);
    if (suite_.judge) {
      SHOAL_TRY(evaluation::judge_all(suite_, beginning("verdicts"), client_.server(), journal_, out));
      end(0);
    } else {
      // What is there is graded after a Ctrl-C too; after a second one it is not.
      if (out.ended == Ended::kInterrupted) (void)interrupts_.take();
      SHOAL_TRY(evaluation::grade_all(suite_, options_.parallel, out, client_.server().interrupted));
    }
    if (out.trial) out.spent_usd += out.trial->spent_usd;
    return out;
  }
  // Whether anything was answered.
  [[nodiscard]] bool any() const { return any_; }

 private:
  evaluation::RunOptions beginning(const std::string& what) {
    evaluation::RunOptions out = options_;
    if (options_.max_usd) out.max_usd = std::max(0.0, *options_.max_usd - spent_usd_);
    notes_ = std::make_unique<Notes>(what);
    out.note = [this](const evaluation::RunProgress& at) {
      any_ = true;
      notes_->tell(at);
    };
    return out;
  }
  void end(double spent_usd) {
    notes_->end();
    spent_usd_ += spent_usd;
  }

  const evaluation::Suite& suite_;
  const evaluation::RunOptions options_;
  const EvalClient& client_;
  evaluation::AnswerJournal& journal_;
  const Signals& interrupts_;
  std::unique_ptr<Notes> notes_;
  double spent_usd_ = 0;
  bool any_ = false;
};

Result<evaluation::RunResult> asked_and_graded(const config::Config& config, const EvalRunOptions& options,
                                               const evaluation::Suite& suite, const fs::path& folder) {
  std::string key = SHOAL_TRY(key_of(options));
  const Signals interrupts({SIGINT, SIGTERM});
  const EvalClient client = SHOAL_TRY(EvalClient::open(config, options.url, std::move(key), interrupts.fd()));
  const auto journal = SHOAL_TRY(evaluation::AnswerJournal::open(folder));
  if (journal->damaged() > 0)
    CommandContext::note(
        fmt::format("{}: {} lines are damaged and count as not there\n", journal->path().string(), journal->damaged()));
  EvalRun run(suite, options.run, client, *journal, interrupts);
  auto result = run.run();
  if (result.ok() || !run.any()) return result;
  return Error(result.error().code(),
               fmt::format("{}; what was answered is kept, the same command goes on", result.error().message()))
      .with_suggestion(std::string(result.error().suggestion()));
}

int exit_of(Ended ended) {
  return ended == Ended::kInterrupted ? kInterruptedExit
         : ended == Ended::kBudget    ? base::error_info(ErrorCode::kBudgetExhausted).exit_code
                                      : 0;
}

int exit_code(const evaluation::Report& report) {
  if (report.run.ended != Ended::kComplete) return exit_of(report.run.ended);
  const bool whole = std::ranges::all_of(
      report.routes, [](const evaluation::RouteSummary& route) { return route.errors == 0 && route.ungraded == 0; });
  return whole ? 0 : kIncompleteExit;
}

void tell_end(const evaluation::RunResult& run, const EvalRunOptions& options) {
  if (run.ended == Ended::kBudget)
    CommandContext::note(fmt::format("stopped at {} USD: the next request might have passed --max-usd {}\n",
                                     evaluation::usd_text(run.spent_usd), options.max_usd));
  if (run.ended == Ended::kInterrupted)
    CommandContext::note("interrupted; what was answered is kept, the same command goes on\n");
}

// Its numbers are kept where answers are, by what is behind the judge and its rubric.
Result<int> refuse(const CommandContext& context, const EvalRunOptions& options, const evaluation::RunResult& run) {
  const evaluation::JudgeTrial& trial = *run.trial;
  if (context.json) CommandContext::print(evaluation::trial_json(trial) + "\n");
  if (trial.ended != Ended::kComplete) {
    CommandContext::note("the judge was not tried on all labelled pairs, so nothing was graded\n");
    evaluation::RunResult spent = run;
    spent.spent_usd = trial.spent_usd;
    tell_end(spent, options);
    return exit_of(trial.ended);
  }
  CommandContext::note(base::escape_lines(fmt::format(
      "error: {} may not judge: it does not agree with people more often than a coin\n{}\nfix: name a stronger judge, "
      "say in the rubric what people went by, or label more pairs; no question was asked\n",
      trial.judge, evaluation::trial_sentence(trial))));
  return kNoJudgeExit;
}

Result<int> run(const CommandContext& context, EvalRunOptions options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  evaluation::Suite suite = SHOAL_TRY(evaluation::read_suite(options.suite));
  std::vector<std::string>& routes = options.run.routes;
  if (!options.baseline.empty() && std::ranges::find(routes, options.baseline) == routes.end())
    routes.insert(routes.begin(), options.baseline);
  if (std::set<std::string>(routes.begin(), routes.end()).size() != routes.size())
    return Error(ErrorCode::kUsage, "--route: a route is named twice");
  if (options.max_usd >= 0) options.run.max_usd = options.max_usd;
  const fs::path folder = options.out.empty() ? fs::path(loaded.config->server.data_dir) / "evaluations" / suite.name
                                              : fs::path(options.out);
  evaluation::RunResult result = SHOAL_TRY(asked_and_graded(*loaded.config, options, suite, folder));
  if (result.trial) {
    const fs::path path = folder / fmt::format("judge-{}.json", result.trial->key.substr(0, 16));
    if (result.trial->ended == Ended::kComplete)
      SHOAL_TRY(write_file(path, evaluation::trial_json(*result.trial) + "\n"));
    if (!result.trial->usable()) return refuse(context, options, result);
  }
  const evaluation::Report report = evaluation::make_report(std::move(suite), std::move(result), options.baseline);
  const std::string as_json = evaluation::report_json(report);
  SHOAL_TRY(write_file(folder / "result.json", as_json));
  SHOAL_TRY(write_file(folder / "report.md", evaluation::report_markdown(report)));
  SHOAL_TRY(write_file(folder / "report.html", evaluation::report_html(report)));
  CommandContext::print(context.json ? as_json : report_text(report, folder));
  tell_end(report.run, options);
  return exit_code(report);
}

}  // namespace

void add_eval_run(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(
      group, context,
      {.name = "run",
       .help = "Ask a running server the questions of a suite, grade the answers, and report",
       .example = "shoal eval run suites/intents --route shoal-auto --route large/gpt --baseline large/gpt"});
  auto options = std::make_shared<EvalRunOptions>();
  command.add_option("suite", options->suite, "A folder with a suite.toml, or such a file")
      ->required()
      ->type_name("SUITE");
  command.add_option("--route", options->run.routes, "A route or a model of the server; may be given again")
      ->required()
      ->type_name("NAME");
  command.add_option("--baseline", options->baseline, "The route that the others are compared with")->type_name("NAME");
  command.add_option("--limit", options->run.limit, "Only the first questions")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 40).description(""))
      ->type_name("N");
  command.add_option("--parallel", options->run.parallel, "Requests at once (default: 4)")
      ->check(CLI::Range(1, 256).description(""))
      ->type_name("P");
  command.add_option("--max-usd", options->max_usd, "Stop before what is asked now could cost more")
      ->check(number_between(0, 1e9), "")
      ->type_name("X");
  command.add_option("--attempts", options->run.attempts, "Of a request that fails (default: 4)")
      ->check(CLI::Range(1, 20).description(""))
      ->type_name("N");
  command.add_flag("--fresh", options->run.fresh, "Ask again what was answered before");
  command.add_option("--out", options->out, "Folder of answers and reports (default: evaluations/ in the data folder)")
      ->type_name("DIR");
  command.add_option("--url", options->url, "http://HOST:PORT (default: the admin socket of this machine)")
      ->type_name("URL");
  command.add_option("--key-env", options->key_env, "The variable that holds the server's key")->type_name("NAME");
  on_run(command, context, [&context, options] { return run(context, *options); });
}

}  // namespace shoal::cli
