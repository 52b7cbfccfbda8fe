#include "shoal/routing/domains.h"

#include <algorithm>
#include <array>
#include <cassert>

namespace shoal::routing {
namespace {

constexpr std::size_t kShortTurn = 4;        // words
constexpr std::size_t kShortestPart = 3;     // words
constexpr std::size_t kMostCuts = 8;         // each costs two decisions
constexpr std::size_t kLongWithoutCut = 14;  // words, from which on a text may hold two things without a mark between
constexpr double kForeign = 0.05;            // a part is about something else: the label of the whole is as unlikely
constexpr double kForeignHalf = 0.0125;      // the same of halves, which are cut anywhere

constexpr std::string_view kMarks = ".?!;,:";
constexpr std::array<std::string_view, 6> kJoints = {"and", "then", "also", "but", "or", "plus"};

bool is_blank(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

struct Word {
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> out;
  for (std::size_t i = 0; i < text.size();) {
    while (i < text.size() && is_blank(text[i])) ++i;
    const std::size_t begin = i;
    while (i < text.size() && !is_blank(text[i])) ++i;
    if (i > begin) out.push_back({begin, i});
  }
  return out;
}

std::string text_of(std::span<const std::string_view> turns) {
  if (turns.empty()) return {};
  std::string out(turns.back());
  for (std::size_t i = turns.size() - 1; i > 0 && words_of(out).size() < kShortTurn; --i) {
    out.insert(0, std::string(turns[i - 1]) + "\n");
  }
  return out;
}

// Places between words, where one thing may end and another begin.
std::vector<std::size_t> cuts_of(std::string_view text, std::span<const Word> words) {
  std::vector<std::size_t> out;
  for (std::size_t i = 1; i < words.size() && out.size() < kMostCuts; ++i) {
    if (i < kShortestPart || words.size() - i < kShortestPart) continue;
    const std::string_view before = text.substr(words[i - 1].begin, words[i - 1].end - words[i - 1].begin);
    const std::string_view after = text.substr(words[i].begin, words[i].end - words[i].begin);
    const bool line = text.substr(words[i - 1].end, words[i].begin - words[i - 1].end).find('\n') != std::string::npos;
    if (line || kMarks.find(before.back()) != std::string_view::npos ||
        std::ranges::find(kJoints, after) != kJoints.end())
      out.push_back(i);
  }
  return out;
}

class Finder {
 public:
  Finder(const Domains& domains, learning::ClassScorer& scorer) : domains_(domains), scorer_(scorer) {}

  Domain find(std::string_view text) {
    const learning::ClassAnswer whole = scorer_.classify(domains_.task, text);
    out_.label = whole.best;
    out_.probability = whole.right;
    out_.outside = whole.outside;
    bool one = is_sure(whole);
    bool foreign = false;
    if (one) sure_ = whole.best;
    const std::vector<Word> words = words_of(text);
    const auto part = [&](std::size_t begin, std::size_t end) {
      return text.substr(words[begin].begin, words[end - 1].end - words[begin].begin);
    };
    for (const std::size_t cut : cuts_of(text, words)) {
      const Part before = look_at(part(0, cut));
      const Part after = look_at(part(cut, words.size()));
      foreign = foreign || before.likelihood < kForeign || after.likelihood < kForeign;
      // Two things of one area, of which no label holds both.
      if (!one && before.sure > 0 && after.sure > 0) {
        one = true;
        out_.probability = std::min(before.sure, after.sure);
      }
    }
    if (one && words.size() >= kLongWithoutCut) {
      const std::size_t middle = words.size() / 2;
      foreign = foreign || look_at(part(0, middle)).likelihood < kForeignHalf ||
                look_at(part(middle, words.size())).likelihood < kForeignHalf;
    }
    if (several_) {
      out_.kind = DomainKind::kSeveral;
      out_.label = first_;
    } else if (one && !foreign) {
      out_.kind = DomainKind::kOne;
    }
    return out_;
  }

 private:
  [[nodiscard]] bool is_sure(const learning::ClassAnswer& answer) const {
    return answer.right >= domains_.least && answer.outside < kOutside;
  }
  [[nodiscard]] bool same_route(std::size_t a, std::size_t b) const { return domains_.routes[a] == domains_.routes[b]; }

  struct Part {
    double likelihood = 0;  // of the whole's area
    double sure = 0;        // the probability of its own best label, where that is sure
  };

  // Notes when it is surely of another area than a part before it.
  Part look_at(std::string_view part) {
    const learning::ClassAnswer answer = scorer_.classify(domains_.task, part);
    Part out;
    for (std::size_t i = 0; i < answer.probabilities.size(); ++i) {
      if (same_route(i, out_.label)) out.likelihood += answer.probabilities[i];
    }
    if (!is_sure(answer)) return out;
    out.sure = answer.right;
    if (!sure_) sure_ = answer.best;
    if (!same_route(*sure_, answer.best)) {
      several_ = true;
      first_ = *sure_;
      out_.other = answer.best;
    }
    return out;
  }

  const Domains& domains_;
  learning::ClassScorer& scorer_;
  Domain out_;
  std::optional<std::size_t> sure_;  // a label that the whole, or a part, surely has
  bool several_ = false;
  std::size_t first_ = 0;  // of several
};

}  // namespace

Domain find_domain(const Domains& domains, std::span<const std::string_view> turns, learning::ClassScorer& scorer) {
  assert(domains.routes.size() == domains.task.labels.size());
  return Finder(domains, scorer).find(text_of(turns));
}

}  // namespace shoal::routing
