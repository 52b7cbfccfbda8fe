#include "shoal/cli/eval_client.h"

#include <charconv>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <poll.h>

#include <boost/json.hpp>

namespace shoal::cli {
namespace {

namespace json = boost::json;

// One wait: loading a model and reading a long prompt both happen before the first byte.
constexpr std::int64_t kPatienceMs = 600'000;

const json::value* at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* here = &value;
  for (const std::string_view name : path) {
    if (const auto* object = here->if_object()) {
      here = object->if_contains(name);
    } else if (const auto* array = here->if_array()) {
      here = !array->empty() ? &array->front() : nullptr;
    } else {
      here = nullptr;
    }
    if (here == nullptr) return nullptr;
  }
  return here;
}
std::string text_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* const found = at(value, path);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
}
std::optional<double> number_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const json::value* const found = at(value, path);
  if (found == nullptr || !found->is_number()) return std::nullopt;
  return found->to_number<double>();
}
// Money is printed as text, so that no reader rounds it.
std::optional<double> usd_at(const json::value& value, std::initializer_list<std::string_view> path) {
  const std::string text = text_at(value, path);
  double out = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

Result<json::value> parsed(std::string_view text) {
  boost::system::error_code error;
  json::value out = json::parse(json::string_view(text.data(), text.size()), error);
  if (error) return Error(ErrorCode::kUnreachable, "the server answered with something that is not JSON");
  return out;
}

// The server's error body as the Error that it was made from.
Error error_of(int status, const json::value& body) {
  const auto code = base::error_code_from_slug(text_at(body, {"error", "code"}));
  std::string message = text_at(body, {"error", "message"});
  if (message.empty()) message = fmt::format("the server answered with status {}", status);
  return {code.value_or(status >= 500 ? ErrorCode::kUpstreamFailed : ErrorCode::kInvalidRequest), std::move(message)};
}

struct Address {
  std::string host;
  std::uint16_t port = 80;
};

Result<Address> parse_url(std::string_view url) {
  const auto bad = [&] {
    return Error(ErrorCode::kUsage, fmt::format("--url: wanted http://HOST:PORT, got \"{}\"", url));
  };
  constexpr std::string_view kScheme = "http://";
  if (!url.starts_with(kScheme)) return bad();
  std::string_view rest = url.substr(kScheme.size());
  for (const std::string_view tail : {"/", "/v1"}) {
    if (rest.ends_with(tail)) rest.remove_suffix(tail.size());
  }
  if (rest.find('/') != std::string_view::npos) return bad();
  Address out;
  const std::size_t colon = rest.rfind(':');
  const bool bracketed = rest.starts_with('[');
  const std::size_t close = bracketed ? rest.find(']') : std::string_view::npos;
  if (bracketed && close == std::string_view::npos) return bad();
  const bool has_port = colon != std::string_view::npos && (!bracketed || colon > close);
  out.host = std::string(bracketed ? rest.substr(1, close - 1) : rest.substr(0, has_port ? colon : rest.size()));
  if (has_port) {
    const std::string_view digits = rest.substr(colon + 1);
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (fault != std::errc() || end != digits.data() + digits.size() || out.port == 0) return bad();
  }
  if (out.host.empty()) return bad();
  return out;
}

}  // namespace

Result<EvalClient> EvalClient::open(const config::Config& config, const std::string& url, std::string key,
                                    int interrupt_fd) {
  std::string place = url;
  LocalClient client = LocalClient::over_unix(config.server.admin_socket);
  if (url.empty()) {
    place = config.server.admin_socket;
  } else {
    const Address address = SHOAL_TRY(parse_url(url));
    client = LocalClient::over_tcp(address.host, address.port);
  }
  if (!client.answers()) {
    return Error(ErrorCode::kUnreachable,
                 fmt::format("no running server at {}. Start one with `shoal serve`, or name one with --url", place));
  }
  return EvalClient(std::move(client), std::move(place), std::move(key), interrupt_fd);
}

