// What somebody gains who puts words before every question so that it goes to the dear model (Shafran et al. 2025,
// "Rerouting LLM routers", arXiv 2501.01818): gadget_bench FOLDER WEAK STRONG [EXCLUDE], arguments as promises_bench
// has them. For the gain model as it is and for the one that `--robust` fits (of three segments the middle one counts).
//
// The attacker has the model and the rows that it was fitted on; what a gadget does is measured on other questions.
// Gadgets are ten words: the heaviest ones of the linear part; those found by hill climbing on the model's whole score,
// which draws words for a place and keeps the best (against the robust model from two starts: its own heaviest words,
// and the gadget against the plain one); the gadget against the plain model, put before the robust one; and, adaptive,
// ten words before, in the middle and behind, one gadget for each segment, climbed together.
// Upgraded: of the questions that are not among the share with the highest scores, those that are with the gadget.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/evaluation/learned_router.h"
#include "shoal/evaluation/router.h"
#include "shoal/evaluation/router_score.h"
#include "shoal/routing/gain_fit.h"
#include "shoal/routing/gain_model.h"
#include "shoal/statistics/bootstrap.h"
#include "shoal/statistics/random.h"

#include "bars.h"

namespace {

using namespace shoal;
using evaluation::PairedRow;
using statistics::Random;

constexpr std::size_t kFolds = 5;
constexpr std::uint64_t kSeed = 1;
constexpr std::size_t kWords = 10;
constexpr std::size_t kLeastCount = 5;                 // of a word, in the rows that were fitted on
constexpr std::size_t kHeaviest = 250;                 // words that a climb draws from, beside as many others
constexpr std::size_t kDrawn = 48;                     // for a place
constexpr std::size_t kPasses = 3;                     // over all places
constexpr std::size_t kSample = 150;                   // questions that a climb looks at
constexpr std::array<double, 2> kShares = {0.3, 0.5};  // that go to the strong model
constexpr double kMostUpgraded = 0.20;
constexpr double kMostLost = 0.01;

using Words = std::vector<std::string>;

std::string joined(std::span<const std::string> words) {
  return fmt::format("{}", fmt::join(words, " "));
}

// One gadget in front; or three, one for each segment.
std::string attacked(const Words& gadget, std::string_view question) {
  if (gadget.size() == kWords) return joined(gadget) + " " + std::string(question);
  const std::span<const std::string> all(gadget);
  const std::size_t middle = std::min(question.find(' ', question.size() / 2), question.size());
  return fmt::format("{} {} {}{} {}", joined(all.first(kWords)), question.substr(0, middle),
                     joined(all.subspan(kWords, kWords)), question.substr(middle), joined(all.last(kWords)));
}

struct Fold {
  std::vector<PairedRow> fitted;
  std::vector<PairedRow> held;
};

// What an attacker can write, the heaviest word first.
Words vocabulary(const routing::GainModel& model, std::span<const PairedRow> rows) {
  struct Seen {
    std::size_t count = 0;
    std::uint64_t token = 0;
  };
  std::map<std::string, Seen, std::less<>> seen;
  learning::TextFeatures features;
  for (const PairedRow& row : rows) {
    features.read(row.prompt);
    const auto texts = features.token_texts();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      if (texts[i].empty()) continue;
      Seen& one = seen[std::string(texts[i])];
      ++one.count;
      one.token = features.tokens()[i];
    }
  }
  std::vector<std::pair<double, std::string>> order;
  for (const auto& [word, one] : seen) {
    if (one.count < kLeastCount) continue;
    const routing::WordWeight& weight = model.parts().words.words[learning::TextFeatures::bucket_of(one.token)];
    // A hashed word's sign is in its feature, so the text says which way it counts.
    features.read(word);
    if (features.tokens().empty()) continue;
    const float sign = features.words_between(0, 1).front().value < 0 ? -1.0F : 1.0F;
    order.emplace_back(-sign * weight.rarity * weight.weight, word);
  }
  std::ranges::sort(order);
  Words out;
  for (auto& [weight, word] : order) out.push_back(std::move(word));
  return out;
}

