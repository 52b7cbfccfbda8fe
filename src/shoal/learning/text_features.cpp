#include "shoal/learning/text_features.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace shoal::learning {
namespace {

constexpr std::size_t kEdgeTokens = 5;      // of the question, first and last, that count with their place
constexpr std::uint64_t kChoice = 0x7c7cU;  // stands before each choice

// What questions say that are easy or hard for small models, in lower case, at the beginning of a word: the list of the
// routing prototype.
constexpr std::array<std::string_view, 30> kPhrases = {"not ",           "except",       "which of the following",
                                                       "best describes", "statement 1",  "none of",
                                                       "all of",         "always",       "never",
                                                       "most likely",    "according to", "how many",
                                                       "calculate",      "find the",     "what is",
                                                       "who ",           "when ",        "why ",
                                                       "suppose",        "let ",         "if ",
                                                       "true",           "false",        "year-old",
                                                       "wrong",          "defendant",    "probability",
                                                       "per ",           "percent",      "____"};
constexpr std::size_t kGap = kPhrases.size() - 1;  // "____" begins with no word

constexpr std::array<std::string_view, kShapeFeatures> kShapeNames = {"ln question bytes",
                                                                      "ln question words",
                                                                      "ln choice bytes",
                                                                      "ln longest choice",
                                                                      "ln shortest choice",
                                                                      "spread of choices",
                                                                      "choices that are numbers",
                                                                      "words shared by choices",
                                                                      "words of choices in question",
                                                                      "choices",
                                                                      "share of digits",
                                                                      "ln digits",
                                                                      "share of capitals",
                                                                      "mean word bytes",
                                                                      "ln lines",
                                                                      "ln full stops",
                                                                      "ln commas",
                                                                      "question marks",
                                                                      "ln operators",
                                                                      "ln brackets",
                                                                      "ln dollars and backslashes",
                                                                      "ln numbers",
                                                                      "ends with ?",
                                                                      "ends with :",
                                                                      "ends with .",
                                                                      "share of different words",
                                                                      "ln quotation marks",
                                                                      "choices with a capital",
                                                                      "choices with a full stop",
                                                                      "says not",
                                                                      "says except",
                                                                      "says which of the following",
                                                                      "says best describes",
                                                                      "says statement 1",
                                                                      "says none of",
                                                                      "says all of",
                                                                      "says always",
                                                                      "says never",
                                                                      "says most likely",
                                                                      "says according to",
                                                                      "says how many",
                                                                      "says calculate",
                                                                      "says find the",
                                                                      "says what is",
                                                                      "says who",
                                                                      "says when",
                                                                      "says why",
                                                                      "says suppose",
                                                                      "says let",
                                                                      "says if",
                                                                      "says true",
                                                                      "says false",
                                                                      "says year-old",
                                                                      "says wrong",
                                                                      "says defendant",
                                                                      "says probability",
                                                                      "says per",
                                                                      "says percent",
                                                                      "says ____"};
static_assert(kFirstPhrase == kShapeFeatures - kPhrases.size());

bool is_blank(char c) {
  return static_cast<unsigned char>(c) <= ' ';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
// Bytes of UTF-8 beyond ASCII count as letters.
constexpr std::array<bool, 256> kLetters = [] {
  std::array<bool, 256> out{};
  for (std::size_t c = 0; c < out.size(); ++c) out[c] = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80;
  return out;
}();
bool is_letter(char c) {
  return kLetters[static_cast<unsigned char>(c)];
}

// The finaliser of MurmurHash3.
std::uint64_t mixed(std::uint64_t h) {
  h = (h ^ (h >> 33U)) * 0xff51afd7ed558ccdULL;
  h = (h ^ (h >> 33U)) * 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33U);
}

// Eight bytes at a time. REQUIRES: seven bytes after the token can be read.
std::uint64_t hash_of(std::string_view token) {
  std::uint64_t h = token.size() * 0x9e3779b97f4a7c15ULL;
  for (std::size_t at = 0; at < token.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, token.data() + at, 8);
    const std::size_t left = token.size() - at;
    if (left < 8) word &= (std::uint64_t{1} << (8 * left)) - 1;
    h = (h ^ word) * 0xff51afd7ed558ccdULL;
    h ^= h >> 32U;
  }
  return h;
}

std::uint32_t folded(std::uint64_t hash) {
  return static_cast<std::uint32_t>(hash % kWordBuckets);
}

