// The conversation of `shoal chat`, and of `shoal run` without a question. Owned by nobody. Threads: the main one.
#pragma once

#include "shoal/base/result.h"
#include "shoal/cli/answerer.h"

namespace shoal::cli {

// Until the person leaves; `turn` has the model, the options and what the model is told first. Returns the exit code.
// Errors: kModelNotFound, before anything is asked. What goes wrong later is shown, and the conversation goes on.
Result<int> chat_loop(Answerer& answerer, Turn turn);

// Prints a part of an answer; what a model says must not drive the terminal.
void print_answer(std::string_view text);

}  // namespace shoal::cli
