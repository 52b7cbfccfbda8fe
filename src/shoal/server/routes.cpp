#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "shoal/server/answer_writer.h"
#include "shoal/server/chat_page.h"
#include "shoal/server/server.h"
#include "shoal/types/unsupported.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/parse.h"

namespace shoal::server {
namespace openai = wire::openai;
namespace {

// Floats printed before others on the I/O thread get their turn: about a millisecond's worth.
constexpr std::size_t kFloatsPerTurn = 32'768;

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out += fmt::format(R"(,"{}":)", name);
  wire::append_json_string(out, value);
}

// Of a limit; null where one of them is not known.
std::string share_of(double rate, double limit) {
  if (!(rate > 0) || !(limit > 0) || !std::isfinite(rate / limit)) return "null";
  return fmt::format("{:.4f}", rate / limit);
}

double finite(double value) {
  return std::isfinite(value) ? value : 0;
}

void append_worker(std::string& out, const engine::WorkerStatus& w, const engine::Demand& machine) {
  out += R"({"model":)";
  wire::append_json_string(out, w.model);
  append_field(out, "state", openai::state_name(w.state));
  append_field(out, "reason", w.reason);
  append_field(out, "sandbox", w.sandbox);
  append_field(out, "cpu_backend", w.cpu_backend);
  append_field(out, "kv_type", w.kv_type);
  out += fmt::format(
      R"(,"pid":{},"context_length":{},"slots":{},"threads":{},"running":{},"queued":{},"predicted_bytes":{},"resident_bytes":{},)"
      R"("restarts":{},"tokens_decoded":{},"tokens_per_second":{:.2f},"idle_ms":{},"kv_used":{},)"
      R"("decode_tokens_per_second":{:.2f},"decode_steps_per_second":{:.2f},"prefill_tokens_per_second":{:.2f},)"
      R"("bandwidth_share":{},"flop_share":{}}})",
      w.pid, w.context_length, w.slots, w.threads, w.running, w.queued, w.predicted_bytes, w.resident_bytes, w.restarts,
      w.tokens_decoded, finite(w.tokens_per_second), w.idle_ms, w.kv_used, finite(w.rates.decode_tokens),
      finite(w.rates.decode_steps), finite(w.rates.prefill_tokens),
      share_of(w.demand.bytes_per_second, machine.bytes_per_second),
      share_of(w.demand.flops_per_second, machine.flops_per_second));
}

// The first `length` values, at length 1 again: how matryoshka embeddings are cut.
// Source: Kusupati et al., Matryoshka Representation Learning (2022).
void shorten(std::vector<float>& vector, std::size_t length) {
  if (vector.size() <= length) return;
  vector.resize(length);
  double squares = 0;
  for (const float x : vector) squares += static_cast<double>(x) * x;
  if (squares <= 0) return;
  const auto scale = static_cast<float>(1 / std::sqrt(squares));
  for (float& x : vector) x *= scale;
}

// Errors: kUnsupportedParameter for a length that the model was not trained for.
Result<void> check_dimensions(const types::EmbeddingRequest& request, const types::ModelInfo& model) {
  if (!request.dimensions) return {};
  const auto wanted = static_cast<std::uint32_t>(*request.dimensions);
  if (wanted == model.embedding_length || std::ranges::count(model.matryoshka_dimensions, wanted) > 0) return {};
  return Error(ErrorCode::kUnsupportedParameter,
               fmt::format("{} was not trained for vectors of {} dimensions; it gives {}{}", model.name, wanted,
                           model.embedding_length,
                           model.matryoshka_dimensions.empty()
                               ? std::string(" only")
                               : fmt::format(", or {}", fmt::join(model.matryoshka_dimensions, ", "))))
      .with_param("dimensions");
}

openai::ModelEntry entry_of(types::ModelInfo info, const std::vector<engine::WorkerStatus>& workers) {
  openai::ModelEntry entry;
  const auto worker = std::ranges::find(workers, info.name, &engine::WorkerStatus::model);
  if (worker != workers.end()) {
    entry.state = worker->state;
    entry.reason = worker->reason;
    entry.context_length = worker->sequence_length;
  }
  entry.info = std::move(info);
  return entry;
}

void set_page_headers(net::ResponseWriter& writer) {
  writer.set_header("Content-Security-Policy",
                    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; "
                    "frame-ancestors 'none'; form-action 'self'");
  writer.set_header("X-Content-Type-Options", "nosniff");
  writer.set_header("Referrer-Policy", "no-referrer");
}

}  // namespace

