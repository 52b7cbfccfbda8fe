#include "shoal/models/catalogue.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <iterator>
#include <span>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "shoal/base/suggest.h"
#include "shoal/models/manifest.h"
#include "shoal/models/store.h"

namespace shoal::models {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

constexpr std::uintmax_t kMaxFileBytes = 4 << 20;
constexpr std::array<std::string_view, 13> kEntryKeys = {"title",    "hugging_face", "aliases", "licence", "kind",
                                                         "template", "context",      "bytes",   "sha256",  "tested",
                                                         "ways",     "files",        "default"};
constexpr std::array<std::string_view, 6> kWayKeys = {"kind", "url", "package", "version", "inner", "parts"};

// Reads one model; the first fault is kept, and told with the model's name.
class EntryReader {
 public:
  explicit EntryReader(std::string model) : model_(std::move(model)) {}

  Result<CatalogueEntry> read(const toml::table& table) {
    CatalogueEntry entry;
    entry.name = model_;
    if (auto name = check_name(model_); !name.ok()) return name.error();
    check_keys(table, kEntryKeys);
    entry.title = text(table, "title");
    entry.hugging_face = text(table, "hugging_face");
    for (const std::string& alias : strings(table, "aliases")) entry.aliases.push_back(lower(alias));
    entry.licence = text(table, "licence");
    entry.kind = text(table, "kind");
    entry.template_name = text(table, "template");
    entry.context = number(table, "context");
    entry.bytes = number(table, "bytes");
    entry.sha256 = sum("sha256", text(table, "sha256"));
    entry.tested = strings(table, "tested");
    if (const toml::node* node = table.get("default")) {
      if (!node->is_boolean()) fault("default: wanted true or false");
      entry.is_default = node->value_or(false);
    }
    read_files(table, entry);
    for (const toml::table* way : tables(table, "ways")) entry.ways.push_back(read_way(*way));
    if (entry.licence.empty()) fault("licence is missing");
    if (entry.kind != "chat" && entry.kind != "embedding")
      fault(fmt::format("kind: wanted \"chat\" or \"embedding\", got \"{}\"", entry.kind));
    if (entry.ways.empty()) fault("ways is missing: at least one, such as { kind = \"url\", url = \"https://...\" }");
    check_ways(entry);
    if (!fault_.empty()) return Error(ErrorCode::kInvalidConfig, fmt::format("model {}: {}", model_, fault_));
    return entry;
  }

 private:
  void fault(std::string text) {
    if (fault_.empty()) fault_ = std::move(text);
  }

  void check_keys(const toml::table& table, std::span<const std::string_view> known) {
    for (const auto& [key, value] : table) {
      if (std::ranges::find(known, key.str()) != known.end()) continue;
      const std::string_view near = base::suggest(key.str(), known);
      fault(
          fmt::format("unknown key `{}`{}", key.str(), near.empty() ? "" : fmt::format("; did you mean `{}`?", near)));
    }
  }

  std::string text(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return "";
    if (!node->is_string()) fault(fmt::format("{}: wanted a string", key));
    return node->value_or<std::string>("");
  }

  std::uint64_t number(const toml::table& table, std::string_view key) {
    const toml::node* node = table.get(key);
    if (node == nullptr) return 0;
    const auto value = node->is_integer() ? node->value_or<std::int64_t>(-1) : -1;
    if (value < 0) fault(fmt::format("{}: wanted an integer, 0 or more", key));
    return value < 0 ? 0 : static_cast<std::uint64_t>(value);
  }

  std::vector<std::string> strings(const toml::table& table, std::string_view key) {
    std::vector<std::string> values;
    const toml::node* node = table.get(key);
    if (node == nullptr) return values;
    const toml::array* array = node->as_array();
    if (array == nullptr || !std::ranges::all_of(*array, [](const toml::node& e) { return e.is_string(); })) {
      fault(fmt::format("{}: wanted a list of strings", key));
      return values;
    }
    for (const toml::node& element : *array) values.push_back(element.value_or<std::string>(""));
    return values;
  }

