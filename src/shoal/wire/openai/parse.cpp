#include "shoal/wire/openai/parse.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include "shoal/wire/fields.h"
#include "shoal/wire/json.h"
#include "shoal/wire/json_text.h"
#include "shoal/wire/openai/fields.h"
#include "shoal/wire/openai/read.h"

namespace shoal::wire::openai {
namespace json = boost::json;
namespace {

constexpr std::size_t kMaxStops = 16;
constexpr std::size_t kMaxPrompts = 128;  // times n answers, which share one request's memory
constexpr std::size_t kMaxAnswers = 128;
constexpr std::size_t kMaxInputs = 2048;  // OpenAI's own limit
constexpr std::size_t kMaxLabels = 256;
constexpr std::size_t kMaxLabelBytes = 65'536;  // the scores of their tokens fit a frame
constexpr std::size_t kMaxClassified = 256;
constexpr std::size_t kLeastOfBatch = 10;
constexpr std::string_view kContentFree = "N/A";  // Zhao et al. 2021, "Calibrate Before Use"

void read_logit_bias(Fields& in, types::SamplingParams& sampling) {
  const json::object* biases = in.object("logit_bias");
  if (biases == nullptr) return;
  for (const auto& [key, value] : *biases) {
    const std::string_view text = view(key);
    const std::string path = in.path_of("logit_bias") + "." + shortened(text);
    std::int32_t id = 0;
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (fault != std::errc() || end != text.data() + text.size() || id < 0) {
      return in.fail(bad(path, "must be named by a token id, a whole number from 0"));
    }
    if (!value.is_number()) return in.fail(wrong_type(path, "a number from -100 to 100", value));
    const auto bias = value.to_number<double>();
    if (bias < -100 || bias > 100) return in.fail(bad(path, "must be from -100 to 100, not " + describe(value)));
    sampling.logit_bias.emplace_back(id, static_cast<float>(bias));
  }
}

void read_stop(Fields& in, std::vector<std::string>& stop) {
  const json::value* value = in.any("stop");
  if (value == nullptr) return;
  const auto add = [&](const json::value& one, const std::string& path) {
    if (!one.is_string()) return in.fail(wrong_type(path, "a string", one));
    if (one.get_string().empty()) return in.fail(bad(path, "must not be empty: it would end every answer at once"));
    stop.emplace_back(view(one.get_string()));
  };
  if (value->is_string()) return add(*value, "stop");
  if (!value->is_array()) return in.fail(wrong_type("stop", "a string or an array of strings", *value));
  const json::array& all = value->get_array();
  if (all.size() > kMaxStops) {
    return in.fail(bad("stop", fmt::format("must have at most {} texts, not {}", kMaxStops, all.size())));
  }
  for (std::size_t i = 0; i < all.size(); ++i) add(all[i], fmt::format("stop[{}]", i));
}

void read_stream(Fields& in, types::GenerationParams& params) {
  params.stream = in.boolean("stream").value_or(false);
  const json::object* options = in.object("stream_options");
  if (options == nullptr) return;
  if (!params.stream)
    return in.fail(bad("stream_options", "is only for streams; set \"stream\": true or leave it out"));
  Fields inner(*options, "stream_options", stream_options_fields());
  params.include_usage = inner.boolean("include_usage").value_or(false);
  in.finish(inner);
}

void read_x_shoal(Fields& in, types::GenerationParams& params) {
  const json::object* own = in.object("x_shoal");
  if (own == nullptr) return;
  Fields inner(*own, "x_shoal", generation_x_shoal_fields());
  params.signals = inner.boolean("signals").value_or(false);
  params.p_true = inner.boolean("p_true").value_or(false);
  if (const json::value* state = inner.any("hidden_state")) {
    const std::string_view format = state->is_string() ? view(state->get_string()) : std::string_view();
    params.hidden_base64 = format == "base64";
    params.hidden_state = params.hidden_base64 || format == "float" || (state->is_bool() && state->get_bool());
    if (!params.hidden_state && !state->is_bool()) {
      inner.fail(wrong_type("x_shoal.hidden_state", "true, false, \"float\" or \"base64\"", *state));
    }
  }
  in.finish(inner);
}

void read_generation(Fields& in, types::GenerationParams& params) {
  types::SamplingParams& s = params.sampling;
  const auto number = [&in](std::string_view key, float& out) {
    const auto value = in.number(key);
    if (value) out = static_cast<float>(*value);
    return value.has_value();
  };
  s.given.temperature = number("temperature", s.temperature);
  s.given.top_p = number("top_p", s.top_p);
  number("min_p", s.min_p);
  number("presence_penalty", s.presence_penalty);
  number("frequency_penalty", s.frequency_penalty);
  number("repetition_penalty", s.repetition_penalty);
  if (auto value = in.integer("top_k")) {
    s.given.top_k = true;
    s.top_k = static_cast<std::int32_t>(*value);
  }
  if (auto value = in.integer("seed")) s.seed = static_cast<std::uint64_t>(*value);
  if (auto value = in.integer("max_tokens")) params.max_tokens = static_cast<std::int32_t>(*value);
  params.n = static_cast<std::int32_t>(in.integer("n").value_or(1));
  params.ignore_eos = in.boolean("ignore_eos").value_or(false);
  read_logit_bias(in, s);
  read_stop(in, params.stop);
  read_stream(in, params);
  read_x_shoal(in, params);
}

void read_max_completion_tokens(Fields& in, types::GenerationParams& params) {
  const auto value = in.integer("max_completion_tokens");
  if (!value) return;
  if (params.max_tokens && *params.max_tokens != *value) {
    return in.fail(
        bad("max_completion_tokens",
            fmt::format("is {}, but max_tokens, its older name, is {}; give one of them", *value, *params.max_tokens)));
  }
  params.max_tokens = static_cast<std::int32_t>(*value);
}

// Names differ from provider to provider: none, minimal, low, medium, high, xhigh, default.
void read_reasoning_effort(Fields& in, std::string& effort) {
  auto text = in.text("reasoning_effort");
  if (!text) return;
  const bool fits = !text->empty() && text->size() <= 16 &&
                    std::ranges::all_of(*text, [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; });
  if (!fits) in.fail(bad("reasoning_effort", fmt::format("must be a name such as low, not \"{}\"", shortened(*text))));
  effort = *std::move(text);
}

Result<std::vector<std::int32_t>> read_token_ids(const json::array& ids, const std::string& path) {
  std::vector<std::int32_t> tokens;
  tokens.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const bool fits =
        ids[i].is_int64() && ids[i].get_int64() >= 0 && ids[i].get_int64() <= std::numeric_limits<std::int32_t>::max();
    if (!fits) return wrong_type(item_path(path, i), "a token id, a whole number from 0", ids[i]);
    tokens.push_back(static_cast<std::int32_t>(ids[i].get_int64()));
  }
  return tokens;
}

// One of the four shapes of `prompt` and `input`: "a", ["a", "b"], [1, 2], [[1, 2], [3]].
template <class Item>
Result<std::vector<Item>> read_texts(const json::value& value, const std::string& path, std::size_t max_items) {
  const auto tokens = [](const json::array& ids, const std::string& at) -> Result<Item> {
    Item item;
    item.tokens = SHOAL_TRY(read_token_ids(ids, at));
    return item;
  };
  const auto text = [](const json::string& s) {
    Item item;
    item.text = view(s);
    return item;
  };
  std::vector<Item> items;
  if (value.is_string()) {
    items.push_back(text(value.get_string()));
    return items;
  }
  constexpr std::string_view kWanted = "a string, an array of strings, token ids or an array of arrays of token ids";
  if (!value.is_array()) return wrong_type(path, kWanted, value);
  const json::array& all = value.get_array();
  if (all.empty()) return bad(path, "must not be empty");
  if (all[0].is_number()) {
    items.push_back(SHOAL_TRY(tokens(all, path)));
    return items;
  }
  if (all.size() > max_items)
    return bad(path, fmt::format("must have at most {} items, not {}", max_items, all.size()));
  const bool of_strings = all[0].is_string();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string at = item_path(path, i);
    if (of_strings && all[i].is_string()) {
      items.push_back(text(all[i].get_string()));
    } else if (!of_strings && all[i].is_array()) {
      if (all[i].get_array().empty()) return bad(at, "must not be empty");
      items.push_back(SHOAL_TRY(tokens(all[i].get_array(), at)));
    } else {
      return wrong_type(at, of_strings ? "a string like the first item" : "an array of token ids", all[i]);
    }
  }
  return items;
}

}  // namespace

