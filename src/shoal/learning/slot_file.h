// A SlotModel as a file, in the form of model_file.h. Another version of the format or of the features is refused by
// name: such a model is trained again. Owned by nobody; functions. Threads: any; load and save block on the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "shoal/base/result.h"
#include "shoal/learning/slot_model.h"

namespace shoal::learning {

inline constexpr std::uint32_t kSlotFileVersion = 1;
inline constexpr std::string_view kSlotFileEnding = ".slots";

[[nodiscard]] std::string print_slot_model(const SlotModel& model);
// Errors: kInvalidConfig, what is wrong.
[[nodiscard]] Result<SlotModel> parse_slot_model(std::string_view bytes);

// FOLDER/NAME.slots; replaces one of that name at once. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_slot_model(const SlotModel& model,
                                                            const std::filesystem::path& folder);

}  // namespace shoal::learning
