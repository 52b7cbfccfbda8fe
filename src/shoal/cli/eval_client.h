// A running Shoal as `shoal eval run` asks it: over the admin socket or over HTTP. One connection per request.
// Owned by the command; must outlive the evaluation::Server that it makes. Threads: any.
#pragma once

#include <string>

#include "shoal/base/result.h"
#include "shoal/cli/local_client.h"
#include "shoal/config/config.h"
#include "shoal/evaluation/run.h"

namespace shoal::cli {

class EvalClient {
 public:
  // `url`: http://HOST:PORT; empty: the admin socket. `key` goes along as a bearer token; empty: none.
  // `interrupt_fd` ends requests when it can be read. Errors: kUsage for another URL, kUnreachable when nothing
  // answers.
  [[nodiscard]] static Result<EvalClient> open(const config::Config& config, const std::string& url, std::string key,
                                               int interrupt_fd);

  [[nodiscard]] evaluation::Server server() const;
  // Where it is, for people.
  [[nodiscard]] const std::string& place() const { return place_; }

 private:
  EvalClient(LocalClient client, std::string place, std::string key, int interrupt_fd)
      : client_(std::move(client)), place_(std::move(place)), key_(std::move(key)), interrupt_fd_(interrupt_fd) {}

  [[nodiscard]] Result<std::string> post(const std::string& target, const std::string& body) const;
  [[nodiscard]] Result<std::string> identity(const std::string& route) const;
  [[nodiscard]] Result<double> most_usd(const std::string& body) const;
  [[nodiscard]] Result<evaluation::Answer> ask(const std::string& body) const;
  [[nodiscard]] bool interrupted() const;

  LocalClient client_;
  std::string place_;
  std::string key_;
  int interrupt_fd_;
};

}  // namespace shoal::cli
