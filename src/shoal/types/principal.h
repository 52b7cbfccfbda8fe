// Who asks. Owned by value. Threads: any, as plain data.
#pragma once

#include <cstdint>
#include <string>

namespace shoal::types {

struct Principal {
  std::uint64_t number = 0;  // for queues and caches; 0: anonymous
  std::string id;            // of the key, one for ever: for budgets and receipts; empty: anonymous
};

}  // namespace shoal::types
