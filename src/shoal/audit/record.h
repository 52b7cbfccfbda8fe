// Record: one entry of the journal as its readers get it. Owned by whoever calls the reader, for the time of the call.
// Threads: any.
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal::audit {

struct Record {
  std::uint64_t sequence = 0;  // from 1, without gaps
  std::uint8_t type = 0;       // a RecordType
  std::string_view payload;
};

}  // namespace shoal::audit
