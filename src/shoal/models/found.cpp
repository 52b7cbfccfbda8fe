// Ollama keeps a manifest per tag (JSON, a layer of media type ...image.model names the blob), LM Studio and the
// Hugging Face cache keep plain files.
#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/models/store.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxFound = 1000;
constexpr std::uintmax_t kMaxManifestBytes = 1 << 20;

fs::path variable_or(const char* name, const fs::path& fallback) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? fs::path(value) : fallback;
}

void add(std::vector<Found>& found, std::string name, const fs::path& path) {
  std::error_code why;
  const std::uintmax_t bytes = fs::file_size(path, why);
  if (!why && found.size() < kMaxFound) found.push_back({std::move(name), path, bytes});
}

template <class Visit>
void for_each_file(const fs::path& folder, Visit visit) {
  std::error_code why;
  fs::recursive_directory_iterator files(folder, fs::directory_options::skip_permission_denied, why);
  for (const fs::recursive_directory_iterator end; !why && files != end; files.increment(why)) {
    if (files.depth() >= kMaxDepth) files.disable_recursion_pending();
    std::error_code ignored;
    if (files->is_regular_file(ignored)) visit(files->path());
  }
}

void find_ollama(const fs::path& root, std::vector<Found>& found) {
  const fs::path manifests = root / "manifests";
  for_each_file(manifests, [&](const fs::path& path) {
    std::error_code why;
    if (fs::file_size(path, why) > kMaxManifestBytes || why) return;
    std::ifstream in(path, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const json::value manifest = json::parse(bytes, why);
    const json::value* layers = !why && manifest.is_object() ? manifest.get_object().if_contains("layers") : nullptr;
    if (layers == nullptr || !layers->is_array()) return;
    for (const json::value& layer : layers->get_array()) {
      const json::object* fields = layer.if_object();
      const json::value* type = fields != nullptr ? fields->if_contains("mediaType") : nullptr;
      const json::value* digest = fields != nullptr ? fields->if_contains("digest") : nullptr;
      if (type == nullptr || digest == nullptr || !type->is_string() || !digest->is_string()) continue;
      if (!std::string_view(type->get_string()).ends_with("image.model")) continue;
      std::string blob(digest->get_string());
      std::ranges::replace(blob, ':', '-');
      if (blob.find('/') != std::string::npos) continue;
      // registry/namespace/model/tag; the usual registry and namespace go without saying.
      std::string model = path.parent_path().lexically_relative(manifests).string();
      const std::string usual = "registry.ollama.ai/library/";
      if (model.starts_with(usual)) model.erase(0, usual.size());
      add(found, fmt::format("ollama:{}:{}", model, path.filename().string()), root / "blobs" / blob);
    }
  });
}

}  // namespace

FoundIn default_found_in() {
  const fs::path home = variable_or("HOME", "/");
  FoundIn where;
  where.ollama = variable_or("OLLAMA_MODELS", home / ".ollama/models");
  where.lm_studio = {home / ".lmstudio/models", home / ".cache/lm-studio/models"};
  where.hugging_face = variable_or(
      "HF_HUB_CACHE", variable_or("HF_HOME", variable_or("XDG_CACHE_HOME", home / ".cache") / "huggingface") / "hub");
  return where;
}

std::vector<Found> find_models(const FoundIn& where) {
  std::vector<Found> found;
  find_ollama(where.ollama, found);
  for (const fs::path& root : where.lm_studio) {
    for_each_file(root, [&](const fs::path& path) {
      if (path.extension() == ".gguf")
        add(found, "lmstudio:" + path.lexically_relative(root).replace_extension().string(), path);
    });
  }
  // models--ORG--NAME/snapshots/REVISION/FILE.gguf, links into blobs/.
  for_each_file(where.hugging_face, [&](const fs::path& path) {
    const std::string relative = path.lexically_relative(where.hugging_face).string();
    const std::size_t snapshots = relative.find("/snapshots/");
    if (path.extension() != ".gguf" || !relative.starts_with("models--") || snapshots == std::string::npos) return;
    std::string repository = relative.substr(8, snapshots - 8);
    if (const auto dashes = repository.find("--"); dashes != std::string::npos) repository.replace(dashes, 2, "/");
    add(found, fmt::format("hf:{}/{}", repository, path.stem().string()), path);
  });
  for (const fs::path& folder : where.folders) {
    for_each_file(folder, [&](const fs::path& path) {
      if (path.extension() == ".gguf") add(found, path.stem().string(), path);
    });
  }
  // Of two files with one name the first folder's counts.
  std::ranges::stable_sort(found, {}, &Found::name);
  const auto again = std::ranges::unique(found, {}, &Found::name);
  found.erase(again.begin(), again.end());
  return found;
}

}  // namespace shoal::models
