// Database, Statement, Rows, Transaction: SQLite's C interface, as values and Results.
//
//   Database database = SHOAL_TRY(Database::open(path, options));
//   Statement names = SHOAL_TRY(database.prepare("SELECT name FROM key WHERE created_ms > ?"));
//   Rows rows(names, since_ms);
//   while (SHOAL_TRY(rows.next())) use(rows.text(0));
//
// Place: the only file that speaks to sqlite3.h. Statements must go before their database. Owned by value. Threads: one
// at a time. Errors of all: kIo with the file and what SQLite said; kStoreDamaged when the file is no database, or one
// that is damaged, or has rows that contradict the schema; kInternal when a statement is wrong.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "shoal/base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace shoal::store::sqlite {

enum class JournalMode : std::uint8_t {
  kWal,     // many small transactions
  kDelete,  // one file, whole after each transaction
};

struct DatabaseOptions {
  JournalMode journal_mode = JournalMode::kWal;
  std::int64_t cache_kib = 512;         // of pages in memory
  std::int32_t application_id = 0;      // in the file; one of another application is not touched
  std::int64_t busy_timeout_ms = 1000;  // somebody may look at it with another program
};

class Statement;

class Database {
 public:
  // Made for the owner alone when it is missing. Each commit is on disk when it returns. Errors: kInvalidConfig for a
  // file of another application.
  static Result<Database> open(const std::filesystem::path& path, const DatabaseOptions& options);

  // Statements without arguments and rows.
  Result<void> execute(const std::string& sql);
  // `sql` is one statement. For those that are used again and again.
  Result<Statement> prepare(std::string_view sql);
  // The first column of the first row.
  Result<std::int64_t> number(std::string_view sql);
  // Rows that the last statement inserted, changed or deleted.
  [[nodiscard]] std::int64_t changes() const;
  [[nodiscard]] const std::filesystem::path& path() const { return *path_; }

 private:
  friend class Transaction;
  struct Close {
    void operator()(sqlite3* handle) const;
  };

  Database(std::unique_ptr<sqlite3, Close> handle, const std::filesystem::path& path);
  Result<void> configure(const DatabaseOptions& options);
  [[nodiscard]] bool in_transaction() const;

  std::unique_ptr<const std::filesystem::path> path_;  // statements point to it
  std::unique_ptr<sqlite3, Close> handle_;
};

class Statement {
 public:
  Statement() = default;  // of no use until another is moved into it

 private:
  friend class Database;
  friend class Rows;
  struct Finalize {
    void operator()(sqlite3_stmt* handle) const;
  };
  Statement(sqlite3_stmt* handle, const std::filesystem::path* path) : handle_(handle), path_(path) {}

  std::unique_ptr<sqlite3_stmt, Finalize> handle_;
  const std::filesystem::path* path_ = nullptr;
};

// A run of a statement. Arguments are integers, doubles, text, bytes, and optionals of them; text and bytes must live
// as long as it does. Columns are those of the row that next() came to; what they give is good until the next one.
class Rows {
 public:
  template <class... Arguments>
  explicit Rows(Statement& statement, const Arguments&... arguments)
      : handle_(statement.handle_.get()), path_(statement.path_) {
    int at = 0;
    (bind(++at, arguments), ...);
  }
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows();

  // False: there is none any more.
  [[nodiscard]] Result<bool> next();

  [[nodiscard]] bool null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string_view text(int column) const;
  [[nodiscard]] std::span<const unsigned char> bytes(int column) const;
  [[nodiscard]] std::optional<std::int64_t> optional_integer(int column) const {
    return null(column) ? std::nullopt : std::optional(integer(column));
  }

 private:
  template <class Value>
  void bind(int at, const Value& value) {
    if constexpr (std::same_as<Value, std::nullopt_t>) {
      bind_null(at);
    } else if constexpr (std::same_as<Value, bool> || std::signed_integral<Value>) {
      bind_integer(at, value);
    } else if constexpr (std::unsigned_integral<Value>) {
      bind_integer(at, static_cast<std::int64_t>(value));
    } else if constexpr (std::floating_point<Value>) {
      bind_real(at, value);
    } else if constexpr (std::convertible_to<const Value&, std::string_view>) {
      bind_text(at, value);
    } else if constexpr (std::convertible_to<const Value&, std::span<const unsigned char>>) {
      bind_bytes(at, value);
    } else {
      if (value) {
        bind(at, *value);
      } else {
        bind_null(at);
      }
    }
  }
  void bind_null(int at);
  void bind_integer(int at, std::int64_t value);
  void bind_real(int at, double value);
  void bind_text(int at, std::string_view text);
  void bind_bytes(int at, std::span<const unsigned char> bytes);

  sqlite3_stmt* const handle_;
  const std::filesystem::path* const path_;
};

// Runs a statement that gives no rows.
template <class... Arguments>
Result<void> run(Statement& statement, const Arguments&... arguments) {
  Rows rows(statement, arguments...);
  while (SHOAL_TRY(rows.next())) {
  }
  return {};
}

// Rolled back when it is destroyed before a commit() that succeeded.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  // On disk when it returns.
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}

  Database* database_;
};

}  // namespace shoal::store::sqlite
