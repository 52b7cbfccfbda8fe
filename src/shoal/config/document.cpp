#include "shoal/config/document.h"

#include <cstddef>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/text.h"

namespace shoal::config {
namespace {

const Origin& origin_of(const Key& key, const Loaded& loaded) {
  return loaded.origins[static_cast<std::size_t>(&key - keys().data())];
}

std::string_view apply_text(const Form& form) {
  return form.apply == Apply::kHot ? "on reload (SIGHUP)" : "after a restart";
}

std::string unit_text(const Form& form) {
  return form.unit.empty() ? "" : fmt::format(", in {}", form.unit);
}

std::string default_text(const Key& key) {
  return to_toml(key.read(Config{}));
}

std::string line_of(std::string_view name, const Value& value, const Origin& origin) {
  return fmt::format("{:<44} # {}\n", fmt::format("{} = {}", name, to_toml(value)), base::escape_control(origin.place));
}

std::string value_json(const Value& value, const Origin& origin) {
  return fmt::format(R"("value":{},"layer":"{}","place":{})", to_json(value), layer_name(origin.layer),
                     base::json_string(origin.place));
}

const RecordOrigin& origin_of(const RecordKind& kind, std::size_t record, const Loaded& loaded) {
  return loaded.records[index_of(kind)][record];
}

std::string show_records(const RecordKind& kind, const Loaded& loaded) {
  std::string out;
  for (std::size_t i = 0; i < kind.count(*loaded.config); ++i) {
    const RecordOrigin& origin = origin_of(kind, i, loaded);
    out += fmt::format("\n{:<44} # {}\n", kind.header(kind.name_of(*loaded.config, i)),
                       base::escape_control(origin.self.place));
    for (const Field& field : kind.fields) {
      out += line_of(field.name, field.read(*loaded.config, i), origin.fields[kind.index_of(field)]);
    }
  }
  return out;
}

// `"provider":[{"name":"openai","place":"f:3","fields":{...}}]`.
std::string show_records_json(const RecordKind& kind, const Loaded& loaded) {
  std::vector<std::string> records;
  for (std::size_t i = 0; i < kind.count(*loaded.config); ++i) {
    const RecordOrigin& origin = origin_of(kind, i, loaded);
    std::vector<std::string> rows;
    for (const Field& field : kind.fields) {
      rows.push_back(fmt::format(R"("{}":{{{}}})", field.name,
                                 value_json(field.read(*loaded.config, i), origin.fields[kind.index_of(field)])));
    }
    const std::string name =
        kind.named() ? fmt::format(R"("name":{},)", base::json_string(kind.name_of(*loaded.config, i))) : "";
    records.push_back(fmt::format(R"({{{}"place":{},"fields":{{{}}}}})", name, base::json_string(origin.self.place),
                                  fmt::join(rows, ",")));
  }
  return fmt::format(R"("{}":[{}])", kind.name, fmt::join(records, ","));
}

// The records that `name` is about: one, or all of its kind.
std::vector<std::size_t> records_of(const FieldName& name, const Loaded& loaded) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < name.kind->count(*loaded.config); ++i) {
    if (name.record.empty() || name.kind->name_of(*loaded.config, i) == name.record) found.push_back(i);
  }
  return found;
}

std::string default_text(const FieldName& name) {
  return name.field->need == Need::kRequired ? "none: it must be written"
                                             : to_toml(name.kind->default_value(*name.field));
}

// What a field is called where any record may be meant.
std::string_view record_of(const FieldName& name) {
  return name.record.empty() ? "NAME" : std::string_view(name.record);
}

std::string reference_of_records() {
  std::string out =
      "\n## Records\n\n"
      "Tables that there may be any number of. A variable can override a field of a record that the file has, and\n"
      "cannot make one: the record's name in it is in upper case, with `_` for what is no letter and no digit. A\n"
      "variable that two records could mean is an error. Prices have no names, and so no variables. Records come and\n"
      "go on reload (SIGHUP), and so do changes of their fields, unless a field says otherwise.\n";
  for (const RecordKind& kind : record_kinds()) {
    out += fmt::format("\n## {}\n\n{}", kind.header(), kind.help);
    if (kind.named()) out += fmt::format(" NAME matches `{}`.", kind.name_pattern);
    out += fmt::format("\n\n```toml\n{}```\n", kind.example);
    for (const Field& field : kind.fields) {
      const std::string fallback = field.need == Need::kRequired
                                       ? "none: it must be written"
                                       : fmt::format("`{}`", to_toml(kind.default_value(field)));
      out += fmt::format("\n### {}.{}\n\n{}\n\n- Type: {}{}\n- Default: {}\n", kind.name, field.name, field.help,
                         field.type_text(), unit_text(field), fallback);
      if (kind.named()) out += fmt::format("- Variable: `{}`\n", kind.variable("NAME", field));
      out += fmt::format("- Applies: {}\n", apply_text(field));
    }
  }
  return out;
}

}  // namespace

std::string explain(const Key& key, const Loaded* loaded) {
  std::string out = fmt::format("{}\n  {}\n\n  type      {}\n", key.name, key.help, key.type_text());
  if (!key.unit.empty()) out += fmt::format("  unit      {}\n", key.unit);
  out += fmt::format("  default   {}\n", default_text(key));
  if (loaded != nullptr) {
    out += fmt::format("  value     {}\n  set by    {}\n", to_toml(key.read(*loaded->config)),
                       base::escape_control(origin_of(key, *loaded).place));
  }
  out += fmt::format("  variable  {}\n  applies   {}\n", key.variable(), apply_text(key));
  return out;
}