Result<types::ChatRequest> parse_chat_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", chat_fields());
  types::ChatRequest request;
  request.model = in.text("model").value_or("");
  request.user = in.text("user").value_or("");
  read_generation(in, request.params);
  read_max_completion_tokens(in, request.params);
  request.params.logprobs = in.boolean("logprobs").value_or(false);
  request.params.top_logprobs = static_cast<std::int32_t>(in.integer("top_logprobs").value_or(0));
  if (request.params.top_logprobs > 0 && !request.params.logprobs) {
    in.fail(bad("top_logprobs", "needs \"logprobs\": true"));
  }
  if (const json::array* messages = in.array("messages")) {
    request.messages = read_messages(in, *messages, "messages");
  }
  read_tools(in, request);
  read_response_format(in, request.format);
  check_modalities(in);
  read_reasoning_effort(in, request.reasoning_effort);
  SHOAL_TRY(in.finish());
  request.needs = std::move(in.needs());
  return request;
}

Result<types::CompletionRequest> parse_completion_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", completion_fields());
  types::CompletionRequest request;
  request.model = in.text("model").value_or("");
  request.user = in.text("user").value_or("");
  read_generation(in, request.params);
  if (auto alternatives = in.integer("logprobs")) {
    request.params.logprobs = true;
    request.params.top_logprobs = static_cast<std::int32_t>(*alternatives);
  }
  request.echo = in.boolean("echo").value_or(false);
  if (const json::value* prompt = in.any("prompt")) {
    auto prompts = read_texts<types::CompletionRequest::Prompt>(*prompt, "prompt", kMaxPrompts);
    if (prompts.ok()) {
      request.prompts = *std::move(prompts);
      if (!request.prompts.front().tokens.empty()) in.need(types::NeedKind::kSignals, "prompt");
    } else {
      in.fail(std::move(prompts).error());
    }
  }
  static_cast<void>(in.integer("best_of"));  // for its range
  SHOAL_TRY(in.finish());
  request.needs = std::move(in.needs());
  const std::size_t answers = request.prompts.size() * static_cast<std::size_t>(request.params.n);
  if (answers > kMaxAnswers) {
    return bad("n", fmt::format("times the number of prompts is {}; at most {} answers come from one request", answers,
                                kMaxAnswers));
  }
  const bool has_tokens = !request.prompts.empty() && !request.prompts.front().tokens.empty();
  if (request.echo && (has_tokens || request.params.logprobs)) {
    return Error(ErrorCode::kUnsupportedParameter,
                 has_tokens ? "echo is not supported with a prompt of token ids; send the prompt as text"
                            : "echo is not supported together with logprobs; leave one of them out")
        .with_param("echo");
  }
  return request;
}

