#include "shoal/routing/language.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace shoal::routing {
namespace {

constexpr std::uint32_t kLeastLetters = 8;     // of a script, for a text to have one
constexpr std::uint32_t kLeastIdeographs = 3;  // each is a word
constexpr std::uint32_t kLeastWords = 3;       // common ones, for a language in Latin letters
constexpr std::size_t kLongestWord = 7;

struct CommonWord {
  std::string_view word;
  Language language;
};
// None that is common in two of them, "de" and "la" say.
constexpr std::array<CommonWord, 87> kWords = {{
    {"the", Language::kEnglish},
    {"and", Language::kEnglish},
    {"of", Language::kEnglish},
    {"is", Language::kEnglish},
    {"to", Language::kEnglish},
    {"that", Language::kEnglish},
    {"it", Language::kEnglish},
    {"for", Language::kEnglish},
    {"are", Language::kEnglish},
    {"with", Language::kEnglish},
    {"this", Language::kEnglish},
    {"you", Language::kEnglish},
    {"what", Language::kEnglish},
    {"how", Language::kEnglish},
    {"has", Language::kEnglish},
    {"der", Language::kGerman},
    {"und", Language::kGerman},
    {"ist", Language::kGerman},
    {"nicht", Language::kGerman},
    {"das", Language::kGerman},
    {"ein", Language::kGerman},
    {"eine", Language::kGerman},
    {"ich", Language::kGerman},
    {"mit", Language::kGerman},
    {"auf", Language::kGerman},
    {"wie", Language::kGerman},
    {"sind", Language::kGerman},
    {"von", Language::kGerman},
    {"zu", Language::kGerman},
    {"den", Language::kGerman},
    {"est", Language::kFrench},
    {"et", Language::kFrench},
    {"dans", Language::kFrench},
    {"une", Language::kFrench},
    {"pour", Language::kFrench},
    {"les", Language::kFrench},
    {"des", Language::kFrench},
    {"qui", Language::kFrench},
    {"pas", Language::kFrench},
    {"vous", Language::kFrench},
    {"avec", Language::kFrench},
    {"sont", Language::kFrench},
    {"sur", Language::kFrench},
    {"el", Language::kSpanish},
    {"los", Language::kSpanish},
    {"las", Language::kSpanish},
    {"es", Language::kSpanish},
    {"y", Language::kSpanish},
    {"del", Language::kSpanish},
    {"para", Language::kSpanish},
    {"una", Language::kSpanish},
    {"como", Language::kSpanish},
    {"por", Language::kSpanish},
    {"est\xC3\xA1", Language::kSpanish},
    {"pero", Language::kSpanish},
    {"il", Language::kItalian},
    {"di", Language::kItalian},
    {"che", Language::kItalian},
    {"sono", Language::kItalian},
    {"gli", Language::kItalian},
    {"della", Language::kItalian},
    {"nel", Language::kItalian},
    {"per", Language::kItalian},
    {"\xC3\xA8", Language::kItalian},
    {"con", Language::kItalian},
    {"perch\xC3\xA9", Language::kItalian},
    {"questo", Language::kItalian},
    {"o", Language::kPortuguese},
    {"os", Language::kPortuguese},
    {"em", Language::kPortuguese},
    {"n\xC3\xA3o", Language::kPortuguese},
    {"uma", Language::kPortuguese},
    {"com", Language::kPortuguese},
    {"\xC3\xA9", Language::kPortuguese},
    {"dos", Language::kPortuguese},
    {"voc\xC3\xAA", Language::kPortuguese},
    {"s\xC3\xA3o", Language::kPortuguese},
    {"het", Language::kDutch},
    {"een", Language::kDutch},
    {"van", Language::kDutch},
    {"niet", Language::kDutch},
    {"dat", Language::kDutch},
    {"zijn", Language::kDutch},
    {"voor", Language::kDutch},
    {"wat", Language::kDutch},
    {"ik", Language::kDutch},
    {"deze", Language::kDutch},
}};

constexpr std::size_t kLanguages = static_cast<std::size_t>(Language::kKorean) + 1;
using Counts = std::array<std::uint32_t, kLanguages>;

std::uint32_t& of(Counts& counts, Language language) {
  return counts[static_cast<std::size_t>(language)];
}

Language script_of(std::uint32_t c) {
  struct Range {
    std::uint32_t first;
    std::uint32_t last;
    Language language;
  };
  constexpr std::array<Range, 13> kRanges = {{{0xC0, 0x24F, Language::kLatin},
                                              {0x370, 0x3FF, Language::kGreek},
                                              {0x400, 0x52F, Language::kCyrillic},
                                              {0x590, 0x5FF, Language::kHebrew},
                                              {0x600, 0x77F, Language::kArabic},
                                              {0x900, 0xDFF, Language::kIndic},
                                              {0xE00, 0xE7F, Language::kThai},
                                              {0x1100, 0x11FF, Language::kKorean},
                                              {0x1E00, 0x1EFF, Language::kLatin},
                                              {0x3040, 0x30FF, Language::kJapanese},
                                              {0x3400, 0x4DBF, Language::kChinese},
                                              {0x4E00, 0x9FFF, Language::kChinese},
                                              {0xAC00, 0xD7AF, Language::kKorean}}};
  for (const Range& range : kRanges) {
    if (c >= range.first && c <= range.last) return range.language;
  }
  return Language::kUnknown;
}

// The code point at `at`, and how many bytes it has; a byte that is no UTF-8 is one of its own.
std::uint32_t code_point(std::string_view text, std::size_t at, std::size_t& bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(text[i])); };
  const std::uint32_t lead = byte(at);
  bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
  if (bytes == 1 || at + bytes > text.size()) {
    bytes = 1;
    return lead < 0x80 ? lead : 0;
  }
  std::uint32_t out = lead & (0x7FU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) {
      bytes = 1;
      return 0;
    }
    out = (out << 6U) | (byte(at + i) & 0x3FU);
  }
  return out;
}

