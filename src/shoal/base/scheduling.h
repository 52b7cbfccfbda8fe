// How this thread shares its core with those that compute.
#pragma once

#include <cstdint>

namespace shoal::base {

// Asks the kernel to let the calling thread run soon after it is woken, for turns of so long (100 us to 100 ms), in
// place of after the turn of whoever computes on its core; its share of the core stays the same. Children have ordinary
// turns. Linux 6.12 and later; before, nothing changes. False: the kernel refuses.
bool ask_for_turns_of(std::int64_t ns);

}  // namespace shoal::base