  std::vector<const toml::table*> tables(const toml::table& table, std::string_view key) {
    std::vector<const toml::table*> values;
    const toml::node* node = table.get(key);
    if (node == nullptr) return values;
    const toml::array* array = node->as_array();
    if (array == nullptr || !std::ranges::all_of(*array, [](const toml::node& e) { return e.is_table(); })) {
      fault(fmt::format("{}: wanted a list of tables", key));
      return values;
    }
    for (const toml::node& element : *array) values.push_back(element.as_table());
    return values;
  }

  // As sha256sum prints it, in any case.
  std::string sum(std::string_view what, const std::string& value) {
    std::string hex = lower(value);
    if (!hex.empty() && (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string::npos))
      fault(fmt::format("{}: wanted 64 hexadecimal digits, got \"{}\"", what, value));
    return hex;
  }

  // A path that stays inside the folder that it counts from.
  std::string inside(std::string_view what, std::string path) {
    const std::filesystem::path parts(path);
    if (parts.is_absolute() || std::ranges::find(parts, "..") != parts.end())
      fault(fmt::format("{}: wanted a path inside, got \"{}\"", what, path));
    return path;
  }

  void read_files(const toml::table& table, CatalogueEntry& entry) {
    const toml::node* node = table.get("files");
    if (node == nullptr) return;
    if (!node->is_table()) return fault("files: wanted a table of paths and their sha256");
    for (const auto& [path, value] : *node->as_table()) {
      const std::string hex = sum(path.str(), value.value_or<std::string>(""));
      if (hex.empty()) fault(fmt::format("files: {} needs its sha256", path.str()));
      entry.files.emplace(inside("files", std::string(path.str())), hex);
    }
  }

  Package read_package(const toml::table& table) {
    Package package{text(table, "package"), text(table, "version"), inside("inner", text(table, "inner"))};
    if (package.name.empty() || package.version.empty() || package.inner.empty())
      fault("a package needs package, version and inner");
    // They become arguments of pip and npm, and a file name.
    if (package.name.starts_with('-') ||
        (package.name + package.version).find_first_of(" \\:;|=<>") != std::string::npos ||
        package.name.find("..") != std::string::npos || package.version.find('/') != std::string::npos)
      fault(fmt::format("wanted the name and version of a package, got \"{}\" and \"{}\"", package.name,
                        package.version));
    return package;
  }

  Way read_way(const toml::table& table) {
    Way way;
    check_keys(table, kWayKeys);
    const std::string kind = text(table, "kind");
    way.url = text(table, "url");
    if (kind == "url" || kind == "url-folder") {
      way.kind = kind == "url" ? Way::Kind::kUrl : Way::Kind::kUrlFolder;
      if (!std::ranges::any_of(kSchemes, [&](std::string_view scheme) { return way.url.starts_with(scheme); }))
        fault(fmt::format("url: wanted an address that begins with https://, http:// or file://, got \"{}\"", way.url));
      return way;
    }
    if (kind != "pypi" && kind != "npm")
      fault(fmt::format("wanted a way of kind url, url-folder, pypi or npm, got \"{}\"", kind));
    way.kind = kind == "pypi" ? Way::Kind::kPypi : Way::Kind::kNpm;
    if (table.contains("parts")) {
      for (const toml::table* part : tables(table, "parts")) way.packages.push_back(read_package(*part));
      if (way.packages.empty()) fault("parts: wanted at least one package");
    } else {
      way.packages.push_back(read_package(table));
    }
    return way;
  }

