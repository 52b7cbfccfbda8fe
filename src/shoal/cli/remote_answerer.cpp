#include <csignal>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/cli/answerer.h"
#include "shoal/cli/local_client.h"
#include "shoal/cli/signals.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

// One wait: loading a model and reading a long prompt both happen before the first byte.
constexpr std::int64_t kPatienceMs = 600'000;

std::string_view role_name(types::Role role) {
  switch (role) {
    case types::Role::kSystem:
      return "system";
    case types::Role::kAssistant:
      return "assistant";
    case types::Role::kTool:
      return "tool";
    case types::Role::kUser:
      break;
  }
  return "user";
}

const json::value* at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* here = &value;
  for (const std::string_view name : path) {
    if (const auto* object = here->if_object()) {
      here = object->if_contains(name);
    } else if (const auto* array = here->if_array()) {
      here = name == "0" && !array->empty() ? &array->front() : nullptr;
    } else {
      here = nullptr;
    }
    if (here == nullptr) return nullptr;
  }
  return here;
}

std::string text_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* found = at(value, path);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

std::int32_t number_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* found = at(value, path);
  return found != nullptr && found->is_int64() ? static_cast<std::int32_t>(found->get_int64()) : 0;
}

// The server's error body as the Error that it was made from.
Error error_of(const json::value& body) {
  const auto code = base::error_code_from_slug(text_at(body, {"error", "code"}));
  return {code.value_or(ErrorCode::kUnreachable), text_at(body, {"error", "message"})};
}

Result<json::value> parse(std::string_view text) {
  json::error_code ec;
  json::value value = json::parse(json::string_view(text.data(), text.size()), ec);
  if (ec) return Error(ErrorCode::kUnreachable, "the server answered with something that is not JSON");
  return value;
}

// Events of one stream, as far as a terminal needs them.
class ChunkReader {
 public:
  ChunkReader(const TextSink& sink, TurnEnd& end) : sink_(sink), end_(end) {}

  // More of the body.
  Result<void> feed(std::string_view bytes) {
    buffer_ += bytes;
    for (std::size_t line_end = buffer_.find('\n'); line_end != std::string::npos; line_end = buffer_.find('\n')) {
      const std::string line = buffer_.substr(0, line_end);
      buffer_.erase(0, line_end + 1);
      if (line.starts_with("data: {")) SHOAL_TRY(event(std::string_view(line).substr(6)));
    }
    return {};
  }

 private:
  Result<void> event(std::string_view data) {
    const json::value chunk = SHOAL_TRY(parse(data));
    if (at(chunk, {"error"}) != nullptr) return error_of(chunk);
    const std::string text = text_at(chunk, {"choices", "0", "delta", "content"});
    if (!text.empty()) sink_(text);
    const std::string reason = text_at(chunk, {"choices", "0", "finish_reason"});
    if (!reason.empty()) end_.finish_reason = reason;
    if (at(chunk, {"usage", "prompt_tokens"}) != nullptr) {
      end_.usage.prompt_tokens = number_at(chunk, {"usage", "prompt_tokens"});
      end_.usage.completion_tokens = number_at(chunk, {"usage", "completion_tokens"});
    }
    return {};
  }

  const TextSink& sink_;
  TurnEnd& end_;
  std::string buffer_;
};

// A name as one segment of a path. Source: RFC 3986, section 2.3.
std::string percent_encoded(std::string_view name) {
  std::string out;
  for (const char c : name) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string chat_body(const Turn& turn) {
  json::array messages;
  for (const types::Message& message : turn.messages) {
    messages.push_back(json::object{{"role", role_name(message.role)}, {"content", message.content}});
  }
  json::object body{{"model", turn.model},
                    {"messages", std::move(messages)},
                    {"stream", true},
                    {"stream_options", json::object{{"include_usage", true}}}};
  if (turn.max_tokens) body["max_tokens"] = *turn.max_tokens;
  if (turn.temperature) body["temperature"] = *turn.temperature;
  if (turn.seed) body["seed"] = *turn.seed;
  return json::serialize(body);
}

class RemoteAnswerer final : public Answerer {
 public:
  explicit RemoteAnswerer(LocalClient client) : client_(std::move(client)) {}

  Result<TurnEnd> chat(const Turn& turn, const TextSink& sink) override {
    const Signals interrupts({SIGINT});
    TurnEnd end;
    ChunkReader reader(sink, end);
    Result<void> fault;
    const Result<LocalReply> reply = client_.stream({.method = "POST",
                                                     .target = "/v1/chat/completions",
                                                     .body = chat_body(turn),
                                                     .timeout_ms = kPatienceMs,
                                                     .interrupt_fd = interrupts.fd()},
                                                    [&](std::string_view bytes) {
                                                      fault = reader.feed(bytes);
                                                      return fault.ok();
                                                    });
    if (!fault.ok()) return std::move(fault).error();
    if (!reply.ok()) return reply.error();
    if (reply.value().status != 200) return error_of(SHOAL_TRY(parse(reply.value().body)));
    if (end.finish_reason.empty()) return Error(ErrorCode::kUnreachable, "the server broke the answer off");
    return end;
  }

  Result<std::string> resolve(const std::string& model) override {
    const Signals interrupts({SIGINT});
    const LocalReply reply =
        SHOAL_TRY(client_.request({.target = "/v1/models/" + percent_encoded(model), .interrupt_fd = interrupts.fd()}));
    const json::value answer = SHOAL_TRY(parse(reply.body));
    if (reply.status != 200) return error_of(answer);
    return text_at(answer, {"id"});
  }

  Result<Embeddings> embed(const std::string& model, const std::vector<std::string>& texts) override {
    const Signals interrupts({SIGINT});
    json::array input;
    for (const std::string& text : texts) input.emplace_back(text);
    const json::object body{{"model", model}, {"input", std::move(input)}};
    const LocalReply reply = SHOAL_TRY(client_.request({.method = "POST",
                                                        .target = "/v1/embeddings",
                                                        .body = json::serialize(body),
                                                        .timeout_ms = kPatienceMs,
                                                        .interrupt_fd = interrupts.fd()}));
    const json::value answer = SHOAL_TRY(parse(reply.body));
    if (reply.status != 200) return error_of(answer);
    Embeddings out;
    out.prompt_tokens = number_at(answer, {"usage", "prompt_tokens"});
    const json::value* data = at(answer, {"data"});
    if (data == nullptr || !data->is_array()) return Error(ErrorCode::kUnreachable, "the server's answer has no data");
    for (const json::value& row : data->get_array()) {
      const json::value* numbers = at(row, {"embedding"});
      std::vector<float> values;
      if (numbers != nullptr && numbers->is_array()) {
        for (const json::value& number : numbers->get_array()) {
          json::error_code ec;
          values.push_back(static_cast<float>(number.to_number<double>(ec)));
        }
      }
      out.rows.push_back(std::move(values));
    }
    return out;
  }

 private:
  LocalClient client_;
};

}  // namespace

std::unique_ptr<Answerer> find_server(const config::Config& config) {
  LocalClient client = LocalClient::over_unix(config.server.admin_socket);
  if (!client.answers()) return nullptr;
  return std::make_unique<RemoteAnswerer>(std::move(client));
}

}  // namespace shoal::cli
