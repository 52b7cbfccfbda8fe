#include "shoal/cli/doctor.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>

#include "shoal/base/terminal.h"
#include "shoal/base/text.h"
#include "shoal/cli/app.h"
#include "shoal/cli/command.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/cli/local_client.h"
#include "shoal/cli/speedometer.h"
#include "shoal/device/machine.h"
#include "shoal/device/speed.h"
#include "shoal/sandbox/sandbox.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

enum class Outcome : std::uint8_t { kOk, kWarning, kFailed };

struct Finding {
  std::string name;
  Outcome outcome = Outcome::kOk;
  std::string text{};
  std::string fix{};
};

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kWarning:
      return "warning";
    case Outcome::kFailed:
      break;
  }
  return "failed";
}

// Source: System V ABI, AMD64 supplement, section 3.1.1, "Processor". The worker chooses its own variant of ggml at
// run time, finer than these; `shoal ps --json` of a running server names it.
std::string_view cpu_level() {
  if (__builtin_cpu_supports("x86-64-v4") != 0) return "x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3") != 0) return "x86-64-v3";
  if (__builtin_cpu_supports("x86-64-v2") != 0) return "x86-64-v2";
  return "x86-64";
}

Finding check_cpu(const device::Machine& machine) {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  std::vector<std::string> found;
  while (std::getline(info, line) && !line.starts_with("flags")) continue;
  line += ' ';
  for (const std::string_view name : {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_int8"}) {
    if (line.find(fmt::format(" {} ", name)) != std::string::npos) found.emplace_back(name);
  }
  Finding finding{
      .name = "cpu",
      .text = fmt::format("{} core{}; {}: {}", machine.cores, machine.cores == 1 ? "" : "s", cpu_level(),
                          found.empty() ? "no vector extension known" : fmt::format("{}", fmt::join(found, " ")))};
  if (std::ranges::find(found, "avx2") == found.end()) {
    finding.outcome = Outcome::kWarning;
    finding.fix = "without AVX2 models answer slowly; in a virtual machine, pass the host's CPU through";
  }
  return finding;
}

// Measured now, and kept for `shoal ps` of the server.
Finding check_speed(const config::ServerConfig& config, const device::Machine& machine) {
  Finding finding{.name = "speed"};
  const Result<device::Speed> speed = device::measure_speed(machine);
  if (!speed.ok()) {
    finding.outcome = Outcome::kWarning;
    finding.text = speed.error().message();
    finding.fix = "give the container more memory";
    return finding;
  }
  const fs::path file = speed_file(config.data_dir);
  const device::Speed best = device::faster_than_kept(file, machine, *speed);
  finding.text =
      fmt::format("{:.1f} GB/s from memory, {:.0f} GFLOP/s", best.bytes_per_second / 1e9, best.flops_per_second / 1e9);
  std::error_code none;
  if (fs::is_directory(config.data_dir, none))
    device::write_speed(file, machine, best).ignore("the server will measure it");
  return finding;
}

Finding check_memory(const config::EngineConfig& config, const device::Machine& machine) {
  constexpr std::uint64_t kMiB = 1024 * 1024;
  constexpr std::uint64_t kSmallest = 512 * kMiB;  // SmolLM2-135M with its context, and room
  const std::uint64_t budget = config.memory_budget_mib > 0
                                   ? static_cast<std::uint64_t>(config.memory_budget_mib) * kMiB
                                   : automatic_memory_budget();
  Finding finding{
      .name = "memory",
      .text = fmt::format("workers may use {} of {}", base::human_bytes(budget),
                          machine.memory_bytes == 0 ? "an unknown amount" : base::human_bytes(machine.memory_bytes))};
  if (budget < kSmallest) {
    finding.outcome = Outcome::kWarning;
    finding.fix = "raise engine.memory_budget_mib, or give the container more memory";
  }
  return finding;
}

Finding check_sandbox(const config::EngineConfig& config) {
  const sandbox::Support support = sandbox::support();
  Finding finding{.name = "sandbox"};
  if (!support.missing.empty()) {
    finding.outcome = config.sandbox == "none" ? Outcome::kWarning : Outcome::kFailed;
    finding.text = support.missing;
    finding.fix = "use a kernel of 5.13 or newer with landlock and seccomp, or set engine.sandbox = \"none\"";
    return finding;
  }
  std::vector<std::string> held;
  std::vector<std::string> escaped;
  for (const sandbox::Attack& attack : sandbox::self_test()) {
    (attack.refused ? held : escaped).push_back(fmt::format("{} ({})", attack.name, attack.how));
  }
  finding.text = fmt::format("landlock abi {} and seccomp; {} of {} attacks from inside refused", support.landlock_abi,
                             held.size(), held.size() + escaped.size());
  if (!escaped.empty()) {
    finding.outcome = Outcome::kFailed;
    finding.fix = fmt::format("these were not refused: {}", fmt::join(escaped, ", "));
  } else if (config.sandbox == "none") {
    finding.outcome = Outcome::kWarning;
    finding.fix = "engine.sandbox = \"none\" switches it off although it works here";
  }
  return finding;
}

// Runs the worker with arguments that it refuses: it starts, links its libraries and says no with exit code 2.
Finding check_worker(const config::EngineConfig& config) {
  const Result<std::string> path = find_worker(config);
  if (!path.ok()) {
    return {"worker", Outcome::kFailed, path.error().message(), "install shoal-worker beside shoal"};
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0);
  }
  std::string program = *path;
  std::string argument = "--version";
  std::array<char*, 3> arguments = {program.data(), argument.data(), nullptr};
  pid_t pid = 0;
  const int spawned = posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (spawned != 0) {
    return {"worker", Outcome::kFailed, base::errno_error("cannot start " + program, spawned).message(),
            "check its permissions"};
  }
  constexpr int kTries = 500;
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 10'000'000};
  int status = 0;
  pid_t ended = 0;
  for (int i = 0; i < kTries && ended == 0; ++i) {
    ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == 0) nanosleep(&kPause, nullptr);
  }
  if (ended == 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return {"worker", Outcome::kFailed, program + " hangs at start", "reinstall Shoal"};
  }
  const int usage = base::error_info(ErrorCode::kUsage).exit_code;
  if (WIFEXITED(status) && (WEXITSTATUS(status) == usage || WEXITSTATUS(status) == 0)) {
    return {"worker", Outcome::kOk, program + " starts"};
  }
  return {"worker", Outcome::kFailed, fmt::format("{} does not start (status {})", program, status),
          fmt::format("a shared library may be missing: `ldd {}` names it", program)};
}

