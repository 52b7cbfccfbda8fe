// The OpenAPI document. Request schemas come from the tables that the parser reads; paths and answers are
// written out here. Valid against OpenAPI 3.1 (tests/e2e/test_serve.py).
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <string_view>

#include "shoal/base/error.h"
#include "shoal/server/server.h"
#include "shoal/types/unsupported.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/fields.h"

namespace shoal::server {
namespace {

using wire::append_json_number;
using wire::append_json_string;
using wire::FieldRule;
using wire::FieldSpec;
using wire::FieldType;

std::string_view schema_type(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return R"("type":"string")";
    case FieldType::kNumber:
      return R"("type":"number")";
    case FieldType::kInteger:
      return R"("type":"integer")";
    case FieldType::kBoolean:
      return R"("type":"boolean")";
    case FieldType::kArray:
      return R"("type":"array")";
    case FieldType::kObject:
      return R"("type":"object")";
    case FieldType::kAny:
      return "";
  }
  return "";
}

void append_property(std::string& out, const FieldSpec& field) {
  append_json_string(out, field.name);
  out += ":{";
  const std::string_view type = field.schema.empty() ? schema_type(field.type) : field.schema;
  out += type;
  if (!type.empty()) out += ',';
  if (field.min > std::numeric_limits<double>::lowest()) {
    out += field.above_min ? R"("exclusiveMinimum":)" : R"("minimum":)";
    append_json_number(out, field.min);
    out += ',';
  }
  if (field.max < std::numeric_limits<double>::max()) {
    out += R"("maximum":)";
    append_json_number(out, field.max);
    out += ',';
  }
  out += R"("description":)";
  std::string what(field.what);
  if (field.rule == FieldRule::kNeeds && field.need != types::NeedKind::kSignals) {
    what += " 422 when no model that may answer ";
    what += types::ability(field.need);
    what += '.';
  }
  append_json_string(out, what);
  out += '}';
}

void append_schema(std::string& out, std::string_view name, std::span<const FieldSpec> fields) {
  append_json_string(out, name);
  out += R"(:{"type":"object","additionalProperties":false,"properties":{)";
  std::string required;
  std::string_view comma;
  for (const FieldSpec& field : fields) {
    if (field.rule == FieldRule::kRefused) continue;
    out += comma;
    comma = ",";
    append_property(out, field);
    if (!field.required) continue;
    if (!required.empty()) required += ',';
    append_json_string(required, field.name);
  }
  out += '}';
  if (!required.empty()) out += R"(,"required":[)" + required + "]";
  out += '}';
}

constexpr std::string_view kErrorResponse = R"("default":{"$ref":"#/components/responses/Error"})";

struct Operation {
  std::string_view path;
  std::string_view method;
  std::string_view id;
  std::string_view summary;
  std::string_view request;   // schema of the body; empty: none
  std::string_view response;  // schema of the answer; empty: `media` alone
  std::string_view media = "application/json";
  bool streams = false;
  std::string_view id_is{};  // what the {id} of the path is; empty: it has none
};

constexpr Operation kOperations[] = {
    {"/v1/chat/completions", "post", "createChatCompletion", "Answer a conversation.", "ChatRequest", "ChatCompletion",
     "application/json", true},
    {"/v1/completions", "post", "createCompletion", "Continue a text.", "CompletionRequest", "TextCompletion",
     "application/json", true},
    {"/v1/embeddings", "post", "createEmbedding", "Texts as vectors.", "EmbeddingRequest", "Embeddings"},
    {"/v1/score", "post", "score", "How probable texts are after a prompt.", "ScoreRequest", "Scores"},
    {"/v1/classify", "post", "classify", "Which of some labels fits a text.", "ClassifyRequest", "Classes"},
    {"/v1/tokenize", "post", "tokenize", "The tokens that a prompt or a conversation has.", "TokenizeRequest",
     "Tokens"},
    {"/v1/detokenize", "post", "detokenize", "The text that tokens spell.", "DetokenizeRequest", "Detokenized"},
    {"/v1/shoal/route", "post", "testRoute", "Who would answer a conversation, and why; nothing is computed or sent.",
     "ChatRequest", "RoutePlan"},
    {"/v1/models", "get", "listModels", "The models that are here, with their state.", "", "Models"},
    {"/v1/models/{id}", "get", "getModel", "One model, with its state.", "", "Model", "application/json", false,
     "A name from /v1/models; a slash in it may stand as it is or as %2F."},
    {"/v1/shoal/receipts", "get", "listReceipts", "How requests were answered and what they cost, the newest first.",
     "", "Receipts"},
    {"/v1/shoal/receipts/{id}", "get", "getReceipt", "All that is known of how one request was answered.", "",
     "Receipt", "application/json", false, "The x-shoal-decision-id of its answer."},
    {"/v1/shoal/feedback", "post", "giveFeedback", "Say whether an answer was right.", "FeedbackRequest", "Feedback"},
    {"/healthz", "get", "getHealth", "200 while the process answers.", "", "Health"},
    {"/readyz", "get", "getReadiness", "200 when the default model answers or could be started, else 503 with reasons.",
     "", "Readiness"},
    {"/metrics", "get", "getMetrics", "Metrics in the Prometheus text format.", "", "", "text/plain"},
    {"/openapi.json", "get", "getOpenApi", "This document.", "", "Document"},
};

void append_operation(std::string& out, const Operation& op) {
  append_json_string(out, op.path);
  out += ":{\"" + std::string(op.method) + R"(":{"operationId":)";
  append_json_string(out, op.id);
  out += R"(,"summary":)";
  append_json_string(out, op.summary);
  if (!op.id_is.empty()) {
    out += R"(,"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"},"description":)";
    append_json_string(out, op.id_is);
    out += "}]";
  } else if (!op.request.empty()) {
    out += R"(,"parameters":[{"name":"x-shoal-timeout-ms","in":"header","required":false,)"
           R"("schema":{"type":"integer","minimum":1},"description":"Give up after this many milliseconds."}])"
           R"(,"requestBody":{"required":true,"content":{"application/json":{"schema":{"$ref":"#/components/schemas/)";
    out += op.request;
    out += R"("}}}})";
  }
  out += R"(,"responses":{"200":{"description":"The answer.","content":{")";
  out += op.media;
  out += R"(":{"schema":)";
  if (op.response.empty()) {
    out += R"({"type":"string"})";
  } else {
    out += R"({"$ref":"#/components/schemas/)" + std::string(op.response) + "\"}";
  }
  out += '}';
  if (op.streams) out += R"(,"text/event-stream":{"schema":{"type":"string"}})";
  out += "}},";
  out += kErrorResponse;
  out += "}}}";
}

