#include <cmath>
#include <string>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "harness.h"

namespace shoal::server {
namespace {

constexpr const char* kChat = "/v1/chat/completions";
const std::string kHello = R"({"model":"smol","messages":[{"role":"user","content":"hi"}]})";

TEST_F(ServerTest, UnknownPathsNameTheLikelyOne) {
  const std::pair<const char*, const char*> cases[] = {{"/chat/completions", "/v1/chat/completions"},
                                                       {"/v1/v1/models", "/v1/models"},
                                                       {"/v1/models/", "/v1/models"},
                                                       {"/models", "/v1/models"},
                                                       {"/v1/chat/completion", "/v1/chat/completions"},
                                                       {"/helthz", "/healthz"}};
  for (const auto& [path, likely] : cases) {
    EXPECT_EQ(status_of(get(path)), 404) << path;
    EXPECT_EQ(code(), "not_found");
    EXPECT_EQ(error_field("did_you_mean"), likely) << writer->body;
  }
  EXPECT_EQ(status_of(get("/something/else/entirely")), 404);
  EXPECT_NE(error_field("message").find("/openapi.json"), std::string::npos);
}

TEST_F(ServerTest, WrongMethodsListTheRightOnes) {
  EXPECT_EQ(status_of(get(kChat)), 405);
  EXPECT_EQ(writer->headers.at("Allow"), "POST");
  EXPECT_EQ(status_of(post("/v1/models", "{}")), 405);
  EXPECT_EQ(writer->headers.at("Allow"), "GET, HEAD");
  auto head = get("/healthz");
  head.method = "HEAD";
  EXPECT_EQ(status_of(head), 200);
}

TEST_F(ServerTest, ABodyMustBePlainJson) {
  for (const char* type : {"text/plain", "", "application/x-www-form-urlencoded"}) {
    auto request = post(kChat, kHello);
    request.headers = {{"Content-Type", type}};
    EXPECT_EQ(status_of(request), 415) << type;
    EXPECT_EQ(code(), "unsupported_media_type");
  }
  auto packed = post(kChat, kHello);
  packed.headers.emplace_back("Content-Encoding", "gzip");
  EXPECT_EQ(status_of(packed), 415);
  auto charset = post(kChat, kHello);
  charset.headers = {{"content-type", "application/json; charset=utf-8"}};
  EXPECT_EQ(status_of(charset), 200);
}

TEST_F(ServerTest, KeysGuardTheApiButNotItsHealth) {
  keys = *KeySet::parse("right-key-0123456789\n", "keys");
  EXPECT_EQ(status_of(post(kChat, kHello)), 401);
  EXPECT_EQ(code(), "unauthenticated");
  EXPECT_EQ(writer->headers.at("WWW-Authenticate"), "Bearer");
  for (const char* wrong :
       {"Bearer wrong-key-0123456789", "Basic right-key-0123456789", "Bearer ", "right-key-0123456789"}) {
    auto request = get("/v1/models");
    request.headers = {{"Authorization", wrong}};
    EXPECT_EQ(status_of(request), 401) << wrong;
    EXPECT_EQ(writer->body.find("right-key"), std::string::npos);
  }
  for (const char* right : {"Bearer right-key-0123456789", "bearer right-key-0123456789"}) {
    auto request = post(kChat, kHello);
    request.headers.emplace_back("authorization", right);
    EXPECT_EQ(status_of(request), 200) << right;
  }
  EXPECT_NE(engine.requests.back().principal, 0U);
  EXPECT_EQ(status_of(get("/metrics")), 401);
  for (const char* open : {"/healthz", "/readyz", "/", "/assets/chat.js", "/assets/chat.css", "/openapi.json"}) {
    EXPECT_EQ(status_of(get(open)), 200) << open;
  }
  EXPECT_EQ(status_of(admin(get("/v1/models"))), 200) << "the admin socket is its owner's";
}

TEST_F(ServerTest, ModelsShowTheirState) {
  engine::WorkerStatus worker;
  worker.model = "smol";
  worker.state = types::ModelState::kReady;
  worker.context_length = 4096;
  worker.sequence_length = 1024;
  engine.workers = {worker};
  EXPECT_EQ(status_of(get("/v1/models")), 200);
  const auto list = body();
  ASSERT_EQ(list.at("data").get_array().size(), 2U);
  EXPECT_EQ(list.at("data").at(0).at("x_shoal").at("state"), "ready");
  EXPECT_EQ(list.at("data").at(0).at("x_shoal").at("ctx"), 1024);
  EXPECT_EQ(list.at("data").at(1).at("x_shoal").at("state"), "stopped");
  EXPECT_EQ(status_of(get("/v1/models/smol")), 200);
  EXPECT_EQ(body().at("id"), "smol");
}

TEST_F(ServerTest, AModelNameMayHoldASlash) {
  engine.model_list[0].name = "owner/smol";
  EXPECT_EQ(status_of(get("/v1/models/owner/smol")), 200);
  EXPECT_EQ(status_of(get("/v1/models/owner/smal")), 404);
  EXPECT_EQ(code(), "model_not_found");
  EXPECT_EQ(error_field("did_you_mean"), "owner/smol");
}

TEST_F(ServerTest, ReadinessSaysWhy) {
  EXPECT_EQ(status_of(get("/readyz")), 200);
  EXPECT_EQ(body().at("ready"), true);
  engine::WorkerStatus failed;
  failed.model = "smol";
  failed.state = types::ModelState::kFailed;
  failed.reason = "exit 9";
  engine.workers = {failed};
  EXPECT_EQ(status_of(get("/readyz")), 503);
  EXPECT_NE(writer->body.find("exit 9"), std::string::npos);
  options.default_model = "gone";
  EXPECT_EQ(status_of(get("/readyz")), 503);
  EXPECT_NE(writer->body.find("gone"), std::string::npos);
  engine.model_list.clear();
  EXPECT_EQ(status_of(get("/readyz")), 503);
  EXPECT_NE(writer->body.find("shoal pull"), std::string::npos);
  EXPECT_EQ(status_of(get("/healthz")), 200);
}

TEST_F(ServerTest, MetricsCountRequestsByRouteAndNeverByPath) {
  EXPECT_EQ(status_of(post(kChat, kHello)), 200);
  EXPECT_EQ(status_of(get("/secret-path")), 404);
  EXPECT_EQ(status_of(get("/metrics")), 200);
  EXPECT_EQ(writer->content_type, telemetry::Registry::kContentType);
  EXPECT_NE(writer->body.find(R"(shoal_http_requests_total{route="/v1/chat/completions",status="200"} 1)"),
            std::string::npos)
      << writer->body;
  EXPECT_NE(writer->body.find(R"(route="unknown",status="404"} 1)"), std::string::npos);
  EXPECT_EQ(writer->body.find("secret-path"), std::string::npos);
  EXPECT_NE(writer->body.find(R"(shoal_tokens_total{model="smol",kind="completion"} 2)"), std::string::npos)
      << writer->body;
  EXPECT_NE(writer->body.find(R"(shoal_tokens_total{model="smol",kind="prompt"} 7)"), std::string::npos);
}

TEST_F(ServerTest, ScoresOfLabels) {
  EXPECT_EQ(status_of(post("/v1/score", R"({"prompt":"Is it?","labels":["a","bbb"]})")), 200);
  EXPECT_EQ(writer->headers.at("x-shoal-model"), "smol");
  const auto answer = body();
  EXPECT_EQ(answer.at("data").at(1).at("label"), "bbb");
  EXPECT_EQ(answer.at("data").at(1).at("logprob"), -3);
  EXPECT_NEAR(answer.at("data").at(0).at("probability").to_number<double>(), 1 / (1 + std::exp(-2.0)), 1e-6);
  EXPECT_EQ(answer.at("usage").at("prompt_tokens"), 10);
  EXPECT_EQ(std::get<std::string>(engine.score_requests.at(0).prompt.input), "Is it?");
  engine.score_error = Error(ErrorCode::kContextLengthExceeded, "too long");
  EXPECT_EQ(status_of(post("/v1/score", R"({"prompt":"x","labels":["a"]})")), 400);
  EXPECT_EQ(code(), "context_length_exceeded");
}

TEST_F(ServerTest, CalibratedScoresAskTwice) {
  const std::string asked = R"({"prompt":"x","labels":["a","bbb"],"calibrate":"contextual","content_free":"N/A"})";
  EXPECT_EQ(status_of(post("/v1/score", asked)), 200);
  ASSERT_EQ(engine.score_requests.size(), 2U);
  EXPECT_EQ(std::get<std::string>(engine.score_requests[1].prompt.input), "N/A");
  EXPECT_EQ(body().at("data").at(0).at("probability"), 0.5) << "what is said to every prompt tells nothing";
  EXPECT_EQ(body().at("usage").at("prompt_tokens"), 20);
}

TEST_F(ServerTest, ClassesOfTexts) {
  const std::string asked = R"({"input":["good","bad"],"labels":["a","bbb"],"instruction":"Pick one."})";
  EXPECT_EQ(status_of(post("/v1/classify", asked)), 200);
  const auto answer = body();
  ASSERT_EQ(answer.at("data").as_array().size(), 2U);
  EXPECT_EQ(answer.at("data").at(1).at("label"), "a");
  EXPECT_EQ(answer.at("data").at(1).at("num_classes"), 2);
  ASSERT_EQ(engine.score_requests.size(), 2U);
  const auto& messages = std::get<std::vector<types::Message>>(engine.score_requests[1].prompt.input);
  EXPECT_EQ(messages.at(0).content, "Pick one.\n\nText: bad");
  EXPECT_EQ(engine.score_requests[1].labels.at(1), "bbb");
  // Without a chat template a label is a word that goes on.
  engine.model_list[0].has_chat_template = false;
  EXPECT_EQ(status_of(post("/v1/classify", asked)), 200);
  EXPECT_EQ(std::get<std::string>(engine.score_requests[2].prompt.input), "Pick one.\n\nText: good\nLabel:");
  EXPECT_EQ(engine.score_requests[2].labels.at(1), " bbb");
}

TEST_F(ServerTest, MetricsMeasureInSeconds) {
  pipeline_options.hold_ms = 1;
  auto loading = std::make_shared<fakes::Gate>(io.get_executor());
  engine.answers = {{{fakes::says("Hi"), fakes::ends(types::FinishReason::kStop, 7, 1)}, loading, {}}};
  writer->on_comment = [&] {
    clock.moved_ns += 6'000'000'000;
    loading->open();
  };
  auto request = post(kChat, kHello);
  request.body.insert(1, R"("stream":true,)");
  run(request);
  EXPECT_EQ(status_of(get("/metrics")), 200);
  for (const char* line : {R"(shoal_time_to_first_token_seconds_bucket{model="smol",le="5"} 0)",
                           R"(shoal_time_to_first_token_seconds_bucket{model="smol",le="10"} 1)",
                           R"(shoal_http_request_seconds_bucket{route="/v1/chat/completions",le="5.12"} 0)",
                           R"(shoal_http_request_seconds_bucket{route="/v1/chat/completions",le="10.24"} 1)"}) {
    EXPECT_NE(writer->body.find(line), std::string::npos) << line << "\n" << writer->body;
  }
}

TEST_F(ServerTest, TheChatPageIsSelfContainedUnderAStrictPolicy) {
  EXPECT_EQ(status_of(get("/")), 200);
  EXPECT_EQ(writer->content_type, "text/html; charset=utf-8");
  const std::string policy = writer->headers.at("Content-Security-Policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(policy.find("unsafe"), std::string::npos);
  EXPECT_EQ(writer->headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(writer->headers.at("Referrer-Policy"), "no-referrer");
  EXPECT_EQ(writer->body.find("http"), std::string::npos) << "nothing from elsewhere";
  EXPECT_EQ(writer->body.find("style="), std::string::npos) << "the policy forbids inline styles";
  EXPECT_EQ(status_of(get("/assets/chat.js")), 200);
  EXPECT_EQ(writer->content_type, "text/javascript; charset=utf-8");
  EXPECT_EQ(writer->body.find("innerHTML"), std::string::npos) << "answers are text, never markup";
}

TEST_F(ServerTest, AdminRoutesAreOnTheAdminListenerOnly) {
  EXPECT_EQ(status_of(get("/admin/workers")), 404);
  EXPECT_EQ(status_of(post("/admin/reload", "")), 404);
  engine::WorkerStatus worker;
  worker.model = "smol";
  worker.pid = 42;
  worker.sandbox = "landlock \"7\"";
  engine.workers = {worker};
  EXPECT_EQ(status_of(admin(get("/admin/workers"))), 200);
  EXPECT_EQ(body().at("workers").at(0).at("pid"), 42);
  EXPECT_EQ(body().at("workers").at(0).at("sandbox"), "landlock \"7\"");
}

TEST_F(ServerTest, AdminLoadsAModel) {
  auto request = post("/admin/models/owner/smol/load", "");
  request.headers.clear();
  EXPECT_EQ(status_of(admin(request)), 200);
  EXPECT_EQ(engine.loaded, std::vector<std::string>{"owner/smol"});
  engine.embed_error = Error(ErrorCode::kInsufficientMemory, "900 MiB of 500");
  EXPECT_EQ(status_of(admin(request)), 503);
  EXPECT_EQ(writer->headers.at("x-should-retry"), "false");
}

TEST_F(ServerTest, AdminReloads) {
  EXPECT_EQ(status_of(admin(post("/admin/reload", ""))), 501);
  int reloads = 0;
  hooks.reload = [&](base::Yield) -> Result<void> {
    if (++reloads == 1) return {};
    return Error(ErrorCode::kInvalidConfig, "line 3");
  };
  EXPECT_EQ(status_of(admin(post("/admin/reload", ""))), 200);
  EXPECT_EQ(status_of(admin(post("/admin/reload", ""))), 400);
  EXPECT_EQ(code(), "invalid_config");
}

TEST_F(ServerTest, RetryHeadersFollowTheErrorTable) {
  engine.answers = {{{}, {}, Error(ErrorCode::kOverloaded, "full").with_retry_after_ms(1500)}};
  EXPECT_EQ(status_of(post(kChat, kHello)), 429);
  EXPECT_EQ(writer->headers.at("Retry-After"), "2");
  EXPECT_EQ(writer->headers.at("retry-after-ms"), "1500");
  EXPECT_EQ(writer->headers.at("x-should-retry"), "true");
  engine.answers = {{{}, {}, Error(ErrorCode::kModelLoading, "soon").with_retry_after_ms(900'000)}};
  EXPECT_EQ(status_of(post(kChat, kHello)), 503);
  EXPECT_EQ(writer->headers.at("Retry-After"), "120") << "SDKs give up past two minutes";
  engine.answers = {{{}, {}, Error(ErrorCode::kWorkerCrashed, "died")}};
  EXPECT_EQ(status_of(post(kChat, kHello)), 503);
  EXPECT_FALSE(writer->headers.contains("x-should-retry")) << "as the status says";
  engine.answers = {{{}, {}, Error(ErrorCode::kUpstreamFailed, "thrice").with_no_retry()}};
  EXPECT_EQ(status_of(post(kChat, kHello)), 502);
  EXPECT_EQ(writer->headers.at("x-should-retry"), "false") << "Shoal asked again itself";
  for (const ErrorCode final_code :
       {ErrorCode::kBudgetExhausted, ErrorCode::kPolicyDenied, ErrorCode::kUnsupportedParameter,
        ErrorCode::kDeadlineExceeded, ErrorCode::kModelFailed, ErrorCode::kModelInvalid}) {
    engine.answers = {{{}, {}, Error(final_code, "no")}};
    EXPECT_EQ(status_of(post(kChat, kHello)), base::error_info(final_code).http_status);
    EXPECT_EQ(writer->headers["x-should-retry"], "false") << base::error_info(final_code).slug;
  }
}

TEST_F(ServerTest, Embeddings) {
  engine.embedded.embeddings = {{1, 0, 0, 0}, {0, 0.5F, 0, 0}};
  engine.embedded.usage.prompt_tokens = 5;
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"input":["a","b"]})")), 200);
  EXPECT_EQ(engine.embed_requests.back().model, "mini") << "the first that embeds, when none is named";
  EXPECT_EQ(body().at("data").at(1).at("embedding").at(1), 0.5);
  EXPECT_EQ(body().at("usage").at("total_tokens"), 5);
  EXPECT_EQ(writer->headers.at("x-shoal-model"), "mini");
  EXPECT_EQ(writer->headers.at("x-shoal-route"), "local");
  EXPECT_EQ(writer->headers.at("x-shoal-egress"), "none");
  EXPECT_FALSE(engine.embed_requests.back().deadline.never());
  writer->lose_client();
  EXPECT_TRUE(engine.embed_requests.back().cancel.stop_requested());
}

TEST_F(ServerTest, EmbeddingDimensionsOnlyIfTheModelWasTrainedForThem) {
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"model":"mini","input":"a","dimensions":2})")), 422);
  EXPECT_EQ(error_field("param"), "dimensions");
  EXPECT_TRUE(engine.embed_requests.empty());
  engine.model_list[1].matryoshka_dimensions = {2};
  engine.embedded.embeddings = {{0.6F, 0.0F, 0.8F, 0.0F}};
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"model":"mini","input":"a","dimensions":2})")), 200);
  EXPECT_EQ(writer->body.find("0.6"), std::string::npos) << "cut vectors have length 1 again: " << writer->body;
  EXPECT_NE(writer->body.find(R"("embedding":[1,0])"), std::string::npos) << writer->body;
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"model":"mini","input":"a","dimensions":4})")), 200);
}

