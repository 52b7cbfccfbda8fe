#include "shoal/models/fetch.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <string_view>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/process.h"
#include "shoal/base/sha256.h"
#include "shoal/base/text.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// pip may have to read a whole wheel to know what it is.
constexpr std::int64_t kResolveTimeoutMs = 600'000;
constexpr std::int64_t kHeadTimeoutMs = 15'000;
// Cuts in a row after which not one byte more has come.
constexpr int kMaxFruitless = 3;
constexpr int kMaxAttempts = 100;

// Exits of curl. Source: curl(1), EXIT CODES.
constexpr int kCurlWriteFailed = 23;
constexpr std::array kCurlUnreachable = {5, 6, 7, 28};
constexpr std::array kCurlCut = {16, 18, 28, 52, 55, 56, 92};
constexpr std::array kCurlNoResume = {33, 36};

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

template <class List>
bool is_one_of(const List& list, int value) {
  return std::ranges::find(list, value) != list.end();
}

Error failed(std::string message) {
  return {ErrorCode::kDownloadFailed, std::move(message)};
}

// The Debian package that brings a program.
std::string_view package_of(std::string_view program) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kPackages = {
      {{"python3", "python3 python3-pip"}, {"npm", "npm"}}};
  for (const auto& [name, package] : kPackages) {
    if (name == program) return package;
  }
  return program;
}

Error not_installed(std::string_view what, std::string_view program) {
  return {ErrorCode::kNotFound,
          fmt::format("{} is not installed; install it (on Debian: apt install {})", what, package_of(program))};
}

Result<base::ProcessResult> run_client(const std::vector<std::string>& argv, const base::ProcessOptions& options = {}) {
  auto run = base::run_process(argv, options);
  if (!run.ok() && run.error().code() == ErrorCode::kNotFound)
    return not_installed(fmt::format("`{}`", argv[0]), argv[0]);
  return run;
}

// A catalogue names a web address or a file; curl would speak a dozen more protocols, and read [a-z] in an address.
std::vector<std::string> curl(std::vector<std::string> options, const std::string& url) {
  std::vector<std::string> argv = {"curl",          "-fsSL",       "--globoff",         "--proto", "=http,https,file",
                                   "--proto-redir", "=http,https", "--connect-timeout", "10"};
  argv.insert(argv.end(), options.begin(), options.end());
  argv.insert(argv.end(), {"--", url});
  return argv;
}

// Content-Length of the last answer, after all redirections; 0 when the server does not say. Errors: kNotFound when
// curl is missing, kDownloadFailed when there is no such host: then asking again for the file is a loss of time.
Result<std::uint64_t> remote_size(const std::string& url) {
  base::ProcessOptions options;
  options.timeout_ms = kHeadTimeoutMs;
  const auto asked = run_client(curl({"-I"}, url), options);
  if (!asked.ok() && asked.error().code() == ErrorCode::kNotFound) return asked.error();
  if (asked.ok() && is_one_of(kCurlUnreachable, asked->exit_code)) return failed(last_line(asked->error_tail));
  std::uint64_t size = 0;
  if (!asked.ok() || asked->exit_code != 0) return size;
  std::string headers = "\n" + asked->output;  // of file://, without a status line
  std::ranges::transform(headers, headers.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::string_view kField = "\ncontent-length:";
  const std::size_t last_answer = headers.rfind("\nhttp/");
  const std::size_t field = headers.find(kField, last_answer == std::string::npos ? 0 : last_answer);
  if (field == std::string::npos) return size;
  const std::size_t digits = headers.find_first_not_of(' ', field + kField.size());
  if (digits != std::string::npos) std::from_chars(headers.data() + digits, headers.data() + headers.size(), size);
  return size;
}

Result<json::value> ask_json(const std::vector<std::string>& argv) {
  base::ProcessOptions options;
  options.timeout_ms = kResolveTimeoutMs;
  const auto answer = SHOAL_TRY(run_client(argv, options));
  if (answer.exit_code != 0 && answer.error_tail.find("No module named pip") != std::string::npos)
    return not_installed("pip, of python3,", "python3");
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

// Of `dist.integrity`, a list of sums separated by spaces, the one that is strong.
// Source: https://www.w3.org/TR/SRI/#the-integrity-attribute
std::string sha512_of_integrity(std::string_view integrity) {
  constexpr std::string_view kPrefix = "sha512-";
  const std::size_t at = integrity.find(kPrefix);
  if (at == std::string_view::npos) return "";
  integrity.remove_prefix(at + kPrefix.size());
  return std::string(integrity.substr(0, integrity.find_first_of(" ?")));
}

Error cannot_write(const fs::path& path, const std::string& why) {
  std::error_code unknown;
  const fs::space_info space = fs::space(path.parent_path(), unknown);
  return {ErrorCode::kIo, fmt::format("cannot write {}: {}; {} free there", path.string(), why,
                                      unknown ? "not known how much is" : base::human_bytes(space.available))};
}

// Into `partial`, from where it ends. Returns whether bytes of an earlier run are in it.
Result<bool> download(const FileToFetch& file, const fs::path& partial, const OnProgress& progress,
                      const OnNote& note) {
  std::uint64_t total = SHOAL_TRY(remote_size(file.url));
  if (total == 0) total = file.bytes;
  std::error_code ignored;
  std::uint64_t have = size_or_zero(partial);
  if (total > 0 && have > total) {
    fs::remove(partial, ignored);  // of a file that has changed, or not of this one
    have = 0;
  }
  bool resumed = have > 0;
  if (total > 0 && have == total) return resumed;
  if (total > 0) SHOAL_TRY(check_space(partial.parent_path(), total - have));
  if (resumed) note(fmt::format("going on after {}", base::human_bytes(have)));
  base::ProcessOptions options;
  options.on_tick = [&] { progress(size_or_zero(partial), total); };
  const std::vector<std::string> argv =
      curl({"--speed-limit", "1000", "--speed-time", "60", "-C", "-", "-o", partial.string()}, file.url);
  std::uint64_t most = have;  // so far: a server that cannot go on in the middle gives the same bytes over and over
  int fruitless = 0;
  for (int attempt = 0;; ++attempt) {
    const base::ProcessResult run = SHOAL_TRY(run_client(argv, options));
    const std::uint64_t before = std::exchange(have, size_or_zero(partial));
    if (run.exit_code == 0) {
      progress(have, std::max(have, total));
      return resumed;
    }
    const std::string reason = last_line(run.error_tail);
    if (run.exit_code == kCurlWriteFailed) return cannot_write(partial, reason);
    if (run.exit_code == 128 + SIGXFSZ) return cannot_write(partial, "larger than a file may be here (ulimit -f)");
    const bool no_resume = before > 0 && is_one_of(kCurlNoResume, run.exit_code);
    if (!no_resume) fruitless = have > most ? 0 : fruitless + 1;
    most = std::max(most, have);
    const bool again = attempt < kMaxAttempts && fruitless < kMaxFruitless;
    if (again && no_resume) {
      note("the server cannot go on in the middle; retrying from the beginning");
      fs::remove(partial, ignored);
      have = 0;
      resumed = false;
    } else if (again && is_one_of(kCurlCut, run.exit_code)) {
      resumed = have > 0;
      note(fmt::format("cut after {} ({}); retrying", base::human_bytes(have), reason));
    } else {
      return failed(fmt::format("{}; {}", reason, have > 0 ? "what came so far is kept" : "nothing came"));
    }
  }
}

}  // namespace

Result<void> check_sums(const fs::path& file, const Sums& sums) {
  const auto wrong = [&file](std::string_view kind, const std::string& wanted, const std::string& got) {
    return Error(ErrorCode::kChecksumMismatch,
                 fmt::format("{} of {}: wanted {}, got {}", kind, file.filename().string(), wanted, got));
  };
  if (!sums.sha256.empty()) {
    const std::string got = SHOAL_TRY(base::sha256_of_file(file));
    if (got != sums.sha256) return wrong("sha256", sums.sha256, got);
  }
  if (!sums.sha512_base64.empty()) {
    const std::string got = SHOAL_TRY(base::sha512_base64_of_file(file));
    if (got != sums.sha512_base64) return wrong("sha512", sums.sha512_base64, got);
  }
  return {};
}

Result<void> check_space(const fs::path& folder, std::uint64_t bytes) {
  std::error_code unknown;
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown || space.available >= bytes) return {};
  return Error(ErrorCode::kIo, fmt::format("not enough space in {}: {} more needed, {} free", folder.string(),
                                           base::human_bytes(bytes), base::human_bytes(space.available)));
}