// What the server sends; each object may grow.
constexpr std::string_view kAnswerSchemas =
    R"("RoutePlan":{"type":"object","required":["object","route","candidates","reasons"],"properties":{)"
    R"("object":{"const":"shoal.route"},"route":{"type":"string"},"policy":{"enum":["slm_only","slm_first","llm_first"]},)"
    R"("threshold":{"type":"number"},"commit_tokens":{"type":"integer"},"commit_ms":{"type":"integer"},)"
    R"("task":{"type":"string"},"candidates":{"type":"array","items":{"type":"object","properties":{)"
    R"("model":{"type":"string"},"local":{"type":"boolean"},"judged":{"type":"boolean"},"fallback":{"type":"boolean"},)"
    R"("weights":{"type":"string"},"most_usd":{"type":"string"},"refused":{"type":"string"}}}},)"
    R"("calibration":{"type":["object","null"]},)"
    R"("certificate":{"type":["object","null"]},)"
    R"("reasons":{"type":"array","items":{"type":"object"}},"refusal":{"type":["object","null"]}}},)"
    R"("Usage":{"type":"object","required":["prompt_tokens","completion_tokens","total_tokens"],"properties":{)"
    R"("prompt_tokens":{"type":"integer"},"completion_tokens":{"type":"integer"},"total_tokens":{"type":"integer"},)"
    R"("prompt_tokens_details":{"type":"object","properties":{"cached_tokens":{"type":"integer"}}},)"
    R"("completion_tokens_details":{"type":"object","properties":{"reasoning_tokens":{"type":"integer"}}}}},)"
    R"("XShoal":{"type":"object","description":"How the answer came about.","properties":{"model":{"type":"string"},)"
    R"("route":{"type":"string"},"mode":{"enum":["fast","exact"]},"queue_ms":{"type":"number"},"prefill_ms":{"type":"number"},"decode_ms":{"type":"number"},)"
    R"("tokens_per_second":{"type":"number"},"signals":{"type":"array","description":"By answer; only when asked for.",)"
    R"("items":{"$ref":"#/components/schemas/Signals"}},"hidden_states":{"type":"array","description":"By prompt; only )"
    R"(when asked for.","items":{"oneOf":[{"type":"array","items":{"type":"number"}},{"type":"string"}]}}}},)"
    R"("SignalSummary":{"type":"object","required":["mean","worst_window"],"properties":{"mean":{"type":"number"},)"
    R"("min":{"type":"number"},"max":{"type":"number"},"worst_window":{"type":"number","description":"The mean over the )"
    R"(worst `window` tokens in a row."}}},)"
    R"("Signals":{"type":"object","description":"How sure the model was, over its raw distribution of each token.",)"
    R"("required":["tokens"],"properties":{"tokens":{"type":"integer"},"window":{"type":"integer"},)"
    R"("logprob":{"$ref":"#/components/schemas/SignalSummary"},"entropy":{"$ref":"#/components/schemas/SignalSummary"},)"
    R"("margin":{"$ref":"#/components/schemas/SignalSummary"},)"
    R"("self_certainty":{"$ref":"#/components/schemas/SignalSummary"},"p_true":{"type":"number"}}},)"
    R"("Scores":{"type":"object","required":["id","object","created","model","data","usage"],"properties":{"id":{"type":"string"},)"
    R"("object":{"const":"list"},"created":{"type":"integer"},"model":{"type":"string"},"data":{"type":"array","items":{)"
    R"("type":"object","properties":{"index":{"type":"integer"},"object":{"const":"score"},"label":{"type":"string"},)"
    R"("logprob":{"type":"number"},"content_free_logprob":{"type":"number"},"probability":{"type":"number"},)"
    R"("tokens":{"type":"array","items":{"type":"integer"}},"token_logprobs":{"type":"array","items":{"type":"number"}}}}},)"
    R"("usage":{"$ref":"#/components/schemas/Usage"}}},)"
    R"("Classes":{"type":"object","required":["id","object","created","model","labels","data","usage"],"properties":{)"
    R"("id":{"type":"string"},"object":{"const":"list"},"created":{"type":"integer"},"model":{"type":"string"},)"
    R"("labels":{"type":"array","items":{"type":"string"}},"data":{"type":"array","items":{"type":"object","properties":{)"
    R"("index":{"type":"integer"},"label":{"type":"string"},"probs":{"type":"array","items":{"type":"number"}},)"
    R"("num_classes":{"type":"integer"},"margin":{"type":"number"},"logprobs":{"type":"array","items":{"type":"number"}},)"
    R"("p_right":{"type":"number"},"out_of_scope":{"type":"number"},"embedded":{"type":"boolean"}}}},)"
    R"("task":{"type":"string"},"out_of_scope_from":{"enum":["examples","rank"]},"degraded":{"type":"string"},)"
    R"("usage":{"$ref":"#/components/schemas/Usage"}}},)"
    R"("ChatCompletion":{"type":"object","required":["id","object","created","model","choices","usage"],"properties":{)"
    R"("id":{"type":"string"},"object":{"const":"chat.completion"},"created":{"type":"integer"},"model":{"type":"string"},)"
    R"("system_fingerprint":{"type":"string"},"choices":{"type":"array","items":{"type":"object","properties":{)"
    R"("index":{"type":"integer"},"message":{"type":"object","properties":{"role":{"const":"assistant"},)"
    R"("content":{"type":["string","null"]},"refusal":{"type":["string","null"]},"reasoning_content":{"type":"string"},)"
    R"("thinking_blocks":{"type":"array","items":{"$ref":"#/components/schemas/ThinkingBlock"}},)"
    R"("tool_calls":{"type":"array","items":{"$ref":"#/components/schemas/ToolCall"}}}},"logprobs":{"type":["object","null"]},)"
    R"("finish_reason":{"enum":["stop","length","tool_calls","content_filter"]}}}},"usage":{"$ref":"#/components/schemas/Usage"},)"
    R"("x_shoal":{"$ref":"#/components/schemas/XShoal"}}},)"
    R"("TextCompletion":{"type":"object","required":["id","object","created","model","choices","usage"],"properties":{)"
    R"("id":{"type":"string"},"object":{"const":"text_completion"},"created":{"type":"integer"},"model":{"type":"string"},)"
    R"("system_fingerprint":{"type":"string"},"choices":{"type":"array","items":{"type":"object","properties":{)"
    R"("index":{"type":"integer"},"text":{"type":"string"},"logprobs":{"type":["object","null"]},)"
    R"("finish_reason":{"enum":["stop","length","content_filter"]}}}},"usage":{"$ref":"#/components/schemas/Usage"},)"
    R"("x_shoal":{"$ref":"#/components/schemas/XShoal"}}},)"
    R"("Embeddings":{"type":"object","required":["object","data","model","usage"],"properties":{"object":{"const":"list"},)"
    R"("data":{"type":"array","items":{"type":"object","properties":{"object":{"const":"embedding"},"index":{"type":"integer"},)"
    R"("embedding":{"oneOf":[{"type":"array","items":{"type":"number"}},{"type":"string"}]}}}},"model":{"type":"string"},)"
    R"("usage":{"type":"object"}}},)"
    R"("Tokens":{"type":"object","required":["count","max_model_len","model","lossless","tokens"],"properties":{)"
    R"("count":{"type":"integer"},"max_model_len":{"type":"integer","description":"Tokens that a prompt and its answer )"
    R"(may have together."},"model":{"type":"string"},"lossless":{"type":"boolean","description":"False when the )"
    R"(tokens do not spell the whole prompt again."},"tokens":{"type":"array","items":{"type":"integer"}}}},)"
    R"("Detokenized":{"type":"object","required":["model","prompt"],"properties":{"model":{"type":"string"},)"
    R"("prompt":{"type":"string"},"bytes":{"type":"array","items":{"type":"integer"},)"
    R"("description":"Only when the bytes are not UTF-8, which prompt then shows as U+FFFD."}}},)"
    R"("Model":{"type":"object","required":["id","object","created","owned_by","x_shoal"],"properties":{"id":{"type":"string"},)"
    R"("object":{"const":"model"},"created":{"type":"integer"},"owned_by":{"type":"string"},"x_shoal":{"type":"object",)"
    R"("properties":{"kind":{"enum":["route","provider"]},"state":{"enum":["ready","loading","stopped","failed"]},"reason":{"type":["string","null"]},)"
    R"("ctx":{"type":"integer"},"capabilities":{"type":"array","items":{"type":"string"}}}}}},)"
    R"("Models":{"type":"object","required":["object","data"],"properties":{"object":{"const":"list"},)"
    R"("data":{"type":"array","items":{"$ref":"#/components/schemas/Model"}}}},)"
    R"("Attempt":{"type":"object","properties":{"id":{"type":"string"},"time":{"type":"string"},"provider":{"type":"string"},)"
    R"("model":{"type":"string"},"purpose":{"type":"string"},"price":{"type":"string"},"body_bytes":{"type":"integer"},)"
    R"("body_sha256":{"type":"string"},"reserved_usd":{"type":"string"},"cost_usd":{"type":"string"},)"
    R"("state":{"enum":["open","settled","not_sent","unknown"]},"ended":{"type":"string"},"status":{"type":"integer"},)"
    R"("failure":{"type":"string"},"upstream_id":{"type":"string"},"tokens":{"type":"object"}}},)"
    R"("Receipt":{"type":"object","required":["id","status"],"properties":{"id":{"type":"string"},"time":{"type":"string"},)"
    R"("status":{"type":["integer","null"]},"key":{"type":"string"},"via":{"type":"string"},)"
    R"("route":{"enum":["local","remote","escalated","failed_over","refused"]},"model":{"type":"string"},)"
    R"("egress":{"type":"string"},"prompt_tokens":{"type":"integer"},"completion_tokens":{"type":"integer"},)"
    R"("local_ms":{"type":"integer"},"cost_usd":{"type":"string"},"baseline_usd":{"type":["string","null"]},)"
    R"("durability":{"type":"string"},"confidence":{"type":["number","null"]},"committed_usd":{"type":"string"},)"
    R"("judged":{"type":["object","null"]},"labels":{"type":"array","items":{"type":"object"}},)"
    R"("exact_usd":{"type":"string"},"without_usd":{"type":["string","null"]},"detail":{"type":["object","null"]},)"
    R"("attempts":{"type":"array","items":{"$ref":"#/components/schemas/Attempt"}}}},)"
    R"("Feedback":{"type":"object","required":["object","decision_id","right","recorded"],"properties":{)"
    R"("object":{"const":"shoal.feedback"},"decision_id":{"type":"string"},"right":{"type":"boolean"},)"
    R"("recorded":{"type":"boolean","description":"False: this source had said the same before."}}},)"
    R"("Receipts":{"type":"object","required":["receipts","before"],"properties":{"receipts":{"type":"array",)"
    R"("items":{"$ref":"#/components/schemas/Receipt"}},"before":{"type":["integer","null"]}}},)"
    R"("Health":{"type":"object","properties":{"status":{"const":"ok"}}},)"
    R"("Readiness":{"type":"object","properties":{"ready":{"type":"boolean"},"reasons":{"type":"array","items":{"type":"string"}}}},)"
    R"("Document":{"type":"object"},)";

