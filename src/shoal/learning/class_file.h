// A ClassModel as a file: a line of its kind and version, a header in JSON for people and tools, the numbers, and a
// SHA-256 over all that, which tells damage. `head -c 3000 FILE` shows what it is.
// A version of the format, or of the features, that is not this one's is refused by name: such a model is trained
// again. Owned by nobody; functions. Threads: any; both block on the disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/learning/class_model.h"

namespace shoal::learning {

inline constexpr std::uint32_t kClassFileVersion = 1;
inline constexpr std::string_view kClassFileEnding = ".task";

// A name that can be a file's: letters, digits, '-', '_', and '.' inside; at most 64 of them.
[[nodiscard]] bool is_task_name(std::string_view name);

[[nodiscard]] std::string print_class_model(const ClassModel& model);
// Errors: kInvalidConfig, what is wrong.
[[nodiscard]] Result<ClassModel> parse_class_model(std::string_view bytes);

// FOLDER/NAME.task; replaces one of that name at once. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_class_model(const ClassModel& model,
                                                             const std::filesystem::path& folder);
// Errors: kIo; those of parse_class_model().
[[nodiscard]] Result<ClassModel> load_class_model(const std::filesystem::path& path);

}  // namespace shoal::learning
