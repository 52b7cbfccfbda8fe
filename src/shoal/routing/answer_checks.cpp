#include "shoal/routing/answer_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "shoal/routing/arithmetic.h"
#include "shoal/routing/json_form.h"
#include "shoal/routing/language.h"

namespace shoal::routing {
namespace {

constexpr std::array<std::string_view, kChecks> kNames = {
    "cut",         "open",           "refused",        "other_language",
    "repeated",    "repeated_lines", "format",         "hedged",
    "denies",      "concludes",      "asks_on",        "empty",
    "bytes",       "lines",          "statements",     "wrong",
    "wrong_share", "wrong_plain",    "wrong_notes",    "worst",
    "rounded",     "chained",        "notes",          "unread_notes",
    "plain",       "no_statement",   "multiplied",     "divided",
    "added",       "subtracted",     "negative",       "broken",
    "largest",     "variables",      "unmarked",       "no_number",
    "not_whole",   "final_given",    "final_not_last", "final_not_computed",
    "final_zero",  "final",          "final_huge",     "given",
    "unused",      "any_unused",     "unused_share",   "stray",
    "any_stray",   "largest_given",  "least_given",    "given_broken",
    "given_words"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
bool is_letter(char c) {
  return lower(c) >= 'a' && lower(c) <= 'z';
}
bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

float& at(Checks& checks, Check check) {
  return checks[static_cast<std::size_t>(check)];
}
float flag(bool value) {
  return value ? 1.0F : 0.0F;
}
float count(std::size_t value) {
  constexpr std::size_t kMost = 20;  // more say nothing more
  return static_cast<float>(std::min(value, kMost));
}
float logarithm(double value) {
  return static_cast<float>(std::log1p(std::max(value, 0.0)));
}

// --- phrases

enum class Says : std::uint8_t { kRefusal, kHedge, kDenial, kConclusion, kQuestion, kVariable, kTranslate };
struct Phrase {
  std::string_view text;  // in lower case, ' for any apostrophe
  Says says;
};
constexpr std::array<Phrase, 60> kPhrases = {{
    {"i'm sorry", Says::kRefusal},
    {"i am sorry", Says::kRefusal},
    {"i apologi", Says::kRefusal},
    {"i cannot", Says::kRefusal},
    {"i can't", Says::kRefusal},
    {"i can not", Says::kRefusal},
    {"i'm unable", Says::kRefusal},
    {"i am unable", Says::kRefusal},
    {"i'm not able", Says::kRefusal},
    {"i am not able", Says::kRefusal},
    {"i won't", Says::kRefusal},
    {"as an ai", Says::kRefusal},
    {"as a language model", Says::kRefusal},
    {"i don't know", Says::kRefusal},
    {"i do not know", Says::kRefusal},
    {"i'm not sure", Says::kRefusal},
    {"i am not sure", Says::kRefusal},
    {"sorry,", Says::kRefusal},
    {"unfortunately, i", Says::kRefusal},
    {"es tut mir leid", Says::kRefusal},
    {"ich kann nicht", Says::kRefusal},
    {"ich kann dir nicht", Says::kRefusal},
    {"je suis d\xC3\xA9sol", Says::kRefusal},
    {"je ne peux pas", Says::kRefusal},
    {"lo siento", Says::kRefusal},
    {"no puedo", Says::kRefusal},
    {"mi dispiace", Says::kRefusal},
    {"desculpe", Says::kRefusal},
    {"maybe", Says::kHedge},
    {"perhaps", Says::kHedge},
    {"assum", Says::kHedge},
    {"approximately", Says::kHedge},
    {"roughly", Says::kHedge},
    {"probably", Says::kHedge},
    {"it seems", Says::kHedge},
    {"unclear", Says::kHedge},
    {"might be", Says::kHedge},
    {"possibly", Says::kHedge},
    {"cannot", Says::kDenial},
    {"can't", Says::kDenial},
    {"not possible", Says::kDenial},
    {"impossible", Says::kDenial},
    {"doesn't", Says::kDenial},
    {"don't", Says::kDenial},
    {"isn't", Says::kDenial},
    {"not enough information", Says::kDenial},
    {"so,", Says::kConclusion},
    {"so ", Says::kConclusion},
    {"therefore", Says::kConclusion},
    {"thus", Says::kConclusion},
    {"hence", Says::kConclusion},
    {"question:", Says::kQuestion},
    {"q:", Says::kQuestion},
    {"let ", Says::kVariable},
    {"let's", Says::kVariable},
    {"x ", Says::kVariable},
    {"translat", Says::kTranslate},
    {"\xC3\xBC"
     "bersetz",
     Says::kTranslate},
    {"tradu", Says::kTranslate},
    {"in english", Says::kTranslate},
}};

// Whether `phrase` begins there.
bool says(std::string_view text, std::size_t where, std::string_view phrase) {
  for (const char c : phrase) {
    if (where >= text.size()) return false;
    if (c == '\'' && text.substr(where).starts_with("\xE2\x80\x99")) {
      where += 3;
      continue;
    }
    if (lower(text[where]) != c) return false;
    ++where;
  }
  return true;
}

// Which phrases begin with a letter in lower case; those that begin with none are under 0.
struct PhraseIndex {
  std::array<std::uint8_t, kPhrases.size()> order{};
  std::array<std::uint8_t, 28> first{};

  static constexpr std::size_t slot(char c) { return c >= 'a' && c <= 'z' ? static_cast<std::size_t>(c - 'a') + 1 : 0; }
  constexpr PhraseIndex() {
    std::size_t next = 0;
    for (std::size_t s = 0; s < 27; ++s) {
      first[s] = static_cast<std::uint8_t>(next);
      for (std::size_t i = 0; i < kPhrases.size(); ++i) {
        if (slot(kPhrases[i].text.front()) == s) order[next++] = static_cast<std::uint8_t>(i);
      }
    }
    first[27] = static_cast<std::uint8_t>(next);
  }
};
constexpr PhraseIndex kIndex;

// `each(what, where)` for every phrase that begins with a word.
template <class Each>
void each_phrase(std::string_view text, const Each& each) {
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = lower(text[i]);
    const bool word = is_letter(c) || (static_cast<unsigned char>(c) >= 0x80U);
    if (word && !inside) {
      const std::size_t slot = PhraseIndex::slot(c);
      for (std::size_t k = kIndex.first[slot]; k < kIndex.first[slot + 1]; ++k) {
        const Phrase& phrase = kPhrases[kIndex.order[k]];
        if (says(text, i, phrase.text)) each(phrase.says, i);
      }
    }
    inside = word || is_digit(c) || c == '\'';
  }
}

void read_phrases(std::string_view answer, Checks& out) {
  constexpr std::size_t kBeginning = 240;  // where a refusal stands
  std::array<std::size_t, 7> counts{};
  each_phrase(answer, [&](Says what, std::size_t where) {
    if (what != Says::kRefusal || where < kBeginning) ++counts[static_cast<std::size_t>(what)];
  });
  const auto of = [&](Says what) { return counts[static_cast<std::size_t>(what)]; };
  at(out, Check::kRefused) = flag(of(Says::kRefusal) > 0);
  at(out, Check::kHedged) = count(of(Says::kHedge));
  at(out, Check::kDenies) = count(of(Says::kDenial));
  at(out, Check::kConcludes) = count(of(Says::kConclusion));
  at(out, Check::kAsksOn) = flag(of(Says::kQuestion) > 0);
  at(out, Check::kVariables) = count(of(Says::kVariable));
}

bool asks_for_translation(std::string_view prompt) {
  bool out = false;
  each_phrase(prompt, [&](Says what, std::size_t) { out = out || what == Says::kTranslate; });
  return out;
}

// --- form

void read_form(std::string_view answer, Checks& out) {
  std::size_t lines = 0;
  std::size_t fences = 0;
  bool filled = false;
  bool says_something = false;
  for (std::size_t i = 0; i <= answer.size(); ++i) {
    if (i == answer.size() || answer[i] == '\n') {
      lines += filled ? 1 : 0;
      filled = false;
      continue;
    }
    const char c = answer[i];
    filled = filled || !is_space(c);
    says_something = says_something || is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80U;
    if (answer.substr(i).starts_with("```")) {
      ++fences;
      i += 2;
    }
  }
  const std::string_view text = trimmed(answer);
  constexpr std::size_t kSentence = 40;  // shorter answers are often a word
  const char end = text.empty() ? '.' : text.back();
  const bool middle = text.size() > kSentence && (is_letter(end) || end == ',' || end == '(' || end == '=' ||
                                                  end == '+' || end == '-' || end == '<' || end == ':');
  at(out, Check::kOpen) = flag(middle || fences % 2 == 1);
  at(out, Check::kEmpty) = flag(!says_something);
  at(out, Check::kBytes) = logarithm(static_cast<double>(answer.size()));
  at(out, Check::kLines) = logarithm(static_cast<double>(lines));
}

// --- sums

// The number that an answer ends with, and whether it says so.
struct Final {
  std::optional<double> number;
  bool marked = false;
  std::size_t begin = 0;  // of what marks it, or of the number
};

std::optional<double> first_number(std::string_view text, std::size_t from, std::size_t most) {
  const std::size_t end = std::min(text.size(), from + most);
  for (std::size_t i = from; i < end; ++i) {
    const WrittenNumber number = read_number(text, i);
    if (number.bytes == 0) continue;
    const bool minus = i > from && (text[i - 1] == '-' || (i > from + 1 && text[i - 1] == '$' && text[i - 2] == '-'));
    return minus ? -number.value : number.value;
  }
  return std::nullopt;
}

Final final_of(std::string_view answer) {
  constexpr std::array<std::string_view, 4> kMarks = {"####", "\\boxed{", "answer is", "answer:"};
  constexpr std::size_t kReach = 64;  // bytes after the mark
  Final out;
  std::size_t last_number = std::string_view::npos;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    const char c = lower(answer[i]);
    if (c == '#' || c == '\\' || c == 'a') {
      for (const std::string_view mark : kMarks) {
        if (!says(answer, i, mark)) continue;
        const auto number = first_number(answer, i + mark.size(), kReach);
        // An empty mark after one with a number takes nothing back.
        if (out.marked && !number) continue;
        out = {.number = number, .marked = true, .begin = i};
      }
    }
    const WrittenNumber number = read_number(answer, i);
    if (number.bytes == 0) continue;
    last_number = i;
    i += number.bytes - 1;
  }
  if (out.marked) return out;
  out.begin = answer.size();
  if (last_number == std::string_view::npos) return out;
  const std::size_t from = last_number - std::min<std::size_t>(last_number, 2);
  out.number = first_number(answer, from, kReach);
  out.begin = last_number;
  return out;
}

void read_sums(const Arithmetic& sums, Checks& out) {
  const auto read = sums.read();
  at(out, Check::kStatements) = logarithm(read);
  at(out, Check::kWrong) = flag(sums.wrong() > 0);
  at(out, Check::kWrongShare) = read == 0 ? 0.0F : static_cast<float>(sums.wrong()) / static_cast<float>(read);
  at(out, Check::kWrongPlain) = count(sums.plain.wrong);
  at(out, Check::kWrongNotes) = count(sums.notes.wrong);
  at(out, Check::kWorst) = logarithm(sums.worst);
  at(out, Check::kRounded) = count(sums.plain.rounded + sums.notes.rounded);
  at(out, Check::kChained) = count(sums.chained);
  at(out, Check::kNotes) = count(sums.notes.read);
  at(out, Check::kUnreadNotes) = count(sums.unread_notes);
  at(out, Check::kPlain) = count(sums.plain.read);
  at(out, Check::kNoStatement) = flag(read == 0);
  at(out, Check::kMultiplied) = count(sums.operations[0]);
  at(out, Check::kDivided) = count(sums.operations[1]);
  at(out, Check::kAdded) = count(sums.operations[2]);
  at(out, Check::kSubtracted) = count(sums.operations[3]);
  at(out, Check::kNegative) = count(sums.negative);
  at(out, Check::kBroken) = count(sums.broken);
  at(out, Check::kLargest) = logarithm(sums.largest);
}

bool whole(double number) {
  return std::abs(number - std::round(number)) < 1e-9;
}

void read_final(const Final& final, const Arithmetic& sums, const NumberSet& given, Checks& out) {
  at(out, Check::kUnmarked) = flag(!final.marked);
  at(out, Check::kNoNumber) = flag(!final.number);
  if (!final.number) return;
  const double number = *final.number;
  double largest = 0;
  for (std::size_t i = 0; i < given.size(); ++i) largest = std::max(largest, given[i]);
  at(out, Check::kNotWhole) = flag(!whole(number));
  at(out, Check::kFinalGiven) = flag(given.has(number));
  at(out, Check::kFinalNotLast) = flag(sums.last && std::abs(number - *sums.last) > 1e-6);
  at(out, Check::kFinalNotComputed) = flag(!sums.results.has(number));
  at(out, Check::kFinalZero) = flag(number == 0);
  at(out, Check::kFinal) = logarithm(std::abs(number));
  at(out, Check::kFinalHuge) = flag(given.size() > 0 && number > 100 * largest);
}

// --- the prompt's numbers

struct NumberWord {
  std::string_view word;
  double value;
};
constexpr std::array<NumberWord, 29> kNumberWords = {
    {{"one", 1},        {"two", 2},    {"three", 3},   {"four", 4},      {"five", 5},     {"six", 6},
     {"seven", 7},      {"eight", 8},  {"nine", 9},    {"ten", 10},      {"eleven", 11},  {"twelve", 12},
     {"dozen", 12},     {"half", 0.5}, {"twice", 2},   {"double", 2},    {"triple", 3},   {"thrice", 3},
     {"quarter", 0.25}, {"third", 3},  {"twenty", 20}, {"hundred", 100}, {"week", 7},     {"day", 24},
     {"hour", 60},      {"year", 12},  {"month", 30},  {"minute", 60},   {"percent", 100}}};

std::size_t read_number_words(std::string_view text, NumberSet& into) {
  std::size_t found = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!is_letter(text[i])) {
      ++i;
      continue;
    }
    std::size_t end = i;
    while (end < text.size() && is_letter(text[end])) ++end;
    const std::string_view word = text.substr(i, end - i);
    for (const NumberWord& one : kNumberWords) {
      if (word.size() != one.word.size() || !says(text, i, one.word)) continue;
      into.add(one.value);
      ++found;
    }
    i = end;
  }
  return found;
}

