// Files with a JSON object a line, and file names and texts as messages may repeat them.
// Threads: any; reading blocks on the disk.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "shoal/base/result.h"

namespace shoal::evaluation {

using TakeObject = std::function<Result<void>(const boost::json::object& object, std::size_t line)>;

// For each line that is not blank. Errors: kInvalidData, "line 3: ...", for a line that is not a JSON object, and
// those of `take`.
[[nodiscard]] Result<void> each_object(std::string_view text, const TakeObject& take);
// The same of a file; its name comes first in the message. Errors: kIo too.
[[nodiscard]] Result<void> read_jsonl(const std::filesystem::path& path, const TakeObject& take);

// Errors: kIo.
[[nodiscard]] Result<std::string> contents_of(const std::filesystem::path& path);

[[nodiscard]] std::string shown(const std::filesystem::path& path);
[[nodiscard]] std::string shown(std::string_view text);

}  // namespace shoal::evaluation
