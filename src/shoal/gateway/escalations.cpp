#include "shoal/gateway/escalations.h"

#include <algorithm>

namespace shoal::gateway {
namespace {

constexpr double kNsPerHour = 3.6e12;
constexpr std::size_t kManyBuckets = 10'000;

}  // namespace

double Escalations::Bucket::filled(std::int64_t per_hour, std::int64_t now_ns) const {
  const auto limit = static_cast<double>(per_hour);
  return std::min(limit, tokens + static_cast<double>(now_ns - at_ns) / kNsPerHour * limit);
}

bool Escalations::left(std::string_view route, std::string_view principal, std::int64_t per_hour,
                       std::int64_t now_ns) const {
  if (per_hour <= 0) return true;
  const auto found = buckets_.find({std::string(route), std::string(principal)});
  return found == buckets_.end() || found->second.filled(per_hour, now_ns) >= 1;
}

bool Escalations::take(std::string_view route, std::string_view principal, std::int64_t per_hour, std::int64_t now_ns) {
  if (per_hour <= 0) return true;
  if (buckets_.size() >= kManyBuckets) forget_full(per_hour, now_ns);
  const Bucket full{.tokens = static_cast<double>(per_hour), .at_ns = now_ns};
  Bucket& bucket = buckets_.try_emplace({std::string(route), std::string(principal)}, full).first->second;
  bucket.tokens = bucket.filled(per_hour, now_ns);
  bucket.at_ns = now_ns;
  if (bucket.tokens < 1) {
    ++refused_;
    return false;
  }
  bucket.tokens -= 1;
  return true;
}

// What is full tells nothing. Of a route with another limit it may be forgotten a little early.
void Escalations::forget_full(std::int64_t per_hour, std::int64_t now_ns) {
  std::erase_if(buckets_,
                [&](const auto& one) { return one.second.filled(per_hour, now_ns) >= static_cast<double>(per_hour); });
}

}  // namespace shoal::gateway
