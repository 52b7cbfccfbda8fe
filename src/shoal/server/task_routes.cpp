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
#include "shoal/gateway/task_draft.h"
#include "shoal/server/server.h"
#include "shoal/wire/json_text.h"

namespace shoal::server {
namespace {

// Others run between so many texts: a comparison with every text of the training takes a millisecond.
constexpr std::size_t kTextsPerTurn = 8;

Result<const routing::Task*> find_task(const routing::Tasks& tasks, const std::string& name) {
  const auto found = std::ranges::find(tasks, name, &routing::Task::name);
  if (found != tasks.end()) return &*found;
  std::vector<std::string> names;
  for (const routing::Task& task : tasks) names.push_back(task.name);
  return Error(ErrorCode::kNotFound,
               names.empty() ? "no task was trained on this server: `shoal tune probe DATA --task NAME` does"
                             : fmt::format("no trained task is called {}; there are: {}", name, fmt::join(names, ", ")))
      .with_param("task")
      .with_suggestion(base::suggest(name, names));
}

// Whether answers may be kept: those of the way to decide that was certified, from its threshold on.
class Keeping {
 public:
  // `way`: "fused", "hashed", "slots".
  Keeping(const routing::Task& task, std::string_view way) : void_(routing::why_void(task, way)) {
    if (task.certificate) certificate_ = &*task.certificate;
  }

  // Of one answer; nothing where there never was a certificate.
  void append_keep(std::string& out, double score) const {
    out += R"(,"score":)";
    wire::append_json_number(out, score);
    if (certificate_ == nullptr && void_.empty()) return;
    out += fmt::format(R"(,"keep":{})", void_.empty() && score >= certificate_->threshold());
  }
  // Of all of them.
  void append_certificate(std::string& out) const {
    if (certificate_ != nullptr) {
      constexpr std::size_t kIdDigits = 12;
      out += fmt::format(R"(,"certificate":{{"id":"{}","threshold":)", certificate_->sha256.substr(0, kIdDigits));
      wire::append_json_number(out, certificate_->threshold());
      out += R"(,"risk":)";
      wire::append_json_number(out, certificate_->shown.options.risk);
      out += R"(,"confidence":)";
      wire::append_json_number(out, certificate_->shown.options.confidence);
      out += R"(,"excludes":)";
      wire::append_json_string(out, certificate_->excludes);
      out += '}';
    }
    if (void_.empty()) return;
    out += R"(,"certificate_void":)";
    wire::append_json_string(out, void_);
  }

 private:
  const routing::Certificate* certificate_ = nullptr;
  std::string void_;  // why nothing is kept
};

std::string body_head(const std::string& name, std::int64_t created) {
  std::string out =
      fmt::format(R"({{"id":"classify-{}","object":"list","created":{},"model":)", base::random_id(), created);
  wire::append_json_string(out, name);
  out += R"(,"task":)";
  wire::append_json_string(out, name);
  return out;
}

void append_names(std::string& out, std::string_view field, const std::vector<std::string>& names) {
  out += fmt::format(R"(,"{}":[)", field);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) out += ',';
    wire::append_json_string(out, names[i]);
  }
  out += ']';
}

void append_class(std::string& out, const learning::ClassModel& model, const learning::ClassAnswer& answer,
                  const Keeping& keeping) {
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
  keeping.append_keep(out, answer.score);
  out += fmt::format(R"(,"embedded":{}}})", answer.fused);
}

// Ends count characters, as Python's and most people's do, not bytes.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }));
}

void append_spans(std::string& out, const learning::SlotModel& model, std::string_view text,
                  const learning::SlotAnswer& answer, const Keeping& keeping) {
  out += R"("spans":[)";
  for (std::size_t i = 0; i < answer.spans.size(); ++i) {
    const learning::SlotSpan& span = answer.spans[i];
    out += i > 0 ? R"(,{"slot":)" : R"({"slot":)";
    wire::append_json_string(out, model.slots[span.slot]);
    const std::string_view covered = text.substr(span.begin, span.end - span.begin);
    const std::size_t start = characters(text.substr(0, span.begin));
    out += R"(,"text":)";
    wire::append_json_string(out, covered);
    out += fmt::format(R"(,"start":{},"end":{},"p":)", start, start + characters(covered));
    wire::append_json_number(out, span.probability);
    out += '}';
  }
  out += R"(],"p_right":)";
  wire::append_json_number(out, answer.right);
  keeping.append_keep(out, answer.right);
  out += '}';
}

}  // namespace

