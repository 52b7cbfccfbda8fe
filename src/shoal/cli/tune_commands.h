// `shoal tune`: probe trains a classifier of texts, test says what it is worth on others, show lists what is there.
// Threads: the main thread.
#pragma once

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
struct LabelledTextFields;
void add_tune_commands(CLI::App& root, CommandContext& context);
// DATA, --text-field, --label-field, --out-of-scope.
void add_labelled_options(CLI::App& command, LabelledTextFields& data);

}  // namespace shoal::cli