std::string explain_json(const Key& key, const Loaded* loaded) {
  std::string out = fmt::format(R"({{"key":"{}","help":{},"type":{},"default":{},"variable":"{}","reload":{})",
                                key.name, base::json_string(key.help), base::json_string(key.type_text()),
                                to_json(key.read(Config{})), key.variable(), key.apply == Apply::kHot);
  if (!key.unit.empty()) out += fmt::format(R"(,"unit":"{}")", key.unit);
  if (loaded != nullptr) {
    out += "," + value_json(key.read(*loaded->config), origin_of(key, *loaded));
  }
  return out + "}";
}

std::string explain(const FieldName& name, const Loaded* loaded) {
  const auto& [kind, field, record] = name;
  std::string out =
      fmt::format("{}\n  {}\n\n  type      {}\n", kind->path(record_of(name), *field), field->help, field->type_text());
  if (!field->unit.empty()) out += fmt::format("  unit      {}\n", field->unit);
  out += fmt::format("  default   {}\n", default_text(name));
  if (loaded != nullptr) {
    for (const std::size_t i : records_of(name, *loaded)) {
      const Origin& origin = origin_of(*kind, i, *loaded).fields[kind->index_of(*field)];
      const std::string of = kind->named() && record.empty()
                                 ? fmt::format(" in {}", kind->header(kind->name_of(*loaded->config, i)))
                                 : std::string();
      out += fmt::format("  value     {}{}\n  set by    {}\n", to_toml(field->read(*loaded->config, i)), of,
                         base::escape_control(origin.place));
    }
  }
  if (kind->named()) out += fmt::format("  variable  {}\n", kind->variable(record_of(name), *field));
  return out + fmt::format("  applies   {}\n", apply_text(*field));
}

std::string explain_json(const FieldName& name, const Loaded* loaded) {
  const auto& [kind, field, record] = name;
  std::string out =
      fmt::format(R"({{"key":{},"help":{},"type":{},"required":{},"reload":{})",
                  base::json_string(kind->path(record_of(name), *field)), base::json_string(field->help),
                  base::json_string(field->type_text()), field->need == Need::kRequired, field->apply == Apply::kHot);
  if (field->need != Need::kRequired) out += fmt::format(R"(,"default":{})", to_json(kind->default_value(*field)));
  if (kind->named()) out += fmt::format(R"(,"variable":"{}")", kind->variable(record_of(name), *field));
  if (!field->unit.empty()) out += fmt::format(R"(,"unit":"{}")", field->unit);
  if (loaded == nullptr) return out + "}";
  std::vector<std::string> values;
  for (const std::size_t i : records_of(name, *loaded)) {
    const Origin& origin = origin_of(*kind, i, *loaded).fields[kind->index_of(*field)];
    const std::string called =
        kind->named() ? fmt::format(R"("name":{},)", base::json_string(kind->name_of(*loaded->config, i))) : "";
    values.push_back(fmt::format("{{{}{}}}", called, value_json(field->read(*loaded->config, i), origin)));
  }
  return out + fmt::format(R"(,"values":[{}]}})", fmt::join(values, ","));
}

std::string show(const Loaded& loaded) {
  std::string out = "version = 1\n";
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section() != section) {
      section = key.section();
      out += fmt::format("\n[{}]\n", section);
    }
    out += line_of(key.leaf(), key.read(*loaded.config), origin_of(key, loaded));
  }
  for (const RecordKind& kind : record_kinds()) out += show_records(kind, loaded);
  return out;
}

std::string show_json(const Loaded& loaded) {
  std::vector<std::string> rows;
  for (const Key& key : keys()) {
    rows.push_back(
        fmt::format(R"("{}":{{{}}})", key.name, value_json(key.read(*loaded.config), origin_of(key, loaded))));
  }
  std::vector<std::string> records;
  for (const RecordKind& kind : record_kinds()) records.push_back(show_records_json(kind, loaded));
  return fmt::format(R"({{"file":{},"keys":{{{}}},"records":{{{}}}}})", base::json_string(loaded.file),
                     fmt::join(rows, ","), fmt::join(records, ","));
}

std::string reference() {
  std::string out =
      "# Configuration\n\n"
      "Made by `shoal config reference` from the tables in `keys.cpp` and `records.cpp` of `src/shoal/config`; do not\n"
      "edit by hand.\n\n"
      "Shoal reads TOML from `--config FILE`, else from `$SHOAL_CONFIG`, else from\n"
      "`$XDG_CONFIG_HOME/shoal/config.toml` when it exists. Flags win over variables, variables over the file, the\n"
      "file over defaults. An unknown key or an unknown `SHOAL_*` variable is an error. In variables, lists are\n"
      "separated by commas. Relative paths in the file count from its folder. `version = 1` may stand at the top.\n\n"
      "`SIGHUP` reads everything again, all or nothing; a change to a key that needs a restart is refused by name.\n"
      "Secrets are never values: a key names the file or the variable that holds them.\n";
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section() != section) {
      section = key.section();
      out += fmt::format("\n## [{}]\n", section);
    }
    out += fmt::format("\n### {}\n\n{}\n\n- Type: {}{}\n- Default: `{}`\n- Variable: `{}`\n- Applies: {}\n", key.name,
                       key.help, key.type_text(), unit_text(key), default_text(key), key.variable(), apply_text(key));
  }
  out += reference_of_records();
  out += "\n## Other variables\n\n";
  for (const KnownVariable& known : other_variables()) out += fmt::format("- `{}`: {}.\n", known.name, known.help);
  return out;
}

}  // namespace shoal::config
