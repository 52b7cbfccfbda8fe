#include "shoal/cli/serve.h"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <memory>
#include <span>
#include <utility>

#include <fmt/format.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "shoal/base/scheduling.h"
#include "shoal/cli/app.h"
#include "shoal/cli/command.h"
#include "shoal/cli/demo_cascade.h"
#include "shoal/cli/sd_notify.h"
#include "shoal/cli/signals.h"

namespace shoal::cli {
namespace {

constexpr int kInterrupted = 130;
constexpr std::int64_t kTurnNs = 100'000;  // the shortest that there is
// After the drain's deadline: for clients to read the error that ended their answer.
constexpr std::int64_t kFarewellMs = 2'000;

// Signals and the way out. Owned by serve() for the life of the io_context.
class Lifecycle {
 public:
  Lifecycle(App& app, const Signals& signals)
      : app_(app), signals_(app.parts.io, signals, [this](int signal) { take(signal); }) {}

  void start() {
    for (const std::string& model : app_.config->engine.preload) preload(model);
  }

  void preload(const std::string& model) {
    base::spawn(app_.parts.io, "preload", [this, model](base::Yield yield) {
      const Result<void> loaded = app_.parts.engine.load(model, std::move(yield));
      if (!loaded.ok())
        app_.parts.log.error("cannot preload", {{"model", model}, {"reason", loaded.error().message()}});
    });
  }

 private:
  void take(int signal) {
    if (signal == SIGHUP) {
      base::spawn(app_.parts.io, "reload", [this](const base::Yield& yield) {
        app_.reload(yield).ignore("reload() logs why, and the old configuration stays");
      });
    } else if (draining_) {
      // Workers die with this thread (PDEATHSIG).
      ::_exit(kInterrupted);
    } else {
      draining_ = true;
      base::spawn(app_.parts.io, "drain", [this](base::Yield yield) { drain(std::move(yield)); });
    }
  }

  void drain(base::Yield yield) {
    const std::int64_t patience_ms = app_.config->server.drain_timeout_ms;
    sd_notify("STOPPING=1");
    app_.parts.log.info("draining", {{"connections", app_.http.stats().open_connections}, {"timeout_ms", patience_ms}});
    bool engine_done = false;
    base::Timer engine_event(app_.parts.io, base::Timer::time_point::max());
    base::spawn(app_.parts.io, "drain engine", [&](base::Yield inner) {
      app_.parts.engine.drain(base::Deadline::after_ms(app_.parts.clock, patience_ms), std::move(inner));
      engine_done = true;
      engine_event.cancel();
    });
    const bool complete = app_.http.drain(patience_ms + kFarewellMs, yield);
    if (!complete)
      app_.parts.log.warn("some requests did not end in time", {{"requests", app_.http.stats().active_requests}});
    if (!engine_done) {
      base::error_code cancelled;
      engine_event.async_wait(yield[cancelled]);
    }
    app_.http.stop();
    app_.outside.audits.stop();
    app_.outside.expiry.stop();
    app_.outside.client.close_idle();
    signals_.stop();
    app_.parts.io.stop();
  }

