#include "shoal/routing/plan.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "shoal/types/unsupported.h"

namespace shoal::routing {
namespace {

// What the engine cannot do.
const types::Need* first_foreign(const std::vector<types::Need>& needs) {
  const auto found =
      std::ranges::find_if(needs, [](const types::Need& need) { return need.kind != types::NeedKind::kSignals; });
  return found == needs.end() ? nullptr : &*found;
}

class Planner {
 public:
  Planner(const Route& route, const Facts& facts, const World& world) : route_(route), facts_(facts), world_(world) {}

  Plan run() {
    if (world_.domain) plan_.reasons.push_back(*world_.domain);
    if (route_.policy == Policy::kLlmFirst) {
      add_remotes();
      if (local_may_follow() || plan_.candidates.empty()) add_local();
    } else {
      add_local();
      if (route_.policy == Policy::kSlmFirst) add_remotes();
    }
    drop_hindered();
    if (!obey_wish()) judge();
    if (plan_.candidates.empty()) {
      plan_.refusal = first_error_ ? std::move(*first_error_)
                                   : Error(ErrorCode::kModelNotFound,
                                           fmt::format("the route \"{}\" has no model that could answer", route_.name));
    }
    return std::move(plan_);
  }

 private:
  void add_local() {
    if (route_.local.empty()) return;
    if (const types::Need* need = first_foreign(facts_.needs)) {
      return drop("needs", need->param, "local models", route_.local, types::unsupported(*need));
    }
    if (world_.no_local) return drop("model", world_.no_local->info().slug, "ready", route_.local, *world_.no_local);
    plan_.candidates.push_back({});
  }

  void add_remotes() {
    for (std::size_t i = 0; i < route_.remote.size(); ++i) add_remote(i);
  }

  void add_remote(std::size_t index) {
    const RemoteTarget& target = route_.remote[index];
    const std::string name = target.provider + "/" + target.model;
    if (route_.local_only || facts_.local_only) {
      return drop("privacy", "local_only", "nothing leaves", name,
                  Error(ErrorCode::kPolicyDenied, "the request is local_only, and no local model can answer it"));
    }
    if (!world_.egress_allowed) {
      return drop("egress.allowed", "false", "true", name,
                  Error(ErrorCode::kPolicyDenied, "egress.allowed is false, and no local model can answer"));
    }
    if (const types::Need* need = first_that(types::NeedKind::kSignals))
      return drop("needs", need->param, "providers", name, types::unsupported(*need));
    if (const types::Need* need = first_that(types::NeedKind::kOpenAi);
        need != nullptr && !world_.remotes[index].openai)
      return drop("needs", need->param, "OpenAI's dialect", name, types::unsupported(*need));
    const RemoteState& state = world_.remotes[index];
    if (state.out)
      return drop(state.signal, state.value.empty() ? state.out->info().slug : state.value, "ready", name, *state.out);
    plan_.candidates.push_back({.local = false, .remote = index});
  }

  [[nodiscard]] bool has(bool local) const {
    return std::ranges::any_of(plan_.candidates, [local](const Candidate& c) { return c.local == local; });
  }

  // After a provider that failed, or that would cost too much.
  [[nodiscard]] bool local_may_follow() const { return route_.local_on_remote_errors || route_.local_on_budget; }

  // Where somebody else can be asked, a model that would be asked in vain is left out, and one that would answer late
  // comes last: when the others fail, late is better than never.
  void drop_hindered() {
    if (!world_.local_hindrance || !has(true) || !has(false)) return;
    const bool late = world_.local_hindrance->info().retryable && local_may_follow();
    types::Reason reason = world_.hindered_by;
    if (late) {
      std::ranges::stable_partition(plan_.candidates, [](const Candidate& c) { return !c.local; });
      reason.effect = "ask " + route_.local + " last";
    } else {
      std::erase_if(plan_.candidates, [](const Candidate& c) { return c.local; });
      reason.effect = "skip " + route_.local;
    }
    plan_.reasons.push_back(std::move(reason));
  }

  // The client's wish moves those whom the route allows anyway, and brings in nobody. Whom it wants first is not
  // judged.
  bool obey_wish() {
    if (facts_.prefer == Prefer::kNone) return false;
    const bool local = facts_.prefer == Prefer::kLocal;
    const bool there = has(local);
    plan_.reasons.push_back({"x-shoal-prefer", local ? "local" : "remote", "whom the route allows",
                             there ? (local ? "ask the local model first" : "ask a provider first") : "nobody"});
    if (!there) return false;
    std::ranges::stable_partition(plan_.candidates, [local](const Candidate& c) { return c.local == local; });
    if (!local && !local_may_follow()) std::erase_if(plan_.candidates, [](const Candidate& c) { return c.local; });
    return true;
  }

