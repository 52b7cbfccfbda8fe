// The KV cache over a model that checks every cell: what sequences share, keep, lose and get back is always the
// tokens that they should hold.
#include "shoal/worker/kv_cache.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <ostream>
#include <random>

#include "fake_model.h"

namespace shoal::worker {
namespace {

std::vector<std::int32_t> count_from(std::int32_t first, std::size_t count) {
  std::vector<std::int32_t> tokens(count);
  for (std::size_t i = 0; i < count; ++i) tokens[i] = first + static_cast<std::int32_t>(i);
  return tokens;
}

std::unique_ptr<Sequence> sequence_of(std::vector<std::int32_t> prompt, std::int32_t max_tokens,
                                      std::uint64_t principal = 0) {
  auto s = std::make_unique<Sequence>(types::SamplingParams{}, 1, std::vector<std::string>{});
  s->prompt_tokens = static_cast<std::int32_t>(prompt.size());
  s->tokens = std::move(prompt);
  s->max_tokens = max_tokens;
  s->principal = principal;
  return s;
}

Admission admit(KvCache& kv, Sequence& s, std::int32_t moves = std::numeric_limits<std::int32_t>::max()) {
  return kv.admit(s, moves);
}

class KvCacheTest : public testing::Test {
 protected:
  // Computes up to `most` tokens of the prompt; how many it did.
  std::int32_t prefill(Sequence& s, std::int32_t most = 1000) {
    std::int32_t done = 0;
    while (done < most && s.stored < s.prompt_tokens) {
      const std::int32_t chunk = std::min({kv.advance(s), most - done, 8});
      if (chunk == 0) break;
      compute(s, chunk);
      done += chunk;
    }
    return done;
  }
  void compute(Sequence& s, std::int32_t count) {
    std::vector<BatchToken> batch;
    for (std::int32_t at = s.stored; at < s.stored + count; ++at)
      batch.push_back({s.tokens[static_cast<std::size_t>(at)], at, s.number, true});
    ASSERT_EQ(model.decode(batch), DecodeStatus::kDone);
    kv.computed(s, count);
    const auto held = model.content(s.number);
    ASSERT_TRUE(std::equal(held.begin(), held.end(), s.tokens.begin())) << "foreign cells";
  }
  // Writes tokens that count on from `first`.
  void answer(Sequence& s, std::int32_t first, std::int32_t count) {
    for (std::int32_t i = 0; i < count; ++i) {
      s.tokens.push_back(first + i);
      compute(s, 1);
    }
  }
  // One request from admission to end; the tokens it computed.
  std::int32_t serve(std::vector<std::int32_t> prompt, std::uint64_t principal = 0) {
    const auto s = sequence_of(std::move(prompt), 0, principal);
    EXPECT_EQ(admit(kv, *s), Admission::kDone);
    const std::int32_t computed = prefill(*s);
    kv.release(*s, true);
    return computed;
  }

  // The same in another cache over the model, with room for an answer.
  std::int32_t serve_in(KvCache& other, std::vector<std::int32_t> prompt, std::int32_t max_tokens = 0) {
    const auto s = sequence_of(std::move(prompt), max_tokens);
    EXPECT_EQ(admit(other, *s), Admission::kDone);
    std::int32_t computed = 0;
    while (s->stored < s->prompt_tokens) {
      const std::int32_t chunk = std::min(other.advance(*s), 8);
      std::vector<BatchToken> batch;
      for (std::int32_t at = s->stored; at < s->stored + chunk; ++at)
        batch.push_back({s->tokens[static_cast<std::size_t>(at)], at, s->number, true});
      EXPECT_EQ(model.decode(batch), DecodeStatus::kDone);
      other.computed(*s, chunk);
      computed += chunk;
    }
    EXPECT_EQ(model.content(s->number), s->tokens);
    other.release(*s, true);
    return computed;
  }

