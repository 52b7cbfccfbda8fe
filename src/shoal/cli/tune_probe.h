// `shoal tune probe` and `shoal tune test`: a classifier trained on labelled texts, and what it is worth on others.
// Embeddings come from a worker of this process. Owned by nobody; functions. Threads: the main thread; training uses
// others while it runs. Both take seconds to minutes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/cli/tune_data.h"
#include "shoal/config/config.h"
#include "shoal/learning/class_fit.h"

namespace shoal::cli {

// DATA_DIR/tasks
[[nodiscard]] std::filesystem::path task_folder(const config::Config& config);
// Every *.task and *.slots in it, by name.
[[nodiscard]] std::vector<std::filesystem::path> task_files(const std::filesystem::path& folder);
// Errors: kNotFound, which names those that are there; kInvalidConfig: it is damaged, or not of this version.
[[nodiscard]] Result<learning::ClassModel> load_task(const config::Config& config, const std::string& name);

// Errors: kUsage.
[[nodiscard]] Result<void> check_task_name(const std::string& name);

using TuneNote = std::function<void(const std::string&)>;

struct ProbeRequest {
  LabelledTextFields data;
  std::string task;
  std::string embedder;      // empty: the configured one, else the first that is here
  bool no_embedder = false;  // the hashed part alone
  bool typos = true;         // train on a copy of each text with typing errors, too
  std::uint64_t seed = 1;
  TuneNote note;  // lines for people
};
struct ProbeReport {
  LabelledTexts read;
  std::vector<std::string> labels;
  std::size_t texts = 0;
  std::size_t outside = 0;
  std::string embedder;  // empty: none
  learning::ClassFitReport fit;
  double embed_seconds = 0;
  double fit_seconds = 0;
  std::filesystem::path file;
  std::uint64_t file_bytes = 0;
};
// Errors: those of read_labelled_texts(), fit_classes(), the engine; kModelNotFound: no such embedder; kIo.
[[nodiscard]] Result<ProbeReport> tune_probe(const config::Config& config, const ProbeRequest& request);

struct TaskTestRequest {
  std::string task;
  LabelledTextFields data;
  std::uint64_t seed = 1;
  bool typos = true;  // measure with typing errors, too
  TuneNote note;
};
// What a certificate is made of.
struct TextScore {
  std::string text;
  std::string asked;  // of slots
  double score = 0;   // the one that the server gives
  bool right = false;
  bool outside = false;
};
// Of one way to decide.
struct TaskTestPart {
  std::string name;  // "hashed", "fused"
  std::size_t right = 0;
  std::size_t right_with_swaps = 0;  // two letters that follow each other changed places in one of five words
  statistics::Reliability reliability;
  double outside_auroc = 0.5;
};
struct TaskTestReport {
  std::size_t texts = 0;
  std::size_t outside = 0;
  std::vector<TaskTestPart> parts;
  std::vector<TextScore> scores;  // by the last of them; first the task's own texts
  std::string data_sha256;
  std::string training_sha256;
  double p50_us = 0;  // of a decision by the hashed part
  double p99_us = 0;
};
// Errors: those of load_task(), read_labelled_texts(), the engine; kInvalidData: a label that the task has not.
[[nodiscard]] Result<TaskTestReport> test_task(const config::Config& config, const TaskTestRequest& request);

}  // namespace shoal::cli
