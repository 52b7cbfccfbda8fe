// Pull: from a catalogue name to an installed model, by the first way that delivers what was promised; and import:
// the same from a file or a folder on this machine.
// Blocks; used by commands. Threads: any; two pulls of one model take turns on a file lock.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "shoal/base/result.h"
#include "shoal/models/catalogue.h"
#include "shoal/models/fetch.h"
#include "shoal/models/store.h"

namespace shoal::models {

// Writes the GGUF `out` from the Hugging Face folder. Errors: kModelInvalid, kIo.
using ConvertFolder =
    std::function<Result<void>(const std::filesystem::path& folder, const std::filesystem::path& out)>;

struct PullTools {
  OnProgress progress;
  OnNote note;
  ConvertFolder convert;
};

// Errors: kDownloadFailed, naming every way and why it failed; kChecksumMismatch when nothing but wrong bytes came;
// kIo; kModelInvalid.
[[nodiscard]] Result<Installed> pull(const CatalogueEntry& entry, const Store& store, const PullTools& tools);

struct ImportOptions {
  std::string name;       // empty: from the file
  bool in_place = false;  // use the file where it is, without a copy
};
// A GGUF, or a Hugging Face folder with safetensors. Errors: kNotFound, kModelInvalid, kIo, kAlreadyExists.
[[nodiscard]] Result<Installed> import_model(const std::filesystem::path& from, const Store& store,
                                             const ImportOptions& options, const PullTools& tools);

}  // namespace shoal::models
