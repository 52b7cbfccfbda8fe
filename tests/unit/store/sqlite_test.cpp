// What only the store in SQLite does: files that are damaged, foreign, full or locked, and a process that is killed.
#include <array>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/store/sqlite/database.h"
#include "shoal/store/sqlite/schema.h"
#include "shoal/store/sqlite/sqlite_store.h"

#include "contract.h"
#include "history.h"

namespace shoal::store::sqlite {
namespace {

namespace fs = std::filesystem;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kDamages = 5;
constexpr int kKills = 20;
#else
constexpr int kDamages = 30;
constexpr int kKills = 60;
#endif

std::unique_ptr<Store> open(const fs::path& folder) {
  auto store = must(open_store({.folder = folder}));
  must(store->use_journal("journal-1", 1));
  return store;
}

Database open_file(const fs::path& path, std::int32_t application) {
  return must(Database::open(path, {.application_id = application}));
}

// Every row of every table, as SQL would write it.
std::map<std::string, std::vector<std::string>> dump(const fs::path& folder) {
  std::map<std::string, std::vector<std::string>> tables;
  Database database = open_file(folder / "receipts.db", kReceiptsApplication);
  Statement columns = must(
      database.prepare("SELECT t.name, group_concat('quote(' || c.name || ')', ' || '','' || ') FROM sqlite_schema t "
                       "JOIN pragma_table_info(t.name) c WHERE t.type = 'table' GROUP BY t.name"));
  Rows table(columns);
  while (must(table.next())) {
    const std::string name(table.text(0));
    Statement all = must(database.prepare(fmt::format("SELECT {} FROM {}", table.text(1), name)));
    Rows row(all);
    while (must(row.next())) tables[name].emplace_back(row.text(0));
  }
  EXPECT_GE(tables.size(), 5U);
  EXPECT_FALSE(tables["attempt"].empty() || tables["receipt"].empty() || tables["day_sum"].empty());
  return tables;
}

// The rows that a store has that gets all of it at once.
std::map<std::string, std::vector<std::string>> fresh_dump(const History& history) {
  const test::TemporaryFolder folder;
  must(open(folder.path())->apply(history.all()));
  return dump(folder.path());
}

bool is_aside(const fs::path& folder, int number) {
  return fs::exists(folder / fmt::format("receipts.db.aside-{}", number));
}

void overwrite(const fs::path& file, std::uintmax_t offset, const std::string& bytes) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp(static_cast<std::streamoff>(offset));
  stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

TEST(Sqlite, FilesAreForTheirOwnerAlone) {
  const test::TemporaryFolder folder;
  const auto store = open(folder.path() / "store");
  struct stat info{};
  ASSERT_EQ(::stat((folder.path() / "store").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder.path() / "store")) {
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0077, 0U) << entry.path();
    ++files;
  }
  EXPECT_GE(files, 3);
}

TEST(Sqlite, IsAsSafeAsItCanBe) {
  const test::TemporaryFolder folder;
  Database database = open_file(folder.path() / "a.db", 7);
  EXPECT_EQ(must(database.number("SELECT sqlite_version() >= '3.54'")), 1);
  EXPECT_EQ(must(database.number("PRAGMA synchronous")), 2);
  EXPECT_EQ(must(database.number("PRAGMA foreign_keys")), 1);
  EXPECT_EQ(must(database.number("PRAGMA mmap_size")), 0);
  EXPECT_EQ(must(database.number("PRAGMA application_id")), 7);
  EXPECT_EQ(must(database.number("SELECT journal_mode = 'wal' FROM pragma_journal_mode")), 1);
  // Double quotes are names, and nothing else.
  EXPECT_EQ(database.prepare("SELECT \"no such column\"").error().code(), ErrorCode::kInternal);
}

TEST(Sqlite, OneServerHasTheFolder) {
  const test::TemporaryFolder folder;
  auto first = open(folder.path());
  const auto second = open_store({.folder = folder.path()});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), ErrorCode::kIo);
  first.reset();
  EXPECT_TRUE(open_store({.folder = folder.path()}).ok());
}

TEST(Sqlite, AFileOfAnotherApplicationIsNotTouched) {
  for (const std::string name : {"receipts.db", "keys.db"}) {
    const test::TemporaryFolder folder;
    {
      Database other = open_file(folder.path() / name, 12);
      must(other.execute("CREATE TABLE photos (x)"));
    }
    const auto opened = open_store({.folder = folder.path()});
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::kInvalidConfig);
    Database other = open_file(folder.path() / name, 12);
    EXPECT_EQ(must(other.number("SELECT count(*) FROM photos")), 0);
  }
}