  // A local answer is judged where there is somebody to go to. Where it cannot be, for nothing says how sure such an
  // answer is, the route says whether it is kept or not even begun.
  void judge() {
    if (route_.policy != Policy::kSlmFirst || plan_.candidates.empty() || !plan_.candidates.front().local) return;
    // A promise holds for what must stay here, too: then there is nobody to go to, and an answer is kept or refused.
    const bool alone = !has(false);
    if (alone && !(route_.risk > 0 && facts_.local_only)) return;
    if (world_.undecided && !alone && escalate("draft here")) return;
    if (world_.outlook && !alone) {
      plan_.reasons.push_back(*world_.outlook);
      if (world_.gains && escalate("draft here")) return;
    }
    if (world_.calibrated) {
      if (world_.proof) plan_.reasons.push_back(*world_.proof);
      plan_.candidates.front().judged = true;
      if (!alone && local_may_follow()) plan_.candidates.push_back({.fallback = true});
      return;
    }
    if (world_.gap) plan_.reasons.push_back(*world_.gap);
    const bool keep = route_.on_null_confidence == NullConfidence::kKeep;
    plan_.reasons.push_back({"confidence", "null", "on_null_confidence", keep ? "keep" : "escalate"});
    if (keep) return;
    if (alone) {
      plan_.candidates.clear();
      first_error_ = unproven();
      return;
    }
    if (escalate(route_.local_on_budget ? "keep" : "fail") || route_.local_on_budget) return;
    plan_.candidates.clear();
    first_error_ = Error(ErrorCode::kBudgetExhausted,
                         fmt::format("nothing says how sure a local answer would be, and this key has used up "
                                     "escalations_per_hour {} of the route \"{}\"",
                                     route_.escalations_per_hour, route_.name));
  }

  // FENCE: who words questions so that they go to a provider unread spends no more than the key may. `otherwise`: what
  // becomes of it then.
  bool escalate(const char* otherwise) {
    const bool told = std::exchange(plan_.escalates, true);
    if (world_.may_escalate) {
      ask_local_last();
      return true;
    }
    if (!told || otherwise != std::string_view("draft here")) {
      plan_.reasons.push_back(
          {"escalations", "used up", fmt::format("escalations_per_hour {}", route_.escalations_per_hour), otherwise});
    }
    return false;
  }

  // REQUIRES: the local model comes first, and there is somebody else.
  void ask_local_last() {
    std::ranges::rotate(plan_.candidates, plan_.candidates.begin() + 1);
    if (!local_may_follow()) plan_.candidates.pop_back();
  }

  [[nodiscard]] Error unproven() const {
    const types::Reason why = world_.gap.value_or(types::Reason{"certificate", "none", "one for this task", ""});
    return {ErrorCode::kLowConfidence,
            fmt::format("the route \"{}\" promises a risk of {}, {} {} ({}), and local_only lets nobody else answer",
                        route_.name, route_.risk, why.signal, why.value, why.rule)};
  }

  [[nodiscard]] const types::Need* first_that(types::NeedKind kind) const {
    const auto found = std::ranges::find(facts_.needs, kind, &types::Need::kind);
    return found == facts_.needs.end() ? nullptr : &*found;
  }

  void drop(std::string signal, std::string_view value, std::string rule, const std::string& name, Error error) {
    plan_.reasons.push_back({std::move(signal), std::string(value), std::move(rule), "skip " + name});
    if (!first_error_ || sooner(error, *first_error_)) first_error_ = std::move(error);
  }

  // What passes by itself is told before what does not, and of two such things the one that passes first.
  static bool sooner(const Error& error, const Error& than) {
    if (!error.info().retryable || !error.retry_after_ms()) return false;
    return !than.info().retryable || !than.retry_after_ms() || *error.retry_after_ms() < *than.retry_after_ms();
  }

  const Route& route_;
  const Facts& facts_;
  const World& world_;
  Plan plan_;
  std::optional<Error> first_error_;
};

}  // namespace

Plan plan(const Route& route, const Facts& facts, const World& world) {
  return Planner(route, facts, world).run();
}

std::optional<RemoteTarget> parse_target(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) return std::nullopt;
  return RemoteTarget{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

}  // namespace shoal::routing
