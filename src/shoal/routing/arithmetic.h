// Arithmetic: what a text states about numbers, computed again. "16 - 3 = 13", "$1,350 + 6 x $350 = $3,450", "20% of 50
// = 10", "2 * 3 = 6 / 2 = 3", "<<9*2=18>>" (a calculator's note) and LaTeX's "5 \times 3 = 15" are read; what has
// letters, powers or units in the middle is passed over. A statement is wrong where what is computed differs from what
// is stated by more than rounding: one unit of the last decimal that is shown, or 1.1 %.
//
// One pass over the text; a text of any kind is safe. Nothing is allocated. Owned by value. Threads: any; pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shoal::routing {

// The first kMost different numbers that were added.
class NumberSet {
 public:
  static constexpr std::size_t kMost = 64;

  void add(double number);
  [[nodiscard]] bool has(double number) const;
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] double operator[](std::size_t i) const { return numbers_[i]; }

 private:
  std::array<double, kMost> numbers_{};
  std::size_t size_ = 0;
};

// A number in a text: "1,350", "2.50", ".5".
struct WrittenNumber {
  double value = 0;        // finite
  bool too_large = false;  // for a double; then it is 0
  int decimals = 0;
  std::size_t bytes = 0;  // of the text; 0: none begins there
};
// That begins exactly at `at`.
[[nodiscard]] WrittenNumber read_number(std::string_view text, std::size_t at);
// All of them. Returns how many there are.
std::size_t read_numbers(std::string_view text, NumberSet& into);

// Of statements of one kind.
struct Statements {
  std::uint32_t read = 0;
  std::uint32_t wrong = 0;
  std::uint32_t rounded = 0;  // right but for rounding
};

struct Arithmetic {
  Statements plain;
  Statements notes;                           // between << and >>
  std::uint32_t unread_notes = 0;             // notes that are no arithmetic
  std::uint32_t chained = 0;                  // statements that begin with another one's result: a = b = c
  double worst = 0;                           // relative error of the statement that is most wrong; at most 1e9
  std::array<std::uint32_t, 4> operations{};  // * / + -, in statements that were read
  std::uint32_t negative = 0;                 // results below 0
  std::uint32_t broken = 0;                   // results that are not whole
  double largest = 0;                         // result
  std::optional<double> last;                 // result
  NumberSet results;
  NumberSet operands;

  [[nodiscard]] std::uint32_t read() const { return plain.read + notes.read; }
  [[nodiscard]] std::uint32_t wrong() const { return plain.wrong + notes.wrong; }
};

[[nodiscard]] Arithmetic read_arithmetic(std::string_view text);

}  // namespace shoal::routing