Result<types::EmbeddingRequest> parse_embedding_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", embedding_fields());
  types::EmbeddingRequest request;
  request.model = in.text("model").value_or("");
  request.user = in.text("user").value_or("");
  if (auto value = in.integer("dimensions")) request.dimensions = static_cast<std::int32_t>(*value);
  if (auto format = in.text("encoding_format")) {
    request.base64 = *format == "base64";
    if (!request.base64 && *format != "float") {
      in.fail(bad("encoding_format", fmt::format("must be float or base64, not \"{}\"", shortened(*format))));
    }
  }
  if (const json::object* own = in.object("x_shoal")) {
    Fields inner(*own, "x_shoal", {});
    in.finish(inner);
  }
  if (const json::value* input = in.any("input")) {
    auto inputs = read_texts<types::EmbeddingRequest::Input>(*input, "input", kMaxInputs);
    if (inputs.ok()) {
      request.inputs = *std::move(inputs);
      for (std::size_t i = 0; i < request.inputs.size(); ++i) {
        if (request.inputs[i].text.empty() && request.inputs[i].tokens.empty()) {
          in.fail(bad(input->is_string() ? "input" : fmt::format("input[{}]", i), "must not be an empty text"));
        }
      }
    } else {
      in.fail(std::move(inputs).error());
    }
  }
  SHOAL_TRY(in.finish());
  return request;
}

