// The store: installed models under <data-dir>/models. Files are kept by content (blobs/sha256-...), names point
// to them (names/NAME.json), and what is half fetched waits in partial/. Every change is a write to a temporary
// name, an fsync and a rename, so that a cut leaves the old state or the new one; changes take turns on models/.lock.
// Owned by the command, or by cli/'s App. Threads and processes: any; methods read and write files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/gguf/reader.h"
#include "shoal/models/file_lock.h"
#include "shoal/models/rewrite.h"
#include "shoal/types/model.h"

namespace shoal::models {

// names/NAME.json.
struct Installed {
  std::string name;
  std::filesystem::path path;  // of the GGUF: in blobs/, or where it was found
  std::string sha256;
  std::uint64_t bytes = 0;
  std::string licence;
  std::string source;              // the way that delivered it
  std::string lineage;             // what it was made from; empty: as delivered
  std::string installed_at;        // ISO 8601, UTC
  std::optional<Rewrite> rewrite;  // path, sha256 and bytes are those of the rewritten file

  // The file as it was delivered.
  [[nodiscard]] const std::filesystem::path& source_path() const { return rewrite ? rewrite->source_path : path; }
  [[nodiscard]] const std::string& source_sha256() const { return rewrite ? rewrite->source_sha256 : sha256; }
  [[nodiscard]] std::uint64_t source_bytes() const { return rewrite ? rewrite->source_bytes : bytes; }
};

class Store {
 public:
  explicit Store(std::filesystem::path data_dir);

  // Sorted by name. A broken entry is left out and named in `faults`. Errors: kIo.
  [[nodiscard]] Result<std::vector<Installed>> list(std::vector<std::string>* faults = nullptr) const;
  // Changes whenever list() may have changed. Cheap: one look at a folder's time, no file is read.
  [[nodiscard]] std::int64_t revision() const;
  // Errors: kModelNotFound, with the nearest name.
  [[nodiscard]] Result<Installed> find(const std::string& name) const;
  // Takes a finished file over into blobs/ and points the name at it. `entry.sha256` is that of the file.
  // Errors: kIo; kInvalidRequest for a name that is not one.
  [[nodiscard]] Result<Installed> adopt(const std::filesystem::path& file, Installed entry) const;
  // Points the name at a file where it is. Errors: as adopt().
  [[nodiscard]] Result<Installed> link(const std::filesystem::path& file, Installed entry) const;
  // Takes a rewritten file over as the one that the name means; the file as it was delivered stays beside it. A
  // rewritten file that the name had before goes. Errors: kModelNotFound, kIo.
  [[nodiscard]] Result<Installed> rewrite(const std::string& name, const std::filesystem::path& file,
                                          const std::string& sha256, Rewrite lineage) const;
  // The name means the file as it was delivered again, and the rewritten one goes. Errors: kModelNotFound, kIo,
  // kInvalidRequest when it is not rewritten.
  [[nodiscard]] Result<Installed> undo_rewrite(const std::string& name) const;
  // Removes the name, and its files when no other name points to them. Errors: kModelNotFound, kIo.
  [[nodiscard]] Result<void> remove(const std::string& name) const;

  // The file of that content, or where it would be. A pull that was killed between its two renames leaves one that no
  // name points to.
  [[nodiscard]] std::filesystem::path blob(const std::string& sha256) const {
    return root_ / "blobs" / ("sha256-" + sha256);
  }
  // Where fetches keep what they have so far; made when missing. Errors: kIo.
  [[nodiscard]] Result<std::filesystem::path> partial_folder() const;
  // Held while one model is pulled, imported or rewritten; `on_wait` is called once when another process holds it.
  // Errors: kIo.
  [[nodiscard]] Result<FileLock> take_turn(const std::string& name, const std::function<void()>& on_wait) const;

 private:
  [[nodiscard]] Result<void> write_entry(const Installed& entry) const;
  // The file when it is a blob that no name points to.
  [[nodiscard]] Result<void> remove_unused(const std::filesystem::path& file) const;
  // Held while blobs/ and names/ change. Errors: kIo.
  [[nodiscard]] Result<FileLock> lock() const;

  std::filesystem::path root_;
};

// Letters, digits, '.', '_', '-', up to 128, not beginning with '.': a file name everywhere. Errors: kInvalidRequest.
[[nodiscard]] Result<void> check_name(const std::string& name);

// What a model file is, from its header. Errors: kIo, kModelInvalid.
[[nodiscard]] Result<gguf::Header> read_model(const std::filesystem::path& path);
[[nodiscard]] types::ModelInfo describe(const std::string& name, const std::filesystem::path& path,
                                        const std::string& sha256, const gguf::Header& header);

// Model files outside the store, used where they are: of Ollama, LM Studio, the Hugging Face cache, and in folders
// that the configuration names.
struct Found {
  std::string name;  // "ollama:llama3.2:1b", "lmstudio:publisher/model/file", "hf:org/model/file"; in a folder of one's
                     // own: the file's stem
  std::filesystem::path path;
  std::uint64_t bytes = 0;
};
// `home` and the variables that those programs read. Never fails: what cannot be read is not found.
struct FoundIn {
  std::filesystem::path ollama;  // the folder that holds manifests/ and blobs/
  std::vector<std::filesystem::path> lm_studio;
  std::filesystem::path hugging_face;  // the hub folder
  std::vector<std::filesystem::path> folders;
};
[[nodiscard]] FoundIn default_found_in();
[[nodiscard]] std::vector<Found> find_models(const FoundIn& where);

}  // namespace shoal::models
