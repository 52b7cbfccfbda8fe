// Slots of texts: tokens, the model, how it is trained, and the file.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "shoal/learning/slot_file.h"
#include "shoal/learning/slot_fit.h"
#include "shoal/learning/slot_model.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  for (const SlotToken& token : slot_tokens(text)) out.emplace_back(text.substr(token.begin, token.end - token.begin));
  return out;
}

// "table for 3 at 7 pm": what stands after "for" is people, after "at" a time; a number alone is what was asked for.
SlotData some_data(std::size_t count) {
  SlotData out;
  out.slots = {"people", "time"};
  statistics::Random random(5);
  const auto add_span = [](SlotExample& to, std::size_t slot, const std::string& words) {
    to.spans.push_back({slot, to.text.size(), to.text.size() + words.size(), 0});
    to.text += words;
  };
  for (std::size_t i = 0; i < count; ++i) {
    SlotExample one;
    const std::string number = fmt::format("{}", 1 + random.index(12));
    if (i % 4 == 0) {
      const std::size_t slot = random.index(2);
      one.asked = {out.slots[slot]};
      add_span(one, slot, number);
    } else if (i % 4 == 1) {
      one.text = "no thanks, " + number + " is too much";
    } else {
      one.text = random.chance(0.5) ? "a table for " : "we are ";
      add_span(one, 0, number);
      one.text += " at ";
      add_span(one, 1, fmt::format("{} pm", 1 + random.index(12)));
      if (random.chance(0.5)) one.text += " please";
    }
    out.examples.push_back(std::move(one));
  }
  return out;
}

SlotModel trained(std::size_t count) {
  SlotModel model;
  EXPECT_TRUE(fit_slots(some_data(count), {.threads = 2}, model).ok());
  model.name = "booking";
  model.report = "{}";
  return model;
}

// All readings of a text, each with its probability, by trying them all.
struct Reading {
  std::vector<std::size_t> tags;
  double probability = 0;
};
std::vector<Reading> all_readings(const SlotModel& model, const SlotLattice& lattice) {
  std::vector<Reading> out;
  std::vector<std::size_t> tags(lattice.tokens);
  double sum = 0;
  for (bool more = true; more;) {
    bool allowed = true;
    double score = 0;
    for (std::size_t i = 0; i < tags.size(); ++i) {
      allowed = allowed && may_follow(i == 0 ? 0 : tags[i - 1], tags[i]);
      score += lattice.scores[i * lattice.tags + tags[i]];
      if (i > 0) score += static_cast<double>(model.steps[tags[i - 1] * lattice.tags + tags[i]]);
    }
    if (allowed) out.push_back({tags, std::exp(score)});
    if (allowed) sum += out.back().probability;
    std::size_t place = 0;
    while (place < tags.size() && ++tags[place] == lattice.tags) tags[place++] = 0;
    more = place < tags.size();
  }
  for (Reading& one : out) one.probability /= sum;
  return out;
}

TEST(SlotTokens, AreWordsNumbersAndMarks) {
  EXPECT_EQ(words_of("Table 4, 7:30pm"), (std::vector<std::string>{"Table", "4", ",", "7", ":", "30", "pm"}));
  EXPECT_EQ(words_of("Caf\u00e9\u00a0\u201cX\u201d"), (std::vector<std::string>{"Caf\u00e9", "\u201c", "X", "\u201d"}));
  EXPECT_TRUE(words_of(" \n").empty());
  EXPECT_EQ(words_of("a\xff\xfe"
                     "b")
                .size(),
            4U);
  EXPECT_EQ(slot_tokens(std::string(5000, '!')).size(), kMostSlotTokens);
}

TEST(Slots, AreFoundWhereTheTextOrTheQuestionSaysSo) {
  const SlotModel model = trained(200);
  const std::string text = "a table for 9 at 11 pm please";
  const SlotAnswer answer = find_slots(model, text);
  ASSERT_EQ(answer.spans.size(), 2U);
  EXPECT_EQ(text.substr(answer.spans[0].begin, answer.spans[0].end - answer.spans[0].begin), "9");
  EXPECT_EQ(text.substr(answer.spans[1].begin, answer.spans[1].end - answer.spans[1].begin), "11 pm");
  EXPECT_EQ(model.slots[answer.spans[1].slot], "time");
  const std::vector<std::string> people = {"people"};
  const std::vector<std::string> time = {"time"};
  ASSERT_EQ(find_slots(model, "7", people).spans.size(), 1U);
  EXPECT_EQ(find_slots(model, "7", people).spans[0].slot, 0U);
  EXPECT_EQ(find_slots(model, "7", time).spans[0].slot, 1U);
  EXPECT_TRUE(find_slots(model, "").spans.empty());
  EXPECT_EQ(find_slots(model, "").right, 1);
}