namespace {

// A prompt of /v1/score: a text, token ids or messages. Nothing when the value is none of them; `in` has the fault.
std::optional<types::LabelPrompt> read_label_prompt(Fields& in, const json::value& value, const std::string& path) {
  if (value.is_string()) return types::LabelPrompt(std::string(view(value.get_string())));
  if (!value.is_array() || value.get_array().empty()) {
    in.fail(wrong_type(path, "a text, token ids or messages", value));
    return std::nullopt;
  }
  if (value.get_array()[0].is_object()) return types::LabelPrompt(read_messages(in, value.get_array(), path));
  auto ids = read_token_ids(value.get_array(), path);
  if (ids.ok()) return types::LabelPrompt(*std::move(ids));
  in.fail(std::move(ids).error());
  return std::nullopt;
}

void read_labels(Fields& in, std::size_t least, std::vector<std::string>& labels) {
  const json::array* values = in.array("labels");
  if (values == nullptr) return;
  if (values->size() < least || values->size() > kMaxLabels) {
    return in.fail(bad("labels", fmt::format("must have {} to {} texts, not {}", least, kMaxLabels, values->size())));
  }
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < values->size(); ++i) {
    const std::string path = fmt::format("labels[{}]", i);
    const json::value& value = (*values)[i];
    if (!value.is_string()) return in.fail(wrong_type(path, "a string", value));
    std::string label(view(value.get_string()));
    if (label.empty()) return in.fail(bad(path, "must not be empty: nothing has no probability"));
    if (const auto same = std::ranges::find(labels, label); same != labels.end()) {
      return in.fail(bad(path, fmt::format("is the same as labels[{}]", same - labels.begin())));
    }
    bytes += label.size();
    labels.push_back(std::move(label));
  }
  if (bytes > kMaxLabelBytes) {
    in.fail(bad("labels", fmt::format("have {} bytes together; at most {} are scored at once", bytes, kMaxLabelBytes)));
  }
}

// The value of a parameter that is one of some names, the first of which is the default.
std::string_view read_choice(Fields& in, std::string_view key, std::initializer_list<std::string_view> names) {
  const auto text = in.text(key);
  if (!text) return *names.begin();
  const auto* const found = std::ranges::find(names, *text);
  if (found != names.end()) return *found;
  in.fail(bad(std::string(key), fmt::format("must be {}, not \"{}\"", fmt::join(names, " or "), shortened(*text))));
  return *names.begin();
}

}  // namespace

Result<types::ScoreRequest> parse_score_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", score_fields());
  types::ScoreRequest request;
  request.model = in.text("model").value_or("");
  request.user = in.text("user").value_or("");
  request.mean = read_choice(in, "normalize", {"sum", "mean"}) == "mean";
  const bool calibrate = read_choice(in, "calibrate", {"none", "contextual"}) == "contextual";
  const json::array* messages = in.array("messages");
  const json::value* prompt = in.any("prompt");
  const json::value* content_free = in.any("content_free");
  if (messages != nullptr && prompt != nullptr)
    in.fail(bad("prompt", "and messages exclude each other; send one of them"));
  if (calibrate != (content_free != nullptr)) {
    in.fail(calibrate ? bad("content_free", "is missing; \"calibrate\": \"contextual\" compares with such a prompt")
                      : bad("content_free", "needs \"calibrate\": \"contextual\""));
  }
  if (messages != nullptr && in.ok()) request.prompt = read_messages(in, *messages, "messages");
  if (prompt != nullptr && in.ok()) {
    if (prompt->is_array() && !prompt->get_array().empty() && prompt->get_array()[0].is_object()) {
      in.fail(wrong_type("prompt", "a text or token ids (messages go to \"messages\")", *prompt));
    } else if (auto read = read_label_prompt(in, *prompt, "prompt")) {
      request.prompt = *std::move(read);
    }
  }
  if (content_free != nullptr && in.ok()) {
    request.content_free = read_label_prompt(in, *content_free, "content_free");
    if (request.content_free && (request.content_free->index() == 0) != (messages != nullptr)) {
      in.fail(
          bad("content_free", "must be of the kind of the prompt: messages with messages, else a text or token ids"));
    }
  }
  if (in.ok()) read_labels(in, 1, request.labels);
  refuse_needs(in);
  const bool neither = messages == nullptr && prompt == nullptr;
  SHOAL_TRY(in.finish());
  if (neither) return bad("prompt", "is missing; send prompt or messages");
  return request;
}

namespace {

// A trained task has its own labels, and asks no model that generates.
void refuse_with_task(Fields& in) {
  for (const std::string_view key : {"labels", "model", "instruction", "normalize", "calibrate", "content_free"}) {
    if (in.any(key) != nullptr)
      return in.fail(bad(std::string(key), "is for labels, and a task has its own; send one of them"));
  }
}

// As many lists of names as there are inputs.
void read_asked(Fields& in, types::ClassifyRequest& request) {
  const json::array* asked = in.array("asked");
  if (asked == nullptr || !in.ok()) return;
  if (request.task.empty()) return in.fail(bad("asked", "is for a task of slots; name one in task"));
  if (asked->size() != request.inputs.size()) {
    return in.fail(bad("asked", fmt::format("must have a list for each of the {} inputs, not {}", request.inputs.size(),
                                            asked->size())));
  }
  for (std::size_t i = 0; i < asked->size(); ++i) {
    const json::value& names = (*asked)[i];
    auto& out = request.asked.emplace_back();
    if (!names.is_array()) return in.fail(wrong_type(fmt::format("asked[{}]", i), "an array of names", names));
    for (const json::value& name : names.get_array()) {
      if (!name.is_string()) return in.fail(wrong_type(fmt::format("asked[{}]", i), "an array of names", names));
      out.emplace_back(view(name.get_string()));
    }
  }
}

}  // namespace