TEST_F(ServerTest, EmbeddingFailures) {
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"input":5})")), 400);
  engine.embed_error = Error(ErrorCode::kUnsupportedParameter, "smol does not embed").with_param("model");
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"model":"smol","input":"x"})")), 422);
  engine.model_list.pop_back();
  EXPECT_EQ(status_of(post("/v1/embeddings", R"({"input":"x"})")), 404);
  EXPECT_EQ(code(), "model_not_found");
}

TEST_F(ServerTest, ATimeoutHeaderBecomesTheDeadline) {
  auto request = post(kChat, kHello);
  request.headers.emplace_back("x-shoal-timeout-ms", "1000");
  const std::int64_t before = clock.monotonic_ns();
  EXPECT_EQ(status_of(request), 200);
  EXPECT_GE(engine.requests.back().deadline.at_ns, before + 1'000'000'000);
  EXPECT_LT(engine.requests.back().deadline.at_ns, before + 100'000'000'000);
  for (const char* wrong : {"0", "-5", "soon", "1.5", "86400001", "99999999999999999999"}) {
    auto bad = post(kChat, kHello);
    bad.headers.emplace_back("x-shoal-timeout-ms", wrong);
    EXPECT_EQ(status_of(bad), 400) << wrong;
    EXPECT_EQ(error_field("param"), "x-shoal-timeout-ms");
  }
}

TEST_F(ServerTest, PagesOfAllowedOriginsMayReadTheAnswers) {
  options.allowed_origins = {"https://chat.example"};
  auto ask = [](std::string method, std::string path, std::string origin) {
    auto request = get(std::move(path));
    request.method = std::move(method);
    request.headers.emplace_back("Origin", std::move(origin));
    return request;
  };
  EXPECT_EQ(status_of(ask("GET", "/v1/models", "https://chat.example")), 200);
  EXPECT_EQ(writer->headers.at("Access-Control-Allow-Origin"), "https://chat.example");
  EXPECT_EQ(writer->headers.at("Vary"), "Origin");
  keys = *KeySet::parse("right-key-0123456789\n", "keys");
  auto preflight = ask("OPTIONS", kChat, "https://chat.example");
  preflight.headers.emplace_back("Access-Control-Request-Method", "POST");
  preflight.headers.emplace_back("Access-Control-Request-Headers", "authorization,content-type,x-stainless-os");
  EXPECT_EQ(status_of(preflight), 200) << "a preflight carries no key";
  EXPECT_EQ(writer->headers.at("Access-Control-Allow-Headers"), "authorization,content-type,x-stainless-os");
  EXPECT_EQ(writer->headers.at("Access-Control-Allow-Methods"), "GET, HEAD, POST");
  EXPECT_EQ(status_of(ask("POST", kChat, "https://chat.example")), 401) << "the request itself needs one";
  EXPECT_EQ(writer->headers.at("Access-Control-Allow-Origin"), "https://chat.example") << "the page can read why";

  auto other = ask("OPTIONS", kChat, "http://localhost:3000");
  other.headers.emplace_back("Access-Control-Request-Method", "POST");
  EXPECT_EQ(status_of(other), 405);
  EXPECT_EQ(writer->headers.count("Access-Control-Allow-Origin"), 0U);
}

TEST_F(ServerTest, TextBecomesTokensAndTokensText) {
  types::ModelInfo smol;
  smol.name = "smol";
  engine.model_list = {smol};
  engine.aliases = {{"small", "smol"}};
  engine.tokenized = {{5, 6, 70000}, 2048, false};
  EXPECT_EQ(status_of(post("/v1/tokenize", R"({"model":"small","prompt":"hi","add_special_tokens":false})")), 200);
  EXPECT_EQ(writer->body, R"({"count":3,"max_model_len":2048,"model":"smol","lossless":false,"tokens":[5,6,70000]})");
  EXPECT_EQ(writer->headers.at("x-shoal-model"), "smol") << "the model's own name, not the alias";
  EXPECT_EQ(engine.tokenize_requests.back().model, "smol");
  EXPECT_FALSE(engine.tokenize_requests.back().add_special);
  EXPECT_FALSE(engine.tokenize_requests.back().deadline.never());
  writer->lose_client();
  EXPECT_TRUE(engine.tokenize_requests.back().cancel.stop_requested());
  engine.detokenized = "h\xc3\xa9";
  EXPECT_EQ(status_of(post("/v1/detokenize", R"({"model":"smol","tokens":[5,6]})")), 200);
  EXPECT_EQ(writer->body, "{\"model\":\"smol\",\"prompt\":\"h\xc3\xa9\"}");
  engine.detokenized = "h\xc3";
  EXPECT_EQ(status_of(post("/v1/detokenize", R"({"model":"smol","tokens":[5]})")), 200);
  EXPECT_EQ(writer->body, "{\"model\":\"smol\",\"prompt\":\"h\xef\xbf\xbd\",\"bytes\":[104,195]}");
  EXPECT_EQ(status_of(post("/v1/tokenize", R"({"model":"none","prompt":"hi"})")), 404);
  EXPECT_EQ(error_field("did_you_mean"), "smol");
}

TEST_F(ServerTest, AnAliasIsAnsweredUnderTheModelsOwnName) {
  types::ModelInfo smol;
  smol.name = "smol";
  engine.model_list = {smol};
  engine.aliases = {{"small", "smol"}};
  EXPECT_EQ(status_of(post(kChat, R"({"model":"small","messages":[{"role":"user","content":"hi"}]})")), 200);
  EXPECT_EQ(engine.requests.back().model, "smol");
  EXPECT_EQ(writer->headers.at("x-shoal-model"), "smol");
  EXPECT_EQ(body().at("model"), "smol");
  EXPECT_EQ(status_of(get("/v1/models/small")), 200);
  EXPECT_EQ(body().at("id"), "smol");
}

}  // namespace
}  // namespace shoal::server
