// Identifiers: 128 random bits from the kernel, read for 64 at once, as 26 characters of Crockford's base32, lower
// case, so that they are unguessable, safe in a header, a URL and a file name, and cannot be confused when read aloud.
// Threads: any.
#pragma once

#include <string>

namespace shoal::base {

// "7q2k...": 26 characters of [0-9a-hjkmnp-tv-z].
[[nodiscard]] std::string random_id();

}  // namespace shoal::base
