#include "shoal/cli/ask_commands.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/answerer.h"
#include "shoal/cli/chat_loop.h"
#include "shoal/cli/command.h"
#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

constexpr std::size_t kMaxStdinBytes = std::size_t{8} * 1024 * 1024;
constexpr int kInterruptedExit = 130;

struct AskOptions {
  std::string model;
  std::vector<std::string> words;
  std::string system;
  std::int32_t max_tokens = 0;
  float temperature = -1;
  std::optional<std::uint64_t> seed;
};

Result<std::unique_ptr<Answerer>> answerer(const config::Config& config) {
  if (auto server = find_server(config)) return server;
  return make_local_answerer(config);
}

Turn first_turn(const AskOptions& options, const config::Config& config) {
  Turn turn;
  turn.model = options.model.empty() ? config.engine.default_model : options.model;
  if (!options.system.empty()) turn.messages.push_back({types::Role::kSystem, options.system, {}});
  if (options.max_tokens > 0) turn.max_tokens = options.max_tokens;
  if (options.temperature >= 0) turn.temperature = options.temperature;
  turn.seed = options.seed;
  return turn;
}

Result<std::string> read_stdin() {
  std::string text;
  std::array<char, 65536> buffer{};
  while (true) {
    const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::errno_error("cannot read the standard input", errno);
    if (got == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxStdinBytes) return Error(ErrorCode::kUsage, "the text on the standard input is over 8 MiB");
  }
  if (!wire::is_utf8(text)) return Error(ErrorCode::kUsage, "the text on the standard input is not UTF-8");
  return text;
}

Result<int> run_once(const CommandContext& context, const AskOptions& options, const config::Config& config,
                     std::string prompt) {
  const std::unique_ptr<Answerer> asked = SHOAL_TRY(answerer(config));
  Turn turn = first_turn(options, config);
  turn.messages.push_back({types::Role::kUser, std::move(prompt), {}});
  std::string whole;
  bool answered = false;
  Result<TurnEnd> end = asked->chat(turn, [&](std::string_view text) {
    answered = true;
    if (context.json) {
      whole += text;
    } else {
      print_answer(text);
    }
  });
  if (answered && !context.json) CommandContext::print("\n");
  if (!end.ok() && end.error().code() == ErrorCode::kCancelled) return kInterruptedExit;
  const TurnEnd done = SHOAL_TRY(std::move(end));
  if (context.json) {
    CommandContext::print(fmt::format(
        R"({{"model":{},"text":{},"finish_reason":{},"usage":{{"prompt_tokens":{},"completion_tokens":{}}}}})"
        "\n",
        base::json_string(turn.model), base::json_string(whole), base::json_string(done.finish_reason),
        done.usage.prompt_tokens, done.usage.completion_tokens));
  }
  return 0;
}

Result<int> converse(const AskOptions& options, const config::Config& config) {
  const std::unique_ptr<Answerer> asked = SHOAL_TRY(answerer(config));
  return chat_loop(*asked, first_turn(options, config));
}

Result<int> run(const CommandContext& context, const AskOptions& options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  std::string prompt;
  for (const std::string& word : options.words) prompt += (prompt.empty() ? "" : " ") + word;
  if (!wire::is_utf8(prompt)) return Error(ErrorCode::kUsage, "the prompt is not UTF-8 text");
  if (prompt.empty() && base::is_terminal(STDIN_FILENO)) return converse(options, *loaded.config);
  if (prompt.empty()) prompt = SHOAL_TRY(read_stdin());
  if (prompt.empty()) return Error(ErrorCode::kUsage, "there is no prompt: give one after the model, or pipe one in");
  return run_once(context, options, *loaded.config, std::move(prompt));
}

Result<int> embed(const CommandContext& context, const AskOptions& options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  std::vector<std::string> texts = options.words;
  if (texts.empty() && !base::is_terminal(STDIN_FILENO)) texts.push_back(SHOAL_TRY(read_stdin()));
  if (texts.empty() || texts.front().empty()) {
    return Error(ErrorCode::kUsage, "there is no text: give one or more after the model, or pipe one in");
  }
  const std::unique_ptr<Answerer> asked = SHOAL_TRY(answerer(*loaded.config));
  const Embeddings result = SHOAL_TRY(asked->embed(options.model, texts));
  std::string out = fmt::format(R"({{"model":{},"embeddings":[)", base::json_string(options.model));
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    out += fmt::format("{}[{}]", i == 0 ? "" : ",", fmt::join(result.rows[i], ","));
  }
  out += fmt::format("],\"usage\":{{\"prompt_tokens\":{}}}}}\n", result.prompt_tokens);
  CommandContext::print(out);
  return 0;
}

void add_sampling_options(CLI::App& command, AskOptions& options) {
  command.add_option("--system", options.system, "What the model is told first");
  command.add_option("--max-tokens", options.max_tokens, "The longest answer, in tokens")->check(CLI::PositiveNumber);
  command.add_option("--temperature", options.temperature, "Randomness; 0: always the likeliest token")
      ->check(CLI::Range(0.0, 2.0));
  command.add_option("--seed", options.seed, "Repeat the same randomness");
}

}  // namespace

void add_ask_commands(CLI::App& root, CommandContext& context) {
  auto options = std::make_shared<AskOptions>();

  CLI::App& run_command = add_command(root, context,
                                      {.name = "run",
                                       .help = "Ask a model one question; without one, talk to it",
                                       .example = "shoal run smollm2-135m-instruct 'What is the capital of France?'"});
  run_command.add_option("model", options->model, "Model to ask")->required();
  run_command.add_option("prompt", options->words, "The question; else it is read from the standard input");
  add_sampling_options(run_command, *options);
  on_run(run_command, context, [&context, options] { return run(context, *options); });

  CLI::App& chat_command = add_command(
      root, context,
      {.name = "chat", .help = "Talk to a model", .example = "shoal chat smollm2-135m-instruct", .json = false});
  chat_command.add_option("model", options->model, "Model to talk to; else the default one");
  add_sampling_options(chat_command, *options);
  on_run(chat_command, context, [&context, options]() -> Result<int> {
    const config::Loaded loaded = SHOAL_TRY(context.load_config());
    return converse(*options, *loaded.config);
  });

  CLI::App& embed_command = add_command(root, context,
                                        {.name = "embed",
                                         .help = "Print the embeddings of texts, as JSON",
                                         .example = "shoal embed all-minilm-l6-v2 'a text' 'another'"});
  embed_command.add_option("model", options->model, "Model that embeds")->required();
  embed_command.add_option("text", options->words, "Texts; else one is read from the standard input");
  on_run(embed_command, context, [&context, options] { return embed(context, *options); });
}

}  // namespace shoal::cli
