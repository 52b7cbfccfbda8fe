// F1 of words and of sets, and the share of facts.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/evaluation/graders/parts.h"
#include "shoal/evaluation/normalise.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

double f1(std::size_t shared, std::size_t said, std::size_t wanted) {
  if (said == 0 && wanted == 0) return 1;
  return 2.0 * static_cast<double>(shared) / static_cast<double>(said + wanted);
}

double token_f1(const std::vector<std::string>& said, const std::vector<std::string>& wanted) {
  std::map<std::string, std::size_t> left;
  for (const std::string& token : wanted) ++left[token];
  std::size_t shared = 0;
  for (const std::string& token : said) {
    if (const auto at = left.find(token); at != left.end() && at->second > 0) {
      --at->second;
      ++shared;
    }
  }
  return f1(shared, said.size(), wanted.size());
}

void add_parts(std::set<std::string>& into, std::string_view text, std::string_view separator) {
  std::string part;
  const auto end_part = [&] {
    if (std::string one = normalised(part); !one.empty()) into.insert(std::move(one));
    part.clear();
  };
  for (std::size_t i = 0; i < text.size();) {
    const bool separates = !separator.empty() && text.substr(i).starts_with(separator);
    if (separates || text[i] == '\n') {
      end_part();
      i += separates ? separator.size() : 1;
    } else {
      part += text[i++];
    }
  }
  end_part();
}

}  // namespace

Grade grade_token_f1(const Gold& gold, std::string_view answer) {
  const std::vector<std::string> said = squad_tokens(answer);
  double best = 0;
  for (const std::string& right : gold.answers) best = std::max(best, token_f1(said, squad_tokens(right)));
  return {.score = best, .right = best >= 1, .why = fmt::format("F1 of words {:.2f}", best)};
}

Grade grade_set_f1(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  std::set<std::string> wanted;
  for (const std::string& right : gold.answers) wanted.insert(normalised(right));
  std::set<std::string> said;
  add_parts(said, answer, settings.separator);
  const auto shared = static_cast<std::size_t>(
      std::ranges::count_if(said, [&](const std::string& one) { return wanted.contains(one); }));
  const double score = f1(shared, said.size(), wanted.size());
  return {.score = score,
          .right = score >= 1,
          .why = fmt::format("{} of {} are there, {} too many", shared, wanted.size(), said.size() - shared)};
}

Grade grade_coverage(const Gold& gold, std::string_view answer) {
  const std::string said = normalised(answer);
  std::vector<std::string> missing;
  for (const std::vector<std::string>& wordings : gold.facts) {
    const bool stated =
        std::ranges::any_of(wordings, [&](const std::string& wording) { return has_words(said, normalised(wording)); });
    if (!stated) missing.push_back(fmt::format("\"{}\"", wire::shortened(wordings.front())));
  }
  const std::size_t facts = gold.facts.size();
  const double score = facts == 0 ? 0 : static_cast<double>(facts - missing.size()) / static_cast<double>(facts);
  std::string why = fmt::format("{} of {} facts are stated", facts - missing.size(), facts);
  if (!missing.empty()) why += fmt::format("; not {}", fmt::join(missing, ", "));
  return {.score = score, .right = missing.empty(), .why = std::move(why)};
}

}  // namespace shoal::evaluation
