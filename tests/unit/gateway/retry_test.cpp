// What happens when a provider fails: another key, another connection, another provider, the same one again, or nobody;
// each attempt with an intent of its own, and never more of them than the provider can bear.
#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "shoal/gateway/expiry.h"
#include "shoal/gateway/outside.h"
#include "shoal/gateway/pipeline.h"

#include "fakes/fake_engine.h"
#include "unit/gateway/recorder.h"
#include "unit/net/scripted_server.h"

namespace shoal::gateway {
namespace {

using fakes::ends;
using fakes::says;
using net::ScriptedServer;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Said = std::vector<std::string>;

const std::string kAnswer =
    R"({"id":"up-1","model":"big","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},)"
    R"("finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":3}})";

std::string http(const std::string& status, const std::string& body, const std::string& headers = "",
                 bool keep = false) {
  return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + headers + (keep ? "" : "Connection: close\r\n") + "\r\n" + body;
}
const std::string kGood = http("200 OK", kAnswer);
const std::string kDown = http("503 Service Unavailable", "{}");

// Real time, which a test may move on.
class JumpingClock final : public base::Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override { return real_.monotonic_ns() + ahead_ns; }
  [[nodiscard]] std::int64_t unix_ms() const override { return real_.unix_ms() + ahead_ns / 1'000'000; }
  std::int64_t ahead_ns = 0;

 private:
  base::SystemClock real_;
};

// Sends the next of `answers` to each request, and the last of them from then on. An empty one closes the connection.
class Upstream {
 public:
  explicit Upstream(Said answers) : answers_(std::move(answers)) {}

  Said asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  std::atomic<int> requests = 0;

 private:
  void serve(int fd) {
    for (;;) {
      std::string head = ScriptedServer::read_request(fd);
      const std::size_t length = head.find("Content-Length: ");
      if (length == std::string::npos) return;
      std::string body(std::stoul(head.substr(length + 16)), '\0');
      if (!body.empty()) ::recv(fd, body.data(), body.size(), MSG_WAITALL);
      const auto number = static_cast<std::size_t>(requests++);
      {
        const std::lock_guard lock(mutex_);
        asked_.push_back(head + body);
      }
      const std::string& answer = answers_.at(std::min(number, answers_.size() - 1));
      ScriptedServer::write(fd, answer);
      if (answer.empty() || answer.find("Connection: close") != std::string::npos) return;
    }
  }

  const Said answers_;
  std::mutex mutex_;
  Said asked_;

 public:
  ScriptedServer server{[this](int fd) { serve(fd); }};
};

class RetryTest : public testing::Test {
 protected:
  RetryTest() {
    route.name = "r";
    route.policy = routing::Policy::kLlmFirst;
    route.remote = {{"acme", "big"}};
    route.local_on_remote_errors = false;
  }
  ~RetryTest() override {
    journal.reset();
    std::filesystem::remove_all(folder);
  }

  std::shared_ptr<provider::Provider> make(const std::string& name, Upstream& upstream, Said keys = {"sk-a"}) {
    provider::ProviderOptions options;
    options.name = name;
    options.upstream = {"127.0.0.1", upstream.server.port(), false, true};
    options.path = "/v1";
    options.keys = std::move(keys);
    options.drain = drain;
    auto health = std::make_shared<provider::Health>(name, clock, nullptr,
                                                     provider::HealthOptions{breaker, [this] { return random; }});
    return std::make_shared<provider::Provider>(std::move(options), client, clock, std::move(health));
  }
  void configure(std::vector<std::shared_ptr<provider::Provider>> providers) {
    auto made = std::make_shared<OutsideConfig>();
    for (const auto& one : providers) {
      auto row = ledger::make_price_row({.provider = one->options().name,
                                         .model = "*",
                                         .from = "2020-01-01",
                                         .input_usd = "3",
                                         .output_usd = "15",
                                         .source = "test",
                                         .checked = "2026-01-01"});
      ASSERT_TRUE(row.ok() && made->prices.add({*row}).ok());
    }
    made->providers = provider::Providers(std::move(providers));
    made->routes = {route};
    config = made;
  }