// A token and the one after it.
std::uint64_t pair_of(std::uint64_t first, std::uint64_t second) {
  return first * 31 + second * 7919 + 1;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Calls `each` for each run of bytes without a blank.
template <class Each>
void each_word(std::string_view text, Each each) {
  for (std::size_t i = 0; i < text.size();) {
    if (is_blank(text[i])) {
      ++i;
      continue;
    }
    const std::size_t begin = i++;
    while (i < text.size() && !is_blank(text[i])) ++i;
    each(text.substr(begin, i - begin));
  }
}

// Calls `each` for each run of letters, each digit and each mark of a word; an underscore is nothing.
template <class Each>
void each_token(std::string_view word, Each each) {
  for (std::size_t i = 0; i < word.size();) {
    const std::size_t begin = i++;
    if (word[begin] == '_') continue;
    if (is_letter(word[begin])) {
      while (i < word.size() && is_letter(word[i])) ++i;
    }
    each(word.substr(begin, i - begin));
  }
}

float log_count(double count) {
  return static_cast<float>(std::log1p(count));
}

// Which phrases begin with a pair of bytes.
class PhraseFinder {
 public:
  constexpr PhraseFinder() {
    for (std::size_t i = 0; i < kPhrases.size(); ++i) starts_[place(kPhrases[i].data())] |= 1U << i;
  }
  // A bit for each phrase that `text` begins with.
  [[nodiscard]] std::uint32_t find(std::string_view text) const {
    std::uint32_t found = 0;
    if (text.size() < 2) return found;
    for (std::uint32_t here = starts_[place(text.data())]; here != 0; here &= here - 1) {
      const auto phrase = static_cast<std::size_t>(std::countr_zero(here));
      if (text.starts_with(kPhrases[phrase])) found |= 1U << phrase;
    }
    return found;
  }

 private:
  static constexpr std::size_t kPlaces = 1024;
  static constexpr std::size_t place(const char* two) {
    return (static_cast<unsigned char>(two[0]) * 37U + static_cast<unsigned char>(two[1])) % kPlaces;
  }
  std::array<std::uint32_t, kPlaces> starts_{};
};

// How often each byte stands in a text, and how many numbers do ("1,200.5" is one).
class ByteCounts {
 public:
  explicit ByteCounts(std::string_view text) {
    bool in_number = false;
    bool blank = true;
    for (const char c : text) {
      words_ += static_cast<std::size_t>(blank && !is_blank(c));
      blank = is_blank(c);
      solid_bytes_ += static_cast<std::size_t>(!blank);
      ++counts_[static_cast<unsigned char>(c)];
      const bool digit = is_digit(c);
      numbers_ += static_cast<std::size_t>(digit && !in_number);
      in_number = digit || (in_number && (c == '.' || c == ','));
    }
  }
  [[nodiscard]] std::size_t of(std::string_view bytes) const {
    std::size_t sum = 0;
    for (const char c : bytes) sum += counts_[static_cast<unsigned char>(c)];
    return sum;
  }
  [[nodiscard]] std::size_t numbers() const { return numbers_; }
  // Runs of bytes without a blank, and all of their bytes.
  [[nodiscard]] std::size_t words() const { return words_; }
  [[nodiscard]] std::size_t solid_bytes() const { return solid_bytes_; }

 private:
  std::array<std::uint16_t, 256> counts_{};
  std::size_t numbers_ = 0;
  std::size_t words_ = 0;
  std::size_t solid_bytes_ = 0;
};

// An answer such as "$1,200", "3.5 %" or "2x + 1".
bool is_number_like(std::string_view choice) {
  constexpr std::size_t kLongest = 15;
  if (choice.size() > kLongest) return false;
  bool digit = false;
  for (std::size_t i = 0; i < choice.size(); ++i) {
    const char c = choice[i];
    digit = digit || is_digit(c);
    const bool between = std::string_view(".,/ %^*()").find(c) != std::string_view::npos;
    const bool sign = i == 0 && (c == '-' || c == '+' || c == '$');
    if (!is_digit(c) && !is_letter(c) && !between && !sign) return false;
  }
  return digit;
}

// Lengths of the choices, and what they look like.
struct ChoiceCounts {
  double bytes = 0, longest = 0, shortest = 0, spread = 0;
  double numbers = 0, capitals = 0, stops = 0;  // shares
};
ChoiceCounts count_choices(std::span<const std::string_view> choices) {
  ChoiceCounts out;
  if (choices.empty()) return out;
  const auto n = static_cast<double>(choices.size());
  out.shortest = static_cast<double>(choices.front().size());
  for (const std::string_view choice : choices) {
    const auto size = static_cast<double>(choice.size());
    out.bytes += size;
    out.longest = std::max(out.longest, size);
    out.shortest = std::min(out.shortest, size);
    out.numbers += is_number_like(choice) ? 1 / n : 0;
    out.capitals += !choice.empty() && is_upper(choice.front()) ? 1 / n : 0;
    out.stops += choice.ends_with('.') ? 1 / n : 0;
  }
  const double mean = out.bytes / n;
  double squares = 0;
  for (const std::string_view choice : choices) {
    const double off = static_cast<double>(choice.size()) - mean;
    squares += off * off;
  }
  out.spread = std::sqrt(squares / n) / (mean + 1);
  return out;
}

}  // namespace

