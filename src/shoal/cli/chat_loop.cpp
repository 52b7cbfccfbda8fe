#include "shoal/cli/chat_loop.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "shoal/base/suggest.h"
#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/line_reader.h"
#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

constexpr int kInterruptedExit = 130;
constexpr std::array<std::string_view, 4> kCommands = {"/help", "/clear", "/bye", "/exit"};
constexpr std::string_view kHelp =
    "/clear   begin a new conversation\n"
    "/bye     leave; so do Ctrl-D, and Ctrl-C twice\n"
    "Ctrl-C   stop an answer, or empty the line\n"
    "Alt-Enter breaks the line, and a paste of several lines stays one message.\n";

// "/clear", "/hlep": a slash and a word. A path such as /etc/hosts is none.
bool is_command(std::string_view line) {
  return line.size() > 1 && line.front() == '/' &&
         std::ranges::all_of(line.substr(1), [](char c) { return c >= 'a' && c <= 'z'; });
}

class Chat {
 public:
  Chat(Answerer& answerer, Turn turn) : answerer_(answerer), turn_(std::move(turn)), told_(turn_.messages) {}

  // False: the person wants to leave.
  bool command(std::string_view line) {
    if (line == "/bye" || line == "/exit") return false;
    if (line == "/help") {
      CommandContext::note(kHelp);
    } else if (line == "/clear") {
      turn_.messages = told_;
      CommandContext::note("The model has forgotten the conversation.\n");
    } else {
      const std::string_view near = base::suggest(line, kCommands);
      CommandContext::note(near.empty() ? fmt::format("There is no {}; /help lists what there is.\n", line)
                                        : fmt::format("There is no {}; did you mean {}?\n", line, near));
    }
    return true;
  }

  void ask(std::string text) {
    if (!wire::is_utf8(text)) {
      CommandContext::note("That is not UTF-8 text; it was not sent.\n");
      return;
    }
    turn_.messages.push_back({types::Role::kUser, std::move(text), {}});
    std::string answer;
    const Result<TurnEnd> end = answerer_.chat(turn_, [&](std::string_view part) {
      answer += part;
      print_answer(part);
    });
    if (!answer.empty() && !answer.ends_with('\n')) CommandContext::print("\n");
    const bool stopped = !end.ok() && end.error().code() == ErrorCode::kCancelled;
    if (stopped) CommandContext::note(answer.empty() ? "\n(stopped)\n" : "(stopped)\n");
    // The conversation goes on without a turn that failed, or that was stopped before it said anything.
    if ((!end.ok() && !stopped) || answer.empty()) {
      turn_.messages.pop_back();
    } else {
      turn_.messages.push_back({types::Role::kAssistant, std::move(answer), {}});
    }
    if (!end.ok() && !stopped) {
      report(end.error());
      if (end.error().code() == ErrorCode::kContextLengthExceeded) {
        CommandContext::note("/clear begins a new conversation.\n");
      }
    } else if (end.ok() && end->finish_reason == "length") {
      CommandContext::note(
          fmt::format("(cut after {} tokens: no more were allowed, or fit)\n", end->usage.completion_tokens));
    }
  }

 private:
  Answerer& answerer_;
  Turn turn_;
  const std::vector<types::Message> told_;
};

}  // namespace

void print_answer(std::string_view text) {
  CommandContext::print(base::is_terminal(STDOUT_FILENO) ? base::escape_lines(text) : std::string(text));
}

Result<int> chat_loop(Answerer& answerer, Turn turn) {
  turn.model = SHOAL_TRY(answerer.resolve(turn.model));
  LineReader reader("> ");
  if (reader.interactive()) {
    CommandContext::note(fmt::format("Talking to {}. /help says what you can type; Ctrl-C stops an answer.\n",
                                     base::escape_control(turn.model)));
  }
  Chat chat(answerer, std::move(turn));
  std::string line;
  bool interrupted = false;
  while (true) {
    const LineReader::Typed typed = reader.next(line);
    if (typed == LineReader::Typed::kEnd) return 0;
    if (typed == LineReader::Typed::kInterrupted) {
      if (interrupted) return kInterruptedExit;
      interrupted = true;
      CommandContext::note("(Ctrl-C again, or Ctrl-D, leaves)\n");
      continue;
    }
    interrupted = false;
    line.erase(std::min(line.find_last_not_of(" \t\r\n") + 1, line.size()));
    if (line.empty()) continue;
    if (!is_command(line)) {
      chat.ask(std::exchange(line, {}));
    } else if (!chat.command(line)) {
      return 0;
    }
  }
}

}  // namespace shoal::cli
