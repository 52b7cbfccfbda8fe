#include "shoal/cli/route_commands.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/local_client.h"
#include "shoal/cli/question_options.h"
#include "shoal/cli/route_certify.h"
#include "shoal/cli/route_fit.h"
#include "shoal/cli/route_risk.h"
#include "shoal/cli/route_train.h"
#include "shoal/routing/calibration_file.h"
#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

// --- fit

std::string command_line(const RouteFitRequest& request) {
  return fmt::format("shoal route fit {} --held-out {} --seed {}{}", question_options(request), request.fit.held_out,
                     request.fit.seed, request.fit.few ? " --few" : "");
}

// What each check adds to the log-odds where it is 1.
std::string checks_text(const routing::Table& table) {
  if (table.checks.empty())
    return "\nChecks of the answers: not weighed, for they predict no better than the tokens alone\n";
  std::string out = fmt::format("\n{:>10}  CHECK\n", "LOG-ODDS");
  for (const routing::CheckWeight& one : table.checks)
    out += fmt::format("{:>+10.2f}  {}\n", one.weight / one.spread, routing::check_name(one.check));
  return out;
}

std::string table_text(const routing::Table& table) {
  const routing::Reliability& held = table.held_out;
  std::string out = table.key.tokens == 0 ? "Complete answers" : fmt::format("The first {} tokens", table.key.tokens);
  out += fmt::format(
      ": fitted on {} answers ({}), held out {}: Brier {:.3f}, log-loss {:.3f}, ECE {:.3f} (debiased), AUROC {:.3f}\n\n"
      "{:>10} {:>8} {:>8}\n",
      table.fitted_on, table.steps.empty() ? "Platt" : fmt::format("isotonic, {} steps", table.steps.size()),
      held.answers, held.brier, held.log_loss, held.ece, held.auroc, "PREDICTED", "RIGHT", "ANSWERS");
  for (const routing::Bin& bin : held.bins) {
    out += fmt::format("{:>8.0f} % {:>6.0f} % {:>8}\n", 100 * bin.predicted, 100 * bin.right, bin.answers);
  }
  if (table.key.tokens == 0) out += checks_text(table);
  return out + "\n";
}

std::string report_text(const RouteFitReport& report) {
  std::string out = fmt::format("{}: {} answers, {:.1f} % right", report.model, report.answers,
                                100.0 * static_cast<double>(report.right) / static_cast<double>(report.answers));
  if (report.empty > 0) out += fmt::format("; {} without a token, which no table is for", report.empty);
  out += "\n\n";
  for (const routing::Table& table : report.tables) out += table_text(table);
  if (!report.no_prefix.empty()) out += fmt::format("No table of the first tokens: {}\n", report.no_prefix);
  for (const auto& file : report.files) out += fmt::format("Wrote {}\n", file.string());
  return out + "A running server uses it after `kill -HUP`, for routes with this task.\n";
}

std::string report_json(const RouteFitReport& report) {
  json::array tables;
  for (std::size_t i = 0; i < report.tables.size(); ++i) {
    json::value table = json::parse(routing::print_table(report.tables[i]));
    table.as_object()["file"] = report.files[i].string();
    tables.push_back(std::move(table));
  }
  return json::serialize(json::object{{"model", report.model},
                                      {"answers", report.answers},
                                      {"right", report.right},
                                      {"asked", report.asked},
                                      {"tables", std::move(tables)},
                                      {"no_prefix", report.no_prefix}}) +
         "\n";
}

Result<int> fit(const CommandContext& context, RouteFitRequest request) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  finish_question_options(request);
  request.command = command_line(request);
  const RouteFitReport report = SHOAL_TRY(route_fit(*loaded.config, request));
  CommandContext::print(context.json ? report_json(report) : report_text(report));
  return 0;
}

void add_fit(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(
      group, context,
      {.name = "fit",
       .help = "Learn how sure a model's answers to a task are, from answers that can be graded",
       .example = "shoal route fit --model smollm2-135m-instruct --task intents --data intents.jsonl --grader label"});
  auto request = std::make_shared<RouteFitRequest>();
  add_question_options(command, *request, true);
  command.add_option("--held-out", request->fit.held_out, "Share that is not fitted on (default: 0.3)")
      ->check(CLI::Range(0.05, 0.9).description(""))
      ->type_name("SHARE");
  command.add_option("--seed", request->fit.seed, "Which ones (default: 1)")->type_name("S");
  command.add_flag("--few", request->fit.few,
                   fmt::format("Fit on fewer than {} answers, at least {}: a beginning, known less well",
                               routing::kLeastLabels, routing::kLeastFew));
  on_run(command, context, [&context, request] { return fit(context, *request); });
}

// --- test

struct TestOptions {
  std::vector<std::string> words;
  std::string route;
  std::string prefer;
  bool local_only = false;
  bool stream = false;
};

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? base::escape_control(std::string(value->get_string())) : "";
}
bool is_set(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_bool() && value->get_bool();
}

