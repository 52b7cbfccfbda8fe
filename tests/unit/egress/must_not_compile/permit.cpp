// What nobody can do with an EgressPermit. Each CASE must fail to compile; without one, this file compiles.
#include <utility>

#include "shoal/egress/gate.h"
#include "shoal/provider/provider.h"

using shoal::egress::EgressPermit;

#if CASE == 1
EgressPermit forged("attempt", "provider", "body");  // only the gate makes one
#elif CASE == 2
EgressPermit twice(const EgressPermit& permit) {
  return permit;
}  // no copies
#elif CASE == 3
EgressPermit empty() {
  return {};
}  // none out of nothing
#elif CASE == 4
void other_bytes(EgressPermit& permit) {
  permit.body() = "other bytes";
}  // what was permitted is what leaves
#elif CASE == 5
// Asking takes the permit away from whoever had it.
auto kept(shoal::provider::Provider& provider, EgressPermit& permit, const shoal::provider::Question& question,
          shoal::provider::Turn& turn, shoal::provider::Trace& trace, shoal::base::Yield yield) {
  return provider.ask(permit, turn, question, "model", {}, trace, std::move(yield));
}
#elif CASE == 6
// Bytes without a permit.
auto bare(shoal::provider::Provider& provider, const std::string& body, const shoal::provider::Question& question,
          shoal::provider::Turn& turn, shoal::provider::Trace& trace, shoal::base::Yield yield) {
  return provider.ask(body, turn, question, "model", {}, trace, std::move(yield));
}
#elif CASE == 7
struct Heir : shoal::egress::Gate {  // an heir of the gate is not the gate
  static EgressPermit forge() { return EgressPermit("attempt", "provider", "body"); }
};
#endif

auto allowed(shoal::provider::Provider& provider, EgressPermit permit, const shoal::provider::Question& question,
             shoal::provider::Turn& turn, shoal::provider::Trace& trace, shoal::base::Yield yield) {
  return provider.ask(std::move(permit), turn, question, "model", {}, trace, std::move(yield));
}
