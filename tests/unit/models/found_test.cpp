// Models of other programs are found by the layouts that those programs use.
#include <fstream>

#include <gtest/gtest.h>

#include "shoal/models/store.h"

namespace shoal::models {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& path, const std::string& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

TEST(Found, OllamaLmStudioAndHuggingFace) {
  const fs::path root = fs::temp_directory_path() / ("shoal-found-" + std::to_string(getpid()));
  write(
      root / "ollama/manifests/registry.ollama.ai/library/llama3.2/1b",
      R"({"layers":[{"mediaType":"application/vnd.ollama.image.template","digest":"sha256:aa"},{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:bb"}]})");
  write(root / "ollama/manifests/registry.ollama.ai/someone/own/latest",
        R"({"layers":[{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:bb"}]})");
  write(root / "ollama/manifests/broken/a/b/c", "{");
  write(root / "ollama/manifests/evil/a/b/c",
        R"({"layers":[{"mediaType":"x.image.model","digest":"sha256:../../../etc/passwd"}]})");
  write(root / "ollama/blobs/sha256-bb", "model");
  write(root / "lm/publisher/model/file-Q4.gguf", "model");
  write(root / "lm/publisher/model/notes.txt", "text");
  write(root / "hf/models--org--name/blobs/0123", "model");
  write(root / "own/deep/mine.gguf", "model");
  write(root / "other/mine.gguf", "another model");
  write(root / "own/readme.md", "text");
  fs::create_directories(root / "hf/models--org--name/snapshots/0123");
  fs::create_symlink("../../blobs/0123", root / "hf/models--org--name/snapshots/0123/file.gguf");
  const auto found =
      find_models({root / "ollama", {root / "lm", root / "absent"}, root / "hf", {root / "own", root / "other"}});
  std::vector<std::string> names;
  for (const Found& one : found) names.push_back(one.name);
  EXPECT_EQ(names, (std::vector<std::string>{"hf:org/name/file", "lmstudio:publisher/model/file-Q4", "mine",
                                             "ollama:llama3.2:1b", "ollama:registry.ollama.ai/someone/own:latest"}));
  EXPECT_EQ(found[2].path, root / "own/deep/mine.gguf") << "the first folder counts";
  EXPECT_EQ(found[3].bytes, 5U);
  fs::remove_all(root);
}

}  // namespace
}  // namespace shoal::models
