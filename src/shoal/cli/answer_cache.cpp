#include "shoal/cli/answer_cache.h"

#include <cerrno>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"

namespace shoal::cli {
namespace {

namespace json = boost::json;

}  // namespace

Result<AnswerCache> AnswerCache::open(const std::filesystem::path& folder, const std::string& identity) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  base::Sha256 sum;
  sum.update(identity);
  constexpr std::size_t kDigits = 24;
  AnswerCache cache(folder / (sum.finish().substr(0, kDigits) + ".jsonl"));
  cache.read();
  cache.file_.open(cache.path_, std::ios::binary | std::ios::app);
  if (!cache.file_) return base::errno_error("cannot write " + cache.path_.string(), errno);
  // After a line that was cut off the next one begins on a line of its own.
  cache.file_ << '\n' << std::flush;
  return cache;
}

void AnswerCache::read() {
  std::ifstream file(path_, std::ios::binary);
  std::string line;
  while (std::getline(file, line)) {
    boost::system::error_code error;
    const json::value root = json::parse(line, error);
    const json::object* const object = error ? nullptr : root.if_object();
    if (object == nullptr) continue;
    const json::value* const question = object->if_contains("question");
    const json::value* const text = object->if_contains("text");
    const json::value* const logprobs = object->if_contains("logprobs");
    if (question == nullptr || text == nullptr || logprobs == nullptr) continue;
    if (!question->is_int64() || question->get_int64() < 0 || !text->is_string() || !logprobs->is_array()) continue;
    // Lines of before this was kept do not have it; they are asked again.
    const json::value* const cut = object->if_contains("cut");
    if (cut == nullptr || !cut->is_bool()) continue;
    CachedAnswer answer{.text = std::string(text->get_string()), .logprobs = {}, .cut = cut->get_bool()};
    for (const json::value& one : logprobs->get_array()) {
      answer.logprobs.push_back(one.is_number() ? static_cast<float>(one.to_number<double>(error)) : 0);
    }
    answers_[static_cast<std::size_t>(question->get_int64())] = std::move(answer);
  }
}

Result<void> AnswerCache::add(std::size_t question, CachedAnswer answer) {
  file_ << fmt::format("{{\"question\":{},\"text\":{},\"cut\":{},\"logprobs\":[{}]}}\n", question,
                       base::json_string(answer.text), answer.cut, fmt::join(answer.logprobs, ","))
        << std::flush;
  if (!file_) return base::errno_error("cannot write " + path_.string(), errno);
  answers_[question] = std::move(answer);
  return {};
}

}  // namespace shoal::cli
