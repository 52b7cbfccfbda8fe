// Judges after the draft as files: GGUF, as gain_file.h has routers. A file that was made for other checks or other
// features of texts is refused. Owned by nobody; functions. Threads: any; they block on the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/routing/answer_gain.h"

namespace shoal::routing {

inline constexpr std::string_view kAnswerGainEnding = ".answer-router";

// Where one of that name is kept.
[[nodiscard]] std::filesystem::path answer_router_file(const std::string& data_dir, const std::string& name);

struct LoadedAnswerGain {
  AnswerGain model;
  std::string sha256;  // of the file
};

// The file is there whole or not at all; its folder is made. Returns its SHA-256. Errors: kIo.
[[nodiscard]] Result<std::string> save_answer_gain(const AnswerGain& model, const std::filesystem::path& path);
// Errors: kIo; kInvalidConfig with the field or tensor at fault.
[[nodiscard]] Result<LoadedAnswerGain> load_answer_gain(const std::filesystem::path& path);

}  // namespace shoal::routing
