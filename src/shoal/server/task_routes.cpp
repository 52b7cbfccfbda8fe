// POST /v1/classify with a task: the classes of a model that `shoal tune probe` trained.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "shoal/base/ids.h"
#include "shoal/base/suggest.h"
#include "shoal/server/server.h"
#include "shoal/wire/json_text.h"

namespace shoal::server {
namespace {

// Others run between so many texts: a comparison with every text of the training takes a millisecond.
constexpr std::size_t kTextsPerTurn = 8;

Result<const learning::ClassModel*> find_task(const Tasks& tasks, const std::string& name) {
  const auto found = std::ranges::find(tasks, name, &learning::ClassModel::name);
  if (found != tasks.end()) return &*found;
  std::vector<std::string> names;
  for (const learning::ClassModel& task : tasks) names.push_back(task.name);
  return Error(ErrorCode::kNotFound,
               names.empty() ? "no task was trained on this server: `shoal tune probe DATA --task NAME` does"
                             : fmt::format("no trained task is called {}; there are: {}", name, fmt::join(names, ", ")))
      .with_param("task")
      .with_suggestion(base::suggest(name, names));
}

// Whose end it is whether or not there are embeddings.
bool ends_all(ErrorCode code) {
  return code == ErrorCode::kCancelled || code == ErrorCode::kDeadlineExceeded || code == ErrorCode::kShuttingDown;
}

void append_class(std::string& out, const learning::ClassModel& model, const learning::ClassAnswer& answer) {
  out += R"("label":)";
  wire::append_json_string(out, model.labels[answer.best]);
  out += R"(,"probs":[)";
  float second = 0;
  for (std::size_t i = 0; i < answer.probabilities.size(); ++i) {
    if (i > 0) out += ',';
    wire::append_json_number(out, answer.probabilities[i]);
    if (i != answer.best) second = std::max(second, answer.probabilities[i]);
  }
  out += fmt::format(R"(],"num_classes":{},"margin":)", model.labels.size());
  wire::append_json_number(out, answer.probabilities[answer.best] - second);
  out += R"(,"p_right":)";
  wire::append_json_number(out, answer.right);
  out += R"(,"out_of_scope":)";
  wire::append_json_number(out, answer.outside);
  out += fmt::format(R"(,"embedded":{}}})", answer.fused);
}

}  // namespace

Result<void> Server::classify_task_into(Exchange& exchange, const types::ClassifyRequest& request) {
  // A reload may replace them while this request waits for embeddings.
  const std::shared_ptr<const Tasks> tasks = tasks_;
  const learning::ClassModel& model = *SHOAL_TRY(find_task(*tasks, request.task));
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  engine::EmbedResult embedded;
  std::string degraded;
  if (model.embedder) {
    const auto info = engine_.resolve(model.embedder->name);
    if (!info.ok()) {
      degraded = fmt::format("the embedder {} is not here", model.embedder->name);
    } else if (!learning::same_embedder(*model.embedder,
                                        {info->name, info->sha256, info->bytes, info->embedding_length})) {
      degraded =
          fmt::format("the embedder {} is another one than the task was trained with; train it again", info->name);
    } else {
      engine::EmbedRequest work{info->name, exchange.principal.number, until, exchange.writer.cancel_token(), {}};
      for (const std::string& input : request.inputs) {
        work.inputs.emplace_back(std::string(learning::embedded_part(input)));
      }
      auto done = engine_.embed(std::move(work), exchange.yield);
      if (!done.ok() && ends_all(done.error().code())) return std::move(done).error();
      if (done.ok()) {
        embedded = std::move(done).value();
        metrics_.answered(info->name, embedded.usage);
      } else {
        degraded = fmt::format("no embedding: {}", done.error().message());
      }
    }
  }
  const bool fused = embedded.embeddings.size() == request.inputs.size();
  std::string body = fmt::format(R"({{"id":"classify-{}","object":"list","created":{},"model":)", base::random_id(),
                                 clock_.unix_seconds());
  wire::append_json_string(body, model.name);
  body += R"(,"task":)";
  wire::append_json_string(body, model.name);
  body += R"(,"labels":[)";
  for (std::size_t i = 0; i < model.labels.size(); ++i) {
    if (i > 0) body += ',';
    wire::append_json_string(body, model.labels[i]);
  }
  body += R"(],"data":[)";
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    if (i > 0 && i % kTextsPerTurn == 0) boost::asio::post(exchange.yield);
    body += fmt::format(R"({}{{"index":{},)", i > 0 ? "," : "", i);
    const std::vector<float> none;
    append_class(body, model, scorer_.classify(model, request.inputs[i], fused ? embedded.embeddings[i] : none));
  }
  const learning::ClassHead& head = fused ? model.fused_head : model.hashed_head;
  body += fmt::format(R"(],"out_of_scope_from":"{}")", head.outside ? "examples" : "rank");
  if (!degraded.empty()) {
    body += R"(,"degraded":)";
    wire::append_json_string(body, degraded + "; the hashed part answered alone");
  }
  const auto tokens = embedded.usage.prompt_tokens;
  body += fmt::format(R"(,"usage":{{"prompt_tokens":{},"completion_tokens":0,"total_tokens":{}}}}})", tokens, tokens);
  send_local(exchange, model.name, body);
  return {};
}

}  // namespace shoal::server
