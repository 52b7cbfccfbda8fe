#include "shoal/cli/ledger_parts.h"

#include <filesystem>
#include <map>
#include <utility>

#include "shoal/ledger/calendar.h"
#include "shoal/ledger/usage.h"
#include "shoal/store/sqlite/sqlite_store.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kStartMs = 600'000;  // a store that is made anew from a long journal takes its time
constexpr std::int64_t kQueryMs = 30'000;

fs::path store_folder(const std::string& data_dir) {
  return fs::path(data_dir) / "store";
}

// What a reprice came to.
struct Repriced {
  Result<store::RepriceProgress> progress;
  std::map<ledger::BucketKey, std::int64_t> corrections;  // of what was committed on this day and in this month
};

// On the store's thread, which applies nothing meanwhile: so the difference is that of the prices. Steps that were done
// before one failed count.
Result<Repriced> reprice_in(store::Store& store, const store::Store::Price& price, std::int64_t now) {
  const std::int64_t day = ledger::day_of(now).start;
  const std::int64_t month = ledger::month_of(now).start;
  Repriced out{.progress = store::RepriceProgress(), .corrections = {}};
  for (const store::Committed& one : SHOAL_TRY(store.committed(day, month)))
    out.corrections[one.bucket] -= one.amount.value;
  out.progress = store.reprice(price, {});
  for (const store::Committed& one : SHOAL_TRY(store.committed(day, month)))
    out.corrections[one.bucket] += one.amount.value;
  return out;
}

}  // namespace

LedgerParts::LedgerParts(boost::asio::io_context& io, const base::Clock& clock, const std::string& data_dir,
                         base::Log* log)
    : io_(io), clock_(clock), data_dir_(data_dir) {
  if (auto opened = open(log); !opened.ok()) error_ = std::move(opened).error();
}

LedgerParts::~LedgerParts() {
  // The feeder applies what the journal has written.
  if (journal_) journal_->close().ignore("whoever appended has the error");
  if (feeder_) feeder_->close();
}

Result<void> LedgerParts::open(base::Log* log) {
  const fs::path folder = store_folder(data_dir_);
  SHOAL_TRY(disk_.make_folder(folder));
  hasher_ = SHOAL_TRY(store::KeyHasher::open(folder / "key_secret"));
  audit::JournalOptions options;
  options.segments.folder = fs::path(data_dir_) / "journal";
  store::FeederOptions feeding;
  if (log != nullptr) {
    options.on_failure = [log](const Error& error) {
      log->error("the journal cannot be written: nothing is sent to providers until the server is started again",
                 {{"reason", error.message()}});
    };
    feeding.on_failure = [log](const Error& error) {
      log->error("the store cannot be written: receipts and costs are late, and nothing is lost",
                 {{"reason", error.message()}});
    };
    feeding.on_recovery = [log] { log->info("the store is written again", {}); };
  }
  journal_ = SHOAL_TRY(audit::Journal::open(io_.get_executor(), clock_, disk_, std::move(options)));
  std::unique_ptr<store::Store> tables = SHOAL_TRY(store::sqlite::open_store({.folder = folder}));
  feeder_ =
      SHOAL_TRY(store::Feeder::start(io_.get_executor(), clock_, *journal_, std::move(tables), std::move(feeding)));
  return {};
}

Result<void> LedgerParts::run(std::function<Result<void>(base::Yield)> work) {
  std::optional<Result<void>> done;
  base::spawn(io_, "ledger", [&](base::Yield yield) { done = work(std::move(yield)); });
  while (!done) {
    io_.run_one();
    // Without other work it stops, and would be so for whoever runs it next.
    if (io_.stopped()) io_.restart();
  }
  return *std::move(done);
}

Result<void> LedgerParts::restore(ledger::Book& book, base::Yield yield) {
  const base::Deadline deadline = base::Deadline::after_ms(clock_, kStartMs);
  SHOAL_TRY(feeder_->flush(deadline, yield));
  const std::int64_t now = clock_.unix_seconds();
  const std::int64_t day = ledger::day_of(now).start;
  const std::int64_t month = ledger::month_of(now).start;
  const std::vector<store::Committed> sums = SHOAL_TRY(
      feeder_->query([day, month](store::Store& store) { return store.committed(day, month); }, deadline, yield));
  for (const store::Committed& sum : sums) book.restore(book.bucket(sum.bucket, std::nullopt), now, sum.amount);
  return {};
}

Result<std::vector<store::Key>> LedgerParts::keys(base::Yield yield) {
  if (!feeder_) return read_keys(data_dir_);
  return feeder_->query([](store::Store& store) { return store.list_keys(); },
                        base::Deadline::after_ms(clock_, kQueryMs), std::move(yield));
}

Result<server::CreatedKey> LedgerParts::create_key(store::NewKey wanted, base::Yield yield) {
  std::string secret = store::make_key();
  wanted.hash = hasher_->hash(secret);
  store::Key key = SHOAL_TRY(feeder_->query([wanted = std::move(wanted), now = clock_.unix_ms()](
                                                store::Store& store) { return store.create_key(wanted, now); },
                                            base::Deadline::after_ms(clock_, kQueryMs), std::move(yield)));
  return server::CreatedKey{std::move(key), std::move(secret)};
}

Result<store::Key> LedgerParts::revoke_key(std::string name, base::Yield yield) {
  return feeder_->query(
      [name = std::move(name), now = clock_.unix_ms()](store::Store& store) { return store.revoke_key(name, now); },
      base::Deadline::after_ms(clock_, kQueryMs), std::move(yield));
}

Result<store::RepriceProgress> LedgerParts::reprice(std::shared_ptr<const ledger::PriceTable> prices,
                                                    ledger::Book* book, base::Yield yield) {
  SHOAL_TRY(feeder_->flush(base::Deadline::after_ms(clock_, kStartMs), yield));
  const std::int64_t now = clock_.unix_seconds();
  const auto price = [prices = std::move(prices)](const store::PricedUse& use) -> std::optional<ledger::Pico> {
    const ledger::PriceRow* const row = prices->row(use.provider, use.model, use.at);
    if (row == nullptr) return std::nullopt;
    const audit::TokenCounts& t = use.tokens;
    const auto cost =
        ledger::cost(*row, {t.input, t.cache_read, t.cache_write_5m, t.cache_write_1h, t.output, t.reasoning});
    return cost.ok() ? std::optional(*cost) : std::nullopt;
  };
  // Without a deadline: what the store has changed, the budgets must hear of.
  const Repriced done = SHOAL_TRY(feeder_->query(
      [price, now](store::Store& store) { return reprice_in(store, price, now); }, base::Deadline{}, std::move(yield)));
  if (book != nullptr) {
    for (const auto& [bucket, micro] : done.corrections) book->correct(bucket, now, ledger::Micro{micro});
  }
  return done.progress;
}

Result<std::vector<store::Key>> LedgerParts::read_keys(const std::string& data_dir) {
  return store::sqlite::read_keys(store_folder(data_dir));
}

bool has_stored_keys(const std::string& data_dir) {
  const auto keys = LedgerParts::read_keys(data_dir);
  return keys.ok() && !keys->empty();
}

}  // namespace shoal::cli
