#include "shoal/cli/ledger_question.h"

#include <utility>

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>
#include <boost/json/parse.hpp>

#include "shoal/base/clock.h"

namespace shoal::cli {

namespace json = boost::json;

std::string query_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '/' || c == ':';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

Error error_of(const LocalReply& reply) {
  boost::system::error_code failed;
  const json::value root = json::parse(reply.body, failed);
  const json::value* const message = failed ? nullptr : root.find_pointer("/error/message", failed);
  const json::value* const code = failed ? nullptr : root.find_pointer("/error/code", failed);
  if (message == nullptr || !message->is_string())
    return {ErrorCode::kUnreachable, fmt::format("the server answered {}", reply.status)};
  const auto known = code != nullptr && code->is_string()
                         ? base::error_code_from_slug(std::string_view(code->as_string()))
                         : std::nullopt;
  return {known.value_or(ErrorCode::kUnreachable), std::string(message->as_string())};
}

Result<std::string> ask_ledger(const config::Config& config, const LedgerQuestion& question) {
  const LocalClient client = LocalClient::over_unix(config.server.admin_socket);
  if (client.answers()) {
    const LocalReply reply = SHOAL_TRY(client.request(question.of_server));
    if (reply.status != 200) return error_of(reply);
    return reply.body;
  }
  boost::asio::io_context io{1};
  const base::SystemClock clock;
  LedgerParts parts(io, clock, config.server.data_dir, nullptr);
  if (parts.error()) return *parts.error();
  std::string answer;
  const auto work = [&](const base::Yield& yield) -> Result<void> {
    answer = SHOAL_TRY(question.of_folder(parts, {*parts.feeder(), clock, yield}));
    return {};
  };
  SHOAL_TRY(parts.run(work));
  return answer;
}

Result<json::object> parsed_answer(const std::string& body) {
  boost::system::error_code failed;
  json::value root = json::parse(body, failed);
  if (failed || !root.is_object())
    return Error(ErrorCode::kUnreachable, "what answers on the admin socket is not this version of Shoal");
  return std::move(root.as_object());
}

}  // namespace shoal::cli
