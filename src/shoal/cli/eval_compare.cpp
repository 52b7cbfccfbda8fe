#include "shoal/cli/eval_compare.h"

#include <filesystem>
#include <memory>
#include <string>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/eval_commands.h"
#include "shoal/cli/eval_page.h"
#include "shoal/cli/line_reader.h"
#include "shoal/evaluation/blind.h"
#include "shoal/wire/json_writer.h"

namespace shoal::cli {
namespace {

using evaluation::BlindComparison;
using evaluation::BlindPair;
using evaluation::Choice;
using statistics::Preferred;

struct EvalCompareOptions {
  std::string suite;
  std::string result;
  std::string first;
  std::string second;
  std::string second_result;
  std::string journal;
  double delta = 0.05;
  std::uint64_t seed = 1;
  bool page = false;
  std::uint16_t port = 0;
};

std::string pair_text(const BlindPair& pair, std::size_t left) {
  return fmt::format("\n--- {}\n\n[1]\n{}\n\n[2]\n{}\n\n1, 2, = for a tie, q to stop ({} left)\n",
                     base::escape_lines(pair.question), base::escape_lines(pair.left), base::escape_lines(pair.right),
                     left);
}

// Asks until somebody is shown to be preferred, the pairs are through, or the person stops.
Result<void> ask(BlindComparison& comparison) {
  LineReader reader("> ");
  const std::vector<BlindPair>& pairs = comparison.pairs();
  for (std::size_t i = 0; i < pairs.size() && comparison.test().winner() == Preferred::kNeither;) {
    CommandContext::note(pair_text(pairs[i], pairs.size() - i));
    std::string line;
    if (reader.next(line) != LineReader::Typed::kLine || line == "q") return {};
    if (line == "1" || line == "2" || line == "=") {
      const Choice choice = line == "1" ? Choice::kLeft : line == "2" ? Choice::kRight : Choice::kTie;
      SHOAL_TRY(comparison.judge(pairs[i], choice));
      ++i;
    } else {
      CommandContext::note("wanted 1, 2, = or q\n");
    }
  }
  return {};
}

std::string verdict_text(const BlindComparison& comparison, const EvalCompareOptions& options) {
  const statistics::PreferenceTest& test = comparison.test();
  const statistics::Interval interval = test.interval();
  const std::string counts =
      fmt::format("{} preferred {} times, {} {} times, {} ties, {} questions with the same answer", options.first,
                  test.first_wins(), options.second, test.second_wins(), comparison.ties(), comparison.same());
  const std::string share =
      fmt::format("the share of {} is {:.0f} to {:.0f} %, at any time with {:.0f} %", options.first, 100 * interval.low,
                  100 * interval.high, 100 * (1 - options.delta));
  const std::string verdict = test.winner() == Preferred::kNeither ? "Cannot tell which is preferred"
                              : test.winner() == Preferred::kFirst ? options.first + " is preferred"
                                                                   : options.second + " is preferred";
  return base::escape_lines(fmt::format("{}: {}; {}\n", verdict, counts, share));
}

std::string verdict_json(const BlindComparison& comparison, const EvalCompareOptions& options) {
  const statistics::PreferenceTest& test = comparison.test();
  std::string out;
  wire::JsonWriter json(out);
  const auto number = [](double value) {
    std::string text;
    wire::append_json_number(text, value);
    return text;
  };
  json.object().key("first").string(options.first).key("second").string(options.second);
  json.key("verdict").string(test.winner() == Preferred::kNeither ? "cannot tell"
                             : test.winner() == Preferred::kFirst ? options.first
                                                                  : options.second);
  json.key("first_wins").integer(static_cast<std::int64_t>(test.first_wins()));
  json.key("second_wins").integer(static_cast<std::int64_t>(test.second_wins()));
  json.key("ties").integer(static_cast<std::int64_t>(comparison.ties()));
  json.key("same").integer(static_cast<std::int64_t>(comparison.same()));
  json.key("low").raw(number(test.interval().low)).key("high").raw(number(test.interval().high));
  json.end_object();
  return out + "\n";
}

Result<void> ask_on_page(BlindComparison& comparison, const EvalCompareOptions& options) {
  return compare_on_page(
      comparison,
      {.port = options.port,
       .delta = options.delta,
       .verdict = [&] { return verdict_text(comparison, options); },
       .ready =
           [](const std::string& url) {
             CommandContext::note(fmt::format("open {}\nOnly who knows this address may vote. Ctrl-C ends it\n", url));
           }});
}

Result<int> run(const CommandContext& context, const EvalCompareOptions& options) {
  const evaluation::Suite suite = SHOAL_TRY(evaluation::read_suite(options.suite));
  const evaluation::Results first = SHOAL_TRY(evaluation::read_results(options.result, options.first));
  const std::string& other = options.second_result.empty() ? options.result : options.second_result;
  const evaluation::Results second = SHOAL_TRY(evaluation::read_results(other, options.second));
  const std::filesystem::path journal = options.journal.empty()
                                            ? std::filesystem::path(options.result).parent_path() / "judgements.jsonl"
                                            : std::filesystem::path(options.journal);
  BlindComparison comparison =
      SHOAL_TRY(BlindComparison::open(suite, first, second, options.seed, options.delta, journal));
  if (comparison.damaged() > 0)
    CommandContext::note(fmt::format("{}: {} lines are damaged, and are judged again\n",
                                     base::escape_control(journal.string()), comparison.damaged()));
  SHOAL_TRY(options.page ? ask_on_page(comparison, options) : ask(comparison));
  CommandContext::print(context.json ? verdict_json(comparison, options) : verdict_text(comparison, options));
  return 0;
}

}  // namespace

void add_eval_compare(CLI::App& group, CommandContext& context) {
  CLI::App& command =
      add_command(group, context,
                  {.name = "compare",
                   .help = "Say which of two answers is better, blind, and stop whenever you like",
                   .example = "shoal eval compare suites/letters result.json --first small --second large",
                   .config = false,
                   .data_dir = false});
  auto options = std::make_shared<EvalCompareOptions>();
  command.add_option("suite", options->suite, "The suite that was run")->required()->type_name("SUITE");
  command.add_option("result", options->result, "Its result.json")->required()->type_name("RESULT");
  command.add_option("--first", options->first, "A route of the result")->required()->type_name("NAME");
  command.add_option("--second", options->second, "The other one")->required()->type_name("NAME");
  command.add_option("--second-result", options->second_result, "Where that is, if not in the same result")
      ->type_name("FILE");
  command.add_option("--journal", options->journal, "Judgements (default: judgements.jsonl beside the result)")
      ->type_name("FILE");
  command.add_option("--delta", options->delta, "Chance to name a winner where there is none (default: 0.05)")
      ->check(number_between(0.0001, 0.5), "")
      ->type_name("D");
  CLI::Option* const page = command.add_flag("--page", options->page, "On a page in the browser of this machine");
  command.add_option("--port", options->port, "Of the page (default: any free one)")->needs(page)->type_name("PORT");
  command.add_option("--seed", options->seed, "Of the order (default: 1)")->type_name("S");
  on_run(command, context, [&context, options] { return run(context, *options); });
}

}  // namespace shoal::cli
