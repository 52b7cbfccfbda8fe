#include "shoal/learning/typos.h"

#include <algorithm>
#include <vector>

namespace shoal::learning {
namespace {

constexpr std::size_t kWordsPerTypo = 5;
constexpr std::size_t kShortest = 4;
constexpr std::string_view kCommon = "etaoinshrdlu";

void spoil(std::string& word, std::size_t at, std::size_t kind, statistics::Random& random) {
  if (kind == 0) {
    std::swap(word[at], word[at + 1]);
  } else if (kind == 1) {
    word.erase(at, 1);
  } else if (kind == 2) {
    word.insert(at, 1, word[at]);
  } else {
    word[at] = kCommon[random.index(kCommon.size())];
  }
}

}  // namespace

std::string with_typos(std::string_view text, Typos kinds, statistics::Random& random) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  std::vector<std::size_t> able;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool ascii = std::ranges::all_of(words[i], [](char c) { return static_cast<signed char>(c) > 0; });
    if (ascii && words[i].size() >= kShortest) able.push_back(i);
  }
  random.shuffle(able);
  able.resize(std::min(able.size(), std::max<std::size_t>(1, words.size() / kWordsPerTypo)));
  for (const std::size_t i : able) {
    const std::size_t at = 1 + random.index(words[i].size() - 2);
    spoil(words[i], at, kinds == Typos::kSwaps ? 0 : random.index(4), random);
  }
  std::string out;
  for (std::size_t i = 0; i < words.size(); ++i) out += (i > 0 ? " " : "") + words[i];
  return out;
}

}  // namespace shoal::learning
