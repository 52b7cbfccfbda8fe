// A pipeline with a provider "acme" behind it: a scripted server, with a gate, a journal and a price. Used by the tests
// of what a provider answers and of what is judged. Threads: the test's.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include "shoal/gateway/audits.h"
#include "shoal/gateway/outside.h"
#include "shoal/gateway/pipeline.h"

#include "fakes/fake_engine.h"
#include "unit/gateway/recorder.h"
#include "unit/net/scripted_server.h"

namespace shoal::gateway {

using fakes::ends;
using fakes::says;
using net::ScriptedServer;
using Said = std::vector<std::string>;

inline const std::string kAnswer =
    R"({"id":"up-1","model":"big","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},)"
    R"("finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":3}})";

inline std::string http(const std::string& body, const std::string& status = "200 OK",
                        const std::string& type = "application/json") {
  return "HTTP/1.1 " + status + "\r\nContent-Type: " + type + "\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\nConnection: close\r\n\r\n" + body;
}
inline std::string event(const std::string& delta, const std::string& finish = "null") {
  return R"(data: {"id":"up-1","choices":[{"index":0,"delta":)" + delta + R"(,"finish_reason":)" + finish + "}]}\n\n";
}

class RemoteTest : public testing::Test {
 protected:
  void SetUp() override {
    audit::JournalOptions options;
    options.segments.folder = folder_;
    options.segments.segment_bytes = 65'536;
    auto opened = audit::Journal::open(io.get_executor(), clock, disk, std::move(options));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    journal = std::move(opened).value();
    gate = std::make_unique<egress::Gate>(journal.get(), clock, true);
  }
  void TearDown() override {
    journal.reset();
    std::filesystem::remove_all(folder_);
  }

  // Makes the provider "acme", which sends `response` to whoever connects.
  void acme(std::string response, bool priced = true) {
    server = std::make_unique<ScriptedServer>([this, response = std::move(response)](int fd) {
      std::string head = ScriptedServer::read_request(fd);
      const std::size_t length = head.find("Content-Length: ");
      std::string body(std::stoul(head.substr(length + 16)), '\0');
      if (!body.empty()) ::recv(fd, body.data(), body.size(), MSG_WAITALL);
      asked = head + body;
      ScriptedServer::write(fd, response);
    });
    provider::ProviderOptions options;
    options.name = "acme";
    options.upstream = {"127.0.0.1", server->port(), false, true};
    options.path = "/v1";
    options.keys = {"sk-acme-secret"};
    options.models = {"big"};
    auto made = std::make_shared<OutsideConfig>();
    made->providers = provider::Providers({std::make_shared<provider::Provider>(std::move(options), client, clock)});
    if (priced) {
      auto row = ledger::make_price_row({.provider = "acme",
                                         .model = "big",
                                         .from = "2020-01-01",
                                         .input_usd = "3",
                                         .output_usd = "15",
                                         .source = "test",
                                         .checked = "2026-01-01"});
      ASSERT_TRUE(row.ok()) << row.error().message();
      ASSERT_TRUE(made->prices.add({*row}).ok());
    }
    made->routes = routes;
    made->calibrations = std::make_shared<std::vector<routing::Table>>(tables);
    made->certificates = std::make_shared<std::vector<routing::Certificate>>(certificates);
    config = made;
  }

  static AnswerRequest request(bool stream) {
    AnswerRequest out;
    out.model = "acme/big";
    out.params.stream = stream;
    out.params.max_tokens = 10;
    out.prompts.push_back({std::vector<types::Message>{{types::Role::kUser, "Hello", ""}}});
    return out;
  }

