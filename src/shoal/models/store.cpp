#include "shoal/models/store.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <ctime>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/suggest.h"
#include "shoal/gguf/rewrite_plan.h"
#include "shoal/models/rewrite_json.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kMaxEntryBytes = 64 * 1024;

Error io_error(std::string_view what, const fs::path& path, const std::error_code& why) {
  return {ErrorCode::kIo, fmt::format("cannot {} {}: {}", what, path.string(), why.message())};
}

Result<void> sync(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::errno_error("cannot open " + path.string(), errno);
  const int result = fsync(fd);
  const int why = errno;
  close(fd);
  if (result != 0) return base::errno_error("cannot sync " + path.string(), why);
  return {};
}

Result<void> write_synced(const fs::path& path, const std::string& bytes) {
  {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out << bytes;
    if (!out.flush()) return base::errno_error("cannot write " + path.string(), errno);
  }
  return sync(path);
}

std::string now_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

Result<Installed> parse_entry(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  json::error_code fault;
  const json::value value = bytes.size() <= kMaxEntryBytes ? json::parse(bytes, fault) : json::value();
  if (fault || !value.is_object())
    return Error(ErrorCode::kIo, fmt::format("{} is not a model entry; remove it and pull again", path.string()));
  const json::object& object = value.get_object();
  Installed entry;
  entry.name = path.stem().string();
  entry.path = text_of(object, "path");
  entry.sha256 = text_of(object, "sha256");
  entry.licence = text_of(object, "licence");
  entry.source = text_of(object, "source");
  entry.lineage = text_of(object, "lineage");
  entry.installed_at = text_of(object, "installed_at");
  const json::value* rewrite = object.if_contains("rewrite");
  if (rewrite != nullptr && rewrite->is_object()) entry.rewrite = rewrite_from(rewrite->get_object());
  const fs::path root = path.parent_path().parent_path();
  if (entry.path.is_relative()) entry.path = root / entry.path;
  if (entry.rewrite && entry.rewrite->source_path.is_relative())
    entry.rewrite->source_path = root / entry.rewrite->source_path;
  std::error_code ignored;
  entry.bytes = fs::file_size(entry.path, ignored);
  if (ignored)
    return Error(ErrorCode::kIo,
                 fmt::format("the model {} points to {}, which is not there", entry.name, entry.path.string()));
  return entry;
}

}  // namespace

Result<void> check_name(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; };
  if (name.empty() || name.size() > 128 || name[0] == '.' || !std::ranges::all_of(name, allowed)) {
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("wanted a name of letters, digits, '.', '_' and '-', up to 128, got \"{}\"", name));
  }
  return {};
}

Store::Store(fs::path data_dir) : root_(std::move(data_dir) / "models") {}

std::int64_t Store::revision() const {
  struct stat names{};
  if (::stat((root_ / "names").c_str(), &names) != 0) return 0;
  return static_cast<std::int64_t>(names.st_mtim.tv_sec) * 1'000'000'000 + names.st_mtim.tv_nsec;
}

Result<std::vector<Installed>> Store::list(std::vector<std::string>* faults) const {
  std::vector<Installed> entries;
  std::error_code why;
  const fs::directory_iterator names(root_ / "names", why);
  if (why == std::errc::no_such_file_or_directory) return entries;
  if (why) return io_error("list", root_ / "names", why);
  for (const fs::directory_entry& file : names) {
    if (file.path().extension() != ".json") continue;
    auto entry = parse_entry(file.path());
    if (entry.ok()) {
      entries.push_back(std::move(entry).value());
    } else if (faults != nullptr) {
      faults->push_back(entry.error().message());
    }
  }
  std::ranges::sort(entries, {}, &Installed::name);
  return entries;
}