void read_given(std::string_view prompt, const NumberSet& given, const NumberSet& used, const Arithmetic& sums,
                Checks& out) {
  NumberSet words;
  const std::size_t word_count = read_number_words(prompt, words);
  std::size_t unused = 0;
  std::size_t broken = 0;
  double largest = 0;
  double least = given.size() == 0 ? 0 : given[0];
  for (std::size_t i = 0; i < given.size(); ++i) {
    unused += used.has(given[i]) ? 0 : 1;
    broken += whole(given[i]) ? 0 : 1;
    largest = std::max(largest, given[i]);
    least = std::min(least, given[i]);
  }
  std::size_t stray = 0;
  for (std::size_t i = 0; i < sums.operands.size(); ++i) {
    const double number = sums.operands[i];
    const bool known = given.has(number) || words.has(number) || sums.results.has(number) || number == 1 ||
                       number == 2 || number == 100;
    stray += known ? 0 : 1;
  }
  at(out, Check::kGiven) = count(given.size());
  at(out, Check::kUnused) = count(unused);
  at(out, Check::kAnyUnused) = flag(unused > 0);
  at(out, Check::kUnusedShare) =
      given.size() == 0 ? 0.0F : static_cast<float>(unused) / static_cast<float>(given.size());
  at(out, Check::kStray) = count(stray);
  at(out, Check::kAnyStray) = flag(stray > 0);
  at(out, Check::kLargestGiven) = logarithm(largest);
  at(out, Check::kLeastGiven) = logarithm(least);
  at(out, Check::kGivenBroken) = count(broken);
  at(out, Check::kGivenWords) = count(word_count);
}