  void run(AnswerRequest asks, Recorder& sink) {
    Outside outside{*gate, book, budgets, journal.get(), config};
    Audits audits(io.get_executor(), outside, clock, log, {.name = "exact", .agrees = std::equal_to<>()},
                  audit_options);
    if (with_audits) outside.audits = &audits;
    if (prepare) prepare(outside);
    Pipeline pipeline(engine, &outside, clock, log, pipeline_options);
    types::ChatRequest chat;
    chat.messages = {{types::Role::kUser, "Hello", ""}};
    const std::string body = R"({"model":"acme/big","messages":[{"role":"user","content":"Hello"}],"max_tokens":10)" +
                             std::string(asks.params.stream ? R"(,"stream":true})" : "}");
    asks.body = body;
    asks.chat = &chat;
    bool ended = false;
    base::spawn(io, "request", [&](base::Yield yield) {
      pipeline.answer(std::move(asks), sink, yield);
      ended = true;
    });
    io.restart();
    while (!ended || audits.waiting() > 0) io.run_one();
    audit_counts = audits.counts();
    judged_counts = outside.judged;
    client.close_idle();
  }

  // What the journal says: "intent acme/big", "settled 3045", "receipt remote 200".
  Said written() {
    EXPECT_TRUE(journal->close().ok());
    Said out;
    const auto read = journal->read(0, [&](const audit::Record& record) -> Result<void> {
      switch (static_cast<audit::RecordType>(record.type)) {
        case audit::RecordType::kIntent: {
          const auto intent = audit::parse_intent(record.payload);
          out.push_back("intent " + intent->provider + "/" + intent->model +
                        (intent->purpose == "answer" ? "" : " " + intent->purpose));
          reserved_pico = static_cast<std::int64_t>(intent->reserved_pico);
          break;
        }
        case audit::RecordType::kOutcome: {
          const auto outcome = audit::parse_outcome(record.payload);
          out.push_back(std::string(audit::name_of(outcome->kind)) + " " +
                        std::to_string(static_cast<std::int64_t>(outcome->cost_pico / 1'000'000)));
          break;
        }
        case audit::RecordType::kReceipt: {
          const auto receipt = audit::parse_receipt(record.payload);
          out.push_back("receipt " + std::string(audit::name_of(receipt->decision)) + " " +
                        std::to_string(receipt->status) + " " + std::to_string(receipt->billed_micro));
          if (receipt->judged) judged = receipt->judged;
          break;
        }
        case audit::RecordType::kLabel: {
          const auto label = audit::parse_label(record.payload);
          out.push_back("label " + std::string(audit::name_of(label->kind)) + (label->right ? " right " : " wrong ") +
                        label->source);
          break;
        }
      }
      return {};
    });
    EXPECT_TRUE(read.ok());
    return out;
  }
  // Micro-dollars of the day: committed and held.
  std::pair<std::int64_t, std::int64_t> spent() {
    for (const ledger::BucketState& state : book.snapshot(clock.unix_seconds())) {
      if (state.key.owner == ledger::Owner::kTotal && state.key.period == ledger::Period::kDay) {
        return {ledger::round_up_to_micro(state.committed).value, ledger::round_up_to_micro(state.held).value};
      }
    }
    return {-1, -1};
  }

  base::asio::io_context io{1};
  base::SystemClock clock;
  base::Log log = base::Log::null();
  fakes::FakeEngine engine;
  audit::RealDisk disk;
  std::unique_ptr<audit::Journal> journal;
  net::HttpClient client{io, clock, {}};
  ledger::Book book;
  BudgetChains budgets{book, {}};
  std::unique_ptr<egress::Gate> gate;
  PipelineOptions pipeline_options{.default_model = "m"};
  std::vector<routing::Route> routes;
  std::vector<routing::Table> tables;
  std::vector<routing::Certificate> certificates;
  std::shared_ptr<const OutsideConfig> config;
  std::unique_ptr<ScriptedServer> server;
  std::string asked;
  std::int64_t reserved_pico = 0;
  std::optional<audit::Judged> judged;  // of the last receipt that has it
  bool with_audits = false;
  std::function<void(Outside&)> prepare;
  AuditOptions audit_options;
  AuditCounts audit_counts;
  JudgedCounts judged_counts;

 private:
  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("remote_" + std::to_string(::getpid()));
};

struct RouteTest : RemoteTest {
  RouteTest() {
    route.name = "r";
    route.local = "m";
    route.remote = {{"acme", "big"}};
  }
  static AnswerRequest by_route(bool stream) {
    AnswerRequest out = request(stream);
    out.model = "r";
    return out;
  }
  routing::Route route;
};

}  // namespace shoal::gateway