TEST(Sqlite, AFileOfALaterShoalIsNotTouched) {
  for (const std::string name : {"receipts.db", "keys.db"}) {
    const test::TemporaryFolder folder;
    open(folder.path()).reset();
    const std::int32_t application = name == "keys.db" ? kKeysApplication : kReceiptsApplication;
    must(open_file(folder.path() / name, application).execute("PRAGMA user_version = 1000"));
    const auto opened = open_store({.folder = folder.path()});
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::kUnimplemented);
    EXPECT_FALSE(is_aside(folder.path(), 1));
  }
}

// No release had version 1. What it counted is made again from the journal.
TEST(Sqlite, TablesOfVersionOneAreMadeAgain) {
  const test::TemporaryFolder folder;
  History history;
  fill(history, 1, 200);
  {
    Database old = open_file(folder.path() / "receipts.db", kReceiptsApplication);
    must(
        old.execute("CREATE TABLE feed (one INTEGER); CREATE TABLE attempt (sequence INTEGER PRIMARY KEY) STRICT;"
                    "CREATE TABLE bill (sequence INTEGER PRIMARY KEY REFERENCES attempt ON DELETE CASCADE) STRICT;"
                    "INSERT INTO attempt VALUES (1); INSERT INTO bill VALUES (1); PRAGMA user_version = 1"));
  }
  {
    auto store = open(folder.path());
    EXPECT_EQ(store->last_sequence(), 0U);
    must(store->apply(history.all()));
  }
  EXPECT_EQ(dump(folder.path()), fresh_dump(history));
}

TEST(Sqlite, OneThatIsNoDatabaseIsMovedAside) {
  const test::TemporaryFolder folder;
  History history;
  fill(history, 1, 200);
  {
    auto store = open(folder.path());
    must(store->apply(history.all()));
    must(store->create_key({.name = "ci", .hash = {1}}, 1));
  }
  overwrite(folder.path() / "receipts.db", 0, "this is no database at all");
  {
    auto store = must(open_store({.folder = folder.path()}));
    EXPECT_EQ(store->use_journal("journal-1", 1).error().code(), ErrorCode::kStoreDamaged);
    EXPECT_THAT(store->receipts({}).error().message(), ::testing::HasSubstr("not a database"));
    EXPECT_EQ(must(store->list_keys()).size(), 1U);
    EXPECT_FALSE(is_aside(folder.path(), 1));
    must(store->start_over());
    EXPECT_TRUE(is_aside(folder.path(), 1));
    must(store->use_journal("journal-1", 1));
    must(store->apply(history.all()));
  }
  EXPECT_EQ(dump(folder.path()), fresh_dump(history));
}

TEST(Sqlite, OfThoseThatWereMovedAsideTheFirstTwoAndTheLastAreKept) {
  const test::TemporaryFolder folder;
  History history;
  auto store = open(folder.path());
  for (int i = 1; i <= 5; ++i) {
    history.add(receipt("r" + std::to_string(i)));
    must(store->use_journal("journal-1", 1));
    must(store->apply(history.all()));
    std::ofstream(folder.path() / "receipts.db.aside-3-wal") << "the log of the one before";
    must(store->start_over());
  }
  EXPECT_FALSE(fs::exists(folder.path() / "receipts.db.aside-3-wal"));
  EXPECT_FALSE(is_aside(folder.path(), 4));
  for (const auto& [number, receipts] : {std::pair(1, 1), {2, 2}, {3, 5}}) {
    Database aside = open_file(folder.path() / fmt::format("receipts.db.aside-{}", number), kReceiptsApplication);
    EXPECT_EQ(must(aside.number("SELECT count(*) FROM receipt")), receipts) << number;
  }
}

// The machine went down when half of it was moved aside.
TEST(Sqlite, ALogWithoutItsDatabaseComesToNothing) {
  const test::TemporaryFolder folder;
  const fs::path log = folder.path() / "receipts.db-wal";
  History history;
  fill(history, 1, 200);
  {
    auto store = open(folder.path());
    must(store->apply(history.all()));
    ASSERT_GT(fs::file_size(log), 0U);
    fs::copy_file(log, folder.path() / "log");
  }
  fs::remove(folder.path() / "receipts.db");
  fs::rename(folder.path() / "log", log);
  {
    auto store = open(folder.path());
    EXPECT_EQ(store->last_sequence(), 0U);
    must(store->apply(history.all()));
  }
  EXPECT_EQ(dump(folder.path()), fresh_dump(history));
}

