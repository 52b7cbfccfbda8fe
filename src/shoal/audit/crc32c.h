// CRC-32C (Castagnoli): the checksum of every frame of the journal. By the processor's own instruction where it has
// one (SSE4.2), by a table elsewhere; both give the same. Source: RFC 3720, section 12.1 and appendix B.4.
// Threads: any; pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal::audit {

// The checksum of what `crc` covers followed by `bytes`; start with 0.
[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes);

// The same by the table alone: what a processor without the instruction computes.
[[nodiscard]] std::uint32_t crc32c_portable(std::uint32_t crc, std::string_view bytes);

}  // namespace shoal::audit
