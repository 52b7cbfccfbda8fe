// Text as graders compare it. Owned by nobody; functions. Threads: any; pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shoal::evaluation {

// Lower case (ASCII), one space between words, without marks at either end but those of a number or a name: "-5",
// "C++". Letters beyond ASCII stay as they are.
[[nodiscard]] std::string normalised(std::string_view text);

// Whether the words stand in the text as whole words; a number is not within another one. Both as normalised() left
// them.
[[nodiscard]] bool has_words(std::string_view text, std::string_view words);

// The first line that has something in it, without the line end.
[[nodiscard]] std::string_view first_line(std::string_view text);

// The tokens that SQuAD's official script compares: lower case (ASCII), punctuation (ASCII) removed, without "a", "an"
// and "the", split at spaces. Source: Rajpurkar et al. 2016, evaluate-v1.1.py.
[[nodiscard]] std::vector<std::string> squad_tokens(std::string_view text);

}  // namespace shoal::evaluation
