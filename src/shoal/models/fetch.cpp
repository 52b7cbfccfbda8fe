#include "shoal/models/fetch.h"

#include <algorithm>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/process.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::int64_t kResolveTimeoutMs = 120'000;

std::uint64_t size_or_zero(const fs::path& path) {
  std::error_code why;
  const std::uintmax_t size = fs::file_size(path, why);
  return why ? 0 : size;
}

std::string last_line(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  const auto newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

// Content-Length of the final answer; 0 when the server does not say.
std::uint64_t remote_size(const std::string& url) {
  base::ProcessOptions options;
  options.timeout_ms = 30'000;
  const auto asked = base::run_process({"curl", "-fsSLI", "--connect-timeout", "10", "--", url}, options);
  if (!asked.ok() || asked->exit_code != 0) return 0;
  std::uint64_t size = 0;
  std::string headers = asked->output;
  std::ranges::transform(headers, headers.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  for (std::size_t at = headers.find("content-length:"); at != std::string::npos;
       at = headers.find("content-length:", at + 1)) {
    const std::size_t digits = headers.find_first_of("0123456789", at);
    if (digits != std::string::npos) std::from_chars(headers.data() + digits, headers.data() + headers.size(), size);
  }
  return size;
}

Error failed(std::string message) {
  return {ErrorCode::kDownloadFailed, std::move(message)};
}

Result<json::value> ask_json(const std::vector<std::string>& argv) {
  base::ProcessOptions options;
  options.timeout_ms = kResolveTimeoutMs;
  const auto answer = SHOAL_TRY(base::run_process(argv, options));
  if (answer.exit_code != 0)
    return failed(fmt::format("{} ended with {}: {}", argv[0], answer.exit_code, last_line(answer.error_tail)));
  json::error_code fault;
  json::value value = json::parse(answer.output, fault);
  if (fault) return failed(fmt::format("{} did not answer with JSON", argv[0]));
  return value;
}

std::string text_at(const json::value& value, std::string_view pointer) {
  json::error_code fault;
  const json::value* found = value.find_pointer(pointer, fault);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}

}  // namespace

namespace {

// curl's exits after which going on makes sense: cut (18), timed out (28), empty answer (52), receive error (56).
bool was_cut(int exit_code) {
  return exit_code == 18 || exit_code == 28 || exit_code == 52 || exit_code == 56;
}

constexpr int kMaxResumes = 5;

}  // namespace

Result<void> fetch_url(const std::string& url, const fs::path& target, const OnProgress& progress) {
  const fs::path partial = target.string() + ".part";
  const std::uint64_t total = remote_size(url);
  std::error_code why;
  if (total > 0 && size_or_zero(partial) > total) fs::remove(partial, why);
  base::ProcessOptions options;
  options.on_tick = [&] { progress(size_or_zero(partial), total); };
  const std::vector<std::string> argv = {"curl",
                                         "-fsSL",
                                         "--connect-timeout",
                                         "10",
                                         "--speed-limit",
                                         "1000",
                                         "--speed-time",
                                         "60",
                                         "-C",
                                         "-",
                                         "-o",
                                         partial.string(),
                                         "--",
                                         url};
  base::ProcessResult run;
  for (int attempt = 0; attempt <= kMaxResumes; ++attempt) {
    run = SHOAL_TRY(base::run_process(argv, options));
    if (run.exit_code == 0) break;
    // 33 and 36: the server or the file cannot be resumed; begin anew, once.
    if ((run.exit_code == 33 || run.exit_code == 36) && attempt == 0) {
      fs::remove(partial, why);
    } else if (!was_cut(run.exit_code)) {
      break;
    }
  }
  if (run.exit_code != 0)
    return failed(fmt::format("{} ({}); what came so far is kept", last_line(run.error_tail), url));
  fs::rename(partial, target, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot rename {}: {}", partial.string(), why.message()));
  progress(size_or_zero(target), size_or_zero(target));
  return {};
}

Result<Resolved> resolve_package(Way::Kind kind, const Package& package) {
  Resolved resolved;
  if (kind == Way::Kind::kPypi) {
    const auto report = SHOAL_TRY(ask_json({"python3", "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps",
                                            "--only-binary", ":all:", "--ignore-installed", "--report", "-",
                                            fmt::format("{}=={}", package.name, package.version)}));
    resolved.url = text_at(report, "/install/0/download_info/url");
    resolved.sha256 = text_at(report, "/install/0/download_info/archive_info/hashes/sha256");
  } else {
    const auto dist =
        SHOAL_TRY(ask_json({"npm", "view", fmt::format("{}@{}", package.name, package.version), "dist", "--json"}));
    resolved.url = text_at(dist, "/tarball");
  }
  if (resolved.url.empty())
    return failed(fmt::format("the registry does not say where {} {} is", package.name, package.version));
  return resolved;
}

Result<fs::path> unpack(Way::Kind kind, const fs::path& archive, const std::string& inner, const fs::path& folder) {
  std::error_code why;
  fs::create_directories(folder, why);
  const std::vector<std::string> argv =
      kind == Way::Kind::kPypi
          ? std::vector<std::string>{"python3", "-m", "zipfile", "-e", archive.string(), folder.string()}
          : std::vector<std::string>{"tar", "-xzf", archive.string(), "-C", folder.string(), "--", inner};
  const auto run = SHOAL_TRY(base::run_process(argv));
  const fs::path wanted = folder / inner;
  if (run.exit_code != 0 || !fs::exists(wanted, why)) {
    return failed(fmt::format("{} holds no {}: {}", archive.filename().string(), inner, last_line(run.error_tail)));
  }
  return wanted;
}

}  // namespace shoal::models