  Recorder& ask(bool stream = false, base::Deadline deadline = {}, std::stop_token cancel = {}) {
    outside.config = config;
    Pipeline pipeline(engine, &outside, clock, log, {.default_model = {}});
    AnswerRequest asks;
    asks.model = "r";
    asks.params.stream = stream;
    asks.params.max_tokens = 10;
    asks.prompts.push_back({std::vector<types::Message>{{types::Role::kUser, "Hello", ""}}});
    asks.deadline = deadline;
    asks.cancel = std::move(cancel);
    types::ChatRequest chat;
    chat.messages = {{types::Role::kUser, "Hello", ""}};
    asks.chat = &chat;
    asks.body = R"({"model":"r","messages":[{"role":"user","content":"Hello"}],"max_tokens":10})";
    sinks_.push_back(std::make_unique<Recorder>(stream));
    Recorder& sink = *sinks_.back();
    if (on_say) sink.on_say = [&](const std::string& what) { on_say(sink, what); };
    bool ended = false;
    base::spawn(io, "request", [&](base::Yield yield) {
      pipeline.answer(std::move(asks), sink, yield);
      ended = true;
    });
    io.restart();
    while (!ended) io.run_one();
    EXPECT_EQ(book.holds(), 0U);
    EXPECT_EQ(outside.drains.running, 0U);
    return sink;
  }
  // The reasons that name a failure: "upstream_failed at acme/big: ask again after 0 ms".
  static Said moves(const types::Receipt& receipt) {
    Said out;
    for (const types::Reason& reason : receipt.reasons)
      out.push_back(reason.signal + " " + reason.value + ": " + reason.effect);
    return out;
  }
  Said outcomes() {
    EXPECT_TRUE(journal->close().ok());
    Said out;
    EXPECT_TRUE(journal
                    ->read(0,
                           [&](const audit::Record& record) -> Result<void> {
                             if (record.type != static_cast<std::uint8_t>(audit::RecordType::kOutcome)) return {};
                             const auto outcome = audit::parse_outcome(record.payload);
                             out.push_back(outcome->attempt.substr(outcome->attempt.size() - 2) + " " +
                                           std::string(audit::name_of(outcome->kind)) + " " + outcome->failure);
                             return {};
                           })
                    .ok());
    return out;
  }

  base::asio::io_context io{1};
  JumpingClock clock;
  base::Log log = base::Log::null();
  fakes::FakeEngine engine;
  audit::RealDisk disk;
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("retry_" + std::to_string(::getpid()));
  std::unique_ptr<audit::Journal> journal = open();
  net::HttpClient client{io, clock, {}};
  ledger::Book book;
  BudgetChains budgets{book, {}};
  egress::Gate gate{journal.get(), clock, true};
  provider::BreakerOptions breaker;
  double random = 0;  // no wait before a retry
  routing::Route route;
  std::shared_ptr<const OutsideConfig> config;
  Outside outside{gate, book, budgets, journal.get(), nullptr};
  std::function<void(Recorder&, const std::string&)> on_say;
  bool drain = true;

 private:
  std::unique_ptr<audit::Journal> open() {
    audit::JournalOptions options;
    options.segments.folder = folder;
    return audit::Journal::open(io.get_executor(), clock, disk, std::move(options)).value();
  }

  std::vector<std::unique_ptr<Recorder>> sinks_;
};

// --- keys

TEST_F(RetryTest, WhereAKeyIsRefusedTheNextOneIsTriedAtOnce) {
  Upstream acme({http("401 Unauthorized", R"({"error":{"message":"bad sk-a"}})"), kGood});
  configure({make("acme", acme, {"sk-a", "sk-b"})});
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error upstream_refused: ask again with another key"));
  EXPECT_THAT(acme.asked(), ElementsAre(HasSubstr("Bearer sk-a\r\n"), HasSubstr("Bearer sk-b\r\n")));
  EXPECT_THAT(acme.asked()[1], HasSubstr("x-request-id: " + sink.receipt.decision_id + "-2\r\n"));
  EXPECT_EQ(ask().said.back(), "done");
  EXPECT_THAT(acme.asked()[2], HasSubstr("Bearer sk-b\r\n"));
  EXPECT_THAT(outcomes(), ElementsAre("-1 settled upstream_refused", "-2 settled ", "-1 settled "))
      << "each with an intent and an outcome of its own";
}

