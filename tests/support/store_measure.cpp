// What the store in SQLite takes, for docs and for whoever changes it: store_measure FOLDER REQUESTS [remote share, %].
// Prints one line for each of: memory of an opened store; records applied; queries; attempts priced again; a rebuild's
// last step. FOLDER must be empty, and on the disk that is asked about.
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include <malloc.h>
#include <unistd.h>

#include "shoal/ledger/prices.h"
#include "shoal/ledger/usage.h"
#include "shoal/store/sqlite/sqlite_store.h"

#include "unit/store/history.h"

namespace {

using namespace shoal;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Memory {
  long dirty_kib = 0;
  long clean_kib = 0;  // pages of files: mostly code that was run
};

// Of this process alone.
Memory memory() {
  std::ifstream file("/proc/self/smaps_rollup");
  Memory found;
  for (std::string line; std::getline(file, line);) {
    const auto read = [&](std::string_view name, long& into) {
      if (line.starts_with(name)) into = std::strtol(line.c_str() + name.size(), nullptr, 10);
    };
    read("Private_Dirty:", found.dirty_kib);
    read("Private_Clean:", found.clean_kib);
  }
  return found;
}

void print_memory(const Memory& before, const char* when) {
  ::malloc_trim(0);
  const Memory now = memory();
  std::printf("memory: %ld KiB more written, %ld KiB more of files, %s\n", now.dirty_kib - before.dirty_kib,
              now.clean_kib - before.clean_kib, when);
}

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

// Of the processor, by this process.
double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

// As base::random_id(), from a source that is seeded.
std::string id(std::mt19937_64& random) {
  std::string text;
  for (int i = 0; i < 26; ++i) text += "0123456789abcdefghjkmnpqrstvwxyz"[random() % 32];
  return text;
}

void add_requests(store::History& history, std::mt19937_64& random, std::uint64_t requests, std::uint64_t share,
                  std::int64_t at) {
  for (std::uint64_t i = 0; i < requests; ++i) {
    const std::string request = id(random);
    const std::string key = "key" + std::to_string(random() % 20);
    const bool remote = random() % 100 < share;
    if (remote) {
      const std::string attempt = id(random);
      audit::Intent intent = store::intent(attempt, request, 5'000'000'000, at);
      intent.principal = key;
      history.add(intent);
      audit::Outcome outcome = store::outcome(attempt, 291'600'000 + static_cast<std::int64_t>(random() % 1000));
      outcome.upstream_id = "chatcmpl-" + id(random);
      outcome.tokens = {.input = static_cast<std::int64_t>(random() % 4000), .output = 200};
      history.add(outcome);
    }
    audit::Receipt receipt = store::receipt(request, remote ? audit::Decision::kRemote : audit::Decision::kLocal, at);
    receipt.principal = key;
    receipt.detail = '"' + std::string(200, 'd') + '"';
    history.add(receipt);
  }
}

void measure_reprice(store::Store& store) {
  ledger::PriceTable prices;
  std::vector<ledger::PriceRow> rows;
  rows.push_back(must(ledger::make_price_row({.provider = "openai",
                                              .model = "gpt-4o-mini",
                                              .from = "2026-01-01",
                                              .input_usd = "0.15",
                                              .output_usd = "0.60"})));
  must(prices.add(std::move(rows)));
  const auto price = [&](const store::PricedUse& use) -> std::optional<ledger::Pico> {
    const auto row = prices.find(use.provider, use.model, use.at);
    if (!row.ok()) return std::nullopt;
    const audit::TokenCounts& t = use.tokens;
    const auto cost =
        ledger::cost(**row, {t.input, t.cache_read, t.cache_write_5m, t.cache_write_1h, t.output, t.reasoning});
    return cost.ok() ? std::optional(*cost) : std::nullopt;
  };
  for (const char* what : {"all change", "none changes"}) {
    const auto begin = Clock::now();
    const auto done = must(store.reprice(price, {}));
    const double seconds = seconds_since(begin);
    std::printf("reprice: %lu attempts (%s) in %.2f s, %.0f a second\n", static_cast<unsigned long>(done.looked_at),
                what, seconds, static_cast<double>(done.looked_at) / seconds);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const std::uint64_t requests = number(argv[2]);
  const std::uint64_t share = argc > 3 ? number(argv[3]) : 100;
  const Memory before = memory();
  const std::int64_t cache_kib = argc > 4 ? static_cast<std::int64_t>(number(argv[4])) : 512;
  auto store = must(store::sqlite::open_store({.folder = argv[1], .cache_kib = cache_kib}));
  must(store->use_journal("journal-1", 1));
  print_memory(before, "with an opened store");

  std::mt19937_64 random(1);
  std::uint64_t sequence = 1;
  std::uint64_t records = 0;
  double applying = 0;
  double computing = 0;
  constexpr std::uint64_t kBatch = 1000;
  for (std::uint64_t done = 0; done < requests; done += kBatch) {
    store::History history(sequence);
    add_requests(history, random, std::min(kBatch, requests - done), share,
                 store::kNoonMs - store::kDayMs * 20 + static_cast<std::int64_t>(done) * 1000);
    const auto begin = Clock::now();
    const double cpu = cpu_seconds();
    must(store->apply(history.all()));
    applying += seconds_since(begin);
    computing += cpu_seconds() - cpu;
    records += history.all().size();
    sequence = history.last() + 1;
    if ((done / kBatch) % 100 == 99) {
      std::fprintf(stderr, "%lu requests: %.0f records a second so far\n", static_cast<unsigned long>(done + kBatch),
                   static_cast<double>(records) / applying);
    }
  }
  std::printf(
      "apply: %lu records of %lu requests (%lu %% remote) in %.2f s: %.0f records a second, %.1f us of a "
      "processor for each request\n",
      static_cast<unsigned long>(records), static_cast<unsigned long>(requests), static_cast<unsigned long>(share),
      applying, static_cast<double>(records) / applying, computing * 1e6 / static_cast<double>(requests));
  print_memory(before, "after that");

  auto begin = Clock::now();
  must(store->costs(store::CostsBy::kModel, 0, store::kDay * 2));
  std::printf("costs: %.2f ms\n", seconds_since(begin) * 1000);
  begin = Clock::now();
  const auto rows = must(store->receipts({.limit = 100, .principal = "key7"}));
  std::printf("receipts: %zu of one key in %.2f ms\n", rows.size(), seconds_since(begin) * 1000);
  begin = Clock::now();
  must(store->receipt(rows.back().receipt.request));
  std::printf("receipt: %.2f ms\n", seconds_since(begin) * 1000);
  begin = Clock::now();
  must(store->committed(store::kDay, store::kMonth));
  std::printf("committed: %.2f ms\n", seconds_since(begin) * 1000);
  measure_reprice(*store);
  print_memory(before, "after that");
  begin = Clock::now();
  const auto pruned = must(store->prune(store::kNoonMs, 10'000));
  std::printf("prune: %lu requests in %.2f s\n", static_cast<unsigned long>(pruned), seconds_since(begin));
  return 0;
}