// A model, what it says of questions, and who attacks it.
class Target {
 public:
  Target(const routing::GainModel& model, const Fold& fold) : model_(&model), words_(vocabulary(model, fold.fitted)) {
    std::vector<double> fitted;
    for (const PairedRow& row : fold.fitted) fitted.push_back(score(row.prompt));
    goal_ = quantile(fitted, 1 - kShares.front());
    Random random(statistics::mixed(kSeed));
    for (const std::size_t i : random.permutation(fitted.size())) {
      if (fitted[i] < goal_ && sample_.size() < kSample) sample_.push_back(fold.fitted[i].prompt);
    }
    for (const PairedRow& row : fold.held) held_.push_back(score(row.prompt));
  }

  [[nodiscard]] double score(std::string_view text) const { return model_->score(text, scratch_).gain; }
  [[nodiscard]] const std::vector<double>& held() const { return held_; }
  [[nodiscard]] Words heaviest() const { return {words_.begin(), words_.begin() + kWords}; }

  // From `gadget` on.
  [[nodiscard]] Words climbed(Words gadget, std::uint64_t seed) const {
    Random random(seed);
    double best = reach(gadget);
    for (std::size_t pass = 0; pass < kPasses; ++pass) {
      for (const std::size_t place : random.permutation(gadget.size())) {
        const std::string before = gadget[place];
        std::string winner = before;
        for (std::size_t k = 0; k < kDrawn; ++k) {
          gadget[place] = words_[random.chance(0.5) ? random.index(std::min(kHeaviest, words_.size()))
                                                    : random.index(words_.size())];
          const double found = reach(gadget);
          if (found <= best) continue;
          best = found;
          winner = gadget[place];
        }
        gadget[place] = winner;
      }
    }
    return gadget;
  }

  // By the share that goes to the strong model.
  [[nodiscard]] std::array<double, kShares.size()> upgraded(const Fold& fold, const Words& gadget) const {
    std::vector<double> after;
    for (const PairedRow& row : fold.held) after.push_back(score(attacked(gadget, row.prompt)));
    std::array<double, kShares.size()> out{};
    for (std::size_t s = 0; s < kShares.size(); ++s) {
      const double threshold = quantile(held_, 1 - kShares[s]);
      double below = 0;
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (held_[i] >= threshold) continue;
        ++below;
        out[s] += after[i] >= threshold ? 1 : 0;
      }
      out[s] /= below;
    }
    return out;
  }

  // The one that brings the sample nearer to the threshold.
  [[nodiscard]] Words nearer(Words a, Words b) const { return reach(a) < reach(b) ? b : a; }

 private:
  static double quantile(std::vector<double> of, double share) {
    const auto at = static_cast<std::ptrdiff_t>(share * static_cast<double>(of.size()));
    std::ranges::nth_element(of, of.begin() + at);
    return of[static_cast<std::size_t>(at)];
  }

  // How near the sample comes to the threshold; past it counts no more.
  [[nodiscard]] double reach(const Words& gadget) const {
    double sum = 0;
    for (const std::string_view question : sample_) sum += std::min(score(attacked(gadget, question)) - goal_, 0.0);
    return sum;
  }

  const routing::GainModel* model_;
  mutable routing::GainModel::Scratch scratch_;
  Words words_;
  std::vector<std::string_view> sample_;
  double goal_ = 0;
  std::vector<double> held_;
};

enum Attack : std::size_t { kHeaviestWords, kClimbed, kTransferred, kAdaptive, kAttacks };
constexpr std::array<std::string_view, kAttacks> kAttackNames = {
    "ten heaviest words in front", "ten climbed words in front", "climbed against the plain one",
    "adaptive, ten words a segment"};

// Of one model, over the folds.
struct Found {
  std::vector<std::array<std::array<double, kShares.size()>, kAttacks>> folds;
  std::vector<double> scores;  // of the held-out rows, in the order of the folds
};

Words thrice(const Words& gadget) {
  Words out;
  for (int i = 0; i < 3; ++i) out.insert(out.end(), gadget.begin(), gadget.end());
  return out;
}