  void check_ways(const CatalogueEntry& entry) {
    for (const Way& way : entry.ways) {
      if ((way.kind == Way::Kind::kUrlFolder) > entry.converts())
        fault("a way of kind url-folder needs [files], with the sha256 of each");
      if (entry.converts() && way.kind == Way::Kind::kUrl)
        fault("a model with [files] is converted: wanted url-folder, pypi or npm, got a way of kind url");
    }
  }

  static constexpr std::array<std::string_view, 3> kSchemes = {"https://", "http://", "file://"};

  std::string model_;
  std::string fault_;
};

}  // namespace

std::string Way::describe() const {
  if (kind == Kind::kUrl || kind == Kind::kUrlFolder) return url;
  std::string text = kind == Kind::kPypi ? "PyPI" : "npm";
  for (const Package& package : packages) text += fmt::format(" {} {}", package.name, package.version);
  return text;
}

Result<Catalogue> Catalogue::built_in() {
  return parse(kManifest);
}

Result<Catalogue> Catalogue::parse(std::string_view toml_text, const std::string& what) {
  Catalogue catalogue;
  try {
    const toml::table root = toml::parse(toml_text);
    const toml::table* models = root["model"].as_table();
    if (models == nullptr) return Error(ErrorCode::kInvalidConfig, what + " has no [model.NAME] table");
    for (const auto& [name, node] : *models) {
      const toml::table* table = node.as_table();
      if (table == nullptr)
        return Error(ErrorCode::kInvalidConfig, fmt::format("{}: model {}: wanted a table", what, name.str()));
      auto entry = EntryReader(std::string(name.str())).read(*table);
      if (!entry.ok()) return Error(ErrorCode::kInvalidConfig, fmt::format("{}: {}", what, entry.error().message()));
      catalogue.entries_.push_back(std::move(entry).value());
    }
  } catch (const toml::parse_error& e) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("{}, line {}: {}", what, e.source().begin.line, e.description()));
  }
  // The default ones first, then by name: the order of `shoal models ls --available`.
  std::ranges::stable_sort(catalogue.entries_,
                           [](const auto& a, const auto& b) { return a.is_default > b.is_default; });
  return catalogue;
}

Result<Catalogue> Catalogue::with_file(const std::filesystem::path& path) {
  Catalogue all = SHOAL_TRY(built_in());
  if (path.empty()) return all;
  const std::string what = "the catalogue " + path.string();
  std::error_code why;
  const std::uintmax_t size = std::filesystem::file_size(path, why);
  std::ifstream in(path, std::ios::binary);
  if (why || !in)
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("cannot read {}: {}", what, why ? why.message() : "not allowed"));
  if (size > kMaxFileBytes) return Error(ErrorCode::kInvalidConfig, what + " is larger than 4 MiB");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  Catalogue own = SHOAL_TRY(parse(text, what));
  for (CatalogueEntry& entry : all.entries_) {
    const bool replaced = std::ranges::any_of(own.entries_, [&](const auto& mine) { return mine.name == entry.name; });
    if (!replaced) own.entries_.push_back(std::move(entry));
  }
  return own;
}

Result<const CatalogueEntry*> Catalogue::find(std::string_view name) const {
  const std::string wanted = lower(name);
  std::vector<std::string> known;
  for (const CatalogueEntry& entry : entries_) {
    if (lower(entry.name) == wanted || lower(entry.hugging_face) == wanted ||
        std::ranges::find(entry.aliases, wanted) != entry.aliases.end()) {
      return &entry;
    }
    known.push_back(entry.name);
    known.insert(known.end(), entry.aliases.begin(), entry.aliases.end());
  }
  std::string near = base::suggest(wanted, known);
  return Error(
             ErrorCode::kModelNotFound,
             fmt::format(
                 "the catalogue has no model named \"{}\"{}; `shoal models ls --available` lists it, and `shoal models "
                 "import FILE` takes any GGUF",
                 name, near.empty() ? "" : fmt::format(" (did you mean \"{}\"?)", near)))
      .with_suggestion(std::move(near));
}

}  // namespace shoal::models
