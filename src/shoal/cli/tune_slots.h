// Slots: texts with spans, as `shoal tune` reads them, and what `tune probe` and `tune test` do with them. JSONL, an
// object a line: {"text": "at 7 pm", "spans": [{"slot": "time", "start": 3, "end": 7}], "asked": ["time"]}. Ends count
// characters; "asked", the slots that the last question was about, may be left out. Of spans with characters in common
// the later one is learned; an answer has no such spans. Owned by nobody; functions. Threads: the main thread; training
// uses others while it runs, and takes seconds to minutes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/config/config.h"
#include "shoal/learning/slot_fit.h"

namespace shoal::cli {

struct SlotTexts {
  learning::SlotData data;
  std::string sha256;  // of the file
};
// Whether the first line of a JSONL file has spans.
[[nodiscard]] bool has_spans(const std::filesystem::path& path);
// `slots`: those of a task, whose numbers the spans get; empty: all that there are, by name. Errors: kIo; kInvalidData
// with the number of the line.
[[nodiscard]] Result<SlotTexts> read_slot_texts(const std::filesystem::path& path,
                                                const std::vector<std::string>& slots = {});

struct SlotProbeReport {
  learning::SlotFitReport fit;
  std::vector<std::string> slots;
  std::size_t texts = 0;
  double fit_seconds = 0;
  std::filesystem::path file;
};
// Errors: those of read_slot_texts() and fit_slots(); kUsage: a task of classes has this name; kIo.
[[nodiscard]] Result<SlotProbeReport> probe_slots(const config::Config& config, const std::filesystem::path& data,
                                                  const std::string& task, std::uint64_t seed);
// Whether a task of slots has this name.
[[nodiscard]] bool is_slot_task(const config::Config& config, const std::string& name);
// Errors: kNotFound; kInvalidConfig: it is damaged.
[[nodiscard]] Result<learning::SlotModel> load_slot_task(const config::Config& config, const std::string& name);

// The standard error of the F1 of spans, by drawing texts again.
[[nodiscard]] double f1_error(const learning::SlotQuality& quality, std::uint64_t seed);
[[nodiscard]] std::string slot_probe_text(const SlotProbeReport& report, const std::string& task);
[[nodiscard]] std::string slot_probe_json(const SlotProbeReport& report, const std::string& task);
[[nodiscard]] std::string slot_test_text(const learning::SlotQuality& quality, const learning::SlotModel& model,
                                         std::uint64_t seed);
[[nodiscard]] std::string slot_test_json(const learning::SlotQuality& quality, const learning::SlotModel& model,
                                         std::uint64_t seed);

}  // namespace shoal::cli