void append_error_schema(std::string& out) {
  out +=
      R"("Error":{"type":"object","required":["error"],"properties":{"error":{"type":"object",)"
      R"("required":["message","type","param","code"],"properties":{"message":{"type":"string"},"type":{"type":"string"},)"
      R"("param":{"type":["string","null"]},"did_you_mean":{"type":"string"},"code":{"type":"string","enum":[)";
  bool first = true;
  for (const base::ErrorInfo& info : base::error_table()) {
    if (!first) out += ',';
    first = false;
    append_json_string(out, info.slug);
  }
  out += "]}}}}}";
}

}  // namespace

std::string openapi_document() {
  namespace openai = wire::openai;
  std::string out =
      R"({"openapi":"3.1.0","info":{"title":"Shoal","version":")" SHOAL_VERSION
      R"(","description":"An OpenAI-compatible API answered by small local models."},"security":[{},{"key":[]}],"paths":{)";
  bool first = true;
  for (const Operation& operation : kOperations) {
    if (!first) out += ',';
    first = false;
    append_operation(out, operation);
  }
  out += R"(},"components":{"securitySchemes":{"key":{"type":"http","scheme":"bearer"}},"responses":{"Error":{)"
         R"("description":"What went wrong; the status follows from the code.","content":{"application/json":{)"
         R"("schema":{"$ref":"#/components/schemas/Error"}}}}},"schemas":{)";
  out += kAnswerSchemas;
  const std::pair<std::string_view, std::span<const FieldSpec>> requests[] = {
      {"ChatRequest", openai::chat_fields()},
      {"XShoalRequest", openai::generation_x_shoal_fields()},
      {"Message", openai::message_fields()},
      {"ContentPart", openai::content_part_fields()},
      {"ImageUrl", openai::image_url_fields()},
      {"Tool", openai::tool_fields()},
      {"Function", openai::function_fields()},
      {"NamedToolChoice", openai::named_tool_choice_fields()},
      {"FunctionName", openai::function_name_fields()},
      {"ToolCall", openai::tool_call_fields()},
      {"ThinkingBlock", openai::thinking_block_fields()},
      {"CalledFunction", openai::called_function_fields()},
      {"ResponseFormat", openai::response_format_fields()},
      {"JsonSchemaFormat", openai::json_schema_format_fields()},
      {"CompletionRequest", openai::completion_fields()},
      {"EmbeddingRequest", openai::embedding_fields()},
      {"ScoreRequest", openai::score_fields()},
      {"ClassifyRequest", openai::classify_fields()},
      {"TokenizeRequest", openai::tokenize_fields()},
      {"DetokenizeRequest", openai::detokenize_fields()},
      {"FeedbackRequest", feedback_fields()},
  };
  for (const auto& [name, fields] : requests) {
    append_schema(out, name, fields);
    out += ',';
  }
  append_error_schema(out);
  out += "}}}";
  return out;
}

}  // namespace shoal::server
