#include "shoal/cli/models_commands.h"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/optimise_command.h"
#include "shoal/cli/optimiser.h"
#include "shoal/cli/progress.h"
#include "shoal/models/catalogue.h"
#include "shoal/models/convert/convert.h"
#include "shoal/models/pull.h"
#include "shoal/models/rewrite_json.h"
#include "shoal/models/store.h"

namespace shoal::cli {
namespace {

using base::json_string;

constexpr int kInterrupted = 130;  // of the table of exit codes in base/error.def

Result<models::Catalogue> open_catalogue(const CommandContext& context) {
  const auto loaded = SHOAL_TRY(context.load_config());
  return models::Catalogue::with_file(loaded.config->models.catalogue);
}

// Ctrl-C ends a pull wherever it is: between two calls, in a sum over gigabytes, or while curl runs, which the kernel
// then kills. What is half there is left for the next one to go on with.
void end_on_interrupt() {
  struct sigaction action{};
  action.sa_handler = [](int) {
    constexpr std::string_view kText = "\ninterrupted; what came so far is kept: run the command again to go on\n";
    [[maybe_unused]] const ssize_t told = ::write(STDERR_FILENO, kText.data(), kText.size());
    ::_exit(kInterrupted);
  };
  ::sigaction(SIGINT, &action, nullptr);
}

Result<models::Store> open_store(const CommandContext& context) {
  const auto loaded = SHOAL_TRY(context.load_config());
  return models::Store(loaded.config->server.data_dir);
}

models::PullTools make_tools(Progress& progress) {
  return {[&progress](std::uint64_t done, std::uint64_t total) { progress.update(done, total); },
          [&progress](const std::string& text) { progress.note(text); },
          [](const std::filesystem::path& folder, const std::filesystem::path& out) -> Result<void> {
            (void)SHOAL_TRY(models::convert::convert_folder(folder, out));
            return {};
          }};
}

std::string to_json(const models::Installed& model) {
  const std::string rewrite =
      model.rewrite ? fmt::format(R"(,"rewrite":{})", boost::json::serialize(models::to_json(*model.rewrite))) : "";
  return fmt::format(
      R"({{"name":{},"path":{},"sha256":{},"bytes":{},"licence":{},"source":{},"lineage":{},"installed_at":{}{}}})",
      json_string(model.name), json_string(model.path.string()), json_string(model.sha256), model.bytes,
      json_string(model.licence), json_string(model.source), json_string(model.lineage),
      json_string(model.installed_at), rewrite);
}

// What a pull does with a model that is new: a rewrite that is free. Failing at it leaves the model as it came.
// Errors: kCancelled.
Result<models::Installed> optimise_pulled(const config::Config& config, const models::Store& store,
                                          const models::Installed& model, Progress& progress) {
  OptimiseRequest request;
  request.free_only = true;
  request.rounds = 3;
  request.note = [&progress](const std::string& text) { progress.note(text); };
  auto report = optimise(config, store, model, request);
  if (report.ok()) {
    if (const std::string said = summary(*report); !said.empty()) progress.note(said);
    return std::move(report->model);
  }
  if (report.error().code() == ErrorCode::kCancelled) {
    progress.note(fmt::format("{} is installed as it was delivered", model.name));
    return std::move(report).error();
  }
  if (report.error().code() != ErrorCode::kUnsupportedParameter)
    progress.note(fmt::format("{} stays as it was delivered: {}", model.name, report.error().message()));
  return model;
}

struct PullOptions {
  std::vector<std::string> names;
  bool defaults = false;
};

Result<int> run_pull(const CommandContext& context, const PullOptions& options) {
  const auto loaded = SHOAL_TRY(context.load_config());
  const models::Catalogue catalogue = SHOAL_TRY(open_catalogue(context));
  std::vector<const models::CatalogueEntry*> wanted;
  for (const std::string& name : options.names) wanted.push_back(SHOAL_TRY(catalogue.find(name)));
  for (const models::CatalogueEntry& entry : catalogue.entries()) {
    if (options.defaults && entry.is_default) wanted.push_back(&entry);
  }
  if (wanted.empty())
    return Error(ErrorCode::kUsage, "name a model, or pass --default; `shoal models ls --available` lists them");
  const models::Store store = SHOAL_TRY(open_store(context));
  const base::SystemClock clock;
  end_on_interrupt();
  for (const models::CatalogueEntry* entry : wanted) {
    auto installed = store.find(entry->name);
    const bool fresh = !installed.ok();
    if (fresh) {
      Progress progress(clock, context.json);
      installed = models::pull(*entry, store, make_tools(progress));
      if (!installed.ok()) return std::move(installed).error();
      if (loaded.config->models.optimise == "free") {
        installed = SHOAL_TRY(optimise_pulled(*loaded.config, store, *installed, progress));
        end_on_interrupt();
      }
    }
    if (context.json) {
      CommandContext::print(
          fmt::format("{{\"event\":\"installed\",\"fresh\":{},\"model\":{}}}\n", fresh, to_json(*installed)));
    } else {
      CommandContext::print(fmt::format("{}  {}  {}\n", installed->name, base::human_bytes(installed->bytes),
                                        fresh ? "installed" : "already here"));
    }
  }
  return 0;
}

struct ListOptions {
  bool found = false;
  bool available = false;
};

void print_row(const std::string& name, const std::string& size, const std::string& what) {
  CommandContext::print(
      fmt::format("{:<28} {:>10}  {}\n", base::escape_control(name), size, base::escape_control(what)));
}

Result<int> list_available(const CommandContext& context) {
  const models::Catalogue catalogue = SHOAL_TRY(open_catalogue(context));
  for (const models::CatalogueEntry& entry : catalogue.entries()) {
    const std::string tested =
        entry.tested.empty() ? "untested" : fmt::format("tested: {}", fmt::join(entry.tested, ", "));
    if (context.json) {
      CommandContext::print(fmt::format(
          R"({{"name":{},"title":{},"licence":{},"bytes":{},"context":{},"template":{},"tested":{},"sha256":{}}})"
          "\n",
          json_string(entry.name), json_string(entry.title), json_string(entry.licence), entry.bytes, entry.context,
          json_string(entry.template_name), !entry.tested.empty(), json_string(entry.sha256)));
    } else {
      print_row(
          entry.name, entry.bytes > 0 ? base::human_bytes(entry.bytes) : "-",
          fmt::format("{}{}{}, {}", entry.title.empty() ? "" : entry.title + ", ",
                      entry.context == 0 ? "" : fmt::format("context {}, ", entry.context), entry.licence, tested));
    }
  }
  return 0;
}

Result<int> list_found(const CommandContext& context) {
  models::FoundIn where = models::default_found_in();
  const auto loaded = SHOAL_TRY(context.load_config());
  where.folders.assign(loaded.config->models.dirs.begin(), loaded.config->models.dirs.end());
  for (const models::Found& found : models::find_models(where)) {
    if (context.json) {
      CommandContext::print(fmt::format("{{\"name\":{},\"path\":{},\"bytes\":{}}}\n", json_string(found.name),
                                        json_string(found.path.string()), found.bytes));
    } else {
      print_row(found.name, base::human_bytes(found.bytes), found.path.string());
    }
  }
  return 0;
}

Result<int> run_list(const CommandContext& context, const ListOptions& options) {
  if (options.available) return list_available(context);
  if (options.found) return list_found(context);
  const models::Store store = SHOAL_TRY(open_store(context));
  std::vector<std::string> faults;
  const auto installed = SHOAL_TRY(store.list(&faults));
  for (const models::Installed& model : installed) {
    if (context.json) {
      CommandContext::print(to_json(model) + "\n");
    } else {
      print_row(model.name, base::human_bytes(model.bytes), model.source);
    }
  }
  for (const std::string& fault : faults) CommandContext::note("warning: " + base::escape_control(fault) + "\n");
  if (installed.empty() && !context.json)
    CommandContext::note("No models yet: `shoal pull --default` fetches the default ones.\n");
  return 0;
}

// By its own name, or an alias of the catalogue.
Result<models::Installed> find_installed(const CommandContext& context, const models::Store& store,
                                         const std::string& name) {
  auto found = store.find(name);
  if (found.ok()) return found;
  const models::Catalogue catalogue = SHOAL_TRY(open_catalogue(context));
  const auto entry = catalogue.find(name);
  return entry.ok() ? store.find((*entry)->name) : found;
}

Result<int> run_show(const CommandContext& context, const std::string& name) {
  const models::Store store = SHOAL_TRY(open_store(context));
  const models::Installed model = SHOAL_TRY(find_installed(context, store, name));
  const gguf::Header header = SHOAL_TRY(models::read_model(model.path));
  const types::ModelInfo info = models::describe(model.name, model.path, model.sha256, header);
  const std::string does = info.embeds ? "embeddings" : info.has_chat_template ? "chat, completions" : "completions";
  if (context.json) {
    std::string text = to_json(model);
    text.pop_back();
    CommandContext::print(fmt::format(
        R"({},"architecture":{},"quantisation":{},"template_sha256":{},"context":{},"parameters":{},)"
        R"("does":{},"kv_bytes_per_token":{}}})"
        "\n",
        text, json_string(info.architecture), json_string(info.quantisation), json_string(info.template_sha256),
        info.context_length, header.parameters(), json_string(does), header.kv_bytes_per_token(2)));
    return 0;
  }
  const auto row = [](const char* key, const std::string& value) {
    CommandContext::print(fmt::format("{:<16} {}\n", key, base::escape_control(value)));
  };
  row("name", model.name);
  row("does", does);
  row("architecture", info.architecture);
  row("quantisation", info.quantisation);
  row("parameters", fmt::format("{:.1f} M", static_cast<double>(header.parameters()) / 1e6));
  row("context", fmt::format("{} tokens", info.context_length));
  row("KV cache", fmt::format("{} per token (f16)", base::human_bytes(header.kv_bytes_per_token(2))));
  row("size", base::human_bytes(model.bytes));
  row("licence", model.licence.empty() ? "not known" : model.licence);
  row("source", model.source);
  if (!model.lineage.empty()) row("lineage", model.lineage);
  if (model.rewrite) {
    const models::Rewrite& rewrite = *model.rewrite;
    row("rewritten", fmt::format("from {} as {} ({}); no quality is gained by that", rewrite.source_type,
                                 rewrite.chosen.type, rewrite.terms));
    row("measured", in_words(rewrite.chosen));
    row("on", fmt::format("{}, {}", rewrite.machine, rewrite.made_at));
    row("delivered", fmt::format("sha256 {}, {}", rewrite.source_sha256, base::human_bytes(rewrite.source_bytes)));
  }
  row("sha256", model.sha256);
  row("path", model.path.string());
  row("installed", model.installed_at);
  return 0;
}

// Errors: kChecksumMismatch, kModelInvalid, kIo.
Result<void> verify_file(const std::string& name, const std::filesystem::path& file, const std::string& sha256,
                         std::string_view advice) {
  (void)SHOAL_TRY(models::read_model(file));
  const std::string got = SHOAL_TRY(base::sha256_of_file(file));
  if (got == sha256) return {};
  return Error(ErrorCode::kChecksumMismatch,
               fmt::format("{}: wanted sha256 {}, got {}; {}", name, sha256, got, advice));
}

Result<int> run_verify(const CommandContext& context, const std::string& name) {
  const models::Store store = SHOAL_TRY(open_store(context));
  std::vector<models::Installed> wanted;
  if (name.empty()) {
    wanted = SHOAL_TRY(store.list());
  } else {
    wanted.push_back(SHOAL_TRY(find_installed(context, store, name)));
  }
  for (const models::Installed& model : wanted) {
    SHOAL_TRY(verify_file(model.name, model.path, model.sha256, "`shoal models rm` and pull it again"));
    if (model.rewrite) {
      SHOAL_TRY(verify_file(model.name, model.rewrite->source_path, model.rewrite->source_sha256,
                            "the file as it was delivered, to which `--undo` goes back, is damaged"));
    }
    CommandContext::print(context.json ? fmt::format("{{\"name\":{},\"ok\":true}}\n", json_string(model.name))
                                       : fmt::format("{}  ok\n", model.name));
  }
  return 0;
}

struct ImportCommand {
  std::string from;
  models::ImportOptions options;
};

Result<int> run_import(const CommandContext& context, const ImportCommand& command) {
  const models::Store store = SHOAL_TRY(open_store(context));
  const base::SystemClock clock;
  Progress progress(clock, context.json);
  const auto installed = SHOAL_TRY(models::import_model(command.from, store, command.options, make_tools(progress)));
  CommandContext::print(context.json
                            ? to_json(installed) + "\n"
                            : fmt::format("{}  {}  installed\n", installed.name, base::human_bytes(installed.bytes)));
  return 0;
}

Result<int> run_remove(const CommandContext& context, const std::string& name) {
  const models::Store store = SHOAL_TRY(open_store(context));
  const models::Installed model = SHOAL_TRY(find_installed(context, store, name));
  SHOAL_TRY(store.remove(model.name));
  CommandContext::print(context.json ? fmt::format("{{\"removed\":{}}}\n", json_string(model.name))
                                     : fmt::format("{}  removed\n", model.name));
  return 0;
}

}  // namespace

void add_models_commands(CLI::App& root, CommandContext& context) {
  CLI::App& pull = add_command(root, context,
                               {.name = "pull",
                                .help = "Fetch models by name, checked and resumable",
                                .example = "shoal pull smollm2-135m-instruct"});
  const auto pull_options = std::make_shared<PullOptions>();
  pull.add_option("NAME", pull_options->names, "Names, aliases or Hugging Face names of the catalogue");
  pull.add_flag("--default", pull_options->defaults, "The default models");
  on_run(pull, context, [&context, pull_options] { return run_pull(context, *pull_options); });

  CLI::App& group =
      add_command(root, context,
                  {.name = "models", .help = "The models on this machine", .example = "shoal models ls --available"});
  const auto list_options = std::make_shared<ListOptions>();
  const auto list_flags = [list_options](CLI::App& command) {
    command.add_flag("--found", list_options->found,
                     "Models of Ollama, LM Studio and the Hugging Face cache, used in place");
    command.add_flag("--available", list_options->available, "The catalogue");
  };
  on_run(group, context, [&context, list_options] { return run_list(context, *list_options); });

  CLI::App& list =
      add_command(group, context, {.name = "ls", .help = "List models", .example = "shoal models ls --json"});
  list_flags(list);
  on_run(list, context, [&context, list_options] { return run_list(context, *list_options); });

  const auto name = std::make_shared<std::string>();
  CLI::App& show = add_command(
      group, context,
      {.name = "show", .help = "Everything known of a model", .example = "shoal models show smollm2-135m-instruct"});
  show.add_option("NAME", *name, "An installed model")->required();
  on_run(show, context, [&context, name] { return run_show(context, *name); });

  CLI::App& remove = add_command(
      group, context, {.name = "rm", .help = "Remove a model", .example = "shoal models rm tinyllama-1.1b-chat"});
  remove.add_option("NAME", *name, "An installed model")->required();
  on_run(remove, context, [&context, name] { return run_remove(context, *name); });

  CLI::App& verify = add_command(
      group, context, {.name = "verify", .help = "Hash and read models again", .example = "shoal models verify"});
  verify.add_option("NAME", *name, "An installed model; all without it");
  on_run(verify, context, [&context, name] { return run_verify(context, *name); });

  const auto import = std::make_shared<ImportCommand>();
  CLI::App& add = add_command(group, context,
                              {.name = "import",
                               .help = "Take in a GGUF file or a Hugging Face folder",
                               .example = "shoal models import ./model.gguf --name my-model"});
  add.add_option("PATH", import->from, "A GGUF, or a folder with config.json, tokenizer.json and safetensors")
      ->required();
  add.add_option("--name", import->options.name, "How clients will name it");
  add.add_flag("--in-place", import->options.in_place, "Use the file where it is, without a copy");
  on_run(add, context, [&context, import] { return run_import(context, *import); });

  add_optimise_command(group, context, [&context](const std::string& wanted) -> Result<models::Installed> {
    return find_installed(context, SHOAL_TRY(open_store(context)), wanted);
  });
}

}  // namespace shoal::cli
