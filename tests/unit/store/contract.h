// What every Store must do, whatever is below it: the tests are in contract_test.cpp, costs_test.cpp and
// walk_test.cpp, and run for each kind that is listed there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/store/sqlite/sqlite_store.h"
#include "shoal/store/store.h"

#include "history.h"
#include "support/temporary_folder.h"

namespace shoal::store {

// A way to make stores.
struct Kind {
  std::string name;
  // What was in the folder is there again.
  Result<std::unique_ptr<Store>> (*open)(const std::filesystem::path& folder);
};

// Else its bytes, which differ from run to run, stand in the names of the tests.
inline void PrintTo(const Kind& kind, std::ostream* out) {
  *out << kind.name;
}

inline const Kind kKinds[] = {
    {"Sqlite", [](const std::filesystem::path& folder) { return sqlite::open_store({.folder = folder}); }},
};

inline std::string name_of_kind(const ::testing::TestParamInfo<Kind>& info) {
  return info.param.name;
}

// The value, or the test ends.
template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
  return *std::move(result);
}
inline void must(Result<void> result) {
  if (!result.ok()) throw std::runtime_error(result.error().message());
}

class OnStore : public ::testing::TestWithParam<Kind> {
 protected:
  OnStore() { open(); }

  void open() {
    store_.reset();
    store_ = must(GetParam().open(folder_.path()));
  }
  Store& store() { return *store_; }

 private:
  test::TemporaryFolder folder_;
  std::unique_ptr<Store> store_;
};

// One that a history is applied to, and short questions to it.
class StoreContract : public OnStore {
 protected:
  StoreContract() { must(store().use_journal("journal-1", 1)); }

  void apply() { must(store().apply(history_.all())); }
  Request request(const std::string& id) { return must(store().receipt(id)); }
  Costs total(std::int64_t from = 0, std::int64_t to = kDay * 2) {
    return must(store().costs(CostsBy::kDay, from, to)).total;
  }
  std::vector<CostRow> rows(CostsBy by) { return must(store().costs(by, 0, kDay * 2)).rows; }
  // What a bucket of today has committed; -1: it is left out.
  std::int64_t committed(ledger::Period period, ledger::Owner owner, const std::string& name = "") {
    for (const Committed& one : must(store().committed(kDay, kMonth))) {
      if (one.bucket == ledger::BucketKey{.period = period, .owner = owner, .name = name}) return one.amount.value;
    }
    return -1;
  }
  std::vector<std::string> receipt_ids(const ReceiptFilter& filter) {
    std::vector<std::string> ids;
    for (const ReceiptRow& row : must(store().receipts(filter))) ids.push_back(row.receipt.request);
    return ids;
  }

  History history_;
};

}  // namespace shoal::store