TEST_F(RetryTest, WhereOnlyOurKeyIsBadTheClientHearsNothingOfTheProvider) {
  Upstream acme({http("401 Unauthorized", R"({"error":{"message":"bad key sk-a of org 7"}})")});
  configure({make("acme", acme)});
  for (int i = 0; i < 2; ++i) {
    const Recorder& sink = ask();
    EXPECT_EQ(sink.said, Said{"fail upstream_refused"});
    EXPECT_EQ(sink.last_error->info().http_status, 502);
    EXPECT_THAT(sink.last_error->message(), Not(HasSubstr("org 7")));
  }
  EXPECT_EQ(acme.requests, 1) << "the key is out";
  clock.ahead_ns += 1'800'000'000'000;
  ask();
  EXPECT_EQ(acme.requests, 2);
}

TEST_F(RetryTest, AKeyThatIsToldToWaitRestsAndTheNextIsTried) {
  Upstream acme({http("429 Too Many Requests", "{}", "Retry-After: 60\r\n"), kGood});
  configure({make("acme", acme, {"sk-a", "sk-b"})});
  EXPECT_EQ(ask().said.back(), "done");
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask().said.back(), "done");
  for (std::size_t i = 1; i < 6; ++i) EXPECT_THAT(acme.asked()[i], HasSubstr("Bearer sk-b\r\n"));
}

TEST_F(RetryTest, NoMoreKeysAreTriedThanTheRouteHasAttempts) {
  Upstream acme({http("401 Unauthorized", "{}")});
  configure({make("acme", acme, {"sk-a", "sk-b", "sk-c", "sk-d", "sk-e"})});
  EXPECT_EQ(ask().said.back(), "fail upstream_refused");
  EXPECT_EQ(acme.requests, 3);
}

// --- again

TEST_F(RetryTest, WhatMayPassIsAskedAgainWhenThereIsNobodyElse) {
  Upstream acme({kDown, kGood});
  configure({make("acme", acme)});
  const Recorder& sink = ask(true);
  EXPECT_THAT(sink.said, Contains("fail bad_answer")) << "no stream, as it was asked to; after one retry";
  EXPECT_EQ(acme.requests, 3);
}

TEST_F(RetryTest, OneAnswerComesOfTwoAttempts) {
  Upstream acme({kDown, kGood});
  configure({make("acme", acme)});
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said, (Said{"discard", "raw " + kAnswer, "commit acme/big remote", "done"}));
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error upstream_failed: ask again after 0 ms"));
  EXPECT_EQ(sink.receipt.billed_micro, 3045) << "a refusal costs nothing";
}

TEST_F(RetryTest, TheAttemptsOfARouteAreTheMostThatThereAre) {
  Upstream acme({kDown});
  configure({make("acme", acme)});
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said.back(), "fail upstream_failed");
  EXPECT_EQ(acme.requests, 3);
  EXPECT_TRUE(sink.last_error->no_retry()) << "it was asked again already";
  route.max_attempts = 1;
  configure({make("acme", acme)});
  EXPECT_FALSE(ask().last_error->no_retry());
  EXPECT_EQ(acme.requests, 4);
}

TEST_F(RetryTest, AFaultOfTheClientIsNotRepeated) {
  Upstream acme({http("400 Bad Request", R"({"error":{"message":"no"}})")});
  configure({make("acme", acme)});
  EXPECT_EQ(ask().said.back(), "fail invalid_request");
  EXPECT_EQ(acme.requests, 1);
}

TEST_F(RetryTest, WhatTheProviderWantsIsWaitedForWhenThereIsTime) {
  Upstream acme({http("503 Service Unavailable", "{}", "retry-after-ms: 30\r\n"), kGood});
  configure({make("acme", acme)});
  const std::int64_t before = clock.monotonic_ns();
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_GE(clock.monotonic_ns() - before, 30'000'000);
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error upstream_failed: ask again after 30 ms"));
}