std::string candidate_text(const json::object& one) {
  std::string out = is_set(one, "local") ? "here" : "a provider";
  if (is_set(one, "judged")) out += ", judged before it is sent";
  if (is_set(one, "fallback")) out += ", kept all the same when nobody else can answer";
  if (const std::string most = text_of(one, "most_usd"); !most.empty()) out += fmt::format(", at most {} USD", most);
  if (const std::string why = text_of(one, "refused"); !why.empty()) out += ", but nothing would leave: " + why;
  return out;
}

std::string plan_text(const json::object& plan) {
  const double threshold = plan.contains("threshold") ? plan.at("threshold").to_number<double>() : 0;
  std::string out = fmt::format("Route {}, {}, task {}, threshold {}\n\n", text_of(plan, "route"),
                                text_of(plan, "policy"), text_of(plan, "task"), threshold);
  int number = 0;
  for (const json::value& one : plan.at("candidates").as_array()) {
    out += fmt::format("{}. {}: {}\n", ++number, text_of(one.as_object(), "model"), candidate_text(one.as_object()));
  }
  for (const json::value& one : plan.at("reasons").as_array()) {
    const json::object& reason = one.as_object();
    out += fmt::format("{}{} {} ({}): {}\n", number >= 0 ? "\n" : "", text_of(reason, "signal"),
                       text_of(reason, "value"), text_of(reason, "rule"), text_of(reason, "effect"));
    number = -1;
  }
  if (const json::object* const refusal = plan.at("refusal").if_object()) {
    out += fmt::format("\nRefused, {}: {}\n", text_of(*refusal, "code"), text_of(*refusal, "message"));
  }
  return out;
}

Result<int> test(const CommandContext& context, const TestOptions& options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  std::string prompt;
  for (const std::string& word : options.words) prompt += (prompt.empty() ? "" : " ") + word;
  if (!wire::is_utf8(prompt)) return Error(ErrorCode::kUsage, "the prompt is not UTF-8 text");
  LocalRequest request{.method = "POST", .target = "/v1/shoal/route"};
  request.headers.emplace_back("Content-Type", "application/json");
  if (!options.prefer.empty()) request.headers.emplace_back("x-shoal-prefer", options.prefer);
  if (options.local_only) request.headers.emplace_back("x-shoal-privacy", "local_only");
  json::object body{{"messages", json::array{json::object{{"role", "user"}, {"content", prompt}}}}, {"temperature", 0}};
  if (!options.route.empty()) body["model"] = options.route;
  if (options.stream) body["stream"] = true;
  request.body = json::serialize(body);
  const std::string& socket = loaded.config->server.admin_socket;
  auto reply = LocalClient::over_unix(socket).request(request);
  if (!reply.ok()) {
    if (reply.error().code() == ErrorCode::kCancelled) return std::move(reply).error();
    return Error(ErrorCode::kUnreachable,
                 fmt::format("no running server: {}. Start one with `shoal serve` (admin socket {})",
                             reply.error().message(), socket));
  }
  boost::system::error_code error;
  const json::value root = json::parse(reply->body, error);
  if (error || !root.is_object())
    return Error(ErrorCode::kUnreachable, "what answers on the admin socket is not Shoal");
  if (reply->status != 200) {
    const json::value* const said = root.get_object().if_contains("error");
    const std::string message = said != nullptr && said->is_object() ? text_of(said->get_object(), "message") : "";
    return Error(reply->status == 404 ? ErrorCode::kModelNotFound : ErrorCode::kInvalidRequest, message);
  }
  if (context.json) {
    CommandContext::print(reply->body + "\n");
    return 0;
  }
  CommandContext::print(plan_text(root.get_object()));
  return root.get_object().at("refusal").is_null() ? 0 : base::error_info(ErrorCode::kPolicyDenied).exit_code;
}

void add_test(CLI::App& group, CommandContext& context) {
  CLI::App& command = add_command(group, context,
                                  {.name = "test",
                                   .help = "Show which way a question would take; nothing is computed or sent",
                                   .example = "shoal route test 'What is the capital of France?'"});
  auto options = std::make_shared<TestOptions>();
  command.add_option("prompt", options->words, "The question")->required();
  command.add_option("--route", options->route, "What the client names as its model (default: shoal-auto)");
  command.add_option("--prefer", options->prefer, "As the header x-shoal-prefer: local or remote")
      ->check(CLI::IsMember({"local", "remote"}).description(""))
      ->type_name("WHOM");
  command.add_flag("--local-only", options->local_only, "As the header x-shoal-privacy");
  command.add_flag("--stream", options->stream, "As a client that reads along: streams have a gate of their own");
  on_run(command, context, [&context, options] { return test(context, *options); });
}

}  // namespace

void add_route_commands(CLI::App& root, CommandContext& context) {
  CLI::App& group = add_command(root, context,
                                {.name = "route",
                                 .help = "Show and teach who answers: the local model or a provider",
                                 .example = "shoal route test 'What is the capital of France?'",
                                 .config = false,
                                 .data_dir = false,
                                 .json = false});
  group.require_subcommand(1);
  add_fit(group, context);
  add_route_certify(group, context);
  add_route_train(group, context);
  add_route_show(group, context);
  add_test(group, context);
  add_route_risk(group, context);
}

}  // namespace shoal::cli
