// Which area a request is about, told by a small task of three.
#include "shoal/routing/domains.h"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/learning/class_fit.h"
#include "shoal/statistics/random.h"

namespace shoal::routing {
namespace {

using Words = std::array<std::string_view, 6>;
constexpr std::array<std::string_view, 3> kLabels = {"bank", "card", "travel"};
constexpr std::array<Words, 3> kWords = {{{"balance", "account", "transfer", "deposit", "savings", "interest"},
                                          {"card", "credit", "limit", "fraud", "chargeback", "payment"},
                                          {"flight", "hotel", "luggage", "airport", "visa", "itinerary"}}};

std::string sentence(const Words& words, statistics::Random& random) {
  constexpr std::array<std::string_view, 8> kBetween = {"my", "the", "a", "and", "to", "book", "near", "raise"};
  std::string out = "please";
  for (int i = 0; i < 4; ++i) {
    out += " " + std::string(kBetween[random.index(kBetween.size())]);
    out += " " + std::string(words[random.index(words.size())]);
  }
  return out;
}

class DomainsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    learning::ClassData data;
    statistics::Random random(7);
    for (std::uint32_t label = 0; label < kLabels.size(); ++label) {
      data.labels.emplace_back(kLabels[label]);
      for (int i = 0; i < 60; ++i) {
        data.texts.push_back(sentence(kWords[label], random));
        data.classes.push_back(label);
      }
    }
    for (int i = 0; i < 60; ++i) data.outside.push_back("zebras quarrel over vexing quartz " + std::to_string(i));
    domains = new Domains;
    domains->task.labels = data.labels;
    ASSERT_TRUE(learning::fit_classes(data, {}, domains->task).ok());
    domains->routes = {"money", "money", "trips"};
  }
  static void TearDownTestSuite() {
    delete domains;
    domains = nullptr;
  }

  Domain find_turns(std::vector<std::string_view> turns) { return find_domain(*domains, turns, scorer); }
  Domain find(std::string_view turn) { return find_turns({turn}); }

  static Domains* domains;
  learning::ClassScorer scorer;
};

Domains* DomainsTest::domains = nullptr;

TEST_F(DomainsTest, AnAreaIsKnownByItsWords) {
  const Domain found = find("please transfer my savings to the deposit account");
  EXPECT_EQ(found.kind, DomainKind::kOne);
  EXPECT_EQ(domains->task.labels[found.label], "bank");
  EXPECT_GE(found.probability, 0.8);
  EXPECT_EQ(find("please book a flight and a hotel near the airport").kind, DomainKind::kOne);
}

TEST_F(DomainsTest, PartsOfTwoAreasAreSeveral) {
  for (const std::string_view joint : {" and ", ". ", "\n", "; ", " then "}) {
    const std::string text =
        "please transfer my savings to the account" + std::string(joint) + "book a flight, a hotel and a visa";
    const Domain found = find(text);
    EXPECT_EQ(found.kind, DomainKind::kSeveral) << text;
    EXPECT_EQ(domains->routes[found.label], "money") << text;
    EXPECT_EQ(domains->routes[found.other], "trips") << text;
  }
}

TEST_F(DomainsTest, TwoLabelsOfOneRouteAreOneArea) {
  EXPECT_EQ(find("please transfer my savings to the account and raise the credit card limit").kind, DomainKind::kOne);
  // So are two that stay with the route itself; two routes are two areas.
  const std::vector<std::string_view> turns = {
      "please transfer my savings to the account and raise the credit card limit"};
  Domains other = *domains;
  other.routes = {"", "", "trips"};
  EXPECT_EQ(find_domain(other, turns, scorer).kind, DomainKind::kOne);
  other.routes = {"", "cards", "trips"};
  EXPECT_EQ(find_domain(other, turns, scorer).kind, DomainKind::kSeveral);
}

TEST_F(DomainsTest, WhatIsLikeNothingIsUnsure) {
  EXPECT_EQ(find("zebras quarrel over vexing quartz tomorrow").kind, DomainKind::kUnsure);
  EXPECT_EQ(find("").kind, DomainKind::kUnsure);
}

TEST_F(DomainsTest, AShortTurnIsReadWithTheOneBefore) {
  EXPECT_EQ(find("and tomorrow?").kind, DomainKind::kUnsure);
  const Domain found = find_turns({"please book a flight and a hotel near the airport", "and tomorrow?"});
  EXPECT_EQ(found.kind, DomainKind::kOne);
  EXPECT_EQ(domains->task.labels[found.label], "travel");
  EXPECT_EQ(find_turns({"please book a flight and a hotel", "please transfer my savings to the account"}).label, 0U);
}

TEST_F(DomainsTest, HostileTextsEnd) {
  EXPECT_NE(find(std::string(1'000'000, '.')).kind, DomainKind::kOne);
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += i % 2 == 0 ? "and zebra, " : "then\n";
  EXPECT_NE(find(many).kind, DomainKind::kOne);
}

}  // namespace
}  // namespace shoal::routing