// The two ends of a text, where it is too long.
struct Ends {
  std::string_view head;
  std::string_view tail;
};
Ends ends_of(std::string_view text, std::size_t most) {
  if (text.size() <= most) return {text, {}};
  return {text.substr(0, most / 4), text.substr(text.size() - (most - most / 4))};
}

constexpr std::uint64_t kHashPrime = 0x100000001b3;
std::uint64_t mixed(std::uint64_t hash) {
  hash ^= hash >> 33U;
  hash *= 0xff51afd7ed558ccdU;
  return hash ^ (hash >> 33U);
}

}  // namespace

std::string_view check_name(Check check) {
  return kNames[static_cast<std::size_t>(check)];
}

bool AnswerReader::see(std::uint64_t hash) {
  std::size_t slot = mixed(hash) % kSlots;
  while (seen_[slot].stamp == stamp_) {
    if (seen_[slot].hash == hash) return true;
    slot = (slot + 1) % kSlots;
  }
  // Half full is all that it takes: texts with more different words are not loops.
  if (used_ * 2 >= kSlots) return false;
  ++used_;
  seen_[slot] = {hash, stamp_};
  return false;
}

void AnswerReader::read_repeats(std::string_view answer, Checks& out) {
  constexpr std::size_t kWords = 4;
  constexpr std::uint64_t kStart = 0xcbf29ce484222325U;
  if (++stamp_ == 0) {
    std::ranges::fill(seen_, Slot{});
    stamp_ = 1;
  }
  used_ = 0;
  std::array<std::uint64_t, kWords> last{};
  std::size_t words = 0;
  std::size_t repeated = 0;
  std::size_t lines = 0;
  std::uint64_t word = kStart;
  std::uint64_t line = kStart;
  for (std::size_t i = 0; i <= answer.size(); ++i) {
    const bool end = i == answer.size();
    const char c = end ? '\n' : lower(answer[i]);
    const bool part = !end && (is_letter(c) || is_digit(c) || static_cast<unsigned char>(c) >= 0x80U);
    if (part) {
      word = (word ^ static_cast<unsigned char>(c)) * kHashPrime;
      line = (line ^ static_cast<unsigned char>(c)) * kHashPrime;
    } else if (word != kStart) {
      last[words++ % kWords] = word;
      word = kStart;
      line = (line ^ ' ') * kHashPrime;
      if (words >= kWords) {
        std::uint64_t run = 0;
        for (std::size_t k = 0; k < kWords; ++k) run = mixed(run + last[(words + k) % kWords]);
        repeated += see(run) ? 1 : 0;
      }
    }
    if (c == '\n') {
      if (line != kStart) lines += see(~line) ? 1 : 0;
      line = kStart;
    }
  }
  if (words >= kWords) {
    const std::size_t runs = words - kWords + 1;
    at(out, Check::kRepeated) = static_cast<float>(repeated) / static_cast<float>(runs);
  }
  at(out, Check::kRepeatedLines) = count(lines);
}