  App& app_;
  SignalListener signals_;
  bool draining_ = false;
};

Result<void> make_folder(const std::string& path) {
  std::error_code error;
  if (std::filesystem::create_directories(path, error)) {
    // Models and state are their owner's business.
    std::filesystem::permissions(path, std::filesystem::perms::owner_all, error);
  }
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make the data folder {}: {}", path, error.message()));
  return {};
}

// Unmaps the code and the constants of one program or library. What is used again comes back from the page cache,
// sixteen pages at a time; what only a start needs stays away, relocations among it.
int forget_file(dl_phdr_info* of, std::size_t, void*) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  for (const ElfW(Phdr) & segment : std::span(of->dlpi_phdr, of->dlpi_phnum)) {
    // What nobody could have written to is as it is in the file.
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0 || of->dlpi_name == nullptr) continue;
    const std::uintptr_t begin = (of->dlpi_addr + segment.p_vaddr + page - 1) / page * page;
    const std::uintptr_t end = (of->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }
  return 0;
}

struct ServeOptions {
  bool no_models = false;
  bool demo = false;
};

// The port is known, and nobody was told of it yet.
Result<void> start_demo(App& app) {
  app.outside.shipped = demo_tables();
  const std::uint16_t port = app.http.port();
  return app.amend([port](config::Config& config) { amend_for_demo(config, port); });
}

Result<int> serve(const CommandContext& context, const ServeOptions& options) {
  config::LoadRequest request = context.load_request();
  config::Loaded loaded = SHOAL_TRY(config::load(request).result());
  SHOAL_TRY(config::check_bind(loaded.config->server, has_stored_keys(loaded.config->server.data_dir)));
  SHOAL_TRY(make_folder(loaded.config->server.data_dir));
  // Whoever reads our output may go away; that is no reason to stop serving.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on files fails the write that goes past it
  // This thread passes tokens on, for microseconds, on cores where workers compute for milliseconds.
  base::ask_for_turns_of(kTurnNs);
  // A shell has a command in the background ignore some of these, and nohup others; a server heeds them all. Now, since
  // what begins later, threads and coroutines, begins with them blocked.
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) std::signal(signal, SIG_DFL);
  const Signals signals({SIGTERM, SIGINT, SIGHUP});
  const std::unique_ptr<App> app =
      SHOAL_TRY(App::make(std::move(loaded), std::move(request), {.none = options.no_models}));
  if (options.demo) SHOAL_TRY(check_demo(app->parts.engine, *app->config));
  // What reading the configuration and the prices took is not needed again.
  ::malloc_trim(0);
  ::dl_iterate_phdr(&forget_file, nullptr);
  SHOAL_TRY(app->http.start());
  if (options.demo) SHOAL_TRY(start_demo(*app));
  Lifecycle life(*app, signals);
  life.start();
  if (options.demo) {
    life.preload(kDemoSmall);
    life.preload(kDemoLarge);
  }
  const config::ServerConfig& server = app->config->server;
  CommandContext::print(greeting_text({.host = server.host,
                                       .port = app->http.port(),
                                       .model = app->config->engine.default_model,
                                       .needs_key = app->server.needs_key(),
                                       .has_models = options.no_models || !app->parts.engine.models().empty()}));
  if (options.demo) {
    CommandContext::print(demo_text(fmt::format("http://127.0.0.1:{}", app->http.port()),
                                    SHOAL_TRY(app->parts.engine.resolve(kDemoSmall)).sha256));
  }
  sd_notify("READY=1");
  app->parts.log.info("listening", {{"host", server.host}, {"port", app->http.port()}, {"admin", server.admin_socket}});
  app->parts.io.run();

  // Coroutines that were told to end do so; what still does not is a bug, but not one to hang for.
  app->parts.io.restart();
  app->parts.io.run_for(std::chrono::milliseconds(kFarewellMs));
  app->parts.log.info("stopped");
  if (!app->parts.io.stopped()) ::_exit(0);
  return 0;
}

}  // namespace

std::string greeting_text(const Greeting& greeting) {
  const bool bare_v6 = greeting.host.find(':') != std::string::npos;
  const std::string url =
      fmt::format("http://{}{}{}:{}", bare_v6 ? "[" : "", greeting.host, bare_v6 ? "]" : "", greeting.port);
  const std::string key_header = greeting.needs_key ? " -H 'Authorization: Bearer KEY'" : "";
  std::string out = fmt::format("Shoal listens on {}\n", url);
  if (!greeting.has_models) out += fmt::format("No model is here yet. Fetch one: shoal pull {}\n", greeting.model);
  out += fmt::format(
      "\nAsk it:\n"
      "  curl {}/v1/chat/completions -H 'Content-Type: application/json'{} \\\n"
      "    -d '{{\"model\":\"{}\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}'\n"
      "\nFrom Python:\n"
      "  from openai import OpenAI\n"
      "  client = OpenAI(base_url=\"{}/v1\", api_key=\"{}\")\n"
      "\nFrom most other clients:\n"
      "  export OPENAI_BASE_URL={}/v1\n\n",
      url, key_header, greeting.model, url, greeting.needs_key ? "KEY" : "unused", url);
  return out;
}

void add_serve_command(CLI::App& root, CommandContext& context) {
  CLI::App& command = add_command(root, context,
                                  {.name = "serve",
                                   .help = "Serve the OpenAI API on this machine",
                                   .example = "shoal serve --port 8080",
                                   .json = false});
  const auto as_key = [&context](const char* key, const char* flag) {
    return [&context, key, flag](const std::string& text) { context.flags.push_back({key, text, flag}); };
  };
  command.add_option_function<std::string>("--host", as_key("server.host", "--host"), "Listen on this address");
  command.add_option_function<std::string>("--port", as_key("server.port", "--port"), "Listen on this port; 0: any");
  auto options = std::make_shared<ServeOptions>();
  CLI::Option* const no_models = command.add_flag("--no-models", options->no_models, "Serve without any model");
  command
      .add_flag("--demo-cascade", options->demo,
                "Show, offline, how a small model hands on what it is not sure of: two local models")
      ->excludes(no_models);
  on_run(command, context, [&context, options] { return serve(context, *options); });
}

}  // namespace shoal::cli
