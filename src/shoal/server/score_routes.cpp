// POST /v1/score and /v1/classify: which of the given labels a model finds how probable.
#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/ids.h"
#include "shoal/gateway/label_scores.h"
#include "shoal/server/server.h"
#include "shoal/wire/openai/parse.h"

namespace shoal::server {
namespace openai = wire::openai;
namespace {

std::string default_instruction(const std::vector<std::string>& labels) {
  return fmt::format("Which label fits the text: {}? Reply with the label only.", fmt::join(labels, ", "));
}

// The question about one input. A model with a chat template is asked in a conversation, where a label begins its turn.
engine::Prompt question(const std::string& instruction, const std::string& input, bool chat) {
  std::string text = fmt::format("{}\n\nText: {}", instruction, input);
  if (chat) return {std::vector<types::Message>{{types::Role::kUser, std::move(text), ""}}};
  return {text + "\nLabel:"};
}

void add(types::Usage& sum, const types::Usage& usage) {
  sum.prompt_tokens += usage.prompt_tokens;
  sum.cached_tokens += usage.cached_tokens;
  sum.completion_tokens += usage.completion_tokens;
}

}  // namespace

void Server::score(Exchange& exchange) {
  if (auto done = score_into(exchange); !done.ok()) exchange.send_error(done.error());
}

void Server::classify(Exchange& exchange) {
  if (auto done = classify_into(exchange); !done.ok()) exchange.send_error(done.error());
}

Result<void> Server::score_into(Exchange& exchange) {
  types::ScoreRequest request = SHOAL_TRY(openai::parse_score_request(exchange.request.body));
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const types::ModelInfo model = SHOAL_TRY(model_or_default(request.model));
  const engine::ScoreRequest work{
      model.name, exchange.principal.number, until, exchange.writer.cancel_token(), {request.prompt}, request.labels};
  std::vector<engine::ScoreRequest> all = {work};
  if (request.content_free) all.emplace_back(work).prompt = {*request.content_free};
  auto results = SHOAL_TRY(gateway::score_all(engine_, std::move(all), exchange.yield));
  types::Usage usage;
  for (const engine::ScoreResult& result : results) add(usage, result.usage);
  metrics_.answered(model.name, usage);
  const auto* content_free = request.content_free ? &results[1].labels : nullptr;
  const auto scores = gateway::distribution(std::move(results[0].labels), request.mean, content_free);
  std::string body;
  openai::append_scores(body, {"score-" + base::random_id(), clock_.unix_seconds(), model.name}, request.labels, scores,
                        usage);
  send_local(exchange, model.name, body);
  return {};
}

Result<void> Server::classify_into(Exchange& exchange) {
  types::ClassifyRequest request = SHOAL_TRY(openai::parse_classify_request(exchange.request.body));
  if (!request.task.empty()) return classify_task_into(exchange, request);
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const types::ModelInfo model = SHOAL_TRY(model_or_default(request.model));
  const bool chat = model.has_chat_template;
  if (request.instruction.empty()) request.instruction = default_instruction(request.labels);
  std::vector<std::string> endings = request.labels;
  if (!chat) {
    for (std::string& label : endings) label.insert(0, " ");
  }
  std::vector<std::string> inputs = request.inputs;
  if (request.content_free) inputs.push_back(*request.content_free);
  std::vector<engine::ScoreRequest> all;
  for (const std::string& input : inputs) {
    all.push_back({model.name, exchange.principal.number, until, exchange.writer.cancel_token(),
                   question(request.instruction, input, chat), endings});
  }
  auto results = SHOAL_TRY(gateway::score_all(engine_, std::move(all), exchange.yield));
  types::Usage usage;
  for (const engine::ScoreResult& result : results) add(usage, result.usage);
  metrics_.answered(model.name, usage);
  const auto* content_free = request.content_free ? &results.back().labels : nullptr;
  std::vector<std::vector<types::LabelScore>> classes;
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    classes.push_back(gateway::distribution(std::move(results[i].labels), request.mean, content_free));
  }
  if (request.batch) gateway::calibrate_by_batch(classes);
  std::string body;
  openai::append_classes(body, {"classify-" + base::random_id(), clock_.unix_seconds(), model.name}, request.labels,
                         classes, usage);
  send_local(exchange, model.name, body);
  return {};
}

}  // namespace shoal::server