// --- answers

void Server::answer(Exchange& exchange, openai::AnswerKind kind, gateway::AnswerRequest request,
                    std::vector<std::string> echo) {
  if (auto known = check_shoal_headers(exchange.request); !known.ok()) return exchange.send_error(known.error());
  auto deadline = deadline_of(exchange.request, clock_);
  if (!deadline.ok()) return exchange.send_error(deadline.error());
  request.id = exchange.request.id;
  request.principal = exchange.principal;
  request.deadline = *deadline;
  request.body = exchange.request.body;
  auto local_only = local_only_of(exchange.request);
  if (!local_only.ok()) return exchange.send_error(local_only.error());
  request.local_only = *local_only;
  auto prefer = prefer_of(exchange.request);
  if (!prefer.ok()) return exchange.send_error(prefer.error());
  request.prefer = *prefer;
  auto hops = hops_of(exchange.request);
  if (!hops.ok()) return exchange.send_error(hops.error());
  request.hops = *hops;
  const std::size_t answers = request.answers();
  AnswerWriter sink(exchange, metrics_, clock_, kind, request.params, answers, std::move(echo));
  request.cancel = exchange.writer.cancel_token();
  pipeline_.answer(std::move(request), sink, exchange.yield);
}

void Server::chat(Exchange& exchange) {
  auto parsed = openai::parse_chat_request(exchange.request.body);
  if (!parsed.ok()) return exchange.send_error(parsed.error());
  gateway::AnswerRequest request;
  request.model = parsed->model;
  request.params = parsed->params;
  request.needs = parsed->needs;
  request.chat = &*parsed;
  answer(exchange, openai::AnswerKind::kChat, std::move(request), {});
}

void Server::complete(Exchange& exchange) {
  auto parsed = openai::parse_completion_request(exchange.request.body);
  if (!parsed.ok()) return exchange.send_error(parsed.error());
  gateway::AnswerRequest request;
  request.model = std::move(parsed->model);
  request.params = std::move(parsed->params);
  request.needs = std::move(parsed->needs);
  std::vector<std::string> echo;
  for (auto& prompt : parsed->prompts) {
    if (parsed->echo) echo.insert(echo.end(), static_cast<std::size_t>(request.params.n), prompt.text);
    if (prompt.tokens.empty()) {
      request.prompts.push_back({std::move(prompt.text)});
    } else {
      request.prompts.push_back({std::move(prompt.tokens)});
    }
  }
  answer(exchange, openai::AnswerKind::kText, std::move(request), std::move(echo));
}

// --- embeddings

void Server::embed(Exchange& exchange) {
  auto parsed = openai::parse_embedding_request(exchange.request.body);
  if (!parsed.ok()) return exchange.send_error(parsed.error());
  if (auto done = embed_into(exchange, *parsed); !done.ok()) exchange.send_error(done.error());
}

Result<types::ModelInfo> Server::embedding_model(const types::EmbeddingRequest& request) const {
  if (!request.model.empty()) return engine_.resolve(request.model);
  if (!options_.default_embedding_model.empty()) return engine_.resolve(options_.default_embedding_model);
  const auto models = engine_.models();
  const auto found = std::ranges::find_if(models, &types::ModelInfo::embeds);
  if (found != models.end()) return *found;
  return Error(ErrorCode::kModelNotFound,
               "the request names no model, and no embedding model is here; pull or import one")
      .with_param("model");
}