TEST_F(RetryTest, AWaitThatDoesNotFitTheDeadlineIsTheClients) {
  Upstream acme({http("429 Too Many Requests", "{}", "Retry-After: 7\r\n")});
  configure({make("acme", acme)});
  const Recorder& sink = ask(false, base::Deadline::after_ms(clock, 6'000));
  EXPECT_EQ(sink.said.back(), "fail rate_limited");
  EXPECT_EQ(sink.last_error->retry_after_ms(), 7'000);
  EXPECT_FALSE(sink.last_error->no_retry());
  EXPECT_EQ(acme.requests, 1);
}

TEST_F(RetryTest, AClientThatLeavesEndsTheWait) {
  Upstream acme({http("503 Service Unavailable", "{}", "Retry-After: 60\r\n")});
  configure({make("acme", acme)});
  std::stop_source gone;
  base::Timer timer(io, std::chrono::milliseconds(50));
  timer.async_wait([&](const base::error_code&) { gone.request_stop(); });
  EXPECT_EQ(ask(false, {}, gone.get_token()).said.back(), "fail cancelled");
  EXPECT_EQ(acme.requests, 1);
}

TEST_F(RetryTest, AStreamShowsSignsOfLifeWhileItWaits) {
  Upstream acme({http("503 Service Unavailable", "{}", "retry-after-ms: 1100\r\n"), kDown});
  configure({make("acme", acme)});
  const Recorder& sink = ask(true);
  EXPECT_EQ(sink.said, (Said{"discard", "open", "ping waiting for acme", "discard", "fail upstream_failed"}));
}

TEST_F(RetryTest, AConnectionThatTheProviderHadClosedIsNoFailure) {
  Upstream acme({http("200 OK", kAnswer, "", true), "", kGood});
  route.max_attempts = 2;
  configure({make("acme", acme)});
  EXPECT_EQ(ask().said.back(), "done");
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said.back(), "done");
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error unreachable: ask again on another connection"));
  EXPECT_EQ(acme.server.connections, 2);
  EXPECT_EQ(config->providers.find("acme")->health().targets().front().counts.failures[0], 0U);
  EXPECT_THAT(outcomes(), ElementsAre("-1 settled ", "-1 unknown unreachable", "-2 settled "))
      << "but its bytes may have been read, so it counts at its estimate";
}

TEST_F(RetryTest, ACostCapHoldsForAllAttemptsTogether) {
  // What breaks off counts at its estimate.
  Upstream acme({"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{", kGood});
  route.cost_cap_micro = 700;  // an attempt may cost about 480
  configure({make("acme", acme)});
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said.back(), "fail unreachable") << "what went wrong, not why it was not tried again";
  EXPECT_EQ(acme.requests, 1);
  route.cost_cap_micro = 100'000;
  Upstream other({"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{", kGood});
  configure({make("acme", other)});
  EXPECT_EQ(ask().said.back(), "done");
}

// --- others

struct OthersTest : RetryTest {
  OthersTest() { route.remote = {{"acme", "big"}, {"other", "huge"}}; }
};

TEST_F(OthersTest, TheNextProviderComesBeforeAnotherTry) {
  Upstream acme({kDown});
  Upstream other({kGood});
  configure({make("acme", acme), make("other", other)});
  const Recorder& sink = ask();
  EXPECT_THAT(sink.said, Contains("commit other/huge remote")) << "no local model was asked";
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error upstream_failed: go on with other/huge"));
  EXPECT_EQ(sink.receipt.egress, "acme,other");
}

TEST_F(OthersTest, WhatLocalErrorsDoSaysNothingOfProviders) {
  Upstream acme({kDown});
  Upstream other({kGood});
  route.escalate_local_errors = false;
  configure({make("acme", acme), make("other", other)});
  EXPECT_EQ(ask().said.back(), "done");
}

TEST_F(OthersTest, ABudgetThatIsUsedUpGoesPastProvidersToALocalModel) {
  Upstream acme({kGood});
  Upstream other({kGood});
  route.local = "m";
  route.local_on_remote_errors = true;
  configure({make("acme", acme), make("other", other)});
  budgets.set_caps({.daily = ledger::Pico(ledger::Micro{100}), .monthly = {}, .provider_daily = {}});
  engine.answers = {{{says("Hi"), ends(types::FinishReason::kStop, 7, 1)}, {}, {}}};
  EXPECT_THAT(ask().said, Contains("commit m failed_over"));
  EXPECT_EQ(acme.requests + other.requests, 0);
}

// Before anything is computed: no draft is thrown away for an answer that nobody may pay for.
TEST_F(OthersTest, ABudgetWithNothingLeftIsKnownFromTheStart) {
  Upstream acme({kGood});
  Upstream other({kGood});
  route.local = "m";
  configure({make("acme", acme), make("other", other)});
  budgets.set_caps({.daily = ledger::Pico(), .monthly = {}, .provider_daily = {}});
  engine.answers = {{{says("Hi"), ends(types::FinishReason::kStop, 7, 1)}, {}, {}}};
  const Recorder& sink = ask();
  EXPECT_THAT(sink.said, Contains("commit m local"));
  EXPECT_THAT(moves(sink.receipt), Contains(testing::AllOf(testing::StartsWith("budget "), testing::HasSubstr("USD"),
                                                           testing::EndsWith(": skip acme/big"))));
  route.local_on_budget = false;
  configure({make("acme", acme), make("other", other)});
  EXPECT_EQ(ask().said.back(), "fail budget_exhausted") << "as the route wants it";
  EXPECT_EQ(acme.requests + other.requests, 0);
}

TEST_F(OthersTest, ACapOfOneProviderIsNoCapOfTheNext) {
  Upstream acme({kGood});
  Upstream other({kGood});
  configure({make("acme", acme), make("other", other)});
  budgets.set_caps({.daily = {}, .monthly = {}, .provider_daily = {{"acme", ledger::Pico(ledger::Micro{1})}}});
  const Recorder& sink = ask();
  EXPECT_THAT(sink.said, Contains("commit other/huge remote"));
  EXPECT_THAT(moves(sink.receipt), ElementsAre(testing::AllOf(testing::StartsWith("budget "), testing::HasSubstr("USD"),
                                                              testing::EndsWith(": go on with other/huge"))));
  EXPECT_EQ(acme.requests, 0);
}

// The client named the route: which models it has is not the client's fault.
TEST_F(OthersTest, AModelThatAProviderDoesNotKnowIsNotTheLastWord) {
  Upstream acme({"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"});
  Upstream other({kGood});
  configure({make("acme", acme), make("other", other)});
  const Recorder& sink = ask();
  EXPECT_THAT(sink.said, Contains("commit other/huge remote"));
  EXPECT_THAT(moves(sink.receipt), ElementsAre("error model_not_found: go on with other/huge"));
}

TEST_F(RetryTest, WhereBytesWentIsToldByWholeNames) {
  Upstream first({kDown});
  Upstream second({kGood});
  route.remote = {{"acme2", "big"}, {"acme", "big"}};
  configure({make("acme2", first), make("acme", second)});
  EXPECT_EQ(ask().receipt.egress, "acme2,acme");
}

TEST_F(OthersTest, AfterTheDeadlineNobodyIsAsked) {
  Upstream acme({"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"});
  Upstream other({kGood});
  configure({make("acme", acme), make("other", other)});
  const Recorder& sink = ask(false, base::Deadline::after_ms(clock, 150));
  EXPECT_EQ(sink.said.back(), "fail deadline_exceeded");
  EXPECT_EQ(other.requests, 0);
}

TEST_F(OthersTest, WhoIsLeftAloneIsSkippedAndNamed) {
  Upstream acme({kDown});
  Upstream other({kGood});
  configure({make("acme", acme), make("other", other)});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask().said.back(), "done");
  EXPECT_EQ(acme.requests, 5);
  const Recorder& sink = ask();
  EXPECT_EQ(acme.requests, 5);
  EXPECT_THAT(moves(sink.receipt), ElementsAre(testing::StartsWith("breaker open for 14 s: skip acme/big")));
  EXPECT_THAT(sink.said, Contains("commit other/huge remote")) << "nothing went wrong with this request";
}