Finding check_data_dir(const config::ServerConfig& config) {
  std::error_code code;
  fs::path at = config.data_dir;
  while (!at.empty() && !fs::exists(at, code) && at.has_relative_path()) at = at.parent_path();
  if (at.empty()) at = ".";
  if (::access(at.c_str(), W_OK | X_OK) != 0) {
    return {"data folder", Outcome::kFailed, fmt::format("{} cannot be written", at.string()),
            "pass --data-dir, or change the owner of the folder"};
  }
  const fs::space_info space = fs::space(at, code);
  constexpr std::uint64_t kLow = std::uint64_t{1} << 30U;
  Finding finding{.name = "data folder",
                  .text = fmt::format("{}, {} free", config.data_dir, base::human_bytes(code ? 0 : space.available))};
  if (!code && space.available < kLow) {
    finding.outcome = Outcome::kWarning;
    finding.fix = "free some space: models take 0.1 to several GiB each";
  }
  return finding;
}

Finding check_models(const config::Config& config) {
  Result<std::unique_ptr<engine::ModelSource>> source = make_model_source(config, {});
  if (!source.ok())
    return {"models", Outcome::kFailed, source.error().message(), std::string(source.error().info().fix)};
  const std::vector<types::ModelInfo> models = (*source)->list();
  const std::string& wanted = config.engine.default_model;
  if (models.empty()) {
    return {"models", Outcome::kWarning, "no model is here", fmt::format("fetch one: shoal pull {}", wanted)};
  }
  if (!wanted.empty() && !(*source)->resolve(wanted).ok()) {
    return {"models", Outcome::kWarning, fmt::format("{} models, but not the default one, {}", models.size(), wanted),
            fmt::format("fetch it: shoal pull {}", wanted)};
  }
  return {"models", Outcome::kOk, fmt::format("{} models; the default is {}", models.size(), wanted)};
}