Result<Installed> Store::find(const std::string& name) const {
  const auto entries = SHOAL_TRY(list());
  std::vector<std::string> names;
  for (const Installed& entry : entries) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  std::string near = base::suggest(name, names);
  return Error(ErrorCode::kModelNotFound, fmt::format("no model named \"{}\" is installed{}", name,
                                                      near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", near)))
      .with_suggestion(std::move(near));
}

Result<fs::path> Store::partial_folder() const {
  std::error_code why;
  fs::create_directories(root_ / "partial", why);
  if (why) return io_error("make", root_ / "partial", why);
  return root_ / "partial";
}

Result<FileLock> Store::lock() const {
  std::error_code why;
  fs::create_directories(root_, why);
  if (why) return io_error("make", root_, why);
  return FileLock::take(root_ / ".lock");
}

Result<void> Store::write_entry(const Installed& entry) const {
  std::error_code why;
  fs::create_directories(root_ / "names", why);
  if (why) return io_error("make", root_ / "names", why);
  const auto stored = [this](const fs::path& path) {
    const bool inside = path.string().starts_with(root_.string());
    return inside ? fs::relative(path, root_).string() : path.string();
  };
  json::object object;
  object["path"] = stored(entry.path);
  object["sha256"] = entry.sha256;
  object["bytes"] = entry.bytes;
  object["licence"] = entry.licence;
  object["source"] = entry.source;
  object["lineage"] = entry.lineage;
  object["installed_at"] = entry.installed_at;
  if (entry.rewrite) {
    json::object rewrite = to_json(*entry.rewrite);
    rewrite["source_path"] = stored(entry.rewrite->source_path);
    object["rewrite"] = std::move(rewrite);
  }
  const fs::path target = root_ / "names" / (entry.name + ".json");
  const fs::path temporary = target.string() + ".new";
  if (auto written = write_synced(temporary, json::serialize(object) + "\n"); !written.ok()) {
    fs::remove(temporary, why);
    return written;
  }
  fs::rename(temporary, target, why);
  if (why) return io_error("rename", temporary, why);
  return sync(root_ / "names");
}

Result<Installed> Store::adopt(const fs::path& file, Installed entry) const {
  SHOAL_TRY(check_name(entry.name));
  const FileLock held = SHOAL_TRY(lock());
  std::error_code why;
  fs::create_directories(root_ / "blobs", why);
  if (why) return io_error("make", root_ / "blobs", why);
  entry.path = blob(entry.sha256);
  entry.bytes = fs::file_size(file, why);
  if (why) return io_error("read", file, why);
  entry.installed_at = now_utc();
  SHOAL_TRY(sync(file));
  fs::rename(file, entry.path, why);
  if (why) return io_error("rename", file, why);
  SHOAL_TRY(sync(root_ / "blobs"));
  SHOAL_TRY(write_entry(entry));
  return entry;
}

Result<Installed> Store::link(const fs::path& file, Installed entry) const {
  SHOAL_TRY(check_name(entry.name));
  const FileLock held = SHOAL_TRY(lock());
  std::error_code why;
  entry.path = fs::canonical(file, why);
  if (why) return io_error("find", file, why);
  entry.bytes = fs::file_size(entry.path, why);
  entry.installed_at = now_utc();
  SHOAL_TRY(write_entry(entry));
  return entry;
}

Result<Installed> Store::rewrite(const std::string& name, const fs::path& file, const std::string& sha256,
                                 Rewrite lineage) const {
  const FileLock held = SHOAL_TRY(lock());
  Installed entry = SHOAL_TRY(find(name));
  const fs::path before = entry.rewrite ? entry.path : fs::path();
  lineage.source_path = entry.source_path();
  lineage.source_sha256 = entry.source_sha256();
  lineage.source_bytes = entry.source_bytes();
  lineage.made_at = now_utc();
  std::error_code why;
  fs::create_directories(root_ / "blobs", why);  // the source may be a file that is used in place
  if (why) return io_error("make", root_ / "blobs", why);
  entry.path = blob(sha256);
  entry.sha256 = sha256;
  entry.bytes = fs::file_size(file, why);
  if (why) return io_error("read", file, why);
  entry.rewrite = std::move(lineage);
  SHOAL_TRY(sync(file));
  fs::rename(file, entry.path, why);
  if (why) return io_error("rename", file, why);
  SHOAL_TRY(sync(root_ / "blobs"));
  SHOAL_TRY(write_entry(entry));
  if (!before.empty()) SHOAL_TRY(remove_unused(before));
  return entry;
}

Result<Installed> Store::undo_rewrite(const std::string& name) const {
  const FileLock held = SHOAL_TRY(lock());
  Installed entry = SHOAL_TRY(find(name));
  if (!entry.rewrite) return Error(ErrorCode::kInvalidRequest, fmt::format("{} is as it was delivered", name));
  std::error_code why;
  if (!fs::exists(entry.rewrite->source_path, why)) {
    return Error(ErrorCode::kIo, fmt::format("{} is not there any more; `shoal models rm {}` and pull it again",
                                             entry.rewrite->source_path.string(), name));
  }
  const fs::path rewritten = std::exchange(entry.path, entry.rewrite->source_path);
  entry.sha256 = entry.rewrite->source_sha256;
  entry.bytes = entry.rewrite->source_bytes;
  entry.rewrite.reset();
  SHOAL_TRY(write_entry(entry));
  SHOAL_TRY(remove_unused(rewritten));
  return entry;
}

Result<FileLock> Store::take_turn(const std::string& name, const std::function<void()>& on_wait) const {
  return FileLock::take(SHOAL_TRY(partial_folder()) / (name + ".lock"), on_wait);
}

Result<void> Store::remove_unused(const fs::path& file) const {
  if (file.parent_path() != root_ / "blobs") return {};
  const auto left = SHOAL_TRY(list());
  const auto uses = [&file](const Installed& entry) { return entry.path == file || entry.source_path() == file; };
  if (std::ranges::any_of(left, uses)) return {};
  std::error_code why;
  fs::remove(file, why);
  if (why) return io_error("remove", file, why);
  return {};
}

Result<void> Store::remove(const std::string& name) const {
  SHOAL_TRY(check_name(name));
  const fs::path entry_file = root_ / "names" / (name + ".json");
  std::error_code why;
  const FileLock held = SHOAL_TRY(lock());
  if (!fs::exists(entry_file, why)) return find(name).error();
  // An entry whose file is gone, or that is broken, can be removed all the same.
  const auto entry = parse_entry(entry_file);
  fs::remove(entry_file, why);
  if (why) return io_error("remove", entry_file, why);
  if (!entry.ok()) return {};
  SHOAL_TRY(remove_unused(entry->path));
  return remove_unused(entry->source_path());
}

Result<gguf::Header> read_model(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::errno_error("cannot open " + path.string(), errno);
  gguf::FileSource source(fd);
  auto header = gguf::read_header(source);
  close(fd);
  return header;
}

types::ModelInfo describe(const std::string& name, const fs::path& path, const std::string& sha256,
                          const gguf::Header& header) {
  types::ModelInfo info;
  info.name = name;
  info.architecture = header.architecture();
  info.path = path.string();
  info.sha256 = sha256;
  info.bytes = header.file_bytes;
  info.context_length = static_cast<std::uint32_t>(header.arch_number("context_length").value_or(0));
  info.embedding_length = static_cast<std::uint32_t>(header.arch_number("embedding_length").value_or(0));
  // The same rule as the worker's: an encoder, or a model that says how to pool, embeds; one that ranks pairs of texts
  // (llama.h: LLAMA_POOLING_TYPE_RANK) does neither.
  constexpr std::uint64_t kRanks = 4;
  const bool encoder = info.architecture.find("bert") != std::string::npos || info.architecture == "gemma-embedding";
  const std::uint64_t pooling = header.arch_number("pooling_type").value_or(0);
  info.embeds = pooling != kRanks && (encoder || pooling != 0);
  info.generates = !encoder && pooling == 0;
  info.quantisation = gguf::type_name(gguf::main_type(header));
  if (const auto chat_template = header.text("tokenizer.chat_template")) {
    info.has_chat_template = true;
    base::Sha256 sum;
    sum.update(*chat_template);
    info.template_sha256 = sum.finish();
  }
  return info;
}

}  // namespace shoal::models
