// Applies the records that fill() makes to a store, a few at a time, until it is killed, and writes the sequence number
// of the last to stdout after each time, as a 64-bit integer: store_writer FOLDER SEED RECORDS.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <sys/prctl.h>
#include <unistd.h>

#include "shoal/store/sqlite/sqlite_store.h"

#include "unit/store/history.h"

namespace {

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

int fail(const shoal::Error& error) {
  std::fprintf(stderr, "%s\n", error.message().c_str());
  return 1;
}

bool tell(std::uint64_t last) {
  return ::write(STDOUT_FILENO, &last, sizeof last) == sizeof last;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace shoal;
  if (argc != 4) return 2;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive a test that was stopped
  store::History history;
  store::fill(history, static_cast<unsigned>(number(argv[2])), number(argv[3]));
  auto opened = store::sqlite::open_store({.folder = argv[1]});
  if (!opened.ok()) return fail(opened.error());
  store::Store& store = **opened;
  if (auto used = store.use_journal("journal-1", 1); !used.ok()) return fail(used.error());
  if (!tell(store.last_sequence())) return 1;
  while (store.last_sequence() < history.last()) {
    const auto rest = history.since(store.last_sequence() + 1);
    const auto some = rest.first(std::min<std::size_t>(rest.size(), 1 + rest.size() % 40));
    if (auto applied = store.apply(some); !applied.ok()) return fail(applied.error());
    if (!tell(store.last_sequence())) return 1;
  }
  for (;;) ::pause();
}
