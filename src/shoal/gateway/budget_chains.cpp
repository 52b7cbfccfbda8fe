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
                                      std::optional<ledger::Pico> cap) {
  return book_.bucket({.period = period, .owner = owner, .name = std::string(name)}, cap);
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
    auto key = principals_.find(principal);
    if (key == principals_.end()) {
      key = principals_.emplace(principal, bucket(Period::kMonth, Owner::kKey, principal, std::nullopt)).first;
    }
    chain_.push_back(key->second);
  }
  return chain_;
}

}  // namespace shoal::gateway
