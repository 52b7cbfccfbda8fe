#include "shoal/gateway/outside.h"

namespace shoal::gateway {

using ledger::Owner;
using ledger::Period;

BudgetChains::BudgetChains(ledger::Book& book, Caps caps) : book_(book) {
  set_caps(std::move(caps));
}

void BudgetChains::set_caps(Caps caps) {
  caps_ = std::move(caps);
  total_ = {bucket(Period::kDay, Owner::kTotal, "", caps_.daily),
            bucket(Period::kMonth, Owner::kTotal, "", caps_.monthly)};
  providers_.clear();
}

ledger::BucketId BudgetChains::bucket(Period period, Owner owner, std::string_view name,
                                      std::optional<ledger::Pico> cap, std::string_view shown) {
  return book_.bucket({.period = period, .owner = owner, .name = std::string(name)}, cap, shown);
}

std::span<const ledger::BucketId> BudgetChains::of(std::string_view provider, std::string_view principal) {
  auto at = providers_.find(provider);
  if (at == providers_.end()) {
    const auto cap = caps_.provider_daily.find(provider);
    const auto found = cap == caps_.provider_daily.end() ? std::nullopt : std::optional(cap->second);
    at = providers_.emplace(provider, bucket(Period::kDay, Owner::kProvider, provider, found)).first;
  }
  chain_ = total_;
  chain_.push_back(at->second);
  if (!principal.empty()) {
    const OfKey& key = of_key(principal);
    chain_.push_back(key.day);
    chain_.push_back(key.month);
  }
  return chain_;
}

void BudgetChains::set_key_caps(CapsOfKeys caps) {
  key_caps_ = std::move(caps);
  keys_.clear();
}

const BudgetChains::OfKey& BudgetChains::of_key(std::string_view principal) {
  auto at = keys_.find(principal);
  if (at == keys_.end()) {
    const auto found = key_caps_.find(principal);
    const KeyCaps caps = found == key_caps_.end() ? KeyCaps() : found->second;
    const OfKey key{bucket(Period::kDay, Owner::kKey, principal, caps.daily, caps.name),
                    bucket(Period::kMonth, Owner::kKey, principal, caps.monthly, caps.name)};
    at = keys_.emplace(principal, key).first;
  }
  return at->second;
}

}  // namespace shoal::gateway
