#include "shoal/config/record_variables.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"

namespace shoal::config {
namespace {

// "SHOAL_PROVIDER__".
std::string prefix_of(const RecordKind& kind) {
  return fmt::format("SHOAL_{}__", variable_part(kind.name));
}

// SHOAL_PROVIDER__OPENAI__BSE_URL: the record is there, the field is not. Empty: no record begins so.
std::optional<Fault> unknown_field(std::string_view variable, std::string_view rest, const RecordKind& kind,
                                   const Config& config) {
  std::vector<std::string> fields;
  for (const Field& field : kind.fields) fields.push_back(variable_part(field.name));
  for (std::size_t i = 0; i < kind.count(config); ++i) {
    const std::string record = variable_part(kind.name_of(config, i)) + "__";
    if (!rest.starts_with(record)) continue;
    const std::string near = base::suggest(rest.substr(record.size()), fields);
    return fault_of(std::string(variable), fmt::format("unknown variable: a {} has no such field", kind.name),
                    near.empty() ? "`shoal config reference` lists every field"
                                 : fmt::format("did you mean {}{}{}?", prefix_of(kind), record, near));
  }
  return std::nullopt;
}

// SHOAL_PROVIDER__OPNAI__BASE_URL: the field is there, the record is not.
std::optional<Fault> unknown_record(std::string_view variable, std::string_view rest, const RecordKind& kind,
                                    const Config& config) {
  std::vector<std::string> records;
  for (std::size_t i = 0; i < kind.count(config); ++i) records.push_back(variable_part(kind.name_of(config, i)));
  for (const Field& field : kind.fields) {
    const std::string end = "__" + variable_part(field.name);
    if (!rest.ends_with(end)) continue;
    const std::string near = base::suggest(rest.substr(0, rest.size() - end.size()), records);
    return fault_of(
        std::string(variable),
        fmt::format("unknown variable: the file has no {} of that name, and a variable cannot make one", kind.name),
        near.empty() ? fmt::format("add {} to the file, or unset it", kind.header())
                     : fmt::format("did you mean {}{}{}?", prefix_of(kind), near, end));
  }
  return std::nullopt;
}

}  // namespace

std::vector<VariableTarget> targets_of(std::string_view variable, const Config& config) {
  std::vector<VariableTarget> found;
  for (const RecordKind& kind : record_kinds()) {
    if (!kind.named() || !variable.starts_with(prefix_of(kind))) continue;
    for (std::size_t i = 0; i < kind.count(config); ++i) {
      for (const Field& field : kind.fields) {
        if (kind.variable(kind.name_of(config, i), field) == variable) found.push_back({&kind, &field, i});
      }
    }
  }
  return found;
}

Fault ambiguous_variable(std::string_view variable, const std::vector<VariableTarget>& targets, const Config& config) {
  std::vector<std::string> paths;
  for (const VariableTarget& target : targets) {
    paths.push_back(target.kind->path(target.kind->name_of(config, target.record), *target.field));
  }
  return fault_of(std::string(variable), fmt::format("it may mean `{}`", fmt::join(paths, "` or `")),
                  "rename one of them, or write the value in the file");
}

std::optional<Fault> unknown_record_variable(std::string_view variable, const Config& config) {
  for (const RecordKind& kind : record_kinds()) {
    const std::string prefix = prefix_of(kind);
    if (!variable.starts_with(prefix)) continue;
    if (!kind.named()) {
      return fault_of(std::string(variable),
                      fmt::format("unknown variable: a {} has no name, so no variable can mean it", kind.name),
                      "write the value in the file");
    }
    const std::string_view rest = variable.substr(prefix.size());
    if (auto fault = unknown_field(variable, rest, kind, config)) return fault;
    if (auto fault = unknown_record(variable, rest, kind, config)) return fault;
  }
  return std::nullopt;
}

}  // namespace shoal::config
