// What every Store must do, whatever is below it: the tests are in contract_test.cpp and walk_test.cpp, and run for
// each kind that is listed there.
#pragma once

#include <filesystem>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

#include "shoal/store/sqlite/sqlite_store.h"
#include "shoal/store/store.h"

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

}  // namespace shoal::store
