#include "shoal/worker/text_release.h"

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <utility>

namespace shoal::worker {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// How many bytes at the start of `text` are one well-formed character; 0: none can be (replace one byte);
// -1: the bytes so far could begin one. Table 3-7 of the Unicode Standard.
int character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  for (int i = 1; i < length; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (at == text.size()) return -1;
    std::uint8_t low = 0x80;
    std::uint8_t high = 0xBF;
    if (i == 1 && lead == 0xE0) low = 0xA0;
    if (i == 1 && lead == 0xED) high = 0x9F;
    if (i == 1 && lead == 0xF0) low = 0x90;
    if (i == 1 && lead == 0xF4) high = 0x8F;
    if (byte(at) < low || byte(at) > high) return 0;
  }
  return length;
}

// Moves whole characters from the front of `bytes` to the result, at most `limit` bytes of them.
std::string take_characters(std::string& bytes, std::size_t limit, bool at_end) {
  std::string text;
  std::size_t at = 0;
  while (at < limit) {
    const int length = character_bytes(std::string_view(bytes).substr(at));
    if (length < 0 && !at_end) break;
    if (length <= 0) {
      text += kReplacement;
      ++at;
      continue;
    }
    // A character that reaches into what may be a stop string waits with it.
    if (at + static_cast<std::size_t>(length) > limit) break;
    text.append(bytes, at, static_cast<std::size_t>(length));
    at += static_cast<std::size_t>(length);
  }
  bytes.erase(0, at);
  return text;
}

// Bytes at the end of `text` that a stop string could still begin with.
std::size_t possible_stop_bytes(std::string_view text, const std::vector<std::string>& stops) {
  std::size_t most = 0;
  for (const std::string_view stop : stops) {
    for (std::size_t length = std::min(text.size(), stop.size() - 1); length > most; --length) {
      if (text.ends_with(stop.substr(0, length))) {
        most = length;
        break;
      }
    }
  }
  return most;
}

}  // namespace

TextRelease::TextRelease(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string TextRelease::feed(std::string_view token_bytes) {
  assert(!stopped_);
  held_ += token_bytes;
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    held_.resize(cut);
    return take_characters(held_, held_.size(), true);
  }
  return take_characters(held_, held_.size() - possible_stop_bytes(held_, stops_), false);
}

std::string TextRelease::finish() {
  std::string text = take_characters(held_, held_.size(), true);
  held_.clear();
  return text;
}

}  // namespace shoal::worker