const std::array<std::string_view, kShapeFeatures>& shape_names() {
  return kShapeNames;
}

TextFeatures::TextFeatures() : keys_(kSlots), slot_places_(kSlots), word_keys_(kWordSlots), word_parts_(kWordSlots) {
  // A byte makes at most one token, a token two features, and the edges a few more.
  constexpr std::size_t kMostTokens = kRoom + kMostChoices;
  constexpr std::size_t kMostFeatures = 2 * kMostTokens + 2 * kEdgeTokens + 3;
  static_assert(kMostFeatures < kSlots);
  tokens_.reserve(kMostTokens);
  // One more of each, to be written before it is known whether it is new.
  words_.resize(kMostFeatures + 1);
  seen_.resize(kRoom / 2 + 2);
  for (std::size_t i = 0; i < logs_.size(); ++i) logs_[i] = log_count(static_cast<double>(i));
}

void TextFeatures::read(std::string_view text) {
  take(text);
  split();
  read_tokens();
  read_shape();
}

void TextFeatures::take(std::string_view text) {
  left_out_ = 0;
  size_ = text.size();
  if (size_ <= kHeadBytes + kTailBytes) {
    if (size_ > 0) std::memcpy(text_.data(), text.data(), size_);
  } else {
    left_out_ = size_ - kHeadBytes - kTailBytes;
    std::memcpy(text_.data(), text.data(), kHeadBytes);
    text_[kHeadBytes] = '\n';
    std::memcpy(text_.data() + kHeadBytes + 1, text.data() + size_ - kTailBytes, kTailBytes);
    size_ = kRoom;
  }
  for (std::size_t i = 0; i < size_; ++i)
    lower_[i] = static_cast<char>(text_[i] + (is_upper(text_[i]) ? 'a' - 'A' : 0));
}

std::string_view TextFeatures::in_lower(std::string_view part) const {
  return {lower_.data() + (part.data() - text_.data()), part.size()};
}

// The rest of the question from there on. REQUIRES: a part of it, in lower case.
std::string_view TextFeatures::from_lower(std::string_view part) const {
  const std::string_view question = in_lower(question_);
  return question.substr(static_cast<std::size_t>(part.data() - question.data()));
}

// At each line that begins "A. " to "H. "; what follows the last "\nAnswer:" says nothing.
void TextFeatures::split() {
  std::string_view text(text_.data(), size_);
  text = text.substr(0, text.rfind("\nAnswer:"));
  choice_count_ = 0;
  std::size_t begin = 0;
  bool in_question = true;
  const auto close = [&](std::size_t end) {
    const std::string_view part = text.substr(begin, end - begin);
    if (in_question) {
      question_ = part;
    } else if (choice_count_ < kMostChoices) {
      choices_[choice_count_++] = trimmed(part);
    }
    in_question = false;
  };
  for (std::size_t line = text.find('\n'); line != std::string_view::npos; line = text.find('\n', line + 1)) {
    const bool choice = line + 4 <= text.size() && text[line + 1] >= 'A' && text[line + 1] <= 'H' &&
                        text[line + 2] == '.' && text[line + 3] == ' ';
    if (!choice) continue;
    close(line);
    begin = line + 4;
  }
  close(text.size());
}

// Part 0 is the question, part 1 + i choice i.
void TextFeatures::append_tokens(std::string_view text, std::size_t part) {
  static constexpr PhraseFinder kFinder;
  each_word(in_lower(text), [&](std::string_view word) {
    note_word(hash_of(word), part);
    each_token(word, [&](std::string_view token) {
      digits_ += static_cast<std::size_t>(is_digit(token.front()));
      if (part == 0) phrases_ |= kFinder.find(from_lower(token));
      tokens_.push_back(hash_of(token));
    });
  });
}