void note_word(std::string_view word, Counts& counts) {
  for (const CommonWord& common : kWords) {
    if (common.word == word) ++of(counts, common.language);
  }
}

Language latin_of(const Counts& words) {
  std::size_t best = 0;
  std::uint32_t second = 0;
  for (std::size_t i = 1; i < kLanguages; ++i) {
    if (best == 0 || words[i] > words[best]) {
      second = best == 0 ? 0 : words[best];
      best = i;
    } else {
      second = std::max(second, words[i]);
    }
  }
  const bool clear = words[best] >= kLeastWords && words[best] >= 2 * second;
  return clear ? static_cast<Language>(best) : Language::kLatin;
}

}  // namespace

Language language_of(std::string_view text) {
  Counts letters{};
  Counts words{};
  std::array<char, kLongestWord + 1> word{};
  std::size_t size = 0;
  const auto end_word = [&] {
    if (size > 0 && size <= kLongestWord) note_word({word.data(), size}, words);
    size = 0;
  };
  for (std::size_t at = 0, bytes = 1; at < text.size(); at += bytes) {
    const std::uint32_t c = code_point(text, at, bytes);
    const bool upper = c >= 'A' && c <= 'Z';
    const bool ascii = upper || (c >= 'a' && c <= 'z');
    const Language script = ascii ? Language::kLatin : script_of(c);
    if (script == Language::kUnknown) {
      end_word();
      continue;
    }
    ++of(letters, script);
    if (script != Language::kLatin) continue;
    for (std::size_t i = 0; i < bytes && size <= kLongestWord; ++i)
      word[size++] = static_cast<char>(text[at + i] + (upper ? 'a' - 'A' : 0));
  }
  end_word();
  // Japanese has Chinese's characters among its own.
  if (of(letters, Language::kJapanese) * 10 >= of(letters, Language::kChinese) && of(letters, Language::kJapanese) > 0)
    of(letters, Language::kJapanese) += of(letters, Language::kChinese);
  const auto most = std::ranges::max_element(letters);
  const auto script = static_cast<Language>(most - letters.begin());
  const bool ideographs = script >= Language::kChinese;
  if (*most < (ideographs ? kLeastIdeographs : kLeastLetters)) return Language::kUnknown;
  return script == Language::kLatin ? latin_of(words) : script;
}

bool differ(Language a, Language b) {
  if (a == b || a == Language::kUnknown || b == Language::kUnknown) return false;
  const auto latin = [](Language l) { return l >= Language::kLatin && l <= Language::kDutch; };
  return !((a == Language::kLatin && latin(b)) || (b == Language::kLatin && latin(a)));
}

}  // namespace shoal::routing
