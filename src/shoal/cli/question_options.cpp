#include "shoal/cli/question_options.h"

#include <map>
#include <memory>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"

namespace shoal::cli {
namespace {

// One line that is written over on a terminal; elsewhere one every tenth.
void note_progress(bool terminal, std::size_t there, std::size_t all, double per_second) {
  const std::size_t left = all - there;
  const std::string eta =
      left > 0 && per_second > 0
          ? ", " + base::human_duration(static_cast<std::int64_t>(1000 * static_cast<double>(left) / per_second)) +
                " left"
          : "";
  const std::string line = fmt::format("{} of {} answers, {:.1f}/s{}", there, all, per_second, eta);
  CommandContext::note(terminal ? fmt::format("\r\x1b[K{}{}", line, left == 0 ? "\n" : "") : line + "\n");
}

}  // namespace

void add_question_options(CLI::App& command, Questioning& request, bool required) {
  command.add_option("--model", request.model, "An installed model")->required(required);
  command.add_option("--task", request.task, "What the questions are about; routes name it as `task`")->required();
  command
      .add_option_function<std::string>(
          "--data", [&request](const std::string& path) { request.data = path; },
          "A question a line: {\"prompt\" or \"messages\", \"answer\" or \"answers\"}")
      ->required(required)
      ->type_name("FILE");
  command.add_option("--commit-tokens", request.commit_tokens, "As the route has it (default: 16)")
      ->check(CLI::Range(1, 512).description(""))
      ->type_name("K");
  command.add_option("--max-tokens", request.max_tokens, "The longest answer (default: 64)")
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("N");
  command.add_option("--stop", request.stop, "Where an answer ends; may be given again")->type_name("TEXT");
  command.add_option("--grader", request.grader_name, "exact, contains or label (default: exact)")
      ->check(CLI::IsMember({"exact", "contains", "label"}).description(""))
      ->type_name("NAME");
}

void finish_question_options(Questioning& request) {
  static const std::map<std::string, evaluation::Grader> kGraders = {{"exact", evaluation::Grader::kExact},
                                                                     {"contains", evaluation::Grader::kContains},
                                                                     {"label", evaluation::Grader::kLabel}};
  request.grader = kGraders.at(request.grader_name);
  request.note = [terminal = base::is_terminal(STDERR_FILENO), told = std::size_t{0}](
                     std::size_t there, std::size_t all, double per_second) mutable {
    const std::size_t tenth = 10 * there / all;
    if (!terminal && tenth == told) return;
    told = tenth;
    note_progress(terminal, there, all, per_second);
  };
}

std::string question_options(const Questioning& r) {
  std::string out =
      fmt::format("--model {} --task {} --data {} --commit-tokens {} --max-tokens {} --grader {}", r.model, r.task,
                  r.data.filename().string(), r.commit_tokens, r.max_tokens, r.grader_name);
  for (const std::string& stop : r.stop) out += " --stop " + base::json_string(stop);
  return out;
}

}  // namespace shoal::cli
