// Room for bytes that are about to be read. Private to net/. Threads: any; pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>

namespace shoal::net {

// More bytes at the end of `text`, not set to anything: they are about to be written over. Grows as append() does:
// resize_and_overwrite() takes just what it is asked for, so a long text would be copied for each piece.
inline void make_room(std::string& text, std::size_t bytes) {
  const std::size_t wanted = text.size() + bytes;
  if (wanted > text.capacity()) text.reserve(std::max(wanted, 2 * text.capacity()));
  text.resize_and_overwrite(wanted, [](char*, std::size_t size) { return size; });
}

}  // namespace shoal::net
