#include "shoal/provider/key_ring.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include <fmt/format.h>

namespace shoal::provider {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
// Busbar's cooldown of a lane that is hard down.
constexpr std::int64_t kRefusedMs = 1'800'000;

}  // namespace

void KeyRing::set(const std::vector<std::string>& secrets) {
  std::vector<std::shared_ptr<Key>> keys;
  for (const std::string& secret : secrets) {
    const auto known = std::ranges::find(keys_, secret, [](const auto& key) { return key->secret; });
    keys.push_back(known != keys_.end() ? *known : std::make_shared<Key>(Key{.secret = secret}));
  }
  keys_ = std::move(keys);
  next_ = 0;
}

KeyRing::Recovery KeyRing::wait(const Key& key, std::string_view model) const {
  const auto left_ms = [now = clock_.monotonic_ns()](std::int64_t until_ns) {
    return until_ns <= now ? 0 : (until_ns - now + kNsPerMs - 1) / kNsPerMs;
  };
  Recovery out{left_ms(key.refused_until_ns), true};
  const auto resting = std::ranges::find(key.resting, model, [](const auto& rest) { return rest.first; });
  const std::int64_t rest = resting == key.resting.end() ? 0 : left_ms(resting->second);
  return rest > out.ms ? Recovery{rest, false} : out;
}

std::size_t KeyRing::accepted() const {
  const std::int64_t now = clock_.monotonic_ns();
  return static_cast<std::size_t>(
      std::ranges::count_if(keys_, [now](const auto& key) { return key->refused_until_ns <= now; }));
}

std::shared_ptr<KeyRing::Key> KeyRing::next(std::string_view model) {
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const auto& key = keys_[next_];
    next_ = (next_ + 1) % keys_.size();
    if (wait(*key, model).ms == 0) return key;
  }
  return nullptr;
}

bool KeyRing::has(std::string_view model) const {
  return std::ranges::any_of(keys_, [&](const auto& key) { return wait(*key, model).ms == 0; });
}

void KeyRing::refuse(Key& key) {
  key.refused_until_ns = clock_.monotonic_ns() + kRefusedMs * kNsPerMs;
}

void KeyRing::rest(Key& key, std::string_view model, std::int64_t ms) {
  const std::int64_t now = clock_.monotonic_ns();
  std::erase_if(key.resting, [&](const auto& rest) { return rest.second <= now; });
  const std::int64_t until = now + ms * kNsPerMs;
  const auto known = std::ranges::find(key.resting, model, [](const auto& rest) { return rest.first; });
  if (known == key.resting.end()) {
    key.resting.emplace_back(model, until);
  } else {
    known->second = std::max(known->second, until);
  }
}

std::string KeyRing::place(const Key& key) const {
  const auto found = std::ranges::find(keys_, &key, [](const auto& one) { return one.get(); });
  if (found == keys_.end()) return {};
  return fmt::format("{} of {}", found - keys_.begin() + 1, keys_.size());
}

KeyRing::Recovery KeyRing::recovery(std::string_view model) const {
  assert(!keys_.empty());
  Recovery soonest{std::numeric_limits<std::int64_t>::max(), true};
  for (const auto& key : keys_) {
    const Recovery one = wait(*key, model);
    if (one.ms < soonest.ms) soonest = one;
  }
  return soonest;
}

}  // namespace shoal::provider
