// Who may answer, in which order; and what falls out is named with its reason.
#include "shoal/routing/plan.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::routing {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using types::Need;
using types::NeedKind;
using types::Reason;

struct PlanTest : testing::Test {
  PlanTest() {
    route.name = "r";
    route.policy = Policy::kSlmFirst;
    route.local = "small";
    route.remote = {{"acme", "big"}, {"other", "huge"}};
    world.remotes.resize(2);
    world.calibrated = true;
  }
  // "small", "small?" when it is judged, "small!" when it is there for the end, "acme/big".
  std::vector<std::string> order() {
    made = plan(route, {needs, local_only, prefer}, world);
    std::vector<std::string> names;
    for (const Candidate& candidate : made.candidates) {
      const RemoteTarget target = candidate.local ? RemoteTarget() : route.remote.at(candidate.remote);
      names.push_back((candidate.local ? route.local : target.provider + "/" + target.model) +
                      (candidate.judged ? "?" : "") + (candidate.fallback ? "!" : ""));
    }
    EXPECT_EQ(names.empty(), made.refusal.has_value());
    return names;
  }

  Route route;
  World world;
  std::vector<Need> needs;
  bool local_only = false;
  Prefer prefer = Prefer::kNone;
  Plan made;
};

TEST_F(PlanTest, WhatIsOfNoOneDomainIsForTheLargeModelToSortOut) {
  const Reason domain{"domain", "banking and travel", "areas, at least 0.8", "ask a provider first"};
  world.domain = domain;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!")) << "it is of one";
  EXPECT_THAT(made.reasons, ElementsAre(domain));
  world.undecided = true;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_THAT(made.reasons, ElementsAre(domain));
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small")) << "nobody may be asked";
}

TEST_F(PlanTest, ARequestThatGainsEnoughGoesToAProviderAtOnce) {
  const Reason outlook{"gain", "0.4", "router r, at least 0.2", "ask a provider first"};
  world.outlook = outlook;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!")) << "not enough";
  EXPECT_THAT(made.reasons, ElementsAre(outlook));
  world.gains = true;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small")) << "the local model follows, and is not judged";
  EXPECT_THAT(made.reasons, ElementsAre(outlook));
  route.local_on_remote_errors = route.local_on_budget = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
}

TEST_F(PlanTest, WhatGainsButMayNotLeaveIsAnsweredHere) {
  world.outlook = Reason{"gain", "0.4", "router r, at least 0.2", "ask a provider first"};
  world.gains = true;
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small"));
  local_only = false;
  prefer = Prefer::kLocal;
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge")) << "the client's wish goes before";
}

TEST_F(PlanTest, WhatWantsAProviderUnreadIsDraftedWhereItsKeyHasUsedUpItsEscalations) {
  const Reason used_up{"escalations", "used up", "escalations_per_hour 5", "draft here"};
  route.escalations_per_hour = 5;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!"));
  EXPECT_FALSE(made.escalates);
  world.outlook = Reason{"gain", "0.4", "router r, at least 0.2", "ask a provider first"};
  world.gains = true;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_TRUE(made.escalates);
  world.may_escalate = false;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!"));
  EXPECT_THAT(made.reasons, ElementsAre(*world.outlook, used_up));
  EXPECT_TRUE(made.escalates) << "it is counted";
  world.undecided = true;
  world.domain = Reason{"domain", "banking and travel", "areas, at least 0.8", "ask a provider first"};
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!"));
  EXPECT_THAT(made.reasons, ElementsAre(*world.domain, used_up, *world.outlook)) << "it is told once";
  prefer = Prefer::kRemote;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small")) << "who asks for a provider does not escalate";
  EXPECT_FALSE(made.escalates);
}

TEST_F(PlanTest, WithoutAConfidenceItIsKeptOrFailsOnceItsKeyHasUsedUpItsEscalations) {
  route.escalations_per_hour = 5;
  route.on_null_confidence = NullConfidence::kEscalate;
  world.calibrated = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_TRUE(made.escalates);
  world.may_escalate = false;
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge"));
  EXPECT_THAT(made.reasons, Contains(Reason{"escalations", "used up", "escalations_per_hour 5", "keep"}));
  route.local_on_budget = false;
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(made.refusal->code(), ErrorCode::kBudgetExhausted);
  EXPECT_THAT(made.refusal->message(), HasSubstr("escalations_per_hour 5 of the route \"r\""));
}

TEST_F(PlanTest, ThePolicyIsTheOrder) {
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!"));
  EXPECT_THAT(made.reasons, IsEmpty());
  route.policy = Policy::kSlmOnly;
  EXPECT_THAT(order(), ElementsAre("small"));
  route.policy = Policy::kLlmFirst;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  route.local_on_remote_errors = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small")) << "when the budget is used up";
  route.local_on_budget = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
}