// --- breaker and budget

TEST_F(RetryTest, WithNobodyLeftTheClientHearsWhenToComeBack) {
  random = 0.5;
  Upstream acme({kDown, kDown, kDown, kDown, kDown, kGood});
  route.max_attempts = 1;
  configure({make("acme", acme)});
  for (int i = 0; i < 5; ++i) EXPECT_EQ(ask().said.back(), "fail upstream_failed");
  const Recorder& sink = ask();
  EXPECT_EQ(sink.said, Said{"fail provider_down"});
  EXPECT_EQ(sink.last_error->info().http_status, 503);
  EXPECT_GT(sink.last_error->retry_after_ms(), 10'000);
  EXPECT_FALSE(sink.last_error->no_retry());
  EXPECT_EQ(acme.requests, 5);
  clock.ahead_ns += 15'000'000'000;
  EXPECT_EQ(ask().said.back(), "done") << "one request tries, and closes it";
  EXPECT_EQ(ask().said.back(), "done");
}

TEST_F(RetryTest, AFailureThatRepeatsWithinARequestCountsOnce) {
  Upstream acme({kDown});
  configure({make("acme", acme, {"sk-a", "sk-b"})});
  for (int i = 0; i < 4; ++i) EXPECT_EQ(ask().said.back(), "fail upstream_failed");
  EXPECT_EQ(acme.requests, 12);
  EXPECT_EQ(config->providers.find("acme")->health().targets().front().breaker, provider::Breaker::State::kClosed);
  ask();
  EXPECT_EQ(acme.requests, 13) << "open after the first attempt of the fifth";
}

TEST_F(RetryTest, AProviderThatIsDownSeesAtMostAQuarterMoreThanItsRequests) {
  Upstream acme({kDown});
  breaker.trip_rate = 2;  // off
  configure({make("acme", acme)});
  for (int i = 0; i < 1'000; ++i) {
    ask();
    clock.ahead_ns += 10'000'000;  // 100 requests a second
  }
  EXPECT_LE(acme.requests, 1'250);
  EXPECT_GT(acme.requests, 1'150) << "but it is asked again";
}

TEST_F(RetryTest, ABreakerLeavesItAlone) {
  Upstream acme({kDown});
  configure({make("acme", acme)});
  for (int i = 0; i < 1'000; ++i) {
    ask();
    clock.ahead_ns += 10'000'000;
  }
  EXPECT_LE(acme.requests, 20);
}

TEST_F(RetryTest, AReloadKeepsWhatIsKnown) {
  Upstream acme({kDown});
  route.max_attempts = 1;
  configure({make("acme", acme)});
  for (int i = 0; i < 5; ++i) ask();
  const auto before = config;
  configure({make("acme", acme)});
  config->providers.take_over(before->providers);
  EXPECT_EQ(ask().said, Said{"fail provider_down"});
  Upstream moved({kGood});
  configure({make("acme", moved)});
  config->providers.take_over(before->providers);
  EXPECT_EQ(ask().said.back(), "done") << "another place";
}

// --- clients that leave, and reservations that nobody ends

std::string event(const std::string& data) {
  return "data: " + data + "\n\n";
}
std::string piece(const std::string& delta, const std::string& finish = "null", const std::string& more = "") {
  return event(R"({"id":"up-1","choices":[{"index":0,"delta":)" + delta + R"(,"finish_reason":)" + finish + "}]" +
               more + "}");
}
const std::string kHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
const std::string kHello = kHead + piece(R"({"content":"Hello"})");
const std::string kUsage = R"({"choices":[],"usage":{"prompt_tokens":1000,"completion_tokens":3}})";
const std::string kRest = piece("{}", R"("stop")") + event(kUsage) + event("[DONE]");

struct LeavingTest : RetryTest {
  LeavingTest() {
    on_say = [this](Recorder& sink, const std::string& what) {
      if (what.find("Hello") == std::string::npos) return;
      sink.broken = true;
      gone.request_stop();
    };
  }
  void leave(const std::string& answer) {
    Upstream acme({answer});
    configure({make("acme", acme)});
    EXPECT_EQ(ask(true, {}, gone.get_token()).said.back(), "fail cancelled");
    EXPECT_EQ(acme.requests, 1);
  }
  std::int64_t spent() {
    return ledger::round_up_to_micro(book.snapshot(clock.unix_seconds()).front().committed).value;
  }
  std::stop_source gone;
};

TEST_F(LeavingTest, AStreamIsReadOnToWhatItCosts) {
  leave(kHello + kRest);
  EXPECT_EQ(outside.drains.settled, 1U);
  EXPECT_EQ(spent(), 3045);
  EXPECT_THAT(outcomes(), ElementsAre("-1 settled cancelled"));
}

TEST_F(LeavingTest, OneThatBreaksOffThenCountsAtItsEstimate) {
  leave(kHello);
  EXPECT_EQ(outside.drains.given_up, 1U);
  EXPECT_THAT(outcomes(), ElementsAre(testing::StartsWith("-1 unknown ")));
}

TEST_F(LeavingTest, AMebibyteIsEnough) {
  leave(kHello + piece(R"({"content":")" + std::string(2 << 20, 'a') + "\"}") + kRest);
  EXPECT_EQ(outside.drains.given_up, 1U);
  EXPECT_THAT(outcomes(), ElementsAre("-1 unknown cancelled"));
}

TEST_F(LeavingTest, HalfAMinuteIsEnough) {
  on_say = [this, before = on_say](Recorder& sink, const std::string& what) {
    before(sink, what);
    if (sink.broken) clock.ahead_ns += 30'000'000'000;
  };
  leave(kHello + kRest);
  EXPECT_EQ(outside.drains.given_up, 1U);
}

TEST_F(LeavingTest, SixteenAtOnceAreEnough) {
  outside.drains.running = 16;
  Upstream acme({kHello + kRest});
  configure({make("acme", acme)});
  on_say = [this, before = on_say](Recorder& sink, const std::string& what) {
    before(sink, what);
    if (sink.broken) outside.drains.running = 0;
  };
  ask(true, {}, gone.get_token());
  EXPECT_EQ(outside.drains.cancelled, 1U);
  EXPECT_THAT(outcomes(), ElementsAre("-1 unknown cancelled"));
}

TEST_F(LeavingTest, AProviderThatStopsComputingIsCutOff) {
  drain = false;
  leave(kHello + kRest);
  EXPECT_EQ(outside.drains.cancelled, 1U);
  EXPECT_EQ(outside.drains.settled, 0U);
}

TEST_F(RetryTest, WhatIsCountedOnTheWayIsNotWhatItCosts) {
  // Anthropic counts in its first event, and some servers in each.
  Upstream acme(
      {kHead + piece(R"({"content":"Hello"})", "null", R"(,"usage":{"prompt_tokens":1000,"completion_tokens":1})")});
  configure({make("acme", acme)});
  EXPECT_EQ(ask(true).said.back(), "fail bad_answer");
  EXPECT_THAT(outcomes(), ElementsAre("-1 unknown bad_answer"));
}

TEST_F(RetryTest, AReservationThatNobodyEndsCountsAtItsEstimate) {
  Expiry expiry(io.get_executor(), outside, clock, log);
  const ledger::BucketId day =
      book.bucket({ledger::Period::kDay, ledger::Owner::kTotal}, ledger::Pico(ledger::Micro{900}));
  const std::int64_t now = clock.unix_seconds();
  ASSERT_TRUE(book.reserve({.chain = std::span(&day, 1),
                            .attempt = "lost-1",
                            .request = "lost",
                            .amount = ledger::Pico(ledger::Micro{500}),
                            .expires = now + 60},
                           now)
                  .ok());
  EXPECT_EQ(expiry.sweep(), 0U);
  clock.ahead_ns += 61'000'000'000;
  EXPECT_EQ(expiry.sweep(), 1U);
  EXPECT_EQ(book.holds(), 0U);
  EXPECT_EQ(expiry.sweep(), 0U);
  EXPECT_EQ(ledger::round_up_to_micro(book.snapshot(now).front().committed).value, 500);
  EXPECT_THAT(outcomes(), ElementsAre("-1 unknown deadline_exceeded"));
}

TEST_F(RetryTest, TheLookForThemComesEachSecondUntilItIsStopped) {
  Expiry expiry(io.get_executor(), outside, clock, log);
  const ledger::BucketId day = book.bucket({ledger::Period::kDay, ledger::Owner::kTotal}, std::nullopt);
  const std::int64_t now = clock.unix_seconds();
  ASSERT_TRUE(book.reserve({.chain = std::span(&day, 1),
                            .attempt = "lost-1",
                            .request = "lost",
                            .amount = ledger::Pico(ledger::Micro{500}),
                            .expires = now - 1},
                           now)
                  .ok());
  while (book.holds() > 0) io.run_one();
  expiry.stop();
  journal->close().ignore("a test");
  io.run();  // comes to its end
}

TEST_F(RetryTest, AnAttemptWhoseReservationExpiredIsWrittenDownOnce) {
  Upstream acme({kHello + kRest});
  configure({make("acme", acme)});
  Expiry expiry(io.get_executor(), outside, clock, log);
  on_say = [&](Recorder&, const std::string& what) {
    if (what.find("Hello") == std::string::npos) return;
    clock.ahead_ns += 700'000'000'000;
    EXPECT_EQ(expiry.sweep(), 1U);
  };
  ask(true);
  EXPECT_THAT(outcomes(), ElementsAre("-1 unknown deadline_exceeded"));
}

}  // namespace
}  // namespace shoal::gateway