std::vector<std::string_view> TextFeatures::token_texts() const {
  std::vector<std::string_view> out;
  const auto append = [&](std::string_view text) {
    each_word(in_lower(text),
              [&](std::string_view word) { each_token(word, [&](std::string_view token) { out.push_back(token); }); });
  };
  append(question_);
  for (std::size_t i = 0; i < choice_count_; ++i) {
    out.emplace_back();
    append(choices_[i]);
  }
  return out;
}

std::uint32_t TextFeatures::bucket_of(std::uint64_t token) {
  return folded(mixed(token));
}
std::uint32_t TextFeatures::bucket_of(std::uint64_t first, std::uint64_t second) {
  return folded(mixed(pair_of(first, second)));
}

// The table of buckets forgets what it has.
void TextFeatures::next_stamp() {
  word_count_ = 0;
  stamp_ += kWordBuckets;
  if (stamp_ != 0) return;
  std::ranges::fill(keys_, 0U);
  stamp_ = kWordBuckets;
}

// Without a branch on the sign, or on whether the bucket was there: nothing about a text predicts them.
void TextFeatures::add(std::uint64_t hash) {
  const std::uint64_t h = mixed(hash);
  const std::uint32_t key = folded(h) | stamp_;
  const float sign = 1.0F - 2.0F * static_cast<float>(h >> 63U);
  std::size_t at = (folded(h) * 2'654'435'761U) >> (32 - kSlotBits);
  // Not the same, and of this read(): another bucket has the slot. One comparison says both.
  while ((keys_[at] ^ key) - 1 < kWordBuckets - 1) at = (at + 1) % kSlots;
  const auto fresh = static_cast<std::uint32_t>(keys_[at] != key);
  const std::uint32_t place = fresh * word_count_ + (1 - fresh) * slot_places_[at];
  keys_[at] = key;
  slot_places_[at] = static_cast<std::uint16_t>(place);
  HashedFeature& feature = words_[place];
  feature.bucket = folded(h);
  feature.value = static_cast<float>(1 - fresh) * feature.value + sign;
  word_count_ += fresh;
}

void TextFeatures::add_pairs(std::size_t begin, std::size_t end) {
  for (std::size_t i = begin; i < end; ++i) {
    add(tokens_[i]);
    if (i + 1 < end) add(pair_of(tokens_[i], tokens_[i + 1]));
  }
}

// What the question begins and ends with. The factors keep the kinds apart.
void TextFeatures::add_edges() {
  const std::size_t q = question_tokens_;
  const std::uint64_t* const t = tokens_.data();
  for (std::size_t i = 0; i < std::min(kEdgeTokens, q); ++i) add(t[i] * 1'000'003 + 11 * (i + 1));
  const std::size_t tail = q >= kEdgeTokens ? q - kEdgeTokens : 0;
  for (std::size_t i = tail; i < q; ++i) add(t[i] * 1'000'033 + 13 * (i - tail + 1));
  if (q >= 2) add((t[0] * 31 + t[1]) * 17 + 3);
  if (q >= 3) {
    add(((t[0] * 31 + t[1]) * 31 + t[2]) * 17 + 5);
    add(((t[q - 3] * 31 + t[q - 2]) * 31 + t[q - 1]) * 17 + 7);
  }
}

void TextFeatures::take_logarithms() {
  for (HashedFeature& feature : std::span(words_).first(word_count_)) {
    const auto size = static_cast<std::size_t>(std::abs(feature.value));
    const float log = size < logs_.size() ? logs_[size] : log_count(static_cast<double>(size));
    feature.value = std::copysign(log, feature.value);
  }
}

void TextFeatures::read_tokens() {
  tokens_.clear();
  digits_ = 0;
  phrases_ = in_lower(question_).find(kPhrases[kGap]) != std::string_view::npos ? 1U << kGap : 0;
  forget_words();
  append_tokens(question_, 0);
  question_tokens_ = tokens_.size();
  for (std::size_t i = 0; i < choice_count_; ++i) {
    tokens_.push_back(kChoice);
    append_tokens(choices_[i], 1 + i);
  }
}

std::span<const HashedFeature> TextFeatures::words() {
  next_stamp();
  add_pairs(0, tokens_.size());
  add_edges();
  take_logarithms();
  return std::span(words_).first(word_count_);
}

std::span<const HashedFeature> TextFeatures::words_between(std::size_t begin, std::size_t end) {
  next_stamp();
  add_pairs(begin, end);
  take_logarithms();
  return std::span(words_).first(word_count_);
}

void TextFeatures::forget_words() {
  seen_count_ = 0;
  if (++word_stamp_ != 0) return;
  std::ranges::fill(word_keys_, 0U);
  word_stamp_ = 1;
}

// As add(), with the stamp above the hash.
void TextFeatures::note_word(std::uint64_t hash, std::size_t part) {
  constexpr unsigned kHashBits = 48;
  const std::uint64_t h = mixed(hash);
  const std::uint64_t key = (static_cast<std::uint64_t>(word_stamp_) << kHashBits) | (h >> (64 - kHashBits));
  std::size_t at = h % kWordSlots;
  while ((word_keys_[at] ^ key) - 1 < (std::uint64_t{1} << kHashBits) - 1) at = (at + 1) % kWordSlots;
  const auto fresh = static_cast<std::uint16_t>(word_keys_[at] != key);
  word_keys_[at] = key;
  word_parts_[at] = static_cast<std::uint16_t>((1 - fresh) * word_parts_[at] | 1 << part);
  seen_[seen_count_] = static_cast<std::uint16_t>(at);
  seen_count_ += fresh;
}

TextFeatures::Overlap TextFeatures::overlap_of_choices() const {
  Overlap out;
  std::array<double, kMostChoices> size{};
  std::array<double, kMostChoices> in_question{};
  std::array<std::array<double, kMostChoices>, kMostChoices> both{};
  for (const std::uint16_t slot : std::span(seen_).first(seen_count_)) {
    const std::uint32_t parts = word_parts_[slot];
    for (std::uint32_t rest = parts >> 1U; rest != 0; rest &= rest - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(rest));
      size[i] += 1;
      in_question[i] += parts & 1U;
      for (std::size_t j = 0; j < i; ++j) both[i][j] += (parts >> (j + 1)) & 1U;
    }
  }
  double pairs = 0;
  for (std::size_t i = 0; i < choice_count_; ++i) {
    out.with_question += in_question[i] / std::max(1.0, size[i]) / static_cast<double>(choice_count_);
    for (std::size_t j = 0; j < i; ++j, ++pairs)
      out.between += both[i][j] / std::max(1.0, size[i] + size[j] - both[i][j]);
  }
  if (pairs > 0) out.between /= pairs;
  return out;
}

