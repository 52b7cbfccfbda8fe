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
#include "shoal/cli/command.h"

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
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMaxStdinBytes) return Error(ErrorCode::kUsage, "the prompt on the standard input is over 8 MiB");
  }
}

void print_text(std::string_view text) {
  // What a model says must not drive the terminal.
  CommandContext::print(base::is_terminal(STDOUT_FILENO) ? base::escape_lines(text) : std::string(text));
}

Result<int> run_once(const CommandContext& context, const AskOptions& options, const config::Config& config,
                     std::string prompt) {
  const std::unique_ptr<Answerer> asked = SHOAL_TRY(answerer(config));
  Turn turn = first_turn(options, config);
  turn.messages.push_back({types::Role::kUser, std::move(prompt), {}});
  std::string whole;
  Result<TurnEnd> end = asked->chat(turn, [&](std::string_view text) {
    if (context.json) {
      whole += text;
    } else {
      print_text(text);
    }
  });
  if (!context.json) CommandContext::print("\n");
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

// A line that a person types.
enum class Typed { kLine, kEnd, kInterrupted };
class LineReader {
 public:
  // Ctrl-C while waiting gives kInterrupted.
  Typed next(std::string& line) {
    struct sigaction action{};
    struct sigaction before{};
    action.sa_handler = [](int) {};
    ::sigaction(SIGINT, &action, &before);  // without SA_RESTART: read() returns EINTR
    const Typed typed = read_line(line);
    ::sigaction(SIGINT, &before, nullptr);
    return typed;
  }

 private:
  Typed read_line(std::string& line) {
    while (true) {
      if (const std::size_t end = pending_.find('\n'); end != std::string::npos) {
        line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return Typed::kLine;
      }
      std::array<char, 4096> buffer{};
      const ssize_t got = ::read(STDIN_FILENO, buffer.data(), buffer.size());
      if (got < 0 && errno == EINTR) return Typed::kInterrupted;
      if (got <= 0) {
        line = std::exchange(pending_, {});
        return line.empty() ? Typed::kEnd : Typed::kLine;
      }
      pending_.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }

  std::string pending_;
};

Result<int> chat_loop(const AskOptions& options, const config::Config& config) {
  const std::unique_ptr<Answerer> asked = SHOAL_TRY(answerer(config));
  Turn turn = first_turn(options, config);
  CommandContext::note(fmt::format("Talking to {}. Ctrl-C stops an answer, twice quits; so does /bye.\n",
                                   base::escape_control(turn.model)));
  LineReader reader;
  std::string line;
  bool interrupted = false;
  while (true) {
    CommandContext::note("> ");
    const Typed typed = reader.next(line);
    if (typed == Typed::kInterrupted) {
      CommandContext::note("\n");
      if (interrupted) return kInterruptedExit;
      interrupted = true;
      continue;
    }
    if (typed == Typed::kEnd || line == "/bye") return 0;
    interrupted = false;
    if (line.empty()) continue;
    turn.messages.push_back({types::Role::kUser, line, {}});
    std::string answer;
    const Result<TurnEnd> end = asked->chat(turn, [&](std::string_view text) {
      answer += text;
      print_text(text);
    });
    CommandContext::print("\n");
    if (!end.ok() && end.error().code() != ErrorCode::kCancelled) {
      // The conversation goes on without the turn that failed.
      turn.messages.pop_back();
      report(end.error());
      continue;
    }
    interrupted = !end.ok();
    turn.messages.push_back({types::Role::kAssistant, answer, {}});
  }
}

Result<int> run(const CommandContext& context, const AskOptions& options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  std::string prompt;
  for (const std::string& word : options.words) prompt += (prompt.empty() ? "" : " ") + word;
  if (prompt.empty() && base::is_terminal(STDIN_FILENO)) return chat_loop(options, *loaded.config);
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
    return chat_loop(*options, *loaded.config);
  });

  CLI::App& embed_command = add_command(root, context,
                                        {.name = "embed",
                                         .help = "Print the embeddings of texts, as JSON",
                                         .example = "shoal embed all-minilm-l6-v2 'a text' 'another'",
                                         .json = false});
  embed_command.add_option("model", options->model, "Model that embeds")->required();
  embed_command.add_option("text", options->words, "Texts; else one is read from the standard input");
  on_run(embed_command, context, [&context, options] { return embed(context, *options); });
}

}  // namespace shoal::cli
