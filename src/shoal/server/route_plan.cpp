// POST /v1/shoal/route: who would answer this conversation now, and why. Nothing is computed or sent.
#include <utility>

#include <fmt/format.h>

#include "shoal/server/server.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/parse.h"

namespace shoal::server {
namespace openai = wire::openai;
namespace {

std::string_view policy_name(routing::Policy policy) {
  switch (policy) {
    case routing::Policy::kSlmOnly:
      return "slm_only";
    case routing::Policy::kSlmFirst:
      return "slm_first";
    case routing::Policy::kLlmFirst:
      break;
  }
  return "llm_first";
}

void append_member(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format(R"("{}":)", name);
  wire::append_json_string(out, value);
}

// `weights`: the SHA-256 of the local model's file; empty: not known.
void append_candidates(std::string& out, const gateway::Explanation& explained, std::string_view weights) {
  const routing::Route& route = explained.resolved.route;
  out += R"("candidates":[)";
  for (std::size_t i = 0; i < explained.plan.candidates.size(); ++i) {
    const routing::Candidate& candidate = explained.plan.candidates[i];
    const gateway::Explanation::Cost& cost = explained.costs[i];
    const std::string model =
        candidate.local ? route.local
                        : route.remote[candidate.remote].provider + "/" + route.remote[candidate.remote].model;
    out += i == 0 ? "{" : ",{";
    append_member(out, "model", model);
    out +=
        fmt::format(R"(,"local":{},"judged":{},"fallback":{})", candidate.local, candidate.judged, candidate.fallback);
    if (candidate.local && !weights.empty()) {
      out += ',';
      append_member(out, "weights", weights);
    }
    if (cost.most) out += fmt::format(R"(,"most_usd":"{}")", ledger::usd(*cost.most));
    if (cost.unknown) {
      out += ',';
      append_member(out, "refused", cost.unknown->message());
    }
    out += '}';
  }
  out += ']';
}

void append_table(std::string& out, std::string_view name, const routing::Table* table) {
  out += fmt::format(R"("{}":)", name);
  if (table == nullptr) {
    out += "null";
    return;
  }
  out += fmt::format(R"({{"tokens":{},"fitted_on":{},"held_out":{},"ece":{:.4f},"auroc":{:.4f},)", table->key.tokens,
                     table->fitted_on, table->held_out.answers, table->held_out.ece, table->held_out.auroc);
  append_member(out, "date", table->date);
  out += '}';
}

void append_certificate(std::string& out, const gateway::Resolved& resolved) {
  out += R"(,"certificate":)";
  if (resolved.certificate == nullptr) {
    out += "null";
    return;
  }
  const routing::Certification& shown = resolved.certificate->shown;
  out += fmt::format(R"({{"risk":{},"confidence":{},"coverage":[{:.4f},{:.4f}],"labels":{},"certified":{},)",
                     shown.options.risk, shown.options.confidence, shown.coverage.low, shown.coverage.high,
                     shown.labels, shown.certified.size());
  append_member(out, "gate", routing::gate_name(resolved.certificate->gate));
  out += ',';
  append_member(out, "excludes", resolved.certificate->excludes);
  out += ',';
  append_member(out, "date", resolved.certificate->date);
  out += '}';
}

void append_reasons(std::string& out, const std::vector<types::Reason>& reasons) {
  out += R"("reasons":[)";
  for (std::size_t i = 0; i < reasons.size(); ++i) {
    out += i == 0 ? "{" : ",{";
    append_member(out, "signal", reasons[i].signal);
    out += ',';
    append_member(out, "value", reasons[i].value);
    out += ',';
    append_member(out, "rule", reasons[i].rule);
    out += ',';
    append_member(out, "effect", reasons[i].effect);
    out += '}';
  }
  out += ']';
}

}  // namespace

void Server::test_route(Exchange& exchange) {
  if (auto done = test_route_into(exchange); !done.ok()) exchange.send_error(done.error());
}

Result<void> Server::test_route_into(Exchange& exchange) {
  SHOAL_TRY(check_shoal_headers(exchange.request));
  types::ChatRequest parsed = SHOAL_TRY(openai::parse_chat_request(exchange.request.body));
  gateway::AnswerRequest request;
  request.model = parsed.model;
  request.params = parsed.params;
  request.needs = parsed.needs;
  request.chat = &parsed;
  request.body = exchange.request.body;
  request.principal = exchange.principal;
  request.local_only = SHOAL_TRY(local_only_of(exchange.request));
  request.prefer = SHOAL_TRY(prefer_of(exchange.request));
  const gateway::Explanation explained = SHOAL_TRY(pipeline_.explain(request));
  const routing::Route& route = explained.resolved.route;
  std::string body = R"({"object":"shoal.route",)";
  append_member(body, "route", route.name);
  body += fmt::format(R"(,"policy":"{}","threshold":{},"commit_tokens":{},"commit_ms":{},)", policy_name(route.policy),
                      route.threshold, route.commit_tokens, route.commit_ms);
  append_member(body, "task", route.task.empty() ? routing::kGeneralTask : std::string_view(route.task));
  body += ',';
  const auto local = engine_.resolve(route.local);
  append_candidates(body, explained, local.ok() ? local->sha256 : std::string());
  append_certificate(body, explained.resolved);
  if (explained.resolved.calibration.any()) {
    body += R"(,"calibration":{)";
    append_table(body, "prefix", explained.resolved.calibration.prefix);
    body += ',';
    append_table(body, "whole", explained.resolved.calibration.whole);
    body += "},";
  } else {
    body += R"(,"calibration":null,)";
  }
  append_reasons(body, explained.plan.reasons);
  body += R"(,"refusal":)";
  if (explained.plan.refusal) {
    body += '{';
    append_member(body, "code", explained.plan.refusal->info().slug);
    body += ',';
    append_member(body, "message", explained.plan.refusal->message());
    body += '}';
  } else {
    body += "null";
  }
  body += '}';
  exchange.send_json(200, body);
  return {};
}

}  // namespace shoal::server
