#include "shoal/cli/ledger_commands.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "shoal/base/text.h"
#include "shoal/cli/app.h"
#include "shoal/cli/command.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/cli/ledger_question.h"
#include "shoal/cli/local_client.h"
#include "shoal/server/ledger_answers.h"
#include "shoal/server/ledger_json.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

// --- showing

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? base::escape_control(std::string(value->as_string())) : "-";
}

std::int64_t integer_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_int64() ? value->as_int64() : 0;
}

const json::array& rows_of(const json::object& from, std::string_view name) {
  static const json::array kNone;
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_array() ? value->as_array() : kNone;
}

// Columns as wide as their widest cell; the first of each row is to the left, numbers are to the right.
std::string table(const std::vector<std::vector<std::string>>& rows, std::size_t left) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i < left ? fmt::format("{:<{}}  ", row[i], widths[i]) : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  }
  return out;
}

std::string share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? "-" : fmt::format("{:.1f}%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

// --- receipts

std::string receipts_text(const json::object& answer) {
  std::vector<std::vector<std::string>> rows = {
      {"TIME", "ID", "VIA", "ROUTE", "MODEL", "EGRESS", "STATUS", "TOKENS", "COST USD"}};
  for (const json::value& one : rows_of(answer, "receipts")) {
    const json::object& r = one.as_object();
    rows.push_back({text_of(r, "time"), text_of(r, "id"), text_of(r, "via"), text_of(r, "route"), text_of(r, "model"),
                    text_of(r, "egress"), fmt::format("{}", integer_of(r, "status")),
                    fmt::format("{}+{}", integer_of(r, "prompt_tokens"), integer_of(r, "completion_tokens")),
                    text_of(r, "committed_usd")});
  }
  if (rows.size() == 1) return "There is no receipt yet.\n";
  std::string out = table(rows, 6);
  if (const json::value* const before = answer.if_contains("before"); before != nullptr && before->is_int64()) {
    out += fmt::format("Older ones: add --before {}\n", before->as_int64());
  }
  return out;
}

void add_reasons(std::string& out, const json::object& receipt) {
  const json::value* const detail = receipt.if_contains("detail");
  if (detail == nullptr || !detail->is_object()) return;
  for (const json::value& one : rows_of(detail->as_object(), "reasons")) {
    const json::object& reason = one.as_object();
    out += fmt::format("  {} = {} ({}): {}\n", text_of(reason, "signal"), text_of(reason, "value"),
                       text_of(reason, "rule"), text_of(reason, "effect"));
  }
}

std::string receipt_text(const json::object& r) {
  std::string out = fmt::format("{}  {}\n", text_of(r, "id"), text_of(r, "time"));
  out += fmt::format("asked for    {}\nanswered by  {} ({}), status {}\nleft to      {}\n", text_of(r, "via"),
                     text_of(r, "model"), text_of(r, "route"), integer_of(r, "status"), text_of(r, "egress"));
  out += fmt::format("tokens       {} in, {} out; {} ms of computing here\n", integer_of(r, "prompt_tokens"),
                     integer_of(r, "completion_tokens"), integer_of(r, "local_ms"));
  out += fmt::format("paid         {} USD ({} before rounding); without Shoal {} USD\n", text_of(r, "committed_usd"),
                     text_of(r, "exact_usd"), text_of(r, "without_usd"));
  if (const json::value* const sure = r.if_contains("confidence"); sure != nullptr && sure->is_number())
    out += fmt::format("confidence   {:.2f}\n", sure->to_number<double>());
  if (const json::value* const detail = r.if_contains("detail"); detail != nullptr && detail->is_object()) {
    if (const json::value* const threshold = detail->as_object().if_contains("threshold"))
      out += fmt::format("threshold    {:.2f}\n", threshold->to_number<double>());
    if (detail->as_object().contains("saved_usd"))
      out += fmt::format("saved        {} USD, by the prices of then\n", text_of(detail->as_object(), "saved_usd"));
  }
  add_reasons(out, r);
  for (const json::value& one : rows_of(r, "labels")) {
    const json::object& label = one.as_object();
    const json::value* const right = label.if_contains("right");
    const std::string note = text_of(label, "note");
    out += fmt::format("label by {} ({}): {}{}{}\n", text_of(label, "source"), text_of(label, "kind"),
                       right != nullptr && right->is_bool() && right->get_bool() ? "right" : "wrong",
                       note.empty() ? "" : ", ", note);
  }
  for (const json::value& one : rows_of(r, "attempts")) {
    const json::object& a = one.as_object();
    const std::string purpose = text_of(a, "purpose");
    out += fmt::format("attempt {}{}: {}/{}, {}, {} USD of {} reserved, price {}\n", text_of(a, "id"),
                       purpose == "answer" ? "" : fmt::format(" ({})", purpose), text_of(a, "provider"),
                       text_of(a, "model"), text_of(a, "state"), text_of(a, "cost_usd"), text_of(a, "reserved_usd"),
                       text_of(a, "price"));
  }
  return out;
}

// --- costs

std::vector<std::string> costs_row(const std::string& name, const json::object& c) {
  const std::int64_t requests = integer_of(c, "requests");
  const std::int64_t answered = requests - integer_of(c, "refused");
  const std::int64_t here = integer_of(c, "local") + integer_of(c, "failed_over");
  const bool compared = integer_of(c, "with_baseline") > 0;
  return {name,
          fmt::format("{}", requests),
          share(here, answered),
          share(integer_of(c, "escalated"), answered),
          fmt::format("{}", integer_of(c, "prompt_tokens") + integer_of(c, "completion_tokens")),
          text_of(c, "cost_usd"),
          text_of(c, "local_usd"),
          compared ? text_of(c, "baseline_usd") : "-",
          compared ? text_of(c, "saved_usd") : "-"};
}

std::string costs_text(const json::object& answer, const std::string& by) {
  std::string name = by;
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
  std::vector<std::vector<std::string>> rows = {
      {name, "REQUESTS", "LOCAL", "ESCALATED", "TOKENS", "PAID USD", "HERE USD", "WITHOUT USD", "SAVED USD"}};
  for (const json::value& one : rows_of(answer, "rows")) {
    const json::object& row = one.as_object();
    const std::string named = text_of(row, "name");
    rows.push_back(costs_row(named.empty() ? fmt::format("(no {})", by) : named, row));
  }
  const json::object& total = answer.at("total").as_object();
  rows.push_back(costs_row("total", total));
  std::string out = fmt::format("{} to {} (UTC)\n", text_of(answer, "from"), text_of(answer, "until"));
  out += table(rows, 1);
  out += "\nLOCAL, ESCALATED: of the requests that were answered.";
  if (by == "model" || by == "provider") {
    out += " A request and what it saved stand with whoever\nanswered it, what was paid with whoever it was paid to.";
  }
  out += fmt::format(
      "\nPAID: what providers billed, each request rounded up to a micro-dollar; {} of it is of {} attempts that "
      "nobody\n"
      "knows the outcome of, at the most that they can cost. HERE: {} s of computing at {} USD an hour\n"
      "(ledger.local_usd_per_hour). WITHOUT: what the {} requests for which that is known would have cost at\n"
      "ledger.baseline, or at the first provider of their route; tokens of local models are counted by their own\n"
      "tokenizer, which is not the provider's. SAVED: WITHOUT less PAID and HERE of these.\n",
      text_of(total, "unknown_usd"), integer_of(total, "unknown_attempts"),
      fmt::format("{:.1f}", static_cast<double>(integer_of(total, "local_ms")) / 1000),
      text_of(answer, "local_usd_per_hour"), integer_of(total, "with_baseline"));
  return out;
}

// --- keys

std::string keys_text(const json::object& answer) {
  std::vector<std::vector<std::string>> rows = {
      {"NAME", "ID", "CREATED", "LAST USED", "REVOKED", "DAILY USD", "MONTHLY USD"}};
  for (const json::value& one : rows_of(answer, "keys")) {
    const json::object& key = one.as_object();
    rows.push_back({text_of(key, "name"), text_of(key, "id"), text_of(key, "created"), text_of(key, "last_used"),
                    text_of(key, "revoked"), text_of(key, "daily_usd"), text_of(key, "monthly_usd")});
  }
  return rows.size() == 1 ? "No key was made yet: `shoal keys create NAME` makes one.\n" : table(rows, 5);
}

// --- the commands

using Show = std::function<std::string(const json::object&)>;

Result<int> show(const CommandContext& context, const LedgerQuestion& question, const Show& text) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  const std::string body = SHOAL_TRY(ask_ledger(*loaded.config, question));
  CommandContext::print(context.json ? body + "\n" : text(SHOAL_TRY(parsed_answer(body))));
  return 0;
}