// Wherever the damage is: what is read wrong is noticed, or is not read; nothing aborts; and all comes back.
TEST(Sqlite, DamageAnywhereEndsInARebuild) {
  History history;
  fill(history, 2, 3000);
  const auto expected = fresh_dump(history);
  int noticed = 0;
  std::mt19937 random(5);
  for (int round = 0; round < kDamages; ++round) {
    const test::TemporaryFolder folder;
    must(open(folder.path())->apply(history.since(1).first(2000)));
    const fs::path file = folder.path() / "receipts.db";
    ASSERT_FALSE(fs::exists(file.string() + "-wal")) << "all is in the file after it was closed";
    const auto pages = fs::file_size(file) / 4096;
    if (round % 5 == 4) {
      fs::resize_file(file, (1 + random() % pages) * 4096 - 100);
    } else {
      std::string garbage(4096, '\0');
      for (char& byte : garbage) byte = static_cast<char>(random());
      for (unsigned i = 0; i < 1 + pages / 4; ++i) overwrite(file, (random() % pages) * 4096, garbage);
    }
    auto opened = open_store({.folder = folder.path()});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    Store& store = **opened;
    bool damaged = false;
    const auto look = [&](const auto& result) {
      if (result.ok()) return;
      damaged = true;
      EXPECT_EQ(result.error().code(), ErrorCode::kStoreDamaged) << result.error().message();
    };
    look(store.use_journal("journal-1", 1));
    look(store.costs(CostsBy::kDay, 0, kDay * 2));
    look(store.receipts({.limit = 1000}));
    look(store.apply(history.since(store.last_sequence() + 1)));
    noticed += damaged ? 1 : 0;
    must(store.start_over());
    EXPECT_TRUE(is_aside(folder.path(), 1));
    must(store.use_journal("journal-1", 1));
    must(store.apply(history.all()));
    opened = Error(ErrorCode::kIo, "closed");
    EXPECT_EQ(dump(folder.path()), expected);
  }
  EXPECT_GT(noticed, kDamages / 2);
}

TEST(Sqlite, KeysThatAreDamagedAreNotMadeAnew) {
  const test::TemporaryFolder folder;
  must(open(folder.path())->create_key({.name = "ci", .hash = {1}}, 1));
  overwrite(folder.path() / "keys.db", 0, "this is no database at all");
  const auto opened = open_store({.folder = folder.path()});
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code(), ErrorCode::kIo);
  EXPECT_THAT(opened.error().message(), ::testing::HasSubstr("keys.db"));
}

TEST(Sqlite, IsTriedAgainWhenAnotherProgramHasTheFile) {
  const test::TemporaryFolder folder;
  History history;
  fill(history, 1, 50);
  auto store = open(folder.path());
  Database other = open_file(folder.path() / "receipts.db", kReceiptsApplication);
  must(other.execute("BEGIN IMMEDIATE"));
  EXPECT_EQ(store->apply(history.all()).error().code(), ErrorCode::kIo);
  EXPECT_EQ(store->last_sequence(), 0U);
  must(other.execute("ROLLBACK"));
  must(store->apply(history.all()));
  EXPECT_EQ(store->last_sequence(), history.last());
}

// Fails once there is no room, changes nothing then, and goes on when there is some again.
template <class MakeRoom>
void run_out_of_room(const fs::path& folder, const MakeRoom& make_room) {
  History history;
  fill(history, 3, 6000);
  auto store = open(folder);
  Result<void> applied;
  while (applied.ok() && store->last_sequence() < history.last()) {
    const auto rest = history.since(store->last_sequence() + 1);
    applied = store->apply(rest.first(std::min<std::size_t>(rest.size(), 100)));
  }
  ASSERT_FALSE(applied.ok()) << "there was room enough";
  EXPECT_EQ(applied.error().code(), ErrorCode::kIo) << applied.error().message();
  const std::uint64_t last = store->last_sequence();
  EXPECT_FALSE(store->apply(history.since(last + 1).first(100)).ok());
  EXPECT_EQ(store->last_sequence(), last);
  EXPECT_TRUE(store->receipts({}).ok());
  make_room();
  must(store->apply(history.since(last + 1)));
  store.reset();
  EXPECT_EQ(dump(folder), fresh_dump(history));
}

