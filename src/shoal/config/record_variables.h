// Variables that override fields of records: SHOAL_PROVIDER__OPENAI__BASE_URL. A record cannot be made by one, so which
// names there are depends on the file. Place: inside config/, a part of load(). Threads: any; pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/config/fault.h"
#include "shoal/config/records.h"

namespace shoal::config {

struct VariableTarget {
  const RecordKind* kind;
  const Field* field;
  std::size_t record;
};

// The fields that this variable may mean. More than one where names of records differ only in what variables cannot
// tell: a-b and a_b.
[[nodiscard]] std::vector<VariableTarget> targets_of(std::string_view variable, const Config& config);

// REQUIRES: more than one.
[[nodiscard]] Fault ambiguous_variable(std::string_view variable, const std::vector<VariableTarget>& targets,
                                       const Config& config);

// Why a variable that means no field is none of a record of this file; nothing: it is about no kind of record.
[[nodiscard]] std::optional<Fault> unknown_record_variable(std::string_view variable, const Config& config);

}  // namespace shoal::config
