// One Server over a fake engine and a fake writer: send a request, look at what came back.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include "shoal/server/server.h"

#include "fakes/fake_engine.h"
#include "fakes/fake_writer.h"

namespace shoal::server {

// The real time, which a test can move on.
class MovableClock final : public base::Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override { return base::SystemClock().monotonic_ns() + moved_ns; }
  [[nodiscard]] std::int64_t unix_ms() const override { return base::SystemClock().unix_ms(); }

  std::int64_t moved_ns = 0;
};

struct ServerTest : testing::Test {
  ServerTest() {
    types::ModelInfo chat;
    chat.name = "smol";
    chat.generates = chat.has_chat_template = true;
    chat.context_length = 2048;
    types::ModelInfo embedder;
    embedder.name = "mini";
    embedder.embeds = true;
    embedder.embedding_length = 4;
    engine.model_list = {chat, embedder};
    engine.answers = {
        {{fakes::says("Hi"), fakes::says(" you"), fakes::ends(types::FinishReason::kStop, 7, 2)}, {}, {}}};
  }

  static net::HttpRequest post(std::string path, std::string body) {
    net::HttpRequest request;
    request.method = "POST";
    request.path = std::move(path);
    request.headers = {{"Content-Type", "application/json"}};
    request.body = std::move(body);
    request.id = "req-1";
    return request;
  }
  static net::HttpRequest get(std::string path) {
    net::HttpRequest request;
    request.method = "GET";
    request.path = std::move(path);
    request.id = "req-1";
    return request;
  }
  static net::HttpRequest admin(net::HttpRequest request) {
    request.listener = net::ListenerKind::kAdmin;
    return request;
  }

  // Runs until the request is answered; the writer is `writer`.
  void run(const net::HttpRequest& request) {
    gateway::Pipeline pipeline(engine, nullptr, clock, log, pipeline_options);
    Server server(pipeline, engine, registry, clock, log, options, keys, hooks);
    base::spawn(io, "request", [&](base::Yield yield) { server.handle(request, *writer, yield); });
    io.restart();
    io.run();
    EXPECT_EQ(engine.running, 0);
  }
  // A fresh writer, one request, its status.
  int status_of(const net::HttpRequest& request) {
    writer = std::make_unique<fakes::FakeWriter>();
    run(request);
    EXPECT_EQ(writer->state(), net::ResponseWriter::State::kFinished);
    return writer->status;
  }

  static boost::json::value json_of(const std::string& text) {
    boost::json::error_code ec;
    auto value = boost::json::parse(text, ec);
    EXPECT_FALSE(ec) << text;
    return value;
  }
  [[nodiscard]] boost::json::value body() const { return json_of(writer->body); }
  [[nodiscard]] std::string error_field(std::string_view name) const {
    const auto value = body();
    const auto& field = value.at("error").at(boost::json::string_view(name.data(), name.size()));
    return field.is_string() ? std::string(field.get_string().data(), field.get_string().size()) : std::string();
  }
  [[nodiscard]] std::string code() const { return error_field("code"); }

  boost::asio::io_context io{1};
  fakes::FakeEngine engine;
  telemetry::Registry registry;
  MovableClock clock;
  base::Log log = base::Log::null();
  gateway::PipelineOptions pipeline_options{.default_model = "smol"};
  ServerOptions options{.default_model = "smol", .default_embedding_model = "", .allowed_origins = {}};
  KeySet keys;
  AdminHooks hooks;
  std::unique_ptr<fakes::FakeWriter> writer = std::make_unique<fakes::FakeWriter>();
};

}  // namespace shoal::server
