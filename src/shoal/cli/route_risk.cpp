#include "shoal/cli/route_risk.h"

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/json/object.hpp>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/cli/command.h"
#include "shoal/cli/ledger_question.h"
#include "shoal/gateway/resolve.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

constexpr double kPercent = 100;

struct RiskOptions {
  std::string route;
  std::string query;
};

double real_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_number() ? value->to_number<double>() : 0;
}

std::int64_t count_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? base::escape_control(std::string(value->as_string())) : "";
}

std::string estimate_text(const json::object& from, std::string_view name) {
  const json::object* const one = from.contains(name) ? from.at(name).if_object() : nullptr;
  if (one == nullptr) return "not known: none was audited";
  return fmt::format("{:.2f} % ({:.2f} to {:.2f})", kPercent * real_of(*one, "risk"), kPercent * real_of(*one, "low"),
                     kPercent * real_of(*one, "high"));
}

std::string_view meaning_of(std::string_view stratum) {
  if (stratum == "open") return "Kept answers";
  if (stratum == "local_only") return "Kept answers of local_only requests, which no large model sees";
  if (stratum == "several") return "Kept answers of requests for several at once, which are not compared";
  return "Kept answers while audit_share was 0";
}

std::string stratum_text(const json::object& stratum) {
  std::string out = fmt::format("{}: {}", meaning_of(text_of(stratum, "name")), count_of(stratum, "kept"));
  if (const std::int64_t late = count_of(stratum, "late_misses"); late > 0)
    out += fmt::format(", {} late misses", late);
  const std::int64_t drawn = count_of(stratum, "drawn");
  const std::int64_t audited = count_of(stratum, "audited");
  if (drawn == 0) return out + ", none audited\n";
  out += fmt::format("\n  {} audited, {} of them wrong", audited, count_of(stratum, "wrong"));
  if (drawn > audited) out += fmt::format("; {} more were drawn, and their audits never came", drawn - audited);
  out += fmt::format("\n  wrong ones among all of them: {}\n", estimate_text(stratum, "hajek"));
  out += fmt::format("  with what their scores foretold: {}\n", estimate_text(stratum, "doubly_robust"));
  return out;
}

std::string said_text(const json::object& answer, std::string_view whose, std::string_view name) {
  const json::object& said = answer.at("feedback").as_object().at(name).as_object();
  return fmt::format("  of {}: {} right, {} wrong\n", whose, count_of(said, "right"), count_of(said, "wrong"));
}

std::string drift_text(const json::object& answer) {
  std::string out;
  if (!answer.contains("drift") || !answer.at("drift").is_array()) return out;
  for (const json::value& value : answer.at("drift").as_array()) {
    const json::object& one = value.as_object();
    out +=
        fmt::format("\nCertificate {}: {} alarms, threshold {}\n", text_of(one, "certificate"), count_of(one, "alarms"),
                    one.at("threshold").is_null() ? std::string("none left: all is escalated")
                                                  : fmt::format("{:.4f}", real_of(one, "threshold")));
  }
  return out;
}

std::string risk_text(const json::object& answer) {
  const json::object& judged = answer.at("judged").as_object();
  std::string out = fmt::format(
      "Route {}, to {} (UTC): {} judged answers kept, {} kept though not sure, {} escalated, "
      "{} refused\n\n",
      text_of(answer, "route"), text_of(answer, "until"), count_of(judged, "kept"), count_of(judged, "kept_unsure"),
      count_of(judged, "escalated"), count_of(judged, "refused"));
  for (const json::value& one : answer.at("strata").as_array()) out += stratum_text(one.as_object());
  const json::object& escalated = answer.at("escalated_only").as_object();
  if (count_of(escalated, "compared") > 0) {
    out += fmt::format(
        "\nThrown away: {} of {} drafts were wrong, {:.2f} % ({:.2f} to {:.2f}). This is NOT the risk of "
        "kept answers:\nthose are the ones that were not thrown away.\n",
        count_of(escalated, "wrong"), count_of(escalated, "compared"), kPercent * real_of(escalated, "risk"),
        kPercent * real_of(escalated, "low"), kPercent * real_of(escalated, "high"));
  }
  out += "\nFeedback, which nobody drew, and no estimate uses:\n";
  out += said_text(answer, "kept answers", "of_kept") + said_text(answer, "others", "of_others");
  return out + drift_text(answer) +
         "\nWrong: another answer than the large model's, after normalising both. In brackets: 95 % intervals.\n";
}

// A slip of the pen is told; a route that is gone from the configuration may still have receipts.
Result<void> check_name(const config::Config& config, const std::string& name, const json::object& answer) {
  for (const auto& one : answer.at("judged").as_object()) {
    if (one.value().is_int64() && one.value().as_int64() > 0) return {};
  }
  std::vector<std::string> names = {std::string(gateway::kDefaultRoute)};
  for (const config::RouteConfig& route : config.routes) names.push_back(route.name);
  if (std::ranges::find(names, name) != names.end()) return {};
  const std::string near(base::suggest(name, names));
  return Error(ErrorCode::kNotFound,
               fmt::format("no route is called \"{}\", and no judged answer was; the routes are {}", name,
                           fmt::format("{}", fmt::join(names, ", "))))
      .with_suggestion(near);
}

Result<int> show_risk(const CommandContext& context, const RiskOptions& options) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  const LedgerQuestion question{
      .of_server = {.target = "/admin/routes/" + query_escaped(options.route) + "/risk?" + options.query,
                    .timeout_ms = 60'000},
      .of_folder = [&options](LedgerParts&, const server::LedgerAsk& ask) {
        return server::risk_answer(ask, options.route, options.query, "null");
      }};
  const std::string body = SHOAL_TRY(ask_ledger(*loaded.config, question));
  const json::object answer = SHOAL_TRY(parsed_answer(body));
  SHOAL_TRY(check_name(*loaded.config, options.route, answer));
  CommandContext::print(context.json ? body + "\n" : risk_text(answer));
  return 0;
}

}  // namespace

void add_route_risk(CLI::App& group, CommandContext& context) {
  CLI::App& command =
      add_command(group, context,
                  {.name = "risk",
                   .help = "Tell how often the kept answers of a route are wrong, from its audits",
                   .example = "shoal route risk shoal-auto\nshoal route risk shoal-auto --from 2026-11-01"});
  auto options = std::make_shared<RiskOptions>();
  command.add_option("ROUTE", options->route, "The route")->required();
  for (const auto& [name, help] : {std::pair("from", "The first day, UTC (default: the oldest)"),
                                   std::pair("until", "The last day, UTC (default: today)")}) {
    command
        .add_option_function<std::string>(
            std::string("--") + name,
            [options, key = std::string(name)](const std::string& value) {
              options->query += (options->query.empty() ? "" : "&") + key + "=" + query_escaped(value);
            },
            help)
        ->type_name("DAY");
  }
  on_run(command, context, [&context, options] { return show_risk(context, *options); });
}

}  // namespace shoal::cli
