#include "shoal/config/record_reader.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/config/advice.h"
#include "shoal/config/record_rules.h"
#include "shoal/config/secrets.h"

namespace shoal::config {
namespace {

// The nearest name that would be allowed; empty: there is none.
std::string allowed_name(const RecordKind& kind, std::string_view name) {
  std::string near(name);
  for (char& c : near) {
    if (c < ' ') return {};
    if (kind.is_name(std::string("a") + c)) continue;
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    c = kind.is_name(std::string(1, lower)) ? lower : '-';
  }
  return kind.is_name(near) ? near : std::string();
}

// What [route.gpt-4.1] says, where the dot parts two tables and ["gpt-4.1"] was meant; empty: something else.
std::string name_with_dots(const RecordKind& kind, std::string_view record, std::string_view inner,
                           const toml::node& node) {
  std::string name = fmt::format("{}.{}", record, inner);
  const toml::table* table = node.as_table();
  while (table != nullptr && table->size() == 1 && table->begin()->second.is_table()) {
    name += fmt::format(".{}", table->begin()->first.str());
    table = table->begin()->second.as_table();
  }
  return table != nullptr && kind.is_name(name) ? name : std::string();
}

}  // namespace

void RecordReader::read(const RecordKind& kind, const toml::key& name, const toml::node& node) {
  if (kind.named()) {
    read_named(kind, name, node);
  } else {
    read_list(kind, name, node);
  }
}

void RecordReader::read_named(const RecordKind& kind, const toml::key& name, const toml::node& node) {
  const auto* const table = node.as_table();
  if (table == nullptr) {
    source_.fault(name.source(), fmt::format("each {} is a table with a name", kind.name),
                  fmt::format("write {}, with a name of your own, and its fields below", kind.header()));
    return;
  }
  std::vector<std::pair<const toml::key*, const toml::node*>> entries;
  for (auto&& [record_name, value] : *table) entries.emplace_back(&record_name, &value);
  std::ranges::stable_sort(entries, {}, [](const auto& entry) {
    const toml::source_position& begin = entry.first->source().begin;
    return std::pair(begin.line, begin.column);
  });
  for (const auto& [record_name, value] : entries) {
    const std::string_view called = record_name->str();
    if (const auto* const fields = value->as_table()) {
      check_name(kind, *record_name);
      record(kind, called, record_name->source(), *fields);
    } else {
      source_.fault(record_name->source(),
                    fmt::format("`{}` in [{}] is no table: each {} has a name", base::escape_control(called), kind.name,
                                kind.name),
                    fmt::format("write {}, with a name of your own, and its fields below", kind.header()),
                    names_secret(called) ? TomlSource::Line::kHidden : TomlSource::Line::kShown);
    }
  }
}

void RecordReader::read_list(const RecordKind& kind, const toml::key& name, const toml::node& node) {
  const auto* const list = node.as_array();
  const std::string advice = fmt::format("write {}, with two brackets, for each", kind.header());
  if (list == nullptr) {
    source_.fault(name.source(), fmt::format("there may be any number of `{}`", kind.name), advice);
    return;
  }
  for (const toml::node& item : *list) {
    if (const auto* const fields = item.as_table()) {
      record(kind, {}, item.source(), *fields);
    } else {
      source_.fault(item.source(), fmt::format("each `{}` is a table", kind.name), advice);
    }
  }
}

void RecordReader::check_name(const RecordKind& kind, const toml::key& name) {
  if (kind.is_name(name.str())) return;
  const std::string near = allowed_name(kind, name.str());
  source_.fault(name.source(),
                fmt::format("`{}` cannot be the name of a {}: wanted {}", base::escape_control(name.str()), kind.name,
                            kind.name_pattern),
                near.empty() ? "" : fmt::format("write {}", kind.header(near)));
}

void RecordReader::record(const RecordKind& kind, std::string_view name, const toml::source_region& where,
                          const toml::table& table) {
  const std::size_t index = kind.add(config_, std::string(name));
  RecordOrigin& origin = origins_[index_of(kind)].emplace_back();
  origin.self = source_.origin(where);
  origin.fields.resize(kind.fields.size());
  for (auto&& [key, node] : table) {
    const Field* const field = kind.find(key.str());
    if (field == nullptr) {
      unknown(kind, name, key, node);
      origin.unknown = true;
      continue;
    }
    origin.fields[kind.index_of(*field)] = source_.origin(key.source(), node);
    if (std::optional<Value> value = source_.value(*field, base::escape_control(kind.path(name, *field)), node)) {
      field->write(config_, index, *std::move(value));
    } else {
      origin.faulty = true;
    }
  }
}

void RecordReader::unknown(const RecordKind& kind, std::string_view record, const toml::key& name,
                           const toml::node& node) {
  const std::string message = fmt::format("unknown field `{}` in {}", base::escape_control(name.str()),
                                          base::escape_control(kind.header(record)));
  if (const std::string dotted = name_with_dots(kind, record, name.str(), node); !dotted.empty()) {
    source_.fault(name.source(), message,
                  fmt::format("a dot parts two tables; quote the name: {}", kind.header(dotted)));
    return;
  }
  source_.fault(name.source(), message, field_advice(kind, name.str()),
                names_secret(name.str()) ? TomlSource::Line::kHidden : TomlSource::Line::kShown);
}

Result<std::vector<PriceConfig>> parse_prices(std::string_view toml, const std::string& name) {
  TomlSource source(toml, name, "");
  Config config;
  RecordOrigins origins(record_kinds().size());
  const RecordKind& kind = *find_record_kind("price");
  if (const std::optional<toml::table> root = source.parse()) {
    RecordReader reader(source, config, origins);
    for (auto&& [key, node] : *root) {
      if (key.str() == kind.name) {
        reader.read(kind, key, node);
      } else {
        source.fault(key.source(),
                     fmt::format("unknown key `{}`: this text holds prices only", base::escape_control(key.str())),
                     fmt::format("write {} above it", kind.header()));
      }
    }
  }
  std::vector<Fault> faults = source.take_faults();
  const Environment none;
  std::vector<Fault> more =
      check_records({.config = config, .origins = origins, .environment = none, .source = source.text()});
  std::ranges::move(more, std::back_inserter(faults));
  if (!faults.empty()) return to_error(faults);
  return std::move(config.prices);
}

}  // namespace shoal::config