TEST_F(PlanTest, WhereNothingSaysHowSureAnAnswerIsTheRouteDecides) {
  world.calibrated = false;
  route.on_null_confidence = NullConfidence::kKeep;
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge")) << "kept as it comes; the others for errors";
  EXPECT_THAT(made.reasons, Contains(Reason{"confidence", "null", "on_null_confidence", "keep"}));
  route.on_null_confidence = NullConfidence::kEscalate;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_THAT(made.reasons, Contains(Reason{"confidence", "null", "on_null_confidence", "escalate"}));
  route.local_on_remote_errors = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small")) << "when the budget is used up";
  route.local_on_budget = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
}

TEST_F(PlanTest, WhatIsNotSureIsKeptInTheEndWhereTheRouteAllowsIt) {
  route.local_on_remote_errors = false;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!")) << "when the budget is used up";
  route.local_on_budget = false;
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge"));
}

TEST_F(PlanTest, WhyThereIsNoConfidenceIsTold) {
  world.calibrated = false;
  world.gap = Reason{"calibration", "weights f00", "b4r", "confidence null"};
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge"));
  EXPECT_THAT(made.reasons, ElementsAre(*world.gap, Reason{"confidence", "null", "on_null_confidence", "keep"}));
}

TEST_F(PlanTest, AModelThatWouldBeAskedInVainIsLeftOutWhereSomebodyElseIs) {
  world.local_hindrance = Error(ErrorCode::kContextLengthExceeded, "too long");
  world.hindered_by = {"context", "at least 9", "at most 4", ""};
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
  EXPECT_THAT(made.reasons, ElementsAre(Reason{"context", "at least 9", "at most 4", "skip small"}));
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small")) << "it says so itself";
  local_only = false;
  route.policy = Policy::kLlmFirst;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
}

// When providers fail and all their requests come here, there is a queue, and waiting in it is all that is left.
TEST_F(PlanTest, AModelThatWouldAnswerLateComesLast) {
  world.local_hindrance = Error(ErrorCode::kOverloaded, "many wait");
  world.hindered_by = {"queue", "9 wait", "fewer than 4", ""};
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_THAT(made.reasons, ElementsAre(Reason{"queue", "9 wait", "fewer than 4", "ask small last"}));
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small")) << "it waits";
  local_only = false;
  route.policy = Policy::kLlmFirst;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  route.local_on_remote_errors = route.local_on_budget = false;
  route.policy = Policy::kSlmFirst;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge")) << "the route wants no answer of it after others";
}

TEST_F(PlanTest, AWishMovesWhomTheRouteAllows) {
  prefer = Prefer::kLocal;
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge")) << "not judged";
  EXPECT_THAT(made.reasons,
              ElementsAre(Reason{"x-shoal-prefer", "local", "whom the route allows", "ask the local model first"}));
  route.policy = Policy::kLlmFirst;
  EXPECT_THAT(order(), ElementsAre("small", "acme/big", "other/huge"));
  route.policy = Policy::kSlmFirst;
  prefer = Prefer::kRemote;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  route.local_on_remote_errors = route.local_on_budget = false;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
}

TEST_F(PlanTest, AWishBringsInNobody) {
  prefer = Prefer::kRemote;
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small"));
  EXPECT_THAT(made.reasons, Contains(Reason{"x-shoal-prefer", "remote", "whom the route allows", "nobody"}));
  local_only = false;
  route.policy = Policy::kSlmOnly;
  EXPECT_THAT(order(), ElementsAre("small"));
  route.policy = Policy::kSlmFirst;
  world.egress_allowed = false;
  EXPECT_THAT(order(), ElementsAre("small"));
}

TEST_F(PlanTest, NothingIsJudgedWhereThereIsNobodyToGoTo) {
  route.remote.clear();
  world.remotes.clear();
  world.calibrated = false;
  EXPECT_THAT(order(), ElementsAre("small"));
  EXPECT_THAT(made.reasons, IsEmpty());
}

TEST_F(PlanTest, APromiseThatIsShownIsTold) {
  route.risk = 0.05;
  world.proof = Reason{"certificate", "2026-11-23", "risk at most 0.05", "threshold 0.87"};
  EXPECT_THAT(order(), ElementsAre("small?", "acme/big", "other/huge", "small!"));
  EXPECT_THAT(made.reasons, ElementsAre(*world.proof));
}

TEST_F(PlanTest, APromiseThatIsNotShownEscalates) {
  route.risk = 0.05;
  world.calibrated = false;
  world.gap = Reason{"certificate", "void: quantisation Q8_0", "certified for Q4_1", "no threshold"};
  route.on_null_confidence = NullConfidence::kEscalate;
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge", "small"));
  EXPECT_THAT(made.reasons, ElementsAre(*world.gap, Reason{"confidence", "null", "on_null_confidence", "escalate"}));
}

