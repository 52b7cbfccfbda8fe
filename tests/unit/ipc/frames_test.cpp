// Frames survive the round trip, cut anywhere and joined; whatever is not a frame is refused and never read past.
#include "shoal/ipc/frames.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include <gtest/gtest.h>

#include "shoal/ipc/worker_args.h"

namespace shoal::ipc {
namespace {

std::vector<Body> every_body() {
  Generate chat;
  chat.principal = 7;
  chat.credits = 64;
  chat.max_tokens = 100;
  chat.top_logprobs = 3;
  chat.ignore_eos = true;
  chat.p_true = true;
  chat.hidden_state = true;
  chat.streams = true;
  // All different, so that no two can be taken for each other.
  chat.sampling.temperature = 0.25F;
  chat.sampling.top_p = 0.5F;
  chat.sampling.top_k = 7;
  chat.sampling.min_p = 0.125F;
  chat.sampling.presence_penalty = 0.75F;
  chat.sampling.frequency_penalty = -0.5F;
  chat.sampling.repetition_penalty = 1.25F;
  chat.sampling.seed = 0xffffffffffffffffULL;
  chat.sampling.logit_bias = {{3, -100.0F}, {9, 1.5F}};
  chat.stop = {"END", std::string("a\0b", 3)};
  chat.prompt =
      std::vector<types::Message>{{types::Role::kSystem, "be brief", ""}, {types::Role::kUser, "hé\n", "bob"}};
  Generate text = chat;
  text.sampling.seed.reset();
  text.prompt = std::string("Once upon");
  Generate ids = chat;
  ids.prompt = std::vector<std::int32_t>{1, -1, 42};
  types::Token token{42,    "\xc3", -0.5F, 1.25F,
                     0.75F, 9.5F,   900,   {{42, "\xc3", -0.5F}, {7, "x", -std::numeric_limits<float>::infinity()}}};
  const types::AnswerSignals signals{
      5, {-1.0F, -2.0F, -3.0F}, {1.5F, 2.5F, 3.5F}, {0.25F, 0.125F, 0.0625F}, {10.0F, 11.0F, 12.0F}, std::nullopt};
  types::AnswerSignals asked;
  asked.p_true = 0.75F;
  return {chat,
          text,
          ids,
          Embed{3, {std::string("a"), std::vector<std::int32_t>{1, 2}}},
          Score{3, {" yes", std::string("a\0b", 3)}, std::string("Is it?")},
          Score{4, {"no"}, std::vector<std::int32_t>{5, 6}},
          Tokenize{true, std::string("Once upon")},
          Tokenize{false, std::vector<types::Message>{{types::Role::kUser, "hi", ""}}},
          Detokenize{true, {1, 2, 3}},
          Cancel{},
          Credit{12},
          Ping{},
          Drain{},
          Lease{2, 77},
          Ready{"zen4", "landlock abi 7 + seccomp", 4096, 2048, 4, 49152, 576, types::KvType::kQ4, 200'000, true, true},
          Accepted{17},
          TokenFrame{token, "é"},
          Finished{types::FinishReason::kLength, "tail", {17, 5, 3}, {1, 2, 3}, signals},
          Finished{types::FinishReason::kStop, "", {1, 2, 0}, {4, 5, 6}, asked},
          Scored{{9, 4, 2}, {{{7, 8}, {-0.5F, -1.5F}}, {{9}, {-std::numeric_limits<float>::infinity()}}}},
          HiddenState{{0.5F, -0.25F}},
          Embedding{2, 9, true, {0.5F, -0.25F}},
          Tokens{true, false, {4, 5}},
          Text{false, "\xc3"},
          Failed{ErrorCode::kContextLengthExceeded, "9000 > 4096", "messages"},
          Pong{},
          Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, {10, 11, 12, 13, 14, 15}},
          LeaseHeld{1, 0xffffffffffffULL},
          TaskProgress{1, 2},
          Rewritten{3, 4, 5},
          Compared{6, 0.5, 0.25, 19.5, 20.5}};
}

std::string encoded(const Body& body) {
  auto bytes = encode(99, 1234, body);
  EXPECT_TRUE(bytes.ok());
  return bytes.ok() ? *bytes : std::string();
}

TEST(Frames, EveryBodySurvivesTheRoundTrip) {
  for (const Body& body : every_body()) {
    const std::string bytes = encoded(body);
    FrameReader reader;
    reader.feed(bytes);
    auto frame = reader.next();
    ASSERT_TRUE(frame.ok()) << frame.error().message();
    ASSERT_TRUE(frame->has_value());
    EXPECT_EQ((*frame)->header.request, 99U);
    EXPECT_EQ((*frame)->header.deadline_ns, 1234);
    EXPECT_EQ((*frame)->body.index(), body.index());
    // Encoding is deterministic, so equal bytes mean equal bodies.
    EXPECT_EQ(encoded((*frame)->body), bytes);
  }
}

TEST(Frames, AStreamCutAtEveryByteGivesTheSameFrames) {
  std::string stream;
  for (const Body& body : every_body()) stream += encoded(body);
  for (std::size_t piece = 1; piece < 40; ++piece) {
    FrameReader reader;
    std::string again;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.feed(std::string_view(stream).substr(at, piece));
      for (;;) {
        auto frame = reader.next();
        ASSERT_TRUE(frame.ok()) << frame.error().message();
        if (!frame->has_value()) break;
        again += encoded((*frame)->body);
      }
    }
    EXPECT_EQ(again, stream) << "cut in pieces of " << piece;
  }
}

TEST(Frames, ABodyShortenedAnywhereIsRefused) {
  for (const Body& body : every_body()) {
    const std::string bytes = encoded(body);
    for (std::size_t keep = sizeof(FrameHeader); keep < bytes.size(); ++keep) {
      std::string cut = bytes.substr(0, keep);
      const auto announced = static_cast<std::uint32_t>(keep - sizeof(FrameHeader));
      std::memcpy(cut.data(), &announced, sizeof announced);
      FrameReader reader;
      reader.feed(cut);
      EXPECT_FALSE(reader.next().ok()) << "body " << body.index() << " cut to " << keep;
    }
  }
}

TEST(Frames, BytesLeftOverAreRefused) {
  std::string bytes = encoded(Credit{1}) + "x";
  const std::uint32_t announced = 5;
  std::memcpy(bytes.data(), &announced, sizeof announced);
  FrameReader reader;
  reader.feed(bytes);
  EXPECT_FALSE(reader.next().ok());
}

TEST(Frames, WrongVersionTypeSizeAndEnumAreRefused) {
  const auto refused = [](std::size_t offset, auto value, const Body& body) {
    std::string bytes = encoded(body);
    std::memcpy(bytes.data() + offset, &value, sizeof value);
    FrameReader reader;
    reader.feed(bytes);
    return !reader.next().ok();
  };
  EXPECT_TRUE(refused(6, std::uint16_t{kProtocolVersion + 1}, Ping{}));
  EXPECT_TRUE(refused(4, std::uint16_t{77}, Ping{}));
  EXPECT_TRUE(refused(0, std::uint32_t{kMaxBodyBytes + 1}, Ping{}));
  EXPECT_TRUE(refused(sizeof(FrameHeader), std::uint8_t{2}, Finished{}));
  EXPECT_TRUE(refused(sizeof(FrameHeader), std::uint16_t{9999}, Failed{}));
  EXPECT_TRUE(refused(sizeof(FrameHeader) + 8, std::uint8_t{2}, Embedding{}));
}

TEST(Frames, NotANumberIsRefused) {
  TokenFrame token;
  token.token.entropy = std::nanf("");
  FrameReader reader;
  reader.feed(encoded(token));
  EXPECT_FALSE(reader.next().ok());
}

TEST(Frames, ABodyOverTheLimitIsNotEncoded) {
  Generate big;
  big.prompt = std::string(kMaxBodyBytes, 'x');
  EXPECT_FALSE(encode(1, 0, big).ok());
}

TEST(Frames, RandomBytesNeverReadPastTheEnd) {
  std::mt19937 random(20261121);
  std::vector<std::string> seeds;
  for (const Body& body : every_body()) seeds.push_back(encoded(body));
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    for (unsigned flips = 1 + random() % 4; flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    FrameReader reader;
    reader.feed(bytes);
    while (true) {
      auto frame = reader.next();
      if (!frame.ok() || !frame->has_value()) break;
    }
  }
}

TEST(WorkerArgs, SurviveTheRoundTrip) {
  WorkerArgs args;
  args.task = WorkerTask::kCompare;
  args.type = 8;
  args.parent_pid = 4242;
  args.context_length = 8192;
  args.slots = 16;
  args.sandbox_required = false;
  args.use_mmap = true;
  args.exact = true;
  args.keep_prefixes = args.speculates = false;
  args.cold_cache_mib = 9;
  args.kv_type = types::KvType::kQ8;
  auto again = parse_worker_args(to_argv(args));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(to_argv(*again), to_argv(args));
}

TEST(WorkerArgs, ErrorsNameTheFlag) {
  for (const auto& argv : std::vector<std::vector<std::string>>{{"--slots", "0"},
                                                                {"--slots", "65"},
                                                                {"--slots", "4x"},
                                                                {"--sandbox", "maybe"},
                                                                {"--task", "play"},
                                                                {"--slots"},
                                                                {"--nothing", "1"}}) {
    auto parsed = parse_worker_args(argv);
    ASSERT_FALSE(parsed.ok()) << argv[0];
    EXPECT_NE(parsed.error().message().find(argv[0]), std::string::npos) << parsed.error().message();
  }
}

}  // namespace
}  // namespace shoal::ipc