// Returns the gadget that was climbed in front.
Words attack(const Target& target, const Fold& fold, const Words& transferred, std::uint64_t seed, Found& out) {
  Words climbed = target.climbed(target.heaviest(), seed);
  if (!transferred.empty()) climbed = target.nearer(climbed, target.climbed(transferred, seed + 7));
  const Words adaptive = target.climbed(thrice(climbed), seed + 1);
  auto& of = out.folds.emplace_back();
  of[kHeaviestWords] = target.upgraded(fold, target.heaviest());
  of[kClimbed] = target.upgraded(fold, climbed);
  of[kTransferred] = target.upgraded(fold, transferred.empty() ? climbed : transferred);
  of[kAdaptive] = target.upgraded(fold, adaptive);
  out.scores.insert(out.scores.end(), target.held().begin(), target.held().end());
  fmt::print("  fold {}: {} | {}\n", out.folds.size(), joined(climbed), joined(adaptive));
  return climbed;
}

void show(std::string_view name, const Found& found, bool robust) {
  const auto n = static_cast<double>(found.folds.size());
  for (std::size_t a = 0; a < kAttacks; ++a) {
    if (a == kTransferred && !robust) continue;
    for (std::size_t s = 0; s < kShares.size(); ++s) {
      double mean = 0;
      double squares = 0;
      for (const auto& fold : found.folds) mean += fold[a][s] / n;
      for (const auto& fold : found.folds) squares += std::pow(fold[a][s] - mean, 2);
      const bool judged = robust && s == 0 && a == kClimbed;
      const std::optional<bench::Bar> bar{bench::Bar{.value = 100 * kMostUpgraded, .at_most = true}};
      bench::line(fmt::format("{}, {}", name, kAttackNames[a]), 100 * mean, "%",
                  fmt::format("+- {:.1f}, {:.0f} % strong", n > 1 ? 100 * std::sqrt(squares / (n - 1) / n) : 0.0,
                              100 * kShares[s]),
                  judged ? bar : std::nullopt);
    }
  }
}

void show_loss(std::span<const PairedRow> rows, const Found& plain, const Found& robust) {
  const evaluation::RouterCurve before(rows, plain.scores);
  const evaluation::RouterCurve after(rows, robust.scores);
  const auto lost = statistics::bootstrap(
      rows.size(), [&](std::span<const double> counts) { return before.apgr(counts) - after.apgr(counts); });
  bench::line("APGR, plain", before.measures().apgr, "", "pooled");
  bench::line("APGR, robust", after.measures().apgr, "", "pooled");
  bench::line("APGR that robust costs", lost.value, "", fmt::format("+- {:.3f} by row, paired", lost.standard_error),
              bench::Bar{.value = kMostLost, .at_most = true});
}

Result<void> measure(const bench::Outcomes& outcomes, std::size_t most_folds) {
  const std::vector<PairedRow>& rows = outcomes.pair.rows;
  const std::vector<std::size_t> of = evaluation::random_folds(rows, kFolds, kSeed);
  Found plain;
  Found robust;
  std::vector<PairedRow> scored;
  for (std::size_t k = 0; k < most_folds; ++k) {
    Fold fold;
    for (std::size_t i = 0; i < rows.size(); ++i) (of[i] == k ? fold.held : fold.fitted).push_back(rows[i]);
    const evaluation::GainRows gains(fold.fitted);
    Words transferred;
    for (const int segments : {1, 3}) {
      const auto model = SHOAL_TRY(routing::fit_gain(
          gains.rows(), {.scope = routing::GainScope::kSameTopics, .segments = segments, .seed = kSeed}));
      transferred = attack(Target(model, fold), fold, transferred, 100 * k, segments == 1 ? plain : robust);
    }
    scored.insert(scored.end(), fold.held.begin(), fold.held.end());
  }
  show("plain", plain, false);
  show("robust", robust, true);
  show_loss(scored, plain, robust);
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv, argv + argc);
  const bool quick = std::erase(words, "--quick") > 0;
  if (words.size() < 4 || words.size() > 5) {
    fmt::print(stderr, "usage: {} FOLDER WEAK STRONG [EXCLUDE] [--quick]\n", words.at(0));
    return 2;
  }
  const auto outcomes = bench::read_outcomes(words);
  const auto done = outcomes.ok() ? measure(*outcomes, quick ? 1 : kFolds) : Result<void>(outcomes.error());
  if (!done.ok()) fmt::print(stderr, "{}\n", done.error().message());
  return done.ok() ? 0 : 1;
}
