// A question to the ledger: of the running server, over its admin socket, or of the data folder where none runs. Owned
// by a command. Threads: the main thread; blocks.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include <boost/json/object.hpp>

#include "shoal/base/result.h"
#include "shoal/cli/ledger_parts.h"
#include "shoal/cli/local_client.h"
#include "shoal/config/config.h"
#include "shoal/server/ledger_answers.h"

namespace shoal::cli {

// The same question, of a server and of the data folder.
struct LedgerQuestion {
  LocalRequest of_server;
  std::function<Result<std::string>(LedgerParts&, const server::LedgerAsk&)> of_folder;
};

// As it may stand in the path or the query of a target.
[[nodiscard]] std::string query_escaped(std::string_view text);
// What the server says of an error, as an error here.
[[nodiscard]] Error error_of(const LocalReply& reply);
// The body of the answer. Errors: those of the server, or of the store; kUnreachable.
[[nodiscard]] Result<std::string> ask_ledger(const config::Config& config, const LedgerQuestion& question);
// Errors: kUnreachable for what is no object.
[[nodiscard]] Result<boost::json::object> parsed_answer(const std::string& body);

}  // namespace shoal::cli