Result<void> Server::embed_into(Exchange& exchange, const types::EmbeddingRequest& request) {
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const types::ModelInfo info = SHOAL_TRY(embedding_model(request));
  SHOAL_TRY(check_dimensions(request, info));
  const std::string& model = info.name;
  engine::EmbedRequest work{model, exchange.principal.number, until, exchange.writer.cancel_token(), {}};
  for (const auto& input : request.inputs) {
    if (input.tokens.empty()) {
      work.inputs.emplace_back(input.text);
    } else {
      work.inputs.emplace_back(input.tokens);
    }
  }
  engine::EmbedResult result = SHOAL_TRY(engine_.embed(std::move(work), exchange.yield));
  metrics_.answered(model, result.usage);
  std::string body;
  openai::append_embeddings_open(body);
  std::size_t printed = 0;
  for (std::size_t i = 0; i < result.embeddings.size(); ++i) {
    std::vector<float>& vector = result.embeddings[i];
    if (request.dimensions) shorten(vector, static_cast<std::size_t>(*request.dimensions));
    openai::append_embedding(body, i, vector, request.base64);
    if ((printed += vector.size()) >= kFloatsPerTurn) {
      printed = 0;
      boost::asio::post(exchange.yield);
    }
  }
  openai::append_embeddings_close(body, model, result.usage);
  send_local(exchange, model, body);
  return {};
}

// --- tokens

void Server::tokenize(Exchange& exchange) {
  if (auto done = tokenize_into(exchange); !done.ok()) exchange.send_error(done.error());
}

void Server::detokenize(Exchange& exchange) {
  if (auto done = detokenize_into(exchange); !done.ok()) exchange.send_error(done.error());
}

Result<types::ModelInfo> Server::model_or_default(const std::string& name) const {
  if (!name.empty()) return engine_.resolve(name);
  if (!options_.default_model.empty()) return engine_.resolve(options_.default_model);
  return Error(ErrorCode::kModelNotFound,
               "the request names no model and no default is configured; name one, or set engine.default_model")
      .with_param("model");
}

Result<base::Deadline> Server::deadline(const Exchange& exchange) const {
  const base::Deadline own = base::Deadline::after_ms(clock_, options_.request_timeout_ms);
  return base::Deadline{std::min(own.at_ns, SHOAL_TRY(deadline_of(exchange.request, clock_)).at_ns)};
}

Result<void> Server::tokenize_into(Exchange& exchange) {
  types::TokenizeRequest request = SHOAL_TRY(openai::parse_tokenize_request(exchange.request.body));
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const types::ModelInfo model = SHOAL_TRY(model_or_default(request.model));
  const engine::TokenizeResult result = SHOAL_TRY(engine_.tokenize(
      {model.name, until, exchange.writer.cancel_token(), std::move(request.input), request.add_special_tokens},
      exchange.yield));
  std::string body;
  openai::append_tokens(body, model.name, result.tokens, result.context_length, result.lossless);
  send_local(exchange, model.name, body);
  return {};
}

Result<void> Server::detokenize_into(Exchange& exchange) {
  types::DetokenizeRequest request = SHOAL_TRY(openai::parse_detokenize_request(exchange.request.body));
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const types::ModelInfo model = SHOAL_TRY(model_or_default(request.model));
  const std::string text = SHOAL_TRY(engine_.detokenize(
      {model.name, until, exchange.writer.cancel_token(), std::move(request.tokens), request.skip_special_tokens},
      exchange.yield));
  std::string body;
  openai::append_detokenized(body, model.name, text);
  send_local(exchange, model.name, body);
  return {};
}

// --- models

std::vector<openai::ModelEntry> Server::model_entries() const {
  const std::vector<engine::WorkerStatus> workers = engine_.status();
  std::vector<openai::ModelEntry> entries;
  for (types::ModelInfo& info : engine_.models()) entries.push_back(entry_of(std::move(info), workers));
  return entries;
}

void Server::list_models(Exchange& exchange) {
  std::string body;
  const std::vector<types::OtherModel> others = pipeline_.other_models();
  std::vector<openai::ModelEntry> entries = model_entries();
  // A route that has the name of a model is what is asked.
  std::erase_if(entries, [&others](const openai::ModelEntry& entry) {
    return std::ranges::find(others, entry.info.name, &types::OtherModel::name) != others.end();
  });
  openai::append_models(body, entries, others);
  exchange.send_json(200, body);
}

