// The answers that a model gave to the questions of a file, kept line by line as they come, so that a command that was
// killed goes on where it was. One file for each set of questions, model and way of asking; a line that was cut off
// counts as not there. Owned by a command. Threads: one.
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::cli {

struct CachedAnswer {
  std::string text;
  std::vector<float> logprobs;  // of its tokens
  bool cut = false;             // it ended because no more tokens were allowed

  bool operator==(const CachedAnswer&) const = default;
};

class AnswerCache {
 public:
  // `identity` is all that the answers depend on; its hash is the name of the file. Errors: kIo.
  [[nodiscard]] static Result<AnswerCache> open(const std::filesystem::path& folder, const std::string& identity);

  [[nodiscard]] const std::map<std::size_t, CachedAnswer>& answers() const { return answers_; }
  // Errors: kIo.
  Result<void> add(std::size_t question, CachedAnswer answer);

 private:
  explicit AnswerCache(std::filesystem::path path) : path_(std::move(path)) {}
  void read();

  std::filesystem::path path_;
  std::map<std::size_t, CachedAnswer> answers_;
  std::ofstream file_;
};

}  // namespace shoal::cli