Result<void> fetch_file(const FileToFetch& file, const OnProgress& progress, const OnNote& note) {
  const fs::path partial = file.target.string() + ".part";
  std::error_code why;
  if (fs::exists(file.target, why)) {
    if (!file.sums.empty() && check_sums(file.target, file.sums).ok()) return {};
    fs::remove(file.target, why);
  }
  // Without a sum nobody could tell that the file behind the address changed between two halves.
  if (file.sums.empty()) fs::remove(partial, why);
  const bool resumed = SHOAL_TRY(download(file, partial, progress, note));
  auto right = check_sums(partial, file.sums);
  if (!right.ok() && right.error().code() == ErrorCode::kChecksumMismatch && resumed) {
    note("the parts do not fit together; retrying from the beginning");
    fs::remove(partial, why);
    SHOAL_TRY(download(file, partial, progress, note));
    right = check_sums(partial, file.sums);
  }
  if (!right.ok()) {
    if (right.error().code() == ErrorCode::kChecksumMismatch) fs::remove(partial, why);
    return right;
  }
  fs::rename(partial, file.target, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot rename {}: {}", partial.string(), why.message()));
  return {};
}

Result<Resolved> resolve_package(Way::Kind kind, const Package& package) {
  Resolved resolved;
  if (kind == Way::Kind::kPypi) {
    const auto report = SHOAL_TRY(ask_json({"python3", "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps",
                                            "--only-binary", ":all:", "--ignore-installed", "--report", "-",
                                            fmt::format("{}=={}", package.name, package.version)}));
    resolved.url = text_at(report, "/install/0/download_info/url");
    resolved.sums.sha256 = text_at(report, "/install/0/download_info/archive_info/hashes/sha256");
  } else {
    const auto dist =
        SHOAL_TRY(ask_json({"npm", "view", fmt::format("{}@{}", package.name, package.version), "dist", "--json"}));
    resolved.url = text_at(dist, "/tarball");
    resolved.sums.sha512_base64 = sha512_of_integrity(text_at(dist, "/integrity"));
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
  // Weights hardly compress: what comes out is about as large as what goes in.
  SHOAL_TRY(check_space(folder, size_or_zero(archive)));
  const auto run = SHOAL_TRY(run_client(argv));
  fs::path wanted = folder / inner;
  if (run.error_tail.find("No space left") != std::string::npos) return cannot_write(wanted, last_line(run.error_tail));
  if (run.exit_code != 0 || !fs::exists(wanted, why)) {
    return failed(fmt::format("{} holds no {}: {}", archive.filename().string(), inner, last_line(run.error_tail)));
  }
  return wanted;
}

}  // namespace shoal::models