Result<void> Server::classify_task_into(Exchange& exchange, const types::ClassifyRequest& request) {
  // A reload may replace them while this request waits for embeddings.
  const std::shared_ptr<const routing::Tasks> tasks = tasks_;
  const routing::Task& task = *SHOAL_TRY(find_task(*tasks, request.task));
  if (std::holds_alternative<learning::SlotModel>(task.model)) return find_slots_into(exchange, request, task);
  if (!request.asked.empty()) {
    return Error(ErrorCode::kInvalidRequest, fmt::format("{} is a task of classes: nothing is asked there", task.name))
        .with_param("asked");
  }
  const auto& model = std::get<learning::ClassModel>(task.model);
  const base::Deadline until = SHOAL_TRY(deadline(exchange));
  const std::vector<std::string_view> texts(request.inputs.begin(), request.inputs.end());
  const gateway::TaskEmbeddings embedded = SHOAL_TRY(gateway::embed_for_task(
      engine_, model, texts, {{}, exchange.principal.number, until, exchange.writer.cancel_token(), {}},
      exchange.yield));
  if (!embedded.embedder.empty()) metrics_.answered(embedded.embedder, embedded.result.usage);
  const bool fused = embedded.result.embeddings.size() == request.inputs.size();
  const Keeping keeping(task, fused ? "fused" : "hashed");
  std::string body = body_head(task.name, clock_.unix_seconds());
  append_names(body, "labels", model.labels);
  body += R"(,"data":[)";
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    if (i > 0 && i % kTextsPerTurn == 0) boost::asio::post(exchange.yield);
    body += fmt::format(R"({}{{"index":{},)", i > 0 ? "," : "", i);
    const std::vector<float> none;
    append_class(body, model, scorer_.classify(model, request.inputs[i], fused ? embedded.result.embeddings[i] : none),
                 keeping);
  }
  const learning::ClassHead& head = fused ? model.fused_head : model.hashed_head;
  body += fmt::format(R"(],"out_of_scope_from":"{}")", head.outside ? "examples" : "rank");
  keeping.append_certificate(body);
  if (!embedded.degraded.empty()) {
    body += R"(,"degraded":)";
    wire::append_json_string(body, embedded.degraded + "; the hashed part answered alone");
  }
  const auto tokens = embedded.result.usage.prompt_tokens;
  body += fmt::format(R"(,"usage":{{"prompt_tokens":{},"completion_tokens":0,"total_tokens":{}}}}})", tokens, tokens);
  send_local(exchange, task.name, body);
  return {};
}

Result<void> Server::find_slots_into(Exchange& exchange, const types::ClassifyRequest& request,
                                     const routing::Task& task) {
  const auto& model = std::get<learning::SlotModel>(task.model);
  for (const auto& names : request.asked) {
    for (const std::string& name : names) {
      if (std::ranges::find(model.slots, name) != model.slots.end()) continue;
      return Error(ErrorCode::kInvalidRequest,
                   fmt::format("{} has no slot called {}; it has: {}", task.name, name, fmt::join(model.slots, ", ")))
          .with_param("asked")
          .with_suggestion(base::suggest(name, model.slots));
    }
  }
  const Keeping keeping(task, "slots");
  std::string body = body_head(task.name, clock_.unix_seconds());
  append_names(body, "slots", model.slots);
  body += R"(,"data":[)";
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    if (i > 0 && i % kTextsPerTurn == 0) boost::asio::post(exchange.yield);
    body += fmt::format(R"({}{{"index":{},)", i > 0 ? "," : "", i);
    const std::vector<std::string> none;
    const auto answer = learning::find_slots(model, request.inputs[i], request.asked.empty() ? none : request.asked[i]);
    append_spans(body, model, request.inputs[i], answer, keeping);
  }
  body += ']';
  keeping.append_certificate(body);
  body += R"(,"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}})";
  send_local(exchange, task.name, body);
  return {};
}

}  // namespace shoal::server