  FakeModel model{small_shape()};
  KvCache kv{model, 0};
};

TEST_F(KvCacheTest, ThePromptThatWasThereComputesItsLastTokenOnly) {
  EXPECT_EQ(serve(count_from(10, 12)), 12);
  EXPECT_EQ(serve(count_from(10, 12)), 1);
  EXPECT_EQ(serve(count_from(10, 15)), 3);
  EXPECT_EQ(serve(count_from(10, 7)), 1);
  EXPECT_EQ(model.cells_alive(), 15U) << "what is the same is there once";
}

TEST_F(KvCacheTest, APrincipalNeverMeetsThePromptOfAnother) {
  EXPECT_EQ(serve(count_from(10, 12), 1), 12);
  EXPECT_EQ(serve(count_from(10, 12), 2), 12);
  EXPECT_EQ(serve(count_from(10, 12), 1), 1);
}

TEST_F(KvCacheTest, WhoeverIsStillComputedIsWaitedForAndShared) {
  const auto first = sequence_of(count_from(10, 12), 4);
  const auto second = sequence_of(
      [] {
        auto prompt = count_from(10, 9);
        prompt.push_back(500);
        return prompt;
      }(),
      4);
  ASSERT_EQ(admit(kv, *first), Admission::kDone);
  ASSERT_EQ(admit(kv, *second), Admission::kDone);
  EXPECT_EQ(prefill(*first, 5), 5);
  EXPECT_EQ(kv.advance(*second), 0) << "the first computes what comes next of both";
  EXPECT_EQ(second->stored, 5) << "and what it has is taken over at once";
  EXPECT_EQ(prefill(*first), 7);
  EXPECT_EQ(prefill(*second), 1);
  EXPECT_EQ(second->cached, 9);
  answer(*first, 600, 3);
  answer(*second, 700, 3);
  kv.release(*first, true);
  kv.release(*second, true);
}

TEST_F(KvCacheTest, WhoWaitsGoesOnWhereACancelledOneStopped) {
  const auto first = sequence_of(count_from(10, 12), 4);
  const auto second = sequence_of(count_from(10, 12), 4);
  ASSERT_EQ(admit(kv, *first), Admission::kDone);
  ASSERT_EQ(admit(kv, *second), Admission::kDone);
  EXPECT_EQ(prefill(*first, 5), 5);
  kv.release(*first, true);
  EXPECT_EQ(prefill(*second), 7);
  EXPECT_EQ(second->cached, 5);
  kv.release(*second, true);
  EXPECT_EQ(serve(count_from(10, 12)), 1);
}

TEST_F(KvCacheTest, ANewTurnBeginsWithTheAnswerBefore) {
  const auto first = sequence_of(count_from(10, 6), 5);
  ASSERT_EQ(admit(kv, *first), Admission::kDone);
  prefill(*first);
  answer(*first, 100, 4);
  kv.release(*first, true);
  auto next = count_from(10, 6);
  for (std::int32_t token : count_from(100, 4)) next.push_back(token);
  next.push_back(7);
  EXPECT_EQ(serve(next), 1);
}

TEST_F(KvCacheTest, RoomIsReservedToTheEndAndKeptPrefixesMakeWay) {
  const auto first = sequence_of(count_from(10, 20), 20);  // 40 cells
  ASSERT_EQ(admit(kv, *first), Admission::kDone);
  prefill(*first);
  EXPECT_EQ(admit(kv, *sequence_of(count_from(300, 20), 5)), Admission::kNoRoom) << "25 more are 65";
  kv.release(*first, true);
  EXPECT_EQ(kv.use().cells, 20U);
  EXPECT_EQ(kv.use().kept_cells, 20U);
  const auto second = sequence_of(count_from(300, 20), 30);
  ASSERT_EQ(admit(kv, *second), Admission::kDone) << "50 of 64, once the kept 20 are gone";
  EXPECT_EQ(kv.use().evictions, 1U);
  prefill(*second);
  kv.release(*second, true);
  EXPECT_EQ(serve(count_from(10, 20)), 20);
}

TEST_F(KvCacheTest, ALargeKeptPromptThatSharesItsBeginMakesWay) {
  EXPECT_EQ(serve(count_from(10, 30)), 30);
  auto other = count_from(300, 30);
  other[0] = 10;  // one token in common
  const auto s = sequence_of(other, 30);
  ASSERT_EQ(admit(kv, *s), Admission::kDone) << "60 of 64, and nobody else runs";
  EXPECT_EQ(prefill(*s), 29);
  kv.release(*s, true);
}

TEST_F(KvCacheTest, WhatIsOutsideAndWantedInPartMakesWayToo) {
  KvCache cold(model, 10'000);
  serve_in(cold, count_from(10, 30));
  serve_in(cold, count_from(500, 30), 30);  // the first goes outside
  EXPECT_GT(cold.use().cold_bytes, 0U);
  auto other = count_from(300, 30);
  other[0] = 10;
  serve_in(cold, other, 30);
}

TEST_F(KvCacheTest, APromptOfTheWholeContextIsThereTwice) {
  ModelShape shape = small_shape();
  shape.context_length = shape.sequence_length = 40;
  FakeModel small(shape);
  KvCache tight(small, 0);
  for (int round = 0; round < 2; ++round) {
    const auto s = sequence_of(count_from(10, 40), 0);
    ASSERT_EQ(admit(tight, *s), Admission::kDone) << round;
    while (s->stored < s->prompt_tokens) {
      const std::int32_t chunk = std::min(tight.advance(*s), 8);
      if (round == 1) {
        EXPECT_EQ(chunk, 1);
        break;  // a cell more than there are for the checks of this model; the real one has some to spare
      }
      std::vector<BatchToken> batch;
      for (std::int32_t at = s->stored; at < s->stored + chunk; ++at)
        batch.push_back({s->tokens[static_cast<std::size_t>(at)], at, s->number, true});
      EXPECT_EQ(small.decode(batch), DecodeStatus::kDone);
      tight.computed(*s, chunk);
    }
    tight.release(*s, true);
  }
}

TEST_F(KvCacheTest, WhatWasEvictedComesBackFromOutside) {
  KvCache cold(model, 10'000);
  EXPECT_EQ(serve_in(cold, count_from(10, 30)), 30);
  EXPECT_EQ(serve_in(cold, count_from(200, 30)), 30);
  EXPECT_EQ(serve_in(cold, count_from(400, 30)), 30);
  EXPECT_GT(cold.use().cold_bytes, 0U);
  EXPECT_EQ(serve_in(cold, count_from(10, 30)), 1);
  model.refuse_restore = true;
  EXPECT_EQ(serve_in(cold, count_from(200, 30)), 30) << "what cannot be put back is computed";
}

TEST_F(KvCacheTest, ThoseWhoComeTogetherShareWhatMayBeMoved) {
  KvCache cold(model, 10'000);
  for (const std::int32_t first : {10, 200, 400}) EXPECT_EQ(serve_in(cold, count_from(first, 20)), 20);
  const auto first = sequence_of(count_from(600, 20), 0);
  const auto second = sequence_of(count_from(800, 20), 0);
  std::int32_t moves = 30;
  EXPECT_EQ(cold.admit(*first, moves), Admission::kDone);
  EXPECT_EQ(moves, 10) << "20 of 30: the first of the three";
  EXPECT_EQ(cold.admit(*second, moves), Admission::kLater);
  EXPECT_EQ(moves, 0);
  moves = 30;
  EXPECT_EQ(cold.admit(*second, moves), Admission::kDone);
  EXPECT_EQ(moves, 20);
}

// Answers wait while memory is copied, so it is copied between their steps.
TEST_F(KvCacheTest, WhatIsLongGoesAndComesAPieceAtATime) {
  KvCache cold(model, 10'000);
  const auto rounds_until_admitted = [&](Sequence& s) {
    int rounds = 1;
    for (; admit(cold, s, 8) == Admission::kLater; ++rounds) {
      const KvCache::Use use = cold.use();
      EXPECT_EQ(use.cells, use.kept_cells) << "it holds nothing meanwhile";
    }
    EXPECT_NE(s.place, nullptr);
    return rounds;
  };
  EXPECT_EQ(serve_in(cold, count_from(10, 40)), 40);
  const auto wide = sequence_of(count_from(500, 60), 0);
  EXPECT_EQ(rounds_until_admitted(*wide), 5) << "36 of the 40 make way, in five pieces";
  EXPECT_EQ(cold.use().evictions, 5U);
  cold.release(*wide, false);
  const auto again = sequence_of(count_from(10, 40), 0);
  EXPECT_EQ(rounds_until_admitted(*again), 5) << "all 40 come back";
  EXPECT_EQ(cold.use().restored_tokens, 40U);
  EXPECT_EQ(cold.advance(*again), 1);
  EXPECT_EQ(again->cached, 39);
  const auto held = model.content(again->number);
  EXPECT_TRUE(std::equal(held.begin(), held.end(), again->tokens.begin()));
  cold.release(*again, true);
}

TEST_F(KvCacheTest, ASequenceThatCannotBeCutOnlyReserves) {
  ModelShape shape = small_shape();
  shape.rewind = Rewind::kNever;
  shape.keeps_prefixes = shape.one_cache = shape.shares_cells = false;
  shape.sequence_ids = 3;
  FakeModel recurrent(shape);
  KvCache plain(recurrent, 0);
  for (int round = 0; round < 2; ++round) {
    const auto s = sequence_of(count_from(10, 20), 5);
    ASSERT_EQ(admit(plain, *s), Admission::kDone);
    EXPECT_EQ(plain.advance(*s), 20);
    plain.release(*s, true);
  }
  EXPECT_EQ(plain.use().cells, 0U);
}

TEST_F(KvCacheTest, WithoutKeptPrefixesTheCellsOfOneCacheAreReservedAllTheSame) {
  ModelShape shape = small_shape();
  shape.keeps_prefixes = shape.shares_cells = false;
  shape.sequence_ids = 3;
  FakeModel plain_model(shape);
  KvCache plain(plain_model, 0);
  const auto first = sequence_of(count_from(10, 30), 5);
  const auto second = sequence_of(count_from(10, 30), 5);
  ASSERT_EQ(admit(plain, *first), Admission::kDone);
  EXPECT_EQ(plain.use().cells, 35U);
  EXPECT_EQ(admit(plain, *second), Admission::kNoRoom) << "of 64";
  plain.release(*first, true);
  EXPECT_EQ(admit(plain, *second), Admission::kDone);
}

TEST_F(KvCacheTest, WithACacheForEachSequenceItsCellsAreCounted) {
  ModelShape shape = small_shape();
  shape.one_cache = shape.shares_cells = false;
  shape.sequence_ids = 3;
  FakeModel exact(shape);
  KvCache streams(exact, 1 << 20);
  for (int round = 0; round < 2; ++round) {
    const auto s = sequence_of(count_from(10, 20), 5);
    ASSERT_EQ(admit(streams, *s), Admission::kDone);
    EXPECT_EQ(streams.use().cells, 25U);
    streams.release(*s, false);
    EXPECT_EQ(streams.use().cells, 0U);
  }
}

// A thousand prompts over a tree, some cancelled, some at the same time, in a cache that is much too small: whatever
// happens, a sequence holds its own tokens, no cell is lost, and at the end all room can be had.
struct Shaped {
  const char* name;
  bool shares_cells;
  std::uint64_t cold_bytes;
  std::int32_t moves = std::numeric_limits<std::int32_t>::max();
};
void PrintTo(const Shaped& shaped, std::ostream* out) {
  *out << shaped.name;
}

class KvCacheTreeTest : public testing::TestWithParam<Shaped> {};

TEST_P(KvCacheTreeTest, HoldsUnderRandomTrees) {
  ModelShape shape = small_shape();
  shape.context_length = GetParam().shares_cells ? 300 : 4 * 64;
  shape.sequence_length = 64;
  shape.sequences = 4;
  shape.sequence_ids = GetParam().shares_cells ? 24 : 5;
  shape.scratch_id = 4;
  shape.one_cache = shape.shares_cells = GetParam().shares_cells;
  FakeModel model(shape);
  KvCache kv(model, GetParam().cold_bytes);
  std::mt19937 random(7);
  const auto pick = [&random](int below) { return static_cast<std::int32_t>(random() % static_cast<unsigned>(below)); };
  std::vector<std::unique_ptr<Sequence>> running;
  // Some go away while room is made for them.
  const auto try_to_admit = [&](Sequence& s) {
    Admission admission = admit(kv, s, GetParam().moves);
    while (admission == Admission::kLater && (running.empty() || pick(4) != 0))
      admission = admit(kv, s, GetParam().moves);
    return admission == Admission::kDone;
  };
  for (int round = 0; round < 20'000; ++round) {
    if (running.size() < 4 && pick(3) == 0) {
      std::vector<std::int32_t> prompt;
      for (int level = 1 + pick(4); level > 0; --level) {
        for (const std::int32_t token : count_from(20 * pick(3), static_cast<std::size_t>(3 + pick(8))))
          prompt.push_back(token);
      }
      auto s = sequence_of(std::move(prompt), pick(12), static_cast<std::uint64_t>(pick(2)));
      const bool admitted = try_to_admit(*s);
      ASSERT_TRUE(admitted || !running.empty()) << "nobody runs, and there is no room, in round " << round;
      if (admitted) running.push_back(std::move(s));
    }
    if (running.empty()) continue;
    const auto at = static_cast<std::size_t>(pick(static_cast<int>(running.size())));
    Sequence& s = *running[at];
    const bool ended = s.generated == s.max_tokens && s.stored >= s.prompt_tokens;
    if (ended || pick(40) == 0) {
      kv.release(s, pick(10) != 0);
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(at));
      continue;
    }
    std::int32_t chunk = 1;
    if (s.stored < s.prompt_tokens) {
      chunk = std::min({kv.advance(s), 1 + pick(8), 8});
    } else {
      s.tokens.push_back(pick(5));
      ++s.generated;
    }
    if (chunk == 0) continue;
    std::vector<BatchToken> batch;
    for (std::int32_t p = s.stored; p < s.stored + chunk; ++p)
      batch.push_back({s.tokens[static_cast<std::size_t>(p)], p, s.number, true});
    ASSERT_EQ(model.decode(batch), DecodeStatus::kDone);
    kv.computed(s, chunk);
    ASSERT_LE(kv.use().cold_bytes, GetParam().cold_bytes + 2 * 64 * 4);
    for (const auto& r : running) {
      const auto held = model.content(r->number);
      ASSERT_EQ(held.size(), static_cast<std::size_t>(r->stored));
      ASSERT_TRUE(std::equal(held.begin(), held.end(), r->tokens.begin())) << "foreign cells in round " << round;
    }
  }
  for (const auto& s : running) kv.release(*s, true);
  running.clear();
  if (shape.shares_cells) {
    EXPECT_EQ(kv.use().cells, model.cells_alive()) << "the books and the cells agree";
    EXPECT_EQ(kv.use().cells, kv.use().kept_cells);
  }
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(try_to_admit(*sequence_of(count_from(900 + 20 * i, 10), 50))) << "all room can be had again";
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, KvCacheTreeTest,
                         testing::Values(Shaped{"shared", true, 0}, Shaped{"shared_cold", true, 400},
                                         Shaped{"shared_pieces", true, 400, 4}, Shaped{"streams", false, 0},
                                         Shaped{"streams_cold", false, 4000}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace shoal::worker
