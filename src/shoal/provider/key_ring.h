// KeyRing: the keys of a provider, used in turn. One that is refused is left out for half an hour; one that was told to
// wait, for so long, at the model that it was told for. It is known by its value, so a reload that keeps a key keeps
// what is known of it. Owned by Health. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/base/clock.h"

namespace shoal::provider {

class KeyRing {
 public:
  struct Key {
    std::string secret;
    std::int64_t refused_until_ns = 0;
    std::vector<std::pair<std::string, std::int64_t>> resting{};  // models, and until when
  };

  explicit KeyRing(const base::Clock& clock) : clock_(clock) {}

  void set(const std::vector<std::string>& secrets);
  [[nodiscard]] bool empty() const { return keys_.empty(); }
  [[nodiscard]] std::size_t size() const { return keys_.size(); }
  // Of them, those that are not refused.
  [[nodiscard]] std::size_t accepted() const;

  // The next one that may be used for the model; null when there is none.
  [[nodiscard]] std::shared_ptr<Key> next(std::string_view model);
  [[nodiscard]] bool has(std::string_view model) const;

  void refuse(Key& key);
  void rest(Key& key, std::string_view model, std::int64_t ms);
  // "2 of 3": its place, for the log. Empty when a reload has taken it away.
  [[nodiscard]] std::string place(const Key& key) const;

  struct Recovery {
    std::int64_t ms = 0;
    bool refused = false;  // by the provider; else the key rests
  };
  // When the first of them may be used again. REQUIRES: there are keys, and none may be now.
  [[nodiscard]] Recovery recovery(std::string_view model) const;

 private:
  [[nodiscard]] Recovery wait(const Key& key, std::string_view model) const;

  const base::Clock& clock_;
  std::vector<std::shared_ptr<Key>> keys_;
  std::size_t next_ = 0;
};

}  // namespace shoal::provider
