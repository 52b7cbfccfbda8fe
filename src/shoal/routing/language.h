// Which language a text is in, as far as whether two texts are in the same needs it: by script, and within the Latin
// one by the commonest words of a few European languages. Short texts and code have none. One pass; nothing is
// allocated. Threads: any; pure.
#pragma once

#include <cstdint>
#include <string_view>

namespace shoal::routing {

enum class Language : std::uint8_t {
  kUnknown,
  kLatin,  // some language in Latin letters
  kEnglish,
  kGerman,
  kFrench,
  kSpanish,
  kItalian,
  kPortuguese,
  kDutch,
  kCyrillic,
  kGreek,
  kHebrew,
  kArabic,
  kIndic,
  kThai,
  kChinese,
  kJapanese,
  kKorean,
};

[[nodiscard]] Language language_of(std::string_view text);
// Whether they cannot be the same; kUnknown is none, and kLatin may be any in Latin letters.
[[nodiscard]] bool differ(Language a, Language b);

}  // namespace shoal::routing