// Where nothing may leave a promise is kept, too: judged while it is shown, refused when it is not.
TEST_F(PlanTest, APromiseHoldsForWhatMustStayHere) {
  route.risk = 0.05;
  local_only = true;
  EXPECT_THAT(order(), ElementsAre("small?"));
  world.calibrated = false;
  world.gap = Reason{"certificate", "void: quantisation Q8_0", "certified for Q4_1", "no threshold"};
  route.on_null_confidence = NullConfidence::kEscalate;
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(made.refusal->code(), ErrorCode::kLowConfidence);
  EXPECT_THAT(made.refusal->message(), HasSubstr("void: quantisation Q8_0 (certified for Q4_1)"));
  route.on_null_confidence = NullConfidence::kKeep;
  EXPECT_THAT(order(), ElementsAre("small"));
  route.risk = 0;
  route.on_null_confidence = NullConfidence::kEscalate;
  EXPECT_THAT(order(), ElementsAre("small")) << "a route that promises nothing";
}

TEST_F(PlanTest, WhatACandidateCannotDoTakesItOut) {
  needs = {{NeedKind::kTools, "tools"}};
  EXPECT_THAT(order(), ElementsAre("acme/big", "other/huge"));
  EXPECT_THAT(made.reasons, ElementsAre(Reason{"needs", "tools", "local models", "skip small"}));
  needs = {{NeedKind::kSignals, "x_shoal.p_true"}};
  EXPECT_THAT(order(), ElementsAre("small"));
  needs = {{NeedKind::kOpenAi, "prediction"}};
  world.remotes[0].openai = false;
  EXPECT_THAT(order(), ElementsAre("other/huge"));
  needs = {{NeedKind::kTools, "tools"}, {NeedKind::kSignals, "x_shoal.p_true"}};
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(made.refusal->code(), ErrorCode::kUnsupportedParameter);
  EXPECT_EQ(made.refusal->param(), "tools");
}

TEST_F(PlanTest, PrivacyTakesEveryProviderOut) {
  for (const bool by_route : {true, false}) {
    route.local_only = by_route;
    local_only = !by_route;
    EXPECT_THAT(order(), ElementsAre("small"));
    EXPECT_THAT(made.reasons, Contains(Reason{"privacy", "local_only", "nothing leaves", "skip acme/big"}));
  }
  world.no_local = Error(ErrorCode::kModelNotFound, "gone");
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(made.refusal->code(), ErrorCode::kModelNotFound) << "the first reason is the one that is told";
}

TEST_F(PlanTest, EgressThatIsOffTakesEveryProviderOut) {
  world.egress_allowed = false;
  EXPECT_THAT(order(), ElementsAre("small"));
  route.local.clear();
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_EQ(made.refusal->code(), ErrorCode::kPolicyDenied);
}

TEST_F(PlanTest, WhoCannotBeAskedNowIsLeftOut) {
  world.remotes[0].out = Error(ErrorCode::kOverloaded, "64 requests under way");
  EXPECT_THAT(order(), ElementsAre("small?", "other/huge", "small!"));
  EXPECT_THAT(made.reasons, Contains(Reason{"provider", "overloaded", "ready", "skip acme/big"}));
  world.no_local = Error(ErrorCode::kModelFailed, "it was given up");
  EXPECT_THAT(order(), ElementsAre("other/huge"));
}

TEST_F(PlanTest, AnOpenBreakerIsNamedAndOfTwoTheSoonestIsTold) {
  route.local.clear();
  const auto down = [](std::int64_t ms) { return Error(ErrorCode::kProviderDown, "down").with_retry_after_ms(ms); };
  world.remotes[0] = {.out = down(12'000), .signal = "breaker", .value = "open for 12 s"};
  world.remotes[1] = {.out = down(5'000), .signal = "breaker", .value = "open for 5 s"};
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_THAT(made.reasons, ElementsAre(Reason{"breaker", "open for 12 s", "ready", "skip acme/big"},
                                        Reason{"breaker", "open for 5 s", "ready", "skip other/huge"}));
  EXPECT_EQ(made.refusal->retry_after_ms(), 5'000);
  std::swap(world.remotes[0], world.remotes[1]);
  order();
  EXPECT_EQ(made.refusal->retry_after_ms(), 5'000);
  route.local = "small";
  needs = {{NeedKind::kTools, "tools"}};
  order();
  EXPECT_EQ(made.refusal->code(), ErrorCode::kProviderDown) << "what passes by itself, before what does not";
}

TEST_F(PlanTest, ARouteWithoutModelsSaysSo) {
  route.local.clear();
  route.remote.clear();
  world.remotes.clear();
  EXPECT_THAT(order(), IsEmpty());
  EXPECT_THAT(made.refusal->message(), HasSubstr("\"r\""));
}

TEST(Target, IsTwoNamesWithASlash) {
  EXPECT_EQ(parse_target("a/b"), (RemoteTarget{"a", "b"}));
  EXPECT_EQ(parse_target("openrouter/meta/llama"), (RemoteTarget{"openrouter", "meta/llama"}));
  for (const char* const none : {"", "a", "/b", "a/", "/"}) EXPECT_FALSE(parse_target(none)) << none;
}

}  // namespace
}  // namespace shoal::routing
