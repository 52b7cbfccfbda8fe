// TextRelease: turns the bytes of tokens into text that may be shown. Holds back what is not yet a whole
// UTF-8 character and what could still become a stop string; cuts exactly before a stop string, even when it
// is spread over tokens or begins inside a character. Owned by one sequence. Threads: the compute thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace shoal::worker {

class TextRelease {
 public:
  explicit TextRelease(std::vector<std::string> stops);

  // Takes the bytes of the next token; returns the text that is now certain. Bytes that cannot be UTF-8
  // come out as U+FFFD, as soon as that is certain. REQUIRES: !stopped().
  [[nodiscard]] std::string feed(std::string_view token_bytes);

  // A stop string has matched; what came before it has been released, and nothing else will be.
  [[nodiscard]] bool stopped() const { return stopped_; }

  // The answer ended without a stop string: everything held back, cut characters as U+FFFD.
  [[nodiscard]] std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace shoal::worker
