#include "shoal/config/advice.h"

#include <algorithm>
#include <array>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/suggest.h"
#include "shoal/config/keys.h"
#include "shoal/config/secrets.h"

namespace shoal::config {
namespace {

constexpr std::string_view kReference = "`shoal config reference` lists every key";

std::vector<std::string> fields_of(const RecordKind& kind) {
  std::vector<std::string> names;
  for (const Field& field : kind.fields) names.emplace_back(field.name);
  return names;
}

// Where `name` is a key or a field as it is written; empty: nowhere.
std::string home_of(std::string_view name) {
  for (const Key& key : keys()) {
    if (key.leaf() == name) return fmt::format("it belongs in [{}]", key.section());
  }
  for (const RecordKind& kind : record_kinds()) {
    if (kind.find(name) != nullptr) return fmt::format("it belongs in {}", kind.header());
  }
  return {};
}

// The nearest name in other sections and records; empty: none is near.
std::string near_elsewhere(std::string_view name) {
  for (const Key& key : keys()) {
    const std::array<std::string_view, 1> leaf = {key.leaf()};
    if (!base::suggest(name, leaf).empty()) return fmt::format("did you mean `{}` in [{}]?", key.leaf(), key.section());
  }
  for (const RecordKind& kind : record_kinds()) {
    if (const std::string near = base::suggest(name, fields_of(kind)); !near.empty()) {
      return fmt::format("did you mean `{}` in {}?", near, kind.header());
    }
  }
  return {};
}

}  // namespace

std::string top_level_advice(std::string_view name) {
  std::vector<std::string> names;
  for (const Key& key : keys()) {
    if (names.empty() || names.back() != key.section()) names.emplace_back(key.section());
  }
  for (const RecordKind& kind : record_kinds()) names.emplace_back(kind.name);
  const std::string near = base::suggest(name, names);
  if (near.empty()) return key_advice("", name);
  const RecordKind* const kind = find_record_kind(near);
  return fmt::format("did you mean {}?", kind != nullptr ? kind->header() : fmt::format("[{}]", near));
}

std::string key_advice(std::string_view section, std::string_view name) {
  if (std::string home = home_of(name); !home.empty()) return home;
  std::vector<std::string> here;
  for (const Key& key : keys()) {
    if (key.section() == section) here.emplace_back(key.leaf());
  }
  if (const std::string near = base::suggest(name, here); !near.empty()) return fmt::format("did you mean `{}`?", near);
  if (std::string near = near_elsewhere(name); !near.empty()) return near;
  if (name.find("key") != std::string_view::npos || name.find("secret") != std::string_view::npos) {
    return "secrets are never values: name a file of keys in server.api_keys_file";
  }
  return std::string(kReference);
}

std::string field_advice(const RecordKind& kind, std::string_view name) {
  if (const std::string near = base::suggest(name, fields_of(kind)); !near.empty()) {
    return fmt::format("did you mean `{}`?", near);
  }
  if (names_secret(name) && kind.find("key_env") != nullptr) {
    return "secrets are never values: name a variable in key_env, or a file in key_file";
  }
  if (std::string home = home_of(name); !home.empty()) return home;
  if (std::string near = near_elsewhere(name); !near.empty()) return near;
  return std::string(kReference);
}

}  // namespace shoal::config
