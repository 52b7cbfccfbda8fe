// Escalations: how many requests of a key may still go to a provider because the local answer is not sure enough, or
// because they look as if it would not be, so that nobody who knows how to make them so spends a budget that is
// everybody's. A bucket of each route and key fills by `per_hour` and holds
// no more than that; it begins full, and anew after a restart. Owned by Outside. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace shoal::gateway {

class Escalations {
 public:
  // Takes one, where there is one. `per_hour` 0: there is no limit. `now_ns`: monotonic.
  bool take(std::string_view route, std::string_view principal, std::int64_t per_hour, std::int64_t now_ns);
  // Whether take() would.
  [[nodiscard]] bool left(std::string_view route, std::string_view principal, std::int64_t per_hour,
                          std::int64_t now_ns) const;

  [[nodiscard]] std::uint64_t refused() const { return refused_; }
  [[nodiscard]] std::size_t buckets() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    std::int64_t at_ns = 0;

    [[nodiscard]] double filled(std::int64_t per_hour, std::int64_t now_ns) const;
  };
  using Name = std::pair<std::string, std::string>;
  void forget_full(std::int64_t per_hour, std::int64_t now_ns);

  std::map<Name, Bucket> buckets_;  // those that are full may be missing
  std::uint64_t refused_ = 0;
};

}  // namespace shoal::gateway
