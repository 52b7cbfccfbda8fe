#include "shoal/routing/scored_labels.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/routing/json_file.h"

namespace shoal::routing {

Result<ScoredLabel> parse_scored_label(std::string_view line) {
  auto root = parse_exactly(line);
  if (!root.ok()) return Error(ErrorCode::kInvalidData, root.error().message());
  const boost::json::object& object = root->get_object();
  constexpr std::array<std::string_view, 5> kNames = {"score", "right", "group", "late", "out_of_scope"};
  for (const auto& [name, value] : object) {
    // A misspelt "late" would quietly be a promise without the late misses.
    if (std::ranges::find(kNames, std::string_view(name)) == kNames.end()) {
      return Error(ErrorCode::kInvalidData,
                   fmt::format("{} is none of score, right, group, late and out_of_scope", base::json_string(name)));
    }
  }
  std::string fault;
  JsonReader from(object, "", fault);
  ScoredLabel out;
  if (const boost::json::value* const score = object.if_contains("score"); score == nullptr || !score->is_null()) {
    out.score = from.real("score", -JsonReader::kMost, JsonReader::kMost);
  }
  out.right = from.flag("right");
  if (object.contains("late")) out.late = from.flag("late");
  if (object.contains("group")) out.group = from.text("group");
  const bool outside = object.contains("out_of_scope") && from.flag("out_of_scope");
  if (fault.empty() && outside && out.right) fault = "out_of_scope: what belongs to no label cannot have a right one";
  if (!fault.empty()) return Error(ErrorCode::kInvalidData, std::move(fault));
  return out;
}

Result<ScoredLabels> read_scored_labels(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return base::errno_error("cannot open " + path.string(), errno);
  ScoredLabels out;
  std::string line;
  for (std::size_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto label = parse_scored_label(line);
    if (!label.ok()) {
      return Error(ErrorCode::kInvalidData,
                   fmt::format("{}, line {}: {}", path.string(), number, label.error().message()));
    }
    out.labels.push_back(std::move(label).value());
  }
  if (file.bad()) return base::errno_error("cannot read " + path.string(), errno);
  if (out.labels.empty()) return Error(ErrorCode::kInvalidData, path.string() + " has no labels");
  out.sha256 = SHOAL_TRY(base::sha256_of_file(path));
  return out;
}

}  // namespace shoal::routing
