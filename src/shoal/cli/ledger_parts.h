// LedgerParts: the journal of a data folder, the store that is fed from it, and the hasher of keys. One process has
// them: a running server, or a command where none runs.
// Owned by App, or by a command. Threads: the I/O thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "shoal/audit/disk.h"
#include "shoal/audit/journal.h"
#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/ledger/book.h"
#include "shoal/ledger/prices.h"
#include "shoal/server/ledger_json.h"
#include "shoal/store/feeder.h"
#include "shoal/store/key_hash.h"

namespace shoal::cli {

class LedgerParts {
 public:
  // Opens what can be opened; error() tells what cannot. Blocks on the disk.
  // `log` may be null.
  LedgerParts(boost::asio::io_context& io, const base::Clock& clock, const std::string& data_dir, base::Log* log);
  LedgerParts(const LedgerParts&) = delete;
  LedgerParts& operator=(const LedgerParts&) = delete;
  ~LedgerParts();

  // Null when it could not be opened. Without a store there is no journal either: budgets would begin anew.
  [[nodiscard]] audit::Journal* journal() const { return feeder_ ? journal_.get() : nullptr; }
  [[nodiscard]] store::Feeder* feeder() const { return feeder_.get(); }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] const store::KeyHasher* hasher() const { return hasher_ ? &*hasher_ : nullptr; }

  // Runs `work` as a coroutine on the io_context, and that until `work` ends. REQUIRES: nobody else runs it.
  Result<void> run(std::function<Result<void>(base::Yield)> work);

  // Commits to the book what the journal says was spent this day and this month, unfinished attempts of earlier runs
  // at their estimate. Errors: those of the feeder.
  Result<void> restore(ledger::Book& book, base::Yield yield);

  // Revoked ones too; also while another process has the store. Errors: kIo.
  Result<std::vector<store::Key>> keys(base::Yield yield);
  // `wanted` has no hash yet. Errors: those of Store::create_key().
  Result<server::CreatedKey> create_key(store::NewKey wanted, base::Yield yield);
  // Errors: kNotFound.
  Result<store::Key> revoke_key(std::string name, base::Yield yield);

  // Computes all costs again by these prices, and corrects the budgets of this day and this month by what that changes.
  // `book` may be null: no server runs. Errors: those of the feeder.
  Result<store::RepriceProgress> reprice(std::shared_ptr<const ledger::PriceTable> prices, ledger::Book* book,
                                         base::Yield yield);

  // Of the store, while the process that has it runs. Errors: kIo.
  [[nodiscard]] static Result<std::vector<store::Key>> read_keys(const std::string& data_dir);

 private:
  Result<void> open(base::Log* log);

  boost::asio::io_context& io_;
  const base::Clock& clock_;
  const std::string data_dir_;
  audit::RealDisk disk_;
  std::unique_ptr<audit::Journal> journal_;
  std::unique_ptr<store::Feeder> feeder_;
  std::optional<store::KeyHasher> hasher_;
  std::optional<Error> error_;
};

// Whether a key was ever made in that data folder: a server of it is not open to all.
[[nodiscard]] bool has_stored_keys(const std::string& data_dir);

}  // namespace shoal::cli
