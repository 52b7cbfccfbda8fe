// Reads the tables of records, [provider.NAME] and the like, into Config. What fields say of one another is judged
// later, when all layers are known: record_rules.h. Place: inside config/, a part of apply_toml(). Owned by whoever
// reads the file. Threads: one.
#pragma once

#include <string_view>

#include <toml++/toml.h>

#include "shoal/config/load.h"
#include "shoal/config/records.h"
#include "shoal/config/toml_source.h"

namespace shoal::config {

class RecordReader {
 public:
  // All of them must outlive this. REQUIRES: `origins` has a list for each kind.
  RecordReader(TomlSource& source, Config& config, RecordOrigins& origins)
      : source_(source), config_(config), origins_(origins) {}

  // All records of a kind: what stands behind `name`, which is the kind's, at the top of the file.
  void read(const RecordKind& kind, const toml::key& name, const toml::node& node);

 private:
  void read_named(const RecordKind& kind, const toml::key& name, const toml::node& node);
  void read_list(const RecordKind& kind, const toml::key& name, const toml::node& node);
  void check_name(const RecordKind& kind, const toml::key& name);
  void record(const RecordKind& kind, std::string_view name, const toml::source_region& where,
              const toml::table& table);
  void unknown(const RecordKind& kind, std::string_view record, const toml::key& name, const toml::node& node);

  TomlSource& source_;
  Config& config_;
  RecordOrigins& origins_;
};

}  // namespace shoal::config