Checks AnswerReader::read(const AskedFor& asked, std::string_view answer) {
  Checks out{};
  const Ends prompt = ends_of(asked.prompt, kMostPrompt);
  const Ends ends = ends_of(answer, kMostAnswer);
  const std::string_view text = ends.tail.empty() ? ends.head : ends.tail;  // what is read; phrases: its beginning, too
  read_form(text, out);
  at(out, Check::kBytes) = logarithm(static_cast<double>(answer.size()));
  at(out, Check::kCut) = flag(asked.cut);
  read_phrases(ends.head, out);
  read_repeats(text, out);
  const bool other = differ(language_of(prompt.head), language_of(ends.head));
  at(out, Check::kOtherLanguage) = flag(other && !asks_for_translation(prompt.head));
  at(out, Check::kFormat) = flag(asked.json && !has_json_form(answer, asked.schema));
  const Final final = final_of(text);
  const std::string_view body = final.marked ? text.substr(0, final.begin) : text;
  const Arithmetic sums = read_arithmetic(body);
  NumberSet given;
  read_numbers(prompt.head, given);
  read_numbers(prompt.tail, given);
  NumberSet used;
  read_numbers(body, used);
  read_sums(sums, out);
  read_final(final, sums, given, out);
  read_given(prompt.head, given, used, sums, out);
  return out;
}

}  // namespace shoal::routing
