#include "shoal/cli/config_commands.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>

#include "shoal/base/clock.h"
#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/cli/app.h"
#include "shoal/cli/command.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/config/document.h"
#include "shoal/config/load.h"
#include "shoal/config/records.h"
#include "shoal/net/http_client.h"

namespace shoal::cli {
namespace {

std::string fault_json(const config::Fault& fault) {
  return fmt::format(R"({{"place":{},"line":{},"column":{},"message":{},"suggestion":{}}})",
                     base::json_string(fault.place), fault.line, fault.column, base::json_string(fault.message),
                     base::json_string(fault.suggestion));
}

// What only the one who would use it finds: a key file that is not there or has no key, a price of too many digits.
void check_providers(config::LoadOutcome& outcome) {
  if (!outcome.loaded || !outcome.faults.empty()) return;
  boost::asio::io_context io{1};
  const base::SystemClock clock;
  net::HttpClient client(io, clock, {});
  const config::Config& config = *outcome.loaded->config;
  base::Log silent = base::Log::null();
  const auto made = outside_config(config, client, clock, nullptr,
                                   {.calibrations = {}, .certificates = {}, .tasks = load_tasks(config, silent)});
  if (made.ok()) return;
  config::Fault fault;
  fault.place = outcome.loaded->file;
  fault.message = made.error().message();
  outcome.faults.push_back(std::move(fault));
}

Result<int> check(const CommandContext& context) {
  config::LoadOutcome outcome = config::load(context.load_request());
  check_providers(outcome);
  if (outcome.loaded) {
    if (Result<void> bind = config::check_bind(outcome.loaded->config->server,
                                               has_stored_keys(outcome.loaded->config->server.data_dir));
        !bind.ok()) {
      config::Fault fault;
      fault.place =
          outcome.loaded->origins[static_cast<std::size_t>(config::find_key("server.host") - config::keys().data())]
              .place;
      fault.message = bind.error().message();
      outcome.faults.push_back(std::move(fault));
    }
  }
  const std::string file = outcome.loaded && !outcome.loaded->file.empty() ? outcome.loaded->file : "";
  if (context.json) {
    std::vector<std::string> rows;
    for (const config::Fault& fault : outcome.faults) rows.push_back(fault_json(fault));
    CommandContext::print(
        fmt::format("{{\"valid\":{},\"faults\":[{}]}}\n", outcome.faults.empty(), fmt::join(rows, ",")));
    return outcome.faults.empty() ? 0 : base::error_info(ErrorCode::kInvalidConfig).exit_code;
  }
  if (!outcome.faults.empty()) return config::to_error(outcome.faults);
  CommandContext::print(file.empty() ? "The configuration is valid: no file, defaults and variables only.\n"
                                     : fmt::format("The configuration is valid: {}\n", base::escape_control(file)));
  return 0;
}

Result<int> show(const CommandContext& context) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  CommandContext::print(context.json ? config::show_json(loaded) + "\n" : config::show(loaded));
  return 0;
}

Error unknown_key(const std::string& name) {
  std::vector<std::string> names;
  for (const config::Key& key : config::keys()) names.emplace_back(key.name);
  for (const config::RecordKind& kind : config::record_kinds()) {
    for (const config::Field& field : kind.fields) names.push_back(fmt::format("{}.{}", kind.name, field.name));
  }
  std::string near = base::suggest(name, names);
  if (near.empty()) {
    for (const config::Key& key : config::keys()) {
      if (key.leaf() == name) near = key.name;
    }
  }
  return Error(ErrorCode::kUsage, fmt::format("no configuration key `{}`; `shoal config reference` lists them", name))
      .with_suggestion(std::move(near));
}

// A field of a record: of one that the configuration has, or, as provider.base_url or provider.NAME.base_url, of any.
Result<int> explain_field(const CommandContext& context, const std::string& path) {
  std::optional<config::FieldName> name = config::find_field(path);
  if (!name) return unknown_key(path);
  const config::LoadOutcome outcome = config::load(context.load_request());
  const config::Loaded* const loaded = outcome.loaded ? &*outcome.loaded : nullptr;
  const bool known =
      name->record.empty() || loaded == nullptr || config::find_record(*name->kind, *loaded->config, name->record);
  if (!known && name->record != "NAME") {
    std::vector<std::string> records;
    for (std::size_t i = 0; i < name->kind->count(*loaded->config); ++i) {
      records.emplace_back(name->kind->name_of(*loaded->config, i));
    }
    const std::string near = base::suggest(name->record, records);
    return Error(ErrorCode::kUsage,
                 fmt::format("the configuration has no {} `{}`", name->kind->name, base::escape_control(name->record)))
        .with_suggestion(near.empty() ? near : name->kind->path(near, *name->field));
  }
  if (!known) name->record.clear();
  CommandContext::print(context.json ? config::explain_json(*name, loaded) + "\n" : config::explain(*name, loaded));
  if (loaded == nullptr) CommandContext::note("note: the configuration has errors; see `shoal config check`\n");
  return 0;
}

Result<int> explain_key(const CommandContext& context, const std::string& name) {
  const config::Key* const key = config::find_key(name);
  if (key == nullptr) return explain_field(context, name);
  // A key can be explained while the file is broken.
  const config::LoadOutcome outcome = config::load(context.load_request());
  const config::Loaded* const loaded = outcome.loaded ? &*outcome.loaded : nullptr;
  CommandContext::print(context.json ? config::explain_json(*key, loaded) + "\n" : config::explain(*key, loaded));
  if (loaded == nullptr) CommandContext::note("note: the configuration has errors; see `shoal config check`\n");
  return 0;
}

Result<int> list_errors(const CommandContext& context) {
  for (const base::ErrorInfo& row : base::error_table()) {
    CommandContext::print(context.json
                              ? fmt::format("{{\"code\":\"{}\",\"text\":{}}}\n", row.slug, base::json_string(row.text))
                              : fmt::format("{:<26} {}\n", row.slug, row.text));
  }
  return 0;
}

// docs/reference/errors.md.
std::string errors_reference() {
  std::string out =
      "# Errors\n\n"
      "Made by `shoal explain --markdown` from the table in `src/shoal/base/error.def`; do not edit by hand.\n\n"
      "The code is `error.code` in the body of an answer and the word to give to `shoal explain`. *Retry* says\n"
      "whether the same request may succeed later, unchanged. The exit code is that of the command line.\n\n"
      "| Code | HTTP | OpenAI type | Exit | Retry |\n|---|---|---|---|---|\n";
  for (const base::ErrorInfo& row : base::error_table()) {
    out += fmt::format("| [`{0}`](#{0}) | {1} | `{2}` | {3} | {4} |\n", row.slug, row.http_status, row.openai_type,
                       row.exit_code, row.retryable ? "yes" : "no");
  }
  for (const base::ErrorInfo& row : base::error_table()) {
    out += fmt::format("\n## {}\n\n{}\n\nWhat to do: {}\n", row.slug, row.text, row.fix);
  }
  return out;
}

Result<int> explain_error(const CommandContext& context, const std::string& slug) {
  if (slug.empty()) return list_errors(context);
  const std::optional<ErrorCode> code = base::error_code_from_slug(slug);
  if (!code) {
    std::vector<std::string> slugs;
    for (const base::ErrorInfo& row : base::error_table()) slugs.emplace_back(row.slug);
    return Error(ErrorCode::kUsage, fmt::format("no error code `{}`; `shoal explain` lists them", slug))
        .with_suggestion(base::suggest(slug, slugs));
  }
  const base::ErrorInfo& row = base::error_info(*code);
  if (context.json) {
    CommandContext::print(fmt::format(
        "{{\"code\":\"{}\",\"http_status\":{},\"openai_type\":\"{}\",\"anthropic_type\":\"{}\",\"exit_code\":{},"
        "\"retryable\":{},\"escalatable\":{},\"text\":{},\"fix\":{}}}\n",
        row.slug, row.http_status, row.openai_type, row.anthropic_type, row.exit_code, row.retryable, row.escalatable,
        base::json_string(row.text), base::json_string(row.fix)));
    return 0;
  }
  CommandContext::print(fmt::format(
      "{}\n  {}\n  fix: {}\n\n  HTTP status  {}\n  OpenAI type  {}\n  exit code    {}\n  retryable    {}\n", row.slug,
      row.text, row.fix, row.http_status, row.openai_type, row.exit_code, row.retryable ? "yes" : "no"));
  return 0;
}

}  // namespace

