// Health: what is known of a provider from the attempts at it: which of its keys are usable, which of its models are
// worth asking, and how many retries it can still take. Whoever asks takes a Turn first, and says what came of it.
//
//   Turn turn = SHOAL_TRY(health->admit(model));
//   ... ask, with turn.key() ...
//   Sequel sequel = turn.failed({.failure = class_of(error), ...});   // or turn.succeeded()
//
// Owned by a Provider, and handed on to the one that a reload puts in its place; a Turn keeps it alive. Threads: the
// I/O thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/error.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/provider/breaker.h"
#include "shoal/provider/failure.h"
#include "shoal/provider/key_ring.h"
#include "shoal/provider/retry_budget.h"

namespace shoal::provider {

struct HealthOptions {
  BreakerOptions breaker{};
  Random random{};  // none: make_random()
};

// What is counted of a target since the server began. By FailureClass.
struct TargetCounts {
  std::uint64_t attempts = 0;
  std::array<std::uint64_t, 5> failures{};
};

class Health;

// What may help after a failed attempt.
struct Sequel {
  bool other_key = false;  // its key was taken out, and another may be tried at once
};

// One attempt's place: a key, and a pass of the breaker. Used up by saying what came of it; destroyed before, it says
// nothing of the provider.
class Turn {
 public:
  Turn(Turn&&) noexcept = default;
  Turn& operator=(Turn&&) = delete;
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn();

  [[nodiscard]] const std::string* key() const { return key_ ? &key_->secret : nullptr; }

  // Content came.
  void answers();
  void succeeded();
  struct Failure {
    FailureClass failure = FailureClass::kTransient;
    bool rate_limited = false;
    bool forbidden = false;  // by status 403, which may mean this request or this model, and not the key
    std::optional<std::int64_t> retry_after_ms{};
    bool counts = true;  // as Breaker::failed()
  };
  Sequel failed(const Failure& failure);

 private:
  friend class Health;
  struct Target;
  Turn(std::shared_ptr<Health> health, std::shared_ptr<Target> target, std::shared_ptr<KeyRing::Key> key,
       Breaker::Pass pass)
      : health_(std::move(health)), target_(std::move(target)), key_(std::move(key)), pass_(pass) {}

  std::shared_ptr<Health> health_;  // null: used up
  std::shared_ptr<Target> target_;
  std::shared_ptr<KeyRing::Key> key_;
  Breaker::Pass pass_;
};

// Why a target is left alone now.
struct Outage {
  Error error;         // for a client that has nobody else to ask
  std::string signal;  // "breaker", "keys"
  std::string value;   // "open for 12 s"
};

class Health : public std::enable_shared_from_this<Health> {
 public:
  // `log` may be null.
  Health(std::string provider, const base::Clock& clock, base::Log* log, HealthOptions options = {});

  // At start and after a reload: what is known of a key stays with it.
  void set_keys(const std::vector<std::string>& secrets) { keys_.set(secrets); }

  // Errors: that of outage(). The attempt counts from here.
  [[nodiscard]] Result<Turn> admit(std::string_view model);
  [[nodiscard]] std::optional<Outage> outage(std::string_view model) const;

  [[nodiscard]] RetryBudget& retries() { return retries_; }
  [[nodiscard]] const RetryBudget& retries() const { return retries_; }
  // Full jitter: a random time up to one that doubles with each attempt. `attempt`: from 1.
  // Source: gRPC A6; AWS Architecture Blog, "Exponential Backoff And Jitter".
  [[nodiscard]] std::int64_t backoff_ms(std::int32_t attempt) const;

  struct TargetState {
    std::string model;
    Breaker::State breaker = Breaker::State::kClosed;
    TargetCounts counts;
  };
  [[nodiscard]] std::vector<TargetState> targets() const;
  [[nodiscard]] const KeyRing& keys() const { return keys_; }

  // Answers that have not ended.
  [[nodiscard]] const std::shared_ptr<std::size_t>& running() const { return running_; }

 private:
  friend class Turn;
  using Target = Turn::Target;
  std::shared_ptr<Target> target(std::string_view model);
  [[nodiscard]] Error keys_error(std::string_view model) const;
  void tell(std::string_view event, const Target& target, Breaker::State before);

  const std::string provider_;
  const base::Clock& clock_;
  base::Log* const log_;
  const HealthOptions options_;
  KeyRing keys_;
  RetryBudget retries_;
  std::map<std::string, std::shared_ptr<Target>, std::less<>> targets_;
  const std::shared_ptr<std::size_t> running_ = std::make_shared<std::size_t>(0);
};

}  // namespace shoal::provider
