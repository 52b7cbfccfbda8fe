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

std::string_view apply_text(const Key& key) {
  return key.apply == Apply::kHot ? "on reload (SIGHUP)" : "after a restart";
}

std::string default_text(const Key& key) {
  return to_toml(key.read(Config{}));
}

std::string schema_of(const Key& key) {
  std::string type;
  switch (key.type) {
    case Type::kBool:
      type = R"("type": "boolean")";
      break;
    case Type::kInteger:
      type = fmt::format(R"("type": "integer", "minimum": {}, "maximum": {})", key.min, key.max);
      break;
    case Type::kChoice:
      type = fmt::format(R"("enum": ["{}"])", fmt::join(key.choices, R"(", ")"));
      break;
    case Type::kString:
    case Type::kPath:
      type = R"("type": "string")";
      break;
    case Type::kStringList:
    case Type::kPathList:
      type = R"("type": "array", "items": {"type": "string"})";
      break;
  }
  return fmt::format(R"("{}": {{{}, "default": {}, "description": {}}})", key.leaf(), type, to_json(key.read(Config{})),
                     base::json_string(key.help));
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
    const Origin& origin = origin_of(key, *loaded);
    out += fmt::format(R"(,"value":{},"layer":"{}","place":{})", to_json(key.read(*loaded->config)),
                       layer_name(origin.layer), base::json_string(origin.place));
  }
  return out + "}";
}

std::string schema() {
  std::string out =
      "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Configuration of Shoal\",\n"
      "  \"type\": \"object\",\n  \"additionalProperties\": false,\n  \"properties\": {\n    \"version\": {\"const\": "
      "1}";
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section() != section) {
      if (!section.empty()) out += "\n      }\n    }";
      section = key.section();
      out += fmt::format(
          ",\n    \"{}\": {{\n      \"type\": \"object\",\n      \"additionalProperties\": false,\n"
          "      \"properties\": {{\n        {}",
          section, schema_of(key));
    } else {
      out += ",\n        " + schema_of(key);
    }
  }
  return out + "\n      }\n    }\n  }\n}\n";
}

std::string show(const Loaded& loaded) {
  std::string out = "version = 1\n";
  std::string_view section;
  for (const Key& key : keys()) {
    if (key.section() != section) {
      section = key.section();
      out += fmt::format("\n[{}]\n", section);
    }
    out += fmt::format("{:<44} # {}\n", fmt::format("{} = {}", key.leaf(), to_toml(key.read(*loaded.config))),
                       base::escape_control(origin_of(key, loaded).place));
  }
  return out;
}

std::string show_json(const Loaded& loaded) {
  std::vector<std::string> rows;
  for (const Key& key : keys()) {
    const Origin& origin = origin_of(key, loaded);
    rows.push_back(fmt::format(R"("{}":{{"value":{},"layer":"{}","place":{}}})", key.name,
                               to_json(key.read(*loaded.config)), layer_name(origin.layer),
                               base::json_string(origin.place)));
  }
  return fmt::format(R"({{"file":{},"keys":{{{}}}}})", base::json_string(loaded.file), fmt::join(rows, ","));
}

std::string reference() {
  std::string out =
      "# Configuration\n\n"
      "Made by `shoal config reference` from the table in `src/shoal/config/keys.cpp`; do not edit by hand.\n\n"
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
                       key.help, key.type_text(), key.unit.empty() ? "" : fmt::format(", in {}", key.unit),
                       default_text(key), key.variable(), apply_text(key));
  }
  out += "\n## Other variables\n\n";
  for (const KnownVariable& known : other_variables()) out += fmt::format("- `{}`: {}.\n", known.name, known.help);
  return out;
}

}  // namespace shoal::config