Result<types::ClassifyRequest> parse_classify_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", classify_fields());
  types::ClassifyRequest request;
  request.model = in.text("model").value_or("");
  request.user = in.text("user").value_or("");
  request.instruction = in.text("instruction").value_or("");
  request.mean = read_choice(in, "normalize", {"sum", "mean"}) == "mean";
  const std::string_view calibrate = read_choice(in, "calibrate", {"none", "contextual", "batch"});
  const bool contextual = calibrate == "contextual";
  request.batch = calibrate == "batch";
  const auto content_free = in.text("content_free");
  if (content_free && !contextual) in.fail(bad("content_free", "needs \"calibrate\": \"contextual\""));
  if (contextual) request.content_free = content_free.value_or(std::string(kContentFree));
  if (const json::value* input = in.any("input"); input != nullptr && input->is_string()) {
    request.inputs.emplace_back(view(input->get_string()));
  } else if (input != nullptr && (!input->is_array() || input->get_array().empty())) {
    in.fail(wrong_type("input", "a text or an array of texts", *input));
  } else if (input != nullptr) {
    const json::array& texts = input->get_array();
    if (texts.size() > kMaxClassified) {
      in.fail(bad("input", fmt::format("must have at most {} texts, not {}", kMaxClassified, texts.size())));
    }
    for (std::size_t i = 0; i < texts.size() && in.ok(); ++i) {
      if (!texts[i].is_string()) {
        in.fail(wrong_type(fmt::format("input[{}]", i), "a string", texts[i]));
      } else {
        request.inputs.emplace_back(view(texts[i].get_string()));
      }
    }
  }
  request.task = in.text("task").value_or("");
  read_asked(in, request);
  if (in.ok() && request.task.empty()) read_labels(in, 2, request.labels);
  if (in.ok() && !request.task.empty()) refuse_with_task(in);
  SHOAL_TRY(in.finish());
  if (request.task.empty() && request.labels.empty()) return bad("labels", "is missing; send labels or task");
  if (request.inputs.empty()) return bad("input", "is missing");
  if (request.batch && request.inputs.size() < kLeastOfBatch) {
    return bad("input",
               fmt::format("must have at least {} texts with \"calibrate\": \"batch\", not {}: fewer do not tell "
                           "what the model says to any text",
                           kLeastOfBatch, request.inputs.size()));
  }
  return request;
}

Result<types::TokenizeRequest> parse_tokenize_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", tokenize_fields());
  types::TokenizeRequest request;
  request.model = in.text("model").value_or("");
  request.add_special_tokens = in.boolean("add_special_tokens").value_or(true);
  const json::array* messages = in.array("messages");
  auto prompt = in.text("prompt");
  const bool neither = messages == nullptr && !prompt;
  if (messages != nullptr && prompt) in.fail(bad("prompt", "and messages exclude each other; send one of them"));
  if (messages != nullptr && in.ok()) request.input = read_messages(in, *messages, "messages");
  refuse_needs(in);
  if (prompt) request.input = *std::move(prompt);
  SHOAL_TRY(in.finish());
  if (neither) return bad("prompt", "is missing; send prompt or messages");
  return request;
}

Result<types::DetokenizeRequest> parse_detokenize_request(std::string_view body) {
  const JsonDocument document = SHOAL_TRY(JsonDocument::parse(body));
  Fields in(*SHOAL_TRY(document.request_object()), "", detokenize_fields());
  types::DetokenizeRequest request;
  request.model = in.text("model").value_or("");
  request.skip_special_tokens = in.boolean("skip_special_tokens").value_or(false);
  if (const json::array* ids = in.array("tokens")) {
    auto tokens = read_token_ids(*ids, "tokens");
    if (tokens.ok()) {
      request.tokens = *std::move(tokens);
    } else {
      in.fail(std::move(tokens).error());
    }
  }
  SHOAL_TRY(in.finish());
  return request;
}

}  // namespace shoal::wire::openai
