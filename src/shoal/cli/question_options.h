// The options of commands that ask a model the questions of a labelled file. Threads: the main thread.
#pragma once

#include <string>

#include "shoal/cli/graded_answers.h"

namespace CLI {
class App;
}

namespace shoal::cli {

// --model, --task, --data, --commit-tokens, --max-tokens, --stop, --grader. `request` must live as long as the command.
void add_question_options(CLI::App& command, Questioning& request, bool required);
// After the command line was read: the grader, and progress on stderr.
void finish_question_options(Questioning& request);
// Those options as they would be written.
[[nodiscard]] std::string question_options(const Questioning& request);

}  // namespace shoal::cli
