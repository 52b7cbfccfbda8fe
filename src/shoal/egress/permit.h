// EgressPermit: the right to send some bytes to one provider, once. It owns the bytes, so what leaves is what was
// permitted; it cannot be copied, and only the Gate makes one. Whoever sends takes it by value and so uses it up: a
// retry, a probe, a judge needs another.
// Owned by whoever will send. Threads: as plain data.
#pragma once

#include <string>
#include <utility>

namespace shoal::egress {

class EgressPermit {
 public:
  EgressPermit(EgressPermit&&) noexcept = default;
  EgressPermit& operator=(EgressPermit&&) noexcept = default;
  EgressPermit(const EgressPermit&) = delete;
  EgressPermit& operator=(const EgressPermit&) = delete;
  ~EgressPermit() = default;

  // The id under which the intent is journaled, and which is sent along.
  [[nodiscard]] const std::string& attempt() const { return attempt_; }
  [[nodiscard]] const std::string& provider() const { return provider_; }
  [[nodiscard]] const std::string& body() const { return body_; }

 private:
  friend class Gate;
  EgressPermit(std::string attempt, std::string provider, std::string body)
      : attempt_(std::move(attempt)), provider_(std::move(provider)), body_(std::move(body)) {}

  std::string attempt_;
  std::string provider_;
  std::string body_;
};

}  // namespace shoal::egress
