#include "shoal/net/sse_reader.h"

#include <gtest/gtest.h>

namespace shoal::net {
namespace {

// Each event as name|data, and how it ended: "" or the slug of an error.
struct Outcome {
  std::vector<std::string> events;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

// Bytes from `cut` on come in pieces of `piece` bytes, those before it at once.
Outcome read(std::string_view bytes, std::size_t cut, std::size_t piece, std::size_t limit = 1U << 20U) {
  Outcome outcome;
  SseReader reader(limit);
  for (std::size_t at = 0; at <= bytes.size();) {
    const std::size_t length = at == 0 && cut > 0 ? cut : piece;
    reader.input().append(bytes.substr(at, length));
    at += length;
    while (true) {
      auto event = reader.next();
      if (!event.ok()) {
        outcome.error = event.error().info().slug;
        EXPECT_FALSE(reader.next().ok()) << "it says so again";
        return outcome;
      }
      if (!*event) break;
      const SseEvent& came = **event;
      outcome.events.push_back(std::string(came.name) + "|" + std::string(came.data));
    }
  }
  return outcome;
}

// The same however the bytes were cut.
Outcome read_all(std::string_view bytes, std::size_t limit = 1U << 20U) {
  const Outcome whole = read(bytes, bytes.size(), 1, limit);
  EXPECT_EQ(read(bytes, 0, 1, limit), whole);
  for (std::size_t cut = 1; cut < bytes.size(); ++cut) EXPECT_EQ(read(bytes, cut, bytes.size(), limit), whole) << cut;
  return whole;
}

using Events = std::vector<std::string>;

TEST(SseReader, DataAndNames) {
  EXPECT_EQ(read_all("data: {\"a\":1}\n\ndata: [DONE]\n\n").events, (Events{"|{\"a\":1}", "|[DONE]"}));
  EXPECT_EQ(read_all("event: ping\ndata: {}\n\ndata:x\n\n").events, (Events{"ping|{}", "|x"}));
  EXPECT_EQ(read_all("data: x\nevent:late\n\n").events, (Events{"late|x"}));
}

// The streams of section 9.2.6 of the standard.
TEST(SseReader, TheExamplesOfTheStandard) {
  EXPECT_EQ(read_all("data: YHOO\ndata: +2\ndata: 10\n\n").events, (Events{"|YHOO\n+2\n10"}));
  EXPECT_EQ(
      read_all(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n").events,
      (Events{"|first event", "|second event"}))
      << "the third has no blank line after it";
  EXPECT_EQ(read_all("data\n\ndata\ndata\n\ndata:").events, (Events{"|", "|\n"}));
  EXPECT_EQ(read_all("data:test\n\ndata: test\n\ndata:  test\n\n").events, (Events{"|test", "|test", "| test"}));
}

TEST(SseReader, EveryKindOfLineEnd) {
  const Events wanted{"e|a\nb", "|c"};
  for (const std::string_view end : {"\n", "\r", "\r\n"}) {
    std::string bytes;
    for (const std::string_view line : {"event: e", "data: a", "data: b", "", "data: c", "", "data: d"}) {
      bytes.append(line).append(end);
    }
    EXPECT_EQ(read_all(bytes).events, wanted) << bytes;
  }
  EXPECT_EQ(read_all("data: a\r\ndata: b\rdata: c\n\r\n").events, (Events{"|a\nb\nc"}));
  EXPECT_EQ(read_all("data: a\n\n\r\n\n\r\rdata: b\r\r").events, (Events{"|a", "|b"}));
}

TEST(SseReader, WhatIsNotReadChangesNothing) {
  EXPECT_EQ(read_all(": ping\n: pong\n\nretry: 5\nid: 1\n\nfoo: bar\ndatax: y\n data: z\nDATA: z\n\n").events,
            Events{});
  EXPECT_EQ(read_all("data: a\n:comment\nfoo\ndata: b\n\n").events, (Events{"|a\nb"}));
  EXPECT_EQ(read_all("event: lost\n\ndata: a\n\n").events, (Events{"|a"})) << "a name without data is forgotten";
}

TEST(SseReader, AByteOrderMarkIsDroppedOnce) {
  EXPECT_EQ(read_all("\xEF\xBB\xBF"
                     "data: a\n\n")
                .events,
            (Events{"|a"}));
  EXPECT_EQ(read_all("\xEF\xBB\xBF\xEF\xBB\xBF"
                     "data: a\n\n")
                .events,
            Events{});
  EXPECT_EQ(read_all("data: a\n\n\xEF\xBB\xBF"
                     "data: b\n\n")
                .events,
            (Events{"|a"}));
  EXPECT_EQ(read_all("\xEF\xBB").events, Events{});
}

TEST(SseReader, WhatTheEndOfTheStreamCutIsNoEvent) {
  const std::string_view bytes = "event: e\r\ndata: one\r\n\r\ndata: two\n\n";
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    // The first ends with the CR of its blank line: 22 bytes.
    EXPECT_EQ(read_all(bytes.substr(0, length)).events, length < 22 ? Events{} : Events{"e|one"}) << length;
  }
}

TEST(SseReader, ViewsHoldUntilTheNextCall) {
  SseReader reader;
  reader.input() = "event: first\ndata: a\ndata: b\n\ndata: c\n\n";
  const auto first = reader.next();
  ASSERT_TRUE(first.ok() && *first);
  EXPECT_EQ((*first)->name, "first");
  EXPECT_EQ((*first)->data, "a\nb");
  const auto second = reader.next();
  ASSERT_TRUE(second.ok() && *second);
  EXPECT_EQ((*second)->data, "c");
  EXPECT_EQ((*second)->name, "");
}

TEST(SseReader, AnEventHasAMostSize) {
  // What counts is the lines of data and name: 9 + 9 here.
  EXPECT_EQ(read_all("data: abc\ndata: abc\n\ndata: x\n\n", 18), (Outcome{{"|abc\nabc", "|x"}, ""}));
  EXPECT_EQ(read_all("data: x\n\ndata: abc\ndata: abcd\n\n", 18), (Outcome{{"|x"}, "bad_answer"}));
  EXPECT_EQ(read_all("event: ab\nevent: ab\nevent: ab\n\n", 18), (Outcome{{}, "bad_answer"}));
  EXPECT_EQ(read_all(":23456789012345678\n", 18), (Outcome{}));
  EXPECT_EQ(read_all(":234567890123456789\n", 18), (Outcome{{}, "bad_answer"})) << "a line, too, whatever it says";
  std::string pings;
  for (int i = 0; i < 100; ++i) pings += ": ping\n\n";
  EXPECT_EQ(read_all(pings + "data: x\n\n", 18), (Outcome{{"|x"}, ""}));
}

TEST(SseReader, NothingIsKeptOfWhatWasRead) {
  SseReader reader;
  for (int i = 0; i < 10'000; ++i) {
    reader.input() += "data: 0123456789\n\n: ping\n\ndata: 01";
    const auto event = reader.next();
    ASSERT_TRUE(event.ok() && *event);
    const auto none = reader.next();
    ASSERT_TRUE(none.ok() && !*none);
    ASSERT_LE(reader.input().size(), 16U);
    reader.input() += "\n\n";
    ASSERT_TRUE(*reader.next());
  }
}

}  // namespace
}  // namespace shoal::net