void add_receipts(CLI::App& root, CommandContext& context) {
  CLI::App& command = add_command(root, context,
                                  {.name = "receipts",
                                   .help = "Show how requests were answered, and what they cost",
                                   .example = "shoal receipts --limit 5\nshoal receipts 8b4zx6q2m1"});
  struct Options {
    std::string id;
    std::string query;
  };
  auto options = std::make_shared<Options>();
  command.add_option("ID", options->id, "One of them, in full: the id of x-shoal-decision-id");
  for (const auto& [name, help] : {std::pair("limit", "So many, the newest first"),
                                   std::pair("before", "Those before this number, which the page before ended with"),
                                   std::pair("route", "Of this route"), std::pair("model", "Answered by this model")}) {
    command.add_option_function<std::string>(
        std::string("--") + name,
        [options, key = std::string(name)](const std::string& value) {
          options->query += (options->query.empty() ? "" : "&") + key + "=" + query_escaped(value);
        },
        help);
  }
  on_run(command, context, [&context, options] {
    if (!options->id.empty()) {
      return show(context,
                  {{.target = "/v1/shoal/receipts/" + query_escaped(options->id)},
                   [options](LedgerParts&, const server::LedgerAsk& ask) { return receipt_answer(ask, options->id); }},
                  receipt_text);
    }
    return show(
        context,
        {{.target = "/v1/shoal/receipts?" + options->query},
         [options](LedgerParts&, const server::LedgerAsk& ask) { return receipts_answer(ask, options->query); }},
        receipts_text);
  });
}