evaluation::Server EvalClient::server() const {
  return {.identity = [this](const std::string& route) { return identity(route); },
          .most_usd = [this](const std::string& body) { return most_usd(body); },
          .ask = [this](const std::string& body) { return ask(body); },
          .alive = [this] { return client_.answers(); },
          .interrupted = [this] { return interrupted(); }};
}

bool EvalClient::interrupted() const {
  pollfd waiting{.fd = interrupt_fd_, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) > 0;
}

Result<std::string> EvalClient::post(const std::string& target, const std::string& body) const {
  LocalRequest request{
      .method = "POST", .target = target, .body = body, .timeout_ms = kPatienceMs, .interrupt_fd = interrupt_fd_};
  if (!key_.empty()) request.headers.emplace_back("Authorization", "Bearer " + key_);
  LocalReply reply = SHOAL_TRY(client_.request(request));
  if (reply.status == 200) return std::move(reply.body);
  const auto said = parsed(reply.body);
  return error_of(reply.status, said.ok() ? *said : json::value());
}

// What decides about answers, and nothing that changes by the hour: no prices, no state.
Result<std::string> EvalClient::identity(const std::string& route) const {
  const std::string probe = json::serialize(
      json::object{{"model", route}, {"messages", json::array{json::object{{"role", "user"}, {"content", "?"}}}}});
  const std::string body = SHOAL_TRY(post("/v1/shoal/route", probe));
  const json::value plan = SHOAL_TRY(parsed(body));
  const json::object* const given = plan.if_object();
  if (given == nullptr) return Error(ErrorCode::kUnreachable, fmt::format("what answers at {} is not Shoal", place_));
  json::object out;
  for (const std::string_view key :
       {"policy", "threshold", "commit_tokens", "commit_ms", "task", "calibration", "certificate"}) {
    if (const json::value* const value = given->if_contains(key)) out[key] = *value;
  }
  json::array models;
  if (const json::value* const candidates = given->if_contains("candidates");
      candidates != nullptr && candidates->is_array()) {
    for (const json::value& one : candidates->get_array()) {
      json::object model{{"model", text_at(one, {"model"})}};
      if (std::string weights = text_at(one, {"weights"}); !weights.empty()) model["weights"] = std::move(weights);
      models.emplace_back(std::move(model));
    }
  }
  out["models"] = std::move(models);
  return json::serialize(out);
}

Result<double> EvalClient::most_usd(const std::string& body) const {
  const std::string said = SHOAL_TRY(post("/v1/shoal/route", body));
  const json::value plan = SHOAL_TRY(parsed(said));
  const json::value* const candidates = at(plan, {"candidates"});
  double sum = 0;
  // One that fails after it has computed may cost too, and the next one is asked then.
  if (candidates != nullptr && candidates->is_array()) {
    for (const json::value& one : candidates->get_array()) sum += usd_at(one, {"most_usd"}).value_or(0);
  }
  return sum;
}

Result<evaluation::Answer> EvalClient::ask(const std::string& body) const {
  const std::string said = SHOAL_TRY(post("/v1/chat/completions", body));
  const json::value answer = SHOAL_TRY(parsed(said));
  const json::value* const message = at(answer, {"choices", "0", "message"});
  if (message == nullptr) return Error(ErrorCode::kBadAnswer, "the answer has no message");
  evaluation::Answer out;
  out.text = text_at(*message, {"content"});
  out.prompt_tokens = static_cast<std::int64_t>(number_at(answer, {"usage", "prompt_tokens"}).value_or(0));
  out.completion_tokens = static_cast<std::int64_t>(number_at(answer, {"usage", "completion_tokens"}).value_or(0));
  out.cost_usd = usd_at(answer, {"x_shoal", "cost_usd"}).value_or(0);
  out.decision = text_at(answer, {"x_shoal", "route"});
  out.model = text_at(answer, {"model"});
  out.receipt = text_at(answer, {"x_shoal", "decision_id"});
  out.confidence = number_at(answer, {"x_shoal", "confidence"});
  out.threshold = number_at(answer, {"x_shoal", "threshold"});
  return out;
}

}  // namespace shoal::cli
