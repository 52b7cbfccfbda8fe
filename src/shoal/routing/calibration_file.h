// Calibration tables as files: JSON that a person can read, a version first. One file is one table; a folder of them is
// read at start and at each reload. A file that is damaged, or of another version, is named and not used: the answers
// that it was for then have no confidence. Owned by nobody; functions. Threads: any; they block on the disk.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/routing/calibration.h"

namespace shoal::routing {

[[nodiscard]] std::string print_table(const Table& table);
// Errors: kInvalidConfig, with the field at fault: it is not JSON, not of this version, or says what cannot be (a
// number that is not finite, a weight that may not be negative, steps that fall, fewer answers than a table needs).
[[nodiscard]] Result<Table> parse_table(std::string_view text);

// Of print_table(), and so the same for the same table however its file is written.
[[nodiscard]] std::string table_sha256(const Table& table);

struct BadFile {
  std::filesystem::path path;
  Error error;
};
struct Tables {
  std::vector<Table> tables;
  std::vector<BadFile> bad;
};
// Every *.json of the folder, by name; a folder that is not there has none. Of two tables with the same key the first
// counts, and the other is among the bad ones.
[[nodiscard]] Tables load_tables(const std::filesystem::path& folder);

// "snips.smollm2-135m-instruct.b179c9523d0e.k16.json": task, model, weights, tokens; what no file name should hold is
// _.
[[nodiscard]] std::string file_name(const Table& table);
// Into the folder, which is made; the file is there whole or not at all. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_table(const Table& table, const std::filesystem::path& folder);

}  // namespace shoal::routing