TEST(Slots, ProbabilitiesAreThoseOfAllReadings) {
  const SlotModel model = trained(60);
  const std::string text = "we are 7 at 3";
  const auto tokens = slot_tokens(text);
  SlotLattice lattice;
  lattice.tokens = tokens.size();
  lattice.tags = model.tags();
  lattice.scores.assign(lattice.tokens * lattice.tags, 0.0);
  const auto features = slot_features(text, tokens, {});
  for (std::size_t i = 0; i < features.size(); ++i) {
    for (const std::uint32_t bucket : features[i]) {
      if (model.places[bucket] == SlotModel::kNone) continue;
      for (std::size_t y = 0; y < lattice.tags; ++y) {
        lattice.scores[i * lattice.tags + y] +=
            static_cast<double>(model.weights[model.places[bucket] * lattice.tags + y]);
      }
    }
  }
  const auto readings = all_readings(model, lattice);
  const auto best = std::ranges::max_element(readings, {}, &Reading::probability);
  const SlotAnswer answer = find_slots(model, text);
  EXPECT_NEAR(answer.right, best->probability, 1e-9);
  ASSERT_FALSE(answer.spans.empty());
  for (const SlotSpan& span : answer.spans) {
    double wanted = 0;
    for (const Reading& one : readings) {
      bool same = true;
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool first = tokens[i].begin == span.begin;
        const bool inside = tokens[i].begin >= span.begin && tokens[i].end <= span.end;
        const bool after = tokens[i].begin >= span.end && (i > 0 && tokens[i - 1].end == span.end);
        if (inside) same = same && one.tags[i] == 2 * span.slot + (first ? 1 : 2);
        if (after) same = same && one.tags[i] != 2 * span.slot + 2;
      }
      if (same) wanted += one.probability;
    }
    EXPECT_NEAR(span.probability, wanted, 1e-9);
  }
}

TEST(SlotFit, IsTheSameWithAnyThreadsAndRefusesTooLittle) {
  SlotModel one;
  SlotModel two;
  const SlotData data = some_data(60);
  const auto report = fit_slots(data, {.threads = 1}, one);
  ASSERT_TRUE(report.ok());
  ASSERT_TRUE(fit_slots(data, {.threads = 3}, two).ok());
  EXPECT_EQ(one.weights, two.weights);
  EXPECT_EQ(report->held_out.texts, 60U);
  EXPECT_GT(report->held_out.spans.f1(), 0.9);
  SlotData few = some_data(10);
  EXPECT_FALSE(fit_slots(few, {}, one).ok());
  SlotData none = data;
  for (SlotExample& example : none.examples) example.spans.clear();
  EXPECT_FALSE(fit_slots(none, {}, one).ok());
}

TEST(SlotFit, CountsSpansByBothEndsAndTheSlot) {
  const SlotModel model = trained(200);
  SlotExample one{"a table for 9 at 11 pm", {}, {{0, 12, 13, 0}, {1, 17, 19, 0}}};
  const SlotQuality quality = measure_slots(model, std::span(&one, 1));
  EXPECT_EQ(quality.spans.right, 1U);
  EXPECT_EQ(quality.spans.found, 2U);
  EXPECT_EQ(quality.spans.wanted, 2U);
  EXPECT_EQ(quality.right, 0U);
  EXPECT_EQ(quality.by_slot[1].right, 0U);
  EXPECT_DOUBLE_EQ(quality.spans.f1(), 0.5);
}

TEST(SlotFile, KeepsEveryBitAndTellsDamage) {
  const SlotModel model = trained(60);
  const std::string bytes = print_slot_model(model);
  const auto again = parse_slot_model(bytes);
  ASSERT_TRUE(again.ok()) << again.error().message();
  EXPECT_EQ(print_slot_model(*again), bytes);
  const SlotAnswer a = find_slots(model, "we are 7 at 3 pm");
  const SlotAnswer b = find_slots(*again, "we are 7 at 3 pm");
  EXPECT_EQ(a.spans, b.spans);
  EXPECT_EQ(a.right, b.right);
  for (const std::size_t at : {std::size_t{3}, bytes.size() / 2, bytes.size() - 3}) {
    std::string broken = bytes;
    broken[at] = static_cast<char>(broken[at] ^ 1);
    EXPECT_FALSE(parse_slot_model(broken).ok()) << at;
  }
  EXPECT_FALSE(parse_slot_model(std::string_view(bytes).substr(0, bytes.size() / 2)).ok());
}

}  // namespace
}  // namespace shoal::learning
