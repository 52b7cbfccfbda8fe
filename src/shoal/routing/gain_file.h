// Gain models as files: GGUF, with one JSON text for all that people may want to read and tensors for the rest. The
// hash of the file is its name in receipts and certificates. Owned by nobody; functions. Threads: any; they block on
// the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/routing/gain_model.h"

namespace shoal::routing {

inline constexpr std::string_view kGainEnding = ".router";

// Where a router of that name is kept.
[[nodiscard]] std::filesystem::path router_file(const std::string& data_dir, const std::string& name);

struct LoadedGain {
  GainModel model;
  std::string sha256;  // of the file
};

// The file is there whole or not at all; its folder is made. Returns its SHA-256. Errors: kIo.
[[nodiscard]] Result<std::string> save_gain(const GainModel& model, const std::filesystem::path& path);
// Errors: kIo; kInvalidConfig with the field or tensor at fault: it is no gain model, of another version, made for
// other features of texts, cut short, or says what cannot be.
[[nodiscard]] Result<LoadedGain> load_gain(const std::filesystem::path& path);

}  // namespace shoal::routing
