// `shoal tune certify`: which answers of a trained task may be kept, so that of those at most a share is wrong;
// routing/certify.h has the statistics. The certificate stands beside the task's file, is for that very file, and is
// void when the file changes. Also the scores that it is made of, as `shoal tune test --scores` writes them.
// Owned by nobody; functions. Threads: the main thread; load_tasks() asks task_certificate() at start and reload.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/cli/tune_data.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/config/config.h"
#include "shoal/routing/certificate.h"

namespace CLI {
class App;
}

namespace shoal::cli {

struct CommandContext;
void add_tune_certify(CLI::App& group, CommandContext& context);

// FOLDER/NAME.certificate.json, when there is one. Errors: kInvalidConfig: it cannot be read, or is of another file.
[[nodiscard]] Result<std::optional<routing::Certificate>> task_certificate(const std::filesystem::path& folder,
                                                                           const std::string& task,
                                                                           const std::string& sha256_of_task);

struct TaskScores {
  std::vector<TextScore> texts;
  std::string way;       // "fused", "hashed", "slots"
  std::string data;      // SHA-256 of the file
  std::string training;  // the same of what the task was trained on
};
// Errors: as test_task().
[[nodiscard]] Result<TaskScores> score_texts(const config::Config& config, const TaskTestRequest& request);
// {"score": 0.93, "right": true, "group": TEXT, ...} a line, with all digits. Errors: kIo.
[[nodiscard]] Result<void> write_scores(const std::vector<TextScore>& texts, const std::filesystem::path& path);

}  // namespace shoal::cli
