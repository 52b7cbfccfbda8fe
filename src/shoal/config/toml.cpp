#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

#include <toml++/toml.h>

#include "shoal/base/text.h"
#include "shoal/config/advice.h"
#include "shoal/config/load.h"
#include "shoal/config/record_reader.h"
#include "shoal/config/secrets.h"
#include "shoal/config/toml_source.h"

namespace shoal::config {
namespace {

constexpr std::int64_t kVersion = 1;

class Reader {
 public:
  Reader(TomlSource& source, Config& config, std::vector<Origin>& origins, RecordOrigins& records)
      : source_(source), config_(config), origins_(origins), records_(source, config, records) {}

  void read() {
    const std::optional<toml::table> root = source_.parse();
    if (!root) return;
    for (auto&& [key, node] : *root) {
      if (key.str() == "version") {
        version(node);
      } else if (is_section(key.str())) {
        section(key, node);
      } else if (const RecordKind* const kind = find_record_kind(key.str())) {
        records_.read(*kind, key, node);
      } else {
        source_.fault(key.source(), fmt::format("unknown key `{}`", base::escape_control(key.str())),
                      top_level_advice(key.str()), line_of(key));
      }
    }
  }

 private:
  static bool is_section(std::string_view name) {
    return std::ranges::any_of(keys(), [&](const Key& key) { return key.section() == name; });
  }

  static TomlSource::Line line_of(const toml::key& name) {
    return names_secret(name.str()) ? TomlSource::Line::kHidden : TomlSource::Line::kShown;
  }

  void version(const toml::node& node) {
    const auto* const number = node.as_integer();
    if (number == nullptr || number->get() != kVersion) {
      source_.fault(node.source(), fmt::format("wanted version = {}, the only one that this program reads", kVersion),
                    "");
    }
  }

  void section(const toml::key& name, const toml::node& node) {
    const auto* const table = node.as_table();
    if (table == nullptr) {
      source_.fault(name.source(), fmt::format("`{}` is a section, not a value", name.str()),
                    fmt::format("write [{}] on a line of its own, and its keys below", name.str()));
      return;
    }
    for (auto&& [key, value] : *table) entry(name.str(), key, value);
  }

  void entry(std::string_view section, const toml::key& name, const toml::node& node) {
    const Key* const key = find_key(fmt::format("{}.{}", section, name.str()));
    if (key == nullptr) {
      source_.fault(name.source(), fmt::format("unknown key `{}` in [{}]", base::escape_control(name.str()), section),
                    key_advice(section, name.str()), line_of(name));
      return;
    }
    std::optional<Value> value = source_.value(*key, key->name, node);
    if (!value) return;
    key->write(config_, *std::move(value));
    origins_[static_cast<std::size_t>(key - keys().data())] = source_.origin(name.source(), node);
  }

  TomlSource& source_;
  Config& config_;
  std::vector<Origin>& origins_;
  RecordReader records_;
};

}  // namespace

std::vector<Fault> apply_toml(std::string_view text, const std::string& name, const std::string& folder, Config& config,
                              std::vector<Origin>& origins, RecordOrigins* records) {
  RecordOrigins unused;
  RecordOrigins& of_records = records != nullptr ? *records : unused;
  origins.resize(keys().size());
  of_records.resize(record_kinds().size());
  TomlSource source(text, name, folder);
  Reader(source, config, origins, of_records).read();
  return source.take_faults();
}

}  // namespace shoal::config
