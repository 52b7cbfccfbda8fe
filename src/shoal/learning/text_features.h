// TextFeatures: a request's text as numbers that small models can weigh: which words and pairs of words it has, hashed
// into buckets, and its shape (how long, how many digits, which phrases). A question with lettered choices ("\nA. ")
// is read as such; any other text is a question without choices.
//
// What a model was fitted on and what a server reads must be the same to the bit: both go through this class, and any
// change of what it makes of a text must change kTextFeaturesVersion.
//
// Reuses its memory: after construction nothing is allocated. Owned by whoever decides or fits, one for each thread.
// Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace shoal::learning {

inline constexpr std::uint32_t kTextFeaturesVersion = 1;

struct HashedFeature {
  std::uint32_t bucket = 0;
  float value = 0;  // ln(1 + |sum of signs|), with the sign of the sum

  bool operator==(const HashedFeature&) const = default;
};

inline constexpr std::size_t kWordBuckets = std::size_t{1} << 18U;
inline constexpr std::size_t kShapeFeatures = 59;
using Shape = std::array<float, kShapeFeatures>;
// From here on they say which phrases the text has, anywhere.
inline constexpr std::size_t kFirstPhrase = 29;
// What each of them is, for people.
[[nodiscard]] const std::array<std::string_view, kShapeFeatures>& shape_names();

class TextFeatures {
 public:
  TextFeatures();

  // Of a long text the first kHeadBytes and the last kTailBytes count, and its length.
  void read(std::string_view text);

  // The words and pairs of words, and what the question begins and ends with. Each bucket once, in the order in which
  // they came. Valid until words(), words_between() or read() is called again.
  [[nodiscard]] std::span<const HashedFeature> words();
  // Those of a part of the tokens alone, without what the question begins and ends with.
  // REQUIRES: begin <= end <= tokens().size().
  [[nodiscard]] std::span<const HashedFeature> words_between(std::size_t begin, std::size_t end);
  // The words and marks alone, as hashes, in their order: runs of letters in any case, each digit, each mark.
  [[nodiscard]] std::span<const std::uint64_t> tokens() const { return tokens_; }
  // What stands in the text for each of the tokens, in lower case; the mark before each choice is empty. Allocates.
  [[nodiscard]] std::vector<std::string_view> token_texts() const;
  [[nodiscard]] const Shape& shape() const { return shape_; }

  // The buckets of a token and of two tokens that follow each other.
  [[nodiscard]] static std::uint32_t bucket_of(std::uint64_t token);
  [[nodiscard]] static std::uint32_t bucket_of(std::uint64_t first, std::uint64_t second);

  static constexpr std::size_t kHeadBytes = 512;
  static constexpr std::size_t kTailBytes = 768;

 private:
  static constexpr std::size_t kMostChoices = 8;
  static constexpr unsigned kSlotBits = 12;
  static constexpr std::size_t kSlots = std::size_t{1} << kSlotBits;  // more than the features that a text can have
  static constexpr std::size_t kWordSlots = std::size_t{1} << 11U;    // more than twice the words that it can have
  static constexpr std::size_t kRoom = kHeadBytes + kTailBytes + 1;
  static constexpr std::size_t kBeyond = 8;  // hashing reads so far past the end of a token

  // Mean shares of words.
  struct Overlap {
    double with_question = 0;  // of a choice's words that are in the question
    double between = 0;        // Jaccard index of two choices
  };

  void take(std::string_view text);
  void split();
  [[nodiscard]] std::string_view in_lower(std::string_view part) const;
  [[nodiscard]] std::string_view from_lower(std::string_view part) const;
  void append_tokens(std::string_view text, std::size_t part);
  void next_stamp();
  void add(std::uint64_t hash);
  void add_pairs(std::size_t begin, std::size_t end);
  void add_edges();
  void take_logarithms();
  void forget_words();
  void note_word(std::uint64_t hash, std::size_t part);
  void read_tokens();
  void read_shape();
  [[nodiscard]] Overlap overlap_of_choices() const;

  std::array<char, kRoom + kBeyond> text_{};
  std::array<char, kRoom + kBeyond> lower_{};
  std::size_t size_ = 0;
  std::size_t left_out_ = 0;  // bytes of the text between its head and its tail
  std::string_view question_;
  std::array<std::string_view, kMostChoices> choices_;
  std::size_t choice_count_ = 0;
  std::vector<std::uint64_t> tokens_;
  std::size_t question_tokens_ = 0;
  std::size_t digits_ = 0;
  std::uint32_t phrases_ = 0;  // a bit for each that the question has
  // Of the table of buckets, by slot: which bucket, with the stamp of the read() that wrote it above; and where it
  // stands in words_.
  std::vector<std::uint32_t> keys_;
  std::vector<std::uint16_t> slot_places_;
  std::uint32_t stamp_ = 0;
  std::vector<HashedFeature> words_;  // the first word_count_
  std::uint32_t word_count_ = 0;
  // Of the table of words, by slot: which one, and in which parts of the text (bit 0: the question; bit 1 + i: choice
  // i).
  std::vector<std::uint64_t> word_keys_;
  std::vector<std::uint16_t> word_parts_;
  std::uint16_t word_stamp_ = 0;
  std::vector<std::uint16_t> seen_;  // the slots of the text's words, the first seen_count_
  std::size_t seen_count_ = 0;
  Shape shape_{};
  std::array<float, 64> logs_{};  // ln(1 + n)
};

}  // namespace shoal::learning
