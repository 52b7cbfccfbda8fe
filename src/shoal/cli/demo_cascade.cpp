#include "shoal/cli/demo_cascade.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include <fmt/format.h>

#include "shoal/cli/demo_data.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/routing/calibration_file.h"

namespace shoal::cli {
namespace {

constexpr const char* kTask = "demo-intents";
constexpr std::int64_t kCommitTokens = 2;
// Long enough for a prompt of 250 tokens on a slow machine.
constexpr std::int64_t kCommitMs = 10'000;

std::string curl_line(const std::string& url, std::string_view question) {
  return fmt::format(
      "  curl {}/v1/completions -H 'Content-Type: application/json' \\\n"
      "    -d '{{\"temperature\":0,\"max_tokens\":10,\"stop\":[\"\\n\"],\"prompt\":\"{}Text: {}\\nIntent:\"}}'\n",
      url, demo_examples(), question);
}

}  // namespace

Result<void> check_demo(const engine::Engine& engine, const config::Config& config) {
  for (const char* name : {kDemoSmall, kDemoLarge}) {
    if (engine.resolve(name).ok()) continue;
    return Error(ErrorCode::kModelNotFound,
                 fmt::format("the demo needs {} and {}; `shoal pull {}` fetches the one that is missing", kDemoSmall,
                             kDemoLarge, name));
  }
  const config::ServerConfig& server = config.server;
  if (!server.api_keys_file.empty() || !server.api_keys_env.empty())
    return Error(ErrorCode::kUsage, "the demo asks this very server without a key; start it without server.api_keys_*");
  if (has_stored_keys(server.data_dir))
    return Error(
        ErrorCode::kUsage,
        "the demo asks this very server without a key, and `shoal keys list` shows some; start it with another "
        "--data-dir");
  if (server.host != "127.0.0.1" && server.host != "localhost" && server.host != "0.0.0.0")
    return Error(ErrorCode::kUsage,
                 fmt::format("the demo asks this very server at 127.0.0.1, and server.host is {}", server.host));
  if (!config.egress.allowed) return Error(ErrorCode::kUsage, "the demo asks a provider, and egress.allowed is false");
  return {};
}

void amend_for_demo(config::Config& config, std::uint16_t port) {
  std::erase_if(config.providers, [](const auto& one) { return one.name == "large"; });
  std::erase_if(config.routes, [](const auto& one) { return one.name == "shoal-auto"; });
  std::erase_if(config.prices, [](const auto& one) { return one.provider == "large"; });
  config::ProviderConfig large;
  large.name = "large";
  large.base_url = fmt::format("http://127.0.0.1:{}/v1", port);
  large.local = true;
  large.models = {kDemoLarge};
  config.providers.push_back(std::move(large));
  config::RouteConfig route;
  route.name = "shoal-auto";
  route.policy = "slm_first";
  route.local = kDemoSmall;
  route.remote = {std::string("large/") + kDemoLarge};
  route.commit_tokens = kCommitTokens;
  route.commit_ms = kCommitMs;
  route.task = kTask;
  config.routes.push_back(std::move(route));
  config::PriceConfig price;
  price.provider = "large";
  price.model = "*";
  price.from = "2026-01-01";
  price.input_usd = "0.15";
  price.output_usd = "0.60";
  price.source = "made up for the demo";
  price.checked = "2026-11-22";
  config.prices.push_back(std::move(price));
}

const std::vector<routing::Table>& demo_tables() {
  static const std::vector<routing::Table> kTables = [] {
    std::vector<routing::Table> out;
    for (const std::string_view text : demo_table_texts()) {
      auto table = routing::parse_table(text);
      assert(table.ok());  // a test reads them too
      out.push_back(std::move(table).value());
    }
    return out;
  }();
  return kTables;
}

std::string demo_text(const std::string& url, const std::string& small_sha256) {
  constexpr DemoFigures kFigures = kDemoFigures;
  std::string out = fmt::format(
      "\nThis is a demo, with nothing but this machine: {} answers, and when it is not sure, {}\n"
      "is asked as if it were a paid provider. It shows the mechanism: permit, journal, price and receipt are real, "
      "the\n"
      "price is made up, and the larger model, at 2 bits, is hardly better: of {} commands it names the intent of {}, "
      "the\n"
      "smaller one of {}. Together they are right in {}, and {} of them are answered without the larger one.\n",
      kDemoSmall, kDemoLarge, kFigures.questions, kFigures.large_right, kFigures.small_right, kFigures.cascade_right,
      kFigures.kept);
  const bool fits = std::ranges::any_of(demo_tables(), [&](const auto& t) { return t.key.weights == small_sha256; });
  if (!fits) {
    out += fmt::format(
        "\nNOTE: the shipped calibration is not for the {} that is here, which was rewritten or is another one: "
        "nothing is\n"
        "known of how sure it is, and every question escalates. `shoal models optimise {} --undo` goes back.\n",
        kDemoSmall, kDemoSmall);
  }
  out += "\nIt is sure of this one, and keeps it (see \"x_shoal\" in the answer):\n" + curl_line(url, kDemoKept);
  out += "\nIt is not sure of this one, which escalates:\n" + curl_line(url, kDemoEscalated);
  return out + "\n";
}

}  // namespace shoal::cli