TEST(Sqlite, AFileThatMayNotGrowChangesNothing) {
  const test::TemporaryFolder folder;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 2 << 20, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  run_out_of_room(folder.path(), [&] { ::setrlimit(RLIMIT_FSIZE, &before); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
}

TEST(Sqlite, AFullDiskChangesNothing) {
  const test::TemporaryFolder folder;
  if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=3m") != 0) {
    GTEST_SKIP() << "a small file system can only be made by root: AFileThatMayNotGrow... is what is left";
  }
  run_out_of_room(folder.path(), [&] { ::mount("", folder.path().c_str(), "tmpfs", MS_REMOUNT, "size=200m"); });
  ::umount2(folder.path().c_str(), MNT_DETACH);
}

TEST(Sqlite, AStartThatHasNoRoomIsGoneOnWith) {
  const test::TemporaryFolder folder;
  History history;
  fill(history, 1, 100);
  auto store = open(folder.path());
  must(store->apply(history.all()));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 8192, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(store->start_over().error().code(), ErrorCode::kIo);
  EXPECT_EQ(store->receipts({}).error().code(), ErrorCode::kStoreDamaged);
  EXPECT_EQ(store->last_sequence(), 0U);
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  must(store->start_over());
  EXPECT_TRUE(is_aside(folder.path(), 1));
  EXPECT_FALSE(is_aside(folder.path(), 2)) << "one is enough";
  must(store->use_journal("journal-1", 1));
  must(store->apply(history.all()));
}

// The program, until it is killed. Throws when it cannot start: a process that is not there has no id, and a signal to
// -1 goes to every process there is.
class Writer {
 public:
  Writer(const fs::path& folder, unsigned seed, std::size_t records) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    pipe_ = ends[0];
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::array<std::string, 4> words = {STORE_WRITER, folder.string(), std::to_string(seed), std::to_string(records)};
    std::array<char*, 5> argv = {words[0].data(), words[1].data(), words[2].data(), words[3].data(), nullptr};
    const int failed = ::posix_spawn(&pid_, words[0].c_str(), &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (failed == 0) return;
    ::close(pipe_);
    throw std::system_error(failed, std::generic_category(), words[0]);
  }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    kill();
    ::close(pipe_);
  }

  // False: it ended before.
  bool kill() {
    if (pid_ <= 0) return false;
    ::kill(pid_, SIGKILL);
    int status = 0;
    const bool ended = ::waitpid(pid_, &status, 0) == pid_;
    pid_ = -1;
    return ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  // The next that it tells of. Nothing: it told of nothing more, and is gone.
  std::optional<std::uint64_t> next() const {
    std::uint64_t told = 0;
    if (::read(pipe_, &told, sizeof told) != static_cast<ssize_t>(sizeof told)) return std::nullopt;
    return told;
  }

 private:
  pid_t pid_ = -1;
  int pipe_ = -1;
};

TEST(Sqlite, KilledAtAnyMomentItCatchesUpToTheVeryRowsOfAFreshOne) {
  constexpr std::size_t kRecords = 6000;
  constexpr unsigned kSeed = 9;
  constexpr int kKillsOfOneStore = 10;
  History history;
  fill(history, kSeed, kRecords);
  const auto expected = fresh_dump(history);
  std::mt19937 random(1);
  std::uint64_t in_the_middle = 0;
  for (int done = 0; done < kKills;) {
    const test::TemporaryFolder folder;
    bool has_all = false;
    for (int i = 0; i < kKillsOfOneStore && done < kKills && !has_all; ++i, ++done) {
      Writer writer(folder.path(), kSeed, kRecords);
      if (random() % 4 != 0) {
        ASSERT_TRUE(writer.next()) << "it has ended, or never begun";
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 30'000));
      ASSERT_TRUE(writer.kill()) << "it ended by itself";
      std::uint64_t told = 0;
      while (const auto next = writer.next()) told = *next;
      const auto store = open(folder.path());
      EXPECT_GE(store->last_sequence(), told) << "what was applied is gone";
      has_all = store->last_sequence() == history.last();
      if (store->last_sequence() > 0 && !has_all) ++in_the_middle;
    }
    auto store = open(folder.path());
    must(store->apply(history.all()));
    store.reset();
    ASSERT_EQ(dump(folder.path()), expected);
  }
  EXPECT_GT(in_the_middle, kKills / 4U);
}

}  // namespace
}  // namespace shoal::store::sqlite
