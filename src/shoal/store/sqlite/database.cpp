#include "shoal/store/sqlite/database.h"

#include <cassert>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shoal::store::sqlite {
namespace {

Error failed(const std::filesystem::path& path, sqlite3* handle, int code) {
  const char* const what = handle != nullptr ? sqlite3_errmsg(handle) : sqlite3_errstr(code);
  const std::string text = fmt::format("{}: {} (SQLite {})", path.string(), what, code);
  switch (code & 0xFF) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_CONSTRAINT:  // no statement breaks one, unless what it found was wrong
      return {ErrorCode::kStoreDamaged, text};
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
      return {ErrorCode::kInternal, text};
    default:
      return {ErrorCode::kIo, text};
  }
}

// SQLite would make it readable for all.
Result<void> make_private(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0) return base::errno_error(fmt::format("cannot open {}", path.string()), errno);
  ::close(fd);
  return {};
}

}  // namespace

void Database::Close::operator()(sqlite3* handle) const {
  [[maybe_unused]] const int code = sqlite3_close(handle);
  assert(code == SQLITE_OK);  // else a statement is left
}

void Statement::Finalize::operator()(sqlite3_stmt* handle) const {
  sqlite3_finalize(handle);
}

Database::Database(std::unique_ptr<sqlite3, Close> handle, const std::filesystem::path& path)
    : path_(std::make_unique<const std::filesystem::path>(path)), handle_(std::move(handle)) {}

Result<Database> Database::open(const std::filesystem::path& path, const DatabaseOptions& options) {
  SHOAL_TRY(make_private(path));
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, nullptr);
  std::unique_ptr<sqlite3, Close> handle(raw);  // there is one after an error too
  if (code != SQLITE_OK) return failed(path, raw, code);
  Database database(std::move(handle), path);
  SHOAL_TRY(database.configure(options));
  return database;
}

Result<void> Database::configure(const DatabaseOptions& options) {
  sqlite3_busy_timeout(handle_.get(), static_cast<int>(options.busy_timeout_ms));
  // A plan is made once, and not again for other arguments: that took longer than most statements do.
  sqlite3_db_config(handle_.get(), SQLITE_DBCONFIG_ENABLE_QPSG, 1, nullptr);
  const std::int64_t application = SHOAL_TRY(number("PRAGMA application_id"));
  const std::int64_t tables = SHOAL_TRY(number("SELECT count(*) FROM sqlite_schema"));
  if (tables == 0) {
    SHOAL_TRY(execute(fmt::format("PRAGMA application_id = {}", options.application_id)));
  } else if (application != options.application_id) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("{} is a database of another application; nothing in it was touched", path_->string()));
  }
  // No mmap: an error of the disk would be a signal. No files for what is sorted: they would lie in a folder for all.
  SHOAL_TRY(
      execute(fmt::format("PRAGMA journal_mode = {}; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
                          "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;"
                          "PRAGMA temp_store = MEMORY;"
                          "PRAGMA cache_size = -{}; PRAGMA journal_size_limit = 16777216",
                          options.journal_mode == JournalMode::kWal ? "WAL" : "DELETE", options.cache_kib)));
  // In WAL mode with less, a commit may be lost when the power is.
  const std::int64_t synchronous = SHOAL_TRY(number("PRAGMA synchronous"));
  Statement mode_of = SHOAL_TRY(prepare("PRAGMA journal_mode"));
  Rows mode(mode_of);
  if (!SHOAL_TRY(mode.next()) || synchronous != 2 ||
      mode.text(0) != (options.journal_mode == JournalMode::kWal ? "wal" : "delete")) {
    return Error(ErrorCode::kIo, fmt::format("{}: this file system does not let SQLite be safe: journal mode {}, "
                                             "synchronous {}",
                                             path_->string(), mode.text(0), synchronous));
  }
  return {};
}

Result<void> Database::execute(const std::string& sql) {
  const int code = sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failed(*path_, handle_.get(), code);
  return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
  if (code != SQLITE_OK) return failed(*path_, handle_.get(), code);
  assert(raw != nullptr);
  return Statement(raw, path_.get());
}

Result<std::int64_t> Database::number(std::string_view sql) {
  Statement statement = SHOAL_TRY(prepare(sql));
  Rows rows(statement);
  if (!SHOAL_TRY(rows.next())) return Error(ErrorCode::kInternal, fmt::format("no row for {}", sql));
  return rows.integer(0);
}

std::int64_t Database::changes() const {
  return sqlite3_changes64(handle_.get());
}

bool Database::in_transaction() const {
  return sqlite3_get_autocommit(handle_.get()) == 0;
}

Rows::~Rows() {
  sqlite3_reset(handle_);
  sqlite3_clear_bindings(handle_);
}

Result<bool> Rows::next() {
  const int code = sqlite3_step(handle_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return failed(*path_, sqlite3_db_handle(handle_), code);
}

bool Rows::null(int column) const {
  return sqlite3_column_type(handle_, column) == SQLITE_NULL;
}

std::int64_t Rows::integer(int column) const {
  return sqlite3_column_int64(handle_, column);
}

double Rows::real(int column) const {
  return sqlite3_column_double(handle_, column);
}

std::string_view Rows::text(int column) const {
  const auto* const text = reinterpret_cast<const char*>(sqlite3_column_text(handle_, column));
  return text == nullptr ? std::string_view()
                         : std::string_view(text, static_cast<std::size_t>(sqlite3_column_bytes(handle_, column)));
}

std::span<const unsigned char> Rows::bytes(int column) const {
  const auto* const bytes = static_cast<const unsigned char*>(sqlite3_column_blob(handle_, column));
  return {bytes, bytes == nullptr ? 0 : static_cast<std::size_t>(sqlite3_column_bytes(handle_, column))};
}

// Binding fails for a place that the statement does not have, and for text of more than a gigabyte.
void Rows::bind_null(int at) {
  [[maybe_unused]] const int code = sqlite3_bind_null(handle_, at);
  assert(code == SQLITE_OK);
}
void Rows::bind_integer(int at, std::int64_t value) {
  [[maybe_unused]] const int code = sqlite3_bind_int64(handle_, at, value);
  assert(code == SQLITE_OK);
}
void Rows::bind_real(int at, double value) {
  [[maybe_unused]] const int code = sqlite3_bind_double(handle_, at, value);
  assert(code == SQLITE_OK);
}
void Rows::bind_text(int at, std::string_view text) {
  // A null pointer would be NULL.
  const char* const begin = text.data() == nullptr ? "" : text.data();
  [[maybe_unused]] const int code = sqlite3_bind_text64(handle_, at, begin, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  assert(code == SQLITE_OK);
}
void Rows::bind_bytes(int at, std::span<const unsigned char> bytes) {
  const void* const begin = bytes.data() == nullptr ? "" : static_cast<const void*>(bytes.data());
  [[maybe_unused]] const int code = sqlite3_bind_blob64(handle_, at, begin, bytes.size(), SQLITE_STATIC);
  assert(code == SQLITE_OK);
}

Result<Transaction> Transaction::begin(Database& database) {
  SHOAL_TRY(database.execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

// Some errors have rolled it back already.
Transaction::~Transaction() {
  if (database_ == nullptr || !database_->in_transaction()) return;
  database_->execute("ROLLBACK").ignore("the connection is of no use then, and says so with its next statement");
}

Result<void> Transaction::commit() {
  SHOAL_TRY(database_->execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace shoal::store::sqlite