Result<int> reprice(const CommandContext& context) {
  const config::Loaded loaded = SHOAL_TRY(context.load_config());
  const config::Config& config = *loaded.config;
  const auto of_folder = [&config](LedgerParts& parts, const server::LedgerAsk& ask) -> Result<std::string> {
    ledger::PriceTable table = SHOAL_TRY(price_table(config));
    auto prices = std::make_shared<const ledger::PriceTable>(std::move(table));
    const store::RepriceProgress done = SHOAL_TRY(parts.reprice(std::move(prices), nullptr, ask.yield));
    return server::reprice_json(done);
  };
  const std::string body = SHOAL_TRY(
      ask_ledger(config, {{.method = "POST", .target = "/admin/costs/reprice", .timeout_ms = 600'000}, of_folder}));
  const json::object done = SHOAL_TRY(parsed_answer(body));
  CommandContext::print(context.json
                            ? body + "\n"
                            : fmt::format("{} attempts, {} of them cost something else now, {} have no price; {} "
                                          "requests would cost something else without Shoal\n",
                                          integer_of(done, "attempts"), integer_of(done, "changed"),
                                          integer_of(done, "unpriced"), integer_of(done, "baselines")));
  return 0;
}

void add_costs(CLI::App& root, CommandContext& context) {
  CLI::App& command =
      add_command(root, context,
                  {.name = "costs",
                   .help = "Show what requests cost and what that saved, and how each figure is derived",
                   .example = "shoal costs --by provider\nshoal costs --by day --from 2026-11-01"});
  struct Options {
    std::string by = "route";
    std::string from;
    std::string until;
    bool reprice = false;
  };
  auto options = std::make_shared<Options>();
  command.add_option("--by", options->by, "A line for each route, key, model, provider or day")
      ->check(CLI::IsMember({"route", "key", "model", "provider", "day"}));
  command.add_option("--from", options->from, "From this day on (UTC); else from the first of this month");
  command.add_option("--until", options->until, "Up to the end of this day (UTC); else of today");
  command.add_flag("--reprice", options->reprice, "First compute all costs again by the prices of now");
  on_run(command, context, [&context, options]() -> Result<int> {
    if (options->reprice) SHOAL_TRY(reprice(context));
    std::string query = "by=" + options->by;
    if (!options->from.empty()) query += "&from=" + query_escaped(options->from);
    if (!options->until.empty()) query += "&until=" + query_escaped(options->until);
    const config::Loaded loaded = SHOAL_TRY(context.load_config());
    const auto rate = SHOAL_TRY(ledger::parse_usd(loaded.config->ledger.local_usd_per_hour));
    return show(context,
                {{.target = "/admin/costs?" + query},
                 [query, rate](LedgerParts&, const server::LedgerAsk& ask) { return costs_answer(ask, query, rate); }},
                [options](const json::object& answer) { return costs_text(answer, options->by); });
  });
}

void add_keys(CLI::App& root, CommandContext& context) {
  CLI::App& group = add_command(root, context,
                                {.name = "keys",
                                 .help = "Make, list and revoke the keys of clients",
                                 .example = "shoal keys create alice --daily-usd 1.50"});
  group.require_subcommand(1);
  struct Options {
    std::string name;
    std::string daily;
    std::string monthly;
  };
  auto options = std::make_shared<Options>();

  CLI::App& create =
      add_command(group, context,
                  {.name = "create",
                   .help = "Make a key and show it, once; from then on the server asks everybody for one",
                   .example = "shoal keys create alice --daily-usd 1.50 --monthly-usd 20"});
  create.add_option("NAME", options->name, "Whose it is")->required();
  create.add_option("--daily-usd", options->daily, "The most that may be spent with it on one day");
  create.add_option("--monthly-usd", options->monthly, "The most that may be spent with it in one month");
  on_run(create, context, [&context, options] {
    json::object body{{"name", options->name}};
    if (!options->daily.empty()) body["daily_usd"] = options->daily;
    if (!options->monthly.empty()) body["monthly_usd"] = options->monthly;
    const std::string text = json::serialize(body);
    const auto of_folder = [text](LedgerParts& parts, const server::LedgerAsk& ask) -> Result<std::string> {
      auto wanted = SHOAL_TRY(server::parse_new_key(text));
      const server::CreatedKey created = SHOAL_TRY(parts.create_key(std::move(wanted), ask.yield));
      return server::created_key_json(created);
    };
    return show(context, {{.method = "POST", .target = "/admin/keys", .body = text}, of_folder},
                [](const json::object& key) {
                  return fmt::format("{}\n\nKeep it: it is not shown again. Clients send it as their API key.\n",
                                     text_of(key, "key"));
                });
  });

  CLI::App& list = add_command(group, context, {.name = "list", .help = "List them", .example = "shoal keys list"});
  on_run(list, context, [&context] {
    return show(
        context,
        {{.target = "/admin/keys"}, [](LedgerParts&, const server::LedgerAsk& ask) { return keys_answer(ask); }},
        keys_text);
  });

  CLI::App& revoke = add_command(
      group, context,
      {.name = "revoke", .help = "Take a key away, at once and for ever", .example = "shoal keys revoke alice"});
  revoke.add_option("NAME", options->name, "Whose it is")->required();
  on_run(revoke, context, [&context, options] {
    const auto of_folder = [options](LedgerParts& parts, const server::LedgerAsk& ask) -> Result<std::string> {
      const store::Key gone = SHOAL_TRY(parts.revoke_key(options->name, ask.yield));
      return server::keys_json(std::span(&gone, 1));
    };
    return show(
        context,
        {{.method = "POST", .target = fmt::format("/admin/keys/{}/revoke", query_escaped(options->name))}, of_folder},
        [options](const json::object&) {
          return fmt::format("{} is let in no more.\n", base::escape_control(options->name));
        });
  });
}

}  // namespace

void add_ledger_commands(CLI::App& root, CommandContext& context) {
  add_receipts(root, context);
  add_costs(root, context);
  add_keys(root, context);
}

}  // namespace shoal::cli