void TextFeatures::read_shape() {
  const ByteCounts bytes(question_);
  const ChoiceCounts choices = count_choices({choices_.data(), choice_count_});
  const Overlap overlap = overlap_of_choices();
  const auto different = static_cast<double>(std::ranges::count_if(
      std::span(seen_).first(seen_count_), [this](std::uint16_t slot) { return (word_parts_[slot] & 1U) != 0; }));
  const auto n = static_cast<double>(std::max<std::size_t>(1, size_));
  const auto words = static_cast<double>(bytes.words());
  const std::string_view stripped = trimmed(question_);
  const char end = stripped.empty() ? '\0' : stripped.back();
  std::size_t at = 0;
  const auto push = [&](double value) { shape_[at++] = static_cast<float>(value); };
  const auto push_log = [&](double count) {
    const auto whole = static_cast<std::size_t>(count);
    shape_[at++] = whole < logs_.size() ? logs_[whole] : log_count(count);
  };
  const auto push_log_of = [&](std::string_view set) { push_log(static_cast<double>(bytes.of(set))); };
  push_log(static_cast<double>(question_.size() + left_out_));
  push_log(words);
  push_log(choices.bytes);
  push_log(choices.longest);
  push_log(choices.shortest);
  push(choices.spread);
  push(choices.numbers);
  push(overlap.between);
  push(overlap.with_question);
  push(static_cast<double>(choice_count_));
  push(static_cast<double>(digits_) / n);
  push_log(static_cast<double>(digits_));
  push(static_cast<double>(bytes.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ")) / n);
  push(static_cast<double>(bytes.solid_bytes()) / std::max(1.0, words));
  push_log_of("\n");
  push_log_of(".");
  push_log_of(",");
  push(static_cast<double>(bytes.of("?")));
  push_log_of("+-*/=^<>|");
  push_log_of("()[]{}");
  push_log_of("$\\");
  push_log(static_cast<double>(bytes.numbers()));
  push(end == '?' ? 1 : 0);
  push(end == ':' ? 1 : 0);
  push(end == '.' ? 1 : 0);
  push(different / std::max(1.0, words));
  push_log_of("\"");
  push(choices.capitals);
  push(choices.stops);
  for (std::size_t i = 0; i < kPhrases.size(); ++i) shape_[kFirstPhrase + i] = (phrases_ >> i & 1U) != 0 ? 1.0F : 0.0F;
}

}  // namespace shoal::learning
