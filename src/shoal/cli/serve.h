// `shoal serve`: starts the App, says where it is, and ends on a signal. Threads: the main thread.
#pragma once

#include <cstdint>
#include <string>

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_serve_command(CLI::App& root, CommandContext& context);

// What a newcomer reads on stdout: the address, a curl line, an SDK snippet, the variable that most clients take.
struct Greeting {
  std::string host;
  std::uint16_t port = 0;
  std::string model;  // of the examples
  bool needs_key = false;
  bool has_models = true;
};
[[nodiscard]] std::string greeting_text(const Greeting& greeting);

}  // namespace shoal::cli
