// Appends to a journal until it is killed, and writes to stdout, for each record that it takes for safe, its sequence
// number and the number that its payload begins with, as two 64-bit integers: journal_writer FOLDER honest|early.
// `early` takes a record for safe that was only appended: with it the test must fail.
#include <array>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <unistd.h>

#include <boost/asio/io_context.hpp>

#include "shoal/audit/journal.h"
#include "shoal/base/async.h"

namespace {

using namespace shoal;

void tell(std::uint64_t sequence, std::uint64_t number) {
  const std::array<std::uint64_t, 2> pair = {sequence, number};
  // Less than PIPE_BUF: whole, or not at all.
  if (::write(STDOUT_FILENO, pair.data(), sizeof pair) != sizeof pair) std::_Exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const bool early = std::string_view(argv[2]) == "early";
  boost::asio::io_context io(1);
  base::SystemClock clock;
  audit::RealDisk disk;
  audit::JournalOptions options;
  options.segments.folder = argv[1];
  options.segments.segment_bytes = std::uint64_t{64} << 10;
  auto opened = audit::Journal::open(io.get_executor(), clock, disk, options);
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.error().message().c_str());
    return 1;
  }
  audit::Journal& journal = **opened;
  std::uint64_t number = static_cast<std::uint64_t>(::getpid()) << 32U;
  for (int i = 0; i < 8; ++i) {
    base::spawn(io, "writer", [&](const base::Yield& yield) {
      for (;;) {
        const std::uint64_t mine = ++number;
        const std::string text = std::to_string(mine) + " " + std::string(mine % 997, 'x');
        const auto sequence = journal.append(1, text, early ? audit::Urgency::kQuiet : audit::Urgency::kPrompt);
        if (!sequence.ok()) std::_Exit(1);
        if (early) tell(*sequence, mine);
        if (!journal.synced(*sequence, base::Deadline::after_ms(clock, 60'000), yield).ok()) std::_Exit(1);
        if (!early) tell(*sequence, mine);
      }
    });
  }
  io.run();
  return 1;
}
