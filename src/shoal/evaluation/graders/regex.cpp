#include <optional>
#include <stdexcept>
#include <string>

#include <fmt/format.h>

#include <boost/regex.hpp>

#include "shoal/evaluation/graders/parts.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

constexpr std::size_t kMaxPatternBytes = 4096;
constexpr std::size_t kMaxTextBytes = std::size_t{64} << 10;

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

// Boost.Regex throws for a bad pattern and when matching takes too many steps; nothing of that leaves here.
template <class T, class Body>
Result<T> guarded(std::string_view pattern, bool ignore_case, std::string_view text, const Body& body) {
  if (pattern.size() > kMaxPatternBytes)
    return wrong(fmt::format("a pattern has at most {} bytes, this one has {}", kMaxPatternBytes, pattern.size()));
  if (text.size() > kMaxTextBytes) text = text.substr(text.size() - kMaxTextBytes);
  try {
    boost::regex::flag_type flags = boost::regex::perl;
    if (ignore_case) flags |= boost::regex::icase;
    const boost::regex compiled(pattern.begin(), pattern.end(), flags);
    return body(compiled, text);
  } catch (const std::runtime_error& fault) {
    return wrong(fmt::format("the pattern \"{}\": {}", wire::shortened(pattern), fault.what()));
  }
}

}  // namespace

Result<bool> found(std::string_view pattern, bool ignore_case, std::string_view text) {
  return guarded<bool>(pattern, ignore_case, text, [](const boost::regex& compiled, std::string_view in) {
    return boost::regex_search(in.begin(), in.end(), compiled);
  });
}

Result<std::optional<std::string>> extracted(std::string_view pattern, bool ignore_case, std::string_view text) {
  using Found = std::optional<std::string>;
  return guarded<Found>(pattern, ignore_case, text, [](const boost::regex& compiled, std::string_view in) {
    Found last;
    for (boost::regex_iterator at(in.begin(), in.end(), compiled); at != decltype(at)(); ++at) {
      const auto& match = *at;
      last = match.size() > 1 && match[1].matched ? match[1].str() : match[0].str();
    }
    return last;
  });
}

}  // namespace shoal::evaluation
