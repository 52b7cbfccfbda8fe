// Blind comparisons of two routes by a person: pairs of answers to one question in an order drawn by the seed, without
// names; what the person says goes into a test that may be looked at after every pair (statistics/e_process.h). Kept
// line by line, so that a comparison goes on another day. Owned by the command. Threads: one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/gate.h"
#include "shoal/evaluation/suite.h"
#include "shoal/statistics/e_process.h"

namespace shoal::evaluation {

struct BlindPair {
  std::string id;
  std::string question;
  std::string left;
  std::string right;
  bool swapped = false;  // the left one is the second route's
};

enum class Choice : std::uint8_t { kLeft, kRight, kTie };

class BlindComparison {
 public:
  // Of questions that both routes answered, differently: answers that are the same to the byte are no question of
  // taste. What `journal` has is taken up. Errors: kIo; kInvalidData when no pair is left, or the journal is of
  // another comparison.
  // Errors: kAlreadyExists too, while another comparison writes the journal.
  [[nodiscard]] static Result<BlindComparison> open(const Suite& suite, const Results& first, const Results& second,
                                                    std::uint64_t seed, double delta, std::filesystem::path journal);

  // Those that were not judged yet, in their order.
  [[nodiscard]] const std::vector<BlindPair>& pairs() const { return pairs_; }
  // On the disk when it returns. Errors: kIo; then nothing is counted.
  Result<void> judge(const BlindPair& pair, Choice choice);

  [[nodiscard]] const statistics::PreferenceTest& test() const { return test_; }
  [[nodiscard]] std::size_t ties() const { return ties_; }
  [[nodiscard]] std::size_t same() const { return same_; }        // questions with one answer of both
  [[nodiscard]] std::size_t damaged() const { return damaged_; }  // lines of the journal that were passed over

 private:
  BlindComparison(std::filesystem::path journal, double delta) : journal_(std::move(journal)), test_(delta) {}
  Result<void> open_journal();
  Result<void> take_up(const std::string& head);
  Result<void> append(std::string_view line);
  void count(bool swapped, Choice choice);

  std::filesystem::path journal_;
  std::shared_ptr<const int> file_;  // closed with the last copy
  std::vector<BlindPair> pairs_;
  statistics::PreferenceTest test_;
  std::size_t ties_ = 0;
  std::size_t same_ = 0;
  std::size_t damaged_ = 0;
};

}  // namespace shoal::evaluation