void add_config_commands(CLI::App& root, CommandContext& context) {
  CLI::App& group = add_command(root, context,
                                {.name = "config",
                                 .help = "Check, show and explain the configuration",
                                 .example = "shoal config check --config shoal.toml",
                                 .config = false,
                                 .data_dir = false,
                                 .json = false});
  group.require_subcommand(1);
  CLI::App& check_command = add_command(group, context,
                                        {.name = "check",
                                         .help = "Report every fault of the configuration",
                                         .example = "shoal config check --config shoal.toml"});
  on_run(check_command, context, [&context] { return check(context); });
  CLI::App& show_command = add_command(group, context,
                                       {.name = "show",
                                        .help = "Print the values in force and where each came from",
                                        .example = "shoal config show > shoal.toml"});
  on_run(show_command, context, [&context] { return show(context); });
  CLI::App& explain =
      add_command(group, context,
                  {.name = "explain", .help = "Say what a key means", .example = "shoal config explain server.port"});
  auto key = std::make_shared<std::string>();
  explain.add_option("KEY", *key, "For example server.port, or provider.base_url")->required();
  on_run(explain, context, [&context, key] { return explain_key(context, *key); });
  CLI::App& schema = add_command(group, context,
                                 {.name = "schema",
                                  .help = "Print the JSON Schema of the file",
                                  .example = "shoal config schema > shoal.schema.json",
                                  .config = false,
                                  .data_dir = false});
  on_run(schema, context, []() -> Result<int> {
    CommandContext::print(config::schema());
    return 0;
  });
  CLI::App& reference = add_command(group, context,
                                    {.name = "reference",
                                     .help = "Print the reference of every key, as Markdown",
                                     .example = "shoal config reference",
                                     .config = false,
                                     .data_dir = false,
                                     .json = false});
  on_run(reference, context, []() -> Result<int> {
    CommandContext::print(config::reference());
    return 0;
  });
}

void add_explain_command(CLI::App& root, CommandContext& context) {
  CLI::App& command = add_command(root, context,
                                  {.name = "explain",
                                   .help = "Say what an error code means and what to do",
                                   .example = "shoal explain model_not_found",
                                   .config = false,
                                   .data_dir = false});
  auto slug = std::make_shared<std::string>();
  command.add_option("CODE", *slug, "As in error.code; none: list them all");
  auto markdown = std::make_shared<bool>(false);
  command.add_flag("--markdown", *markdown, "Print the reference of every code, as Markdown");
  on_run(command, context, [&context, slug, markdown]() -> Result<int> {
    if (!*markdown) return explain_error(context, *slug);
    CommandContext::print(errors_reference());
    return 0;
  });
}

}  // namespace shoal::cli