Finding check_port(const config::ServerConfig& config) {
  const LocalClient admin = LocalClient::over_unix(config.admin_socket);
  if (admin.answers()) return {"port", Outcome::kOk, "a server of yours is running; `shoal ps` shows its models"};
  // Listening is the only honest test, and net names the holder.
  boost::asio::io_context io;
  net::HttpServerOptions options;
  options.listeners.push_back({.host = config.host, .port = static_cast<std::uint16_t>(config.port)});
  net::HttpServer probe(io, options, [](const net::HttpRequest&, net::ResponseWriter&, const base::Yield&) {});
  const Result<void> started = probe.start();
  probe.stop();
  if (!started.ok()) {
    return {"port", Outcome::kFailed, started.error().message(), std::string(started.error().info().fix)};
  }
  return {"port", Outcome::kOk, fmt::format("{}:{} is free", config.host, config.port)};
}

Finding check_keys(const config::ServerConfig& config) {
  if (const Result<void> bind = config::check_bind(config, has_stored_keys(config.data_dir)); !bind.ok()) {
    return {"keys", Outcome::kFailed, bind.error().message(), std::string(bind.error().info().fix)};
  }
  Result<server::KeySet> keys = load_keys(config);
  if (!keys.ok()) return {"keys", Outcome::kFailed, keys.error().message(), "correct the file of keys"};
  if (has_stored_keys(config.data_dir)) return {"keys", Outcome::kOk, "`shoal keys list` shows them"};
  return {"keys", Outcome::kOk,
          keys->open() ? "none; only this machine can connect" : fmt::format("{} keys", keys->size())};
}

std::vector<Finding> examine(const CommandContext& context) {
  std::vector<Finding> findings;
  const Result<config::Loaded> loaded = context.load_config();
  if (!loaded.ok()) {
    findings.push_back(
        {"configuration", Outcome::kFailed, loaded.error().message(), "correct it; the checks below use the defaults"});
  } else {
    findings.push_back(
        {"configuration", Outcome::kOk, loaded->file.empty() ? "valid; no file" : loaded->file + " is valid"});
  }
  config::Config fallback;
  fallback.server.data_dir = "shoal-data";
  fallback.server.admin_socket = "shoal-data/admin.sock";
  const config::Config& config = loaded.ok() ? *loaded->config : fallback;
  // First: it forks, and must find one thread.
  findings.push_back(check_sandbox(config.engine));
  const device::Machine machine = device::probe_machine();
  findings.push_back(check_cpu(machine));
  findings.push_back(check_memory(config.engine, machine));
  findings.push_back(check_speed(config.server, machine));
  findings.push_back(check_worker(config.engine));
  findings.push_back(check_data_dir(config.server));
  findings.push_back(check_models(config));
  findings.push_back(check_keys(config.server));
  findings.push_back(check_port(config.server));
  return findings;
}

std::string as_text(const std::vector<Finding>& findings, bool colour) {
  constexpr std::array<std::string_view, 3> kColours = {"\x1b[32m", "\x1b[33m", "\x1b[31m"};
  std::string out;
  for (const Finding& finding : findings) {
    const auto index = static_cast<std::size_t>(finding.outcome);
    out += fmt::format("{}{:<8}{} {:<14} {}\n", colour ? kColours[index] : "", outcome_name(finding.outcome),
                       colour ? "\x1b[0m" : "", finding.name, base::escape_control(finding.text));
    if (!finding.fix.empty()) out += fmt::format("{:<8} {:<14} fix: {}\n", "", "", base::escape_control(finding.fix));
  }
  return out;
}

std::string as_json(const std::vector<Finding>& findings) {
  std::vector<std::string> rows;
  for (const Finding& finding : findings) {
    rows.push_back(fmt::format(R"({{"check":{},"outcome":"{}","text":{},"fix":{}}})", base::json_string(finding.name),
                               outcome_name(finding.outcome), base::json_string(finding.text),
                               base::json_string(finding.fix)));
  }
  return fmt::format("{{\"checks\":[{}]}}\n", fmt::join(rows, ","));
}

}  // namespace

void add_doctor_command(CLI::App& root, CommandContext& context) {
  CLI::App& command = add_command(
      root, context,
      {.name = "doctor", .help = "Check whether this machine and configuration can serve", .example = "shoal doctor"});
  on_run(command, context, [&context]() -> Result<int> {
    const std::vector<Finding> findings = examine(context);
    CommandContext::print(context.json ? as_json(findings) : as_text(findings, base::wants_colour(STDOUT_FILENO)));
    const bool failed = std::ranges::any_of(findings, [](const Finding& f) { return f.outcome == Outcome::kFailed; });
    return failed ? 1 : 0;
  });
}

}  // namespace shoal::cli