void Server::show_model(Exchange& exchange) {
  std::string body;
  for (const types::OtherModel& other : pipeline_.other_models()) {
    if (other.name != exchange.tail) continue;
    openai::append_model(body, other);
    return exchange.send_json(200, body);
  }
  auto info = engine_.resolve(exchange.tail);
  if (!info.ok()) return exchange.send_error(info.error());
  openai::append_model(body, entry_of(*std::move(info), engine_.status()));
  exchange.send_json(200, body);
}

// --- the server itself

void Server::health(Exchange& exchange) {
  exchange.send_json(200, R"({"status":"ok"})");
}

std::string Server::why_not_ready() const {
  if (engine_.models().empty()) return "no model is here; `shoal pull NAME` fetches one";
  if (options_.default_model.empty()) return {};
  auto info = engine_.resolve(options_.default_model);
  if (!info.ok()) return fmt::format("the default model \"{}\" is not here", options_.default_model);
  const openai::ModelEntry entry = entry_of(*std::move(info), engine_.status());
  if (entry.state != types::ModelState::kFailed) return {};
  return fmt::format("the default model \"{}\" failed: {}", options_.default_model, entry.reason);
}

void Server::ready(Exchange& exchange) {
  const std::string reason = why_not_ready();
  std::string body = reason.empty() ? R"({"ready":true,"reasons":[])" : R"({"ready":false,"reasons":[)";
  if (!reason.empty()) {
    wire::append_json_string(body, reason);
    body += ']';
  }
  body += '}';
  exchange.send_json(reason.empty() ? 200 : 503, body);
}

void Server::show_metrics(Exchange& exchange) {
  exchange.send(200, telemetry::Registry::kContentType, registry_.render());
}

void Server::openapi(Exchange& exchange) {
  exchange.send_json(200, openapi_document());
}

void Server::page(Exchange& exchange) {
  set_page_headers(exchange.writer);
  exchange.send(200, "text/html; charset=utf-8", chat_html());
}
void Server::page_script(Exchange& exchange) {
  set_page_headers(exchange.writer);
  exchange.send(200, "text/javascript; charset=utf-8", chat_js());
}
void Server::page_style(Exchange& exchange) {
  set_page_headers(exchange.writer);
  exchange.send(200, "text/css; charset=utf-8", chat_css());
}

// --- admin

void Server::list_workers(Exchange& exchange) {
  const std::vector<engine::WorkerStatus> workers = engine_.status();
  const bool idle = std::ranges::all_of(workers, [](const auto& w) { return w.running == 0 && w.queued == 0; });
  const engine::Demand machine = hooks_.machine_speed ? hooks_.machine_speed(idle) : engine::Demand{};
  std::string body = fmt::format(R"({{"machine":{{"bytes_per_second":{:.0f},"flops_per_second":{:.0f}}},"workers":[)",
                                 machine.bytes_per_second, machine.flops_per_second);
  bool first = true;
  for (const engine::WorkerStatus& worker : workers) {
    if (!std::exchange(first, false)) body += ',';
    append_worker(body, worker, machine);
  }
  exchange.send_json(200, body + "]}");
}

void Server::load_model(Exchange& exchange) {
  if (auto loaded = engine_.load(exchange.tail, exchange.yield); !loaded.ok())
    return exchange.send_error(loaded.error());
  std::string body = R"({"loaded":)";
  wire::append_json_string(body, exchange.tail);
  exchange.send_json(200, body + "}");
}

void Server::reload(Exchange& exchange) {
  if (!hooks_.reload) {
    return exchange.send_error(
        Error(ErrorCode::kUnimplemented, "this process was started without a configuration to reload"));
  }
  if (auto done = hooks_.reload(exchange.yield); !done.ok()) return exchange.send_error(done.error());
  exchange.send_json(200, R"({"reloaded":true})");
}

}  // namespace shoal::server
