#include "shoal/learning/slot_fit.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <functional>
#include <thread>

#include <fmt/format.h>

#include "shoal/learning/lbfgs.h"
#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

constexpr std::array<double, 3> kPenalties = {0.03, 0.1, 0.3};
constexpr std::size_t kParts = 4;  // sums are added in this many parts, however many threads there are

struct Sentence {
  std::vector<std::vector<std::uint32_t>> features;  // buckets, then rows
  std::vector<std::size_t> tags;
};

Sentence sentence_of(const SlotExample& example) {
  const std::vector<SlotToken> tokens = slot_tokens(example.text);
  Sentence out{slot_features(example.text, tokens, example.asked), std::vector<std::size_t>(tokens.size())};
  for (const SlotSpan& span : example.spans) {
    bool first = true;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i].begin >= span.end || tokens[i].end <= span.begin) continue;
      out.tags[i] = 2 * span.slot + (first ? 1 : 2);
      first = false;
    }
  }
  return out;
}

// The first `rows` x tags parameters are weights of features, then the steps.
class Likelihood {
 public:
  Likelihood(std::vector<Sentence> sentences, std::size_t rows, std::size_t tags, double penalty, std::size_t threads)
      : sentences_(std::move(sentences)),
        rows_(rows),
        tags_(tags),
        penalty_(penalty),
        threads_(threads),
        slopes_(kParts, std::vector<double>(size())) {}

  [[nodiscard]] std::size_t size() const { return (rows_ + tags_) * tags_; }

  double operator()(std::span<const double> at, std::span<double> slope) {
    std::array<double, kParts> losses{};
    std::atomic<std::size_t> next{0};
    const std::vector<double> exponentials = exponentials_of_steps(at.subspan(rows_ * tags_), tags_);
    const auto work = [&] {
      for (std::size_t part = next++; part < kParts; part = next++) losses[part] = add_part(part, at, exponentials);
    };
    {
      std::vector<std::jthread> others;
      for (std::size_t i = 1; i < std::min(threads_, kParts); ++i) others.emplace_back(work);
      work();
    }
    double out = 0;
    for (std::size_t i = 0; i < slope.size(); ++i) {
      out += penalty_ * at[i] * at[i];
      slope[i] = 2 * penalty_ * at[i];
      for (const auto& part : slopes_) slope[i] += part[i];
    }
    for (const double loss : losses) out += loss;
    return out;
  }

 private:
  double add_part(std::size_t part, std::span<const double> at, std::span<const double> exponentials) {
    std::vector<double>& slope = slopes_[part];
    std::ranges::fill(slope, 0.0);
    SlotLattice lattice;
    lattice.tags = tags_;
    double loss = 0;
    for (std::size_t i = part; i < sentences_.size(); i += kParts) {
      if (!sentences_[i].tags.empty()) loss += add_sentence(sentences_[i], at, exponentials, lattice, slope);
    }
    return loss;
  }

  double add_sentence(const Sentence& of, std::span<const double> at, std::span<const double> exponentials,
                      SlotLattice& lattice, std::vector<double>& slope) const {
    lattice.tokens = of.tags.size();
    lattice.scores.assign(lattice.tokens * tags_, 0.0);
    double own = 0;
    for (std::size_t i = 0; i < lattice.tokens; ++i) {
      double* const score = &lattice.scores[i * tags_];
      for (const std::uint32_t row : of.features[i]) {
        const double* const weights = &at[row * tags_];
        for (std::size_t y = 0; y < tags_; ++y) score[y] += weights[y];
      }
      own += score[of.tags[i]];
      if (i > 0) own += at[rows_ * tags_ + of.tags[i - 1] * tags_ + of.tags[i]];
    }
    lattice.fill(exponentials);
    std::vector<double> change(tags_);
    for (std::size_t i = 0; i < lattice.tokens; ++i) {
      const double* const forward = &lattice.forward[i * tags_];
      const double* const backward = &lattice.backward[i * tags_];
      double sum = 0;
      for (std::size_t y = 0; y < tags_; ++y) sum += change[y] = forward[y] * backward[y];
      for (double& one : change) one /= sum;
      change[of.tags[i]] -= 1;
      for (const std::uint32_t row : of.features[i]) {
        double* const to = &slope[row * tags_];
        for (std::size_t y = 0; y < tags_; ++y) to[y] += change[y];
      }
      if (i > 0) add_step(of, i, exponentials, lattice, &slope[rows_ * tags_]);
    }
    return lattice.log_sum - own;
  }

  void add_step(const Sentence& of, std::size_t i, std::span<const double> exponentials, const SlotLattice& lattice,
                double* slope) const {
    const double* const before = &lattice.forward[(i - 1) * tags_];
    const double* const emitted = &lattice.emitted[i * tags_];
    const double* const after = &lattice.backward[i * tags_];
    const auto each = [&](auto&& take) {
      for (std::size_t a = 0; a < tags_; ++a) {
        for (std::size_t b = 0; b < tags_; ++b) {
          take(a * tags_ + b, before[a] * exponentials[a * tags_ + b] * emitted[b] * after[b]);
        }
      }
    };
    double sum = 0;
    each([&sum](std::size_t, double value) { sum += value; });
    each([&](std::size_t place, double value) { slope[place] += value / sum; });
    slope[of.tags[i - 1] * tags_ + of.tags[i]] -= 1;
  }

  std::vector<Sentence> sentences_;
  std::size_t rows_;
  std::size_t tags_;
  double penalty_;
  std::size_t threads_;
  std::vector<std::vector<double>> slopes_;  // [kParts]
};

void fit_weights(std::vector<Sentence> sentences, double penalty, const SlotFitSettings& settings, SlotModel& model) {
  model.buckets.clear();
  for (const Sentence& sentence : sentences) {
    for (const auto& token : sentence.features) {
      model.buckets.insert(model.buckets.end(), token.begin(), token.end());
    }
    // Not all at once: they are many.
    constexpr std::size_t kOften = 1U << 22U;
    if (model.buckets.size() < kOften) continue;
    std::ranges::sort(model.buckets);
    const auto repeated = std::ranges::unique(model.buckets);
    model.buckets.erase(repeated.begin(), repeated.end());
  }
  std::ranges::sort(model.buckets);
  const auto repeated = std::ranges::unique(model.buckets);
  model.buckets.erase(repeated.begin(), repeated.end());
  model.place_buckets();
  for (Sentence& sentence : sentences) {
    for (auto& token : sentence.features) {
      for (std::uint32_t& one : token) one = model.places[one];
    }
  }
  const std::size_t tags = model.tags();
  const std::size_t rows = model.buckets.size();
  Likelihood likelihood(std::move(sentences), rows, tags, penalty, settings.threads);
  std::vector<double> at(likelihood.size());
  minimise([&likelihood](std::span<const double> x, std::span<double> slope) { return likelihood(x, slope); }, at,
           {.steps = settings.steps, .memory = 6, .tolerance = 1e-2});
  const auto middle = at.begin() + static_cast<std::ptrdiff_t>(rows * tags);
  model.weights.assign(at.begin(), middle);
  model.steps.assign(middle, at.end());
}

// Letters and digits in lower case: texts alike in these are on one side.
std::uint64_t alike(const SlotExample& of) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : of.text) {
    const bool upper = c >= 'A' && c <= 'Z';
    const bool kept =
        upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (static_cast<unsigned char>(c) > 127);
    if (kept) hash = (hash ^ static_cast<unsigned char>(upper ? c + 32 : c)) * 0x100000001b3ULL;
  }
  return hash;
}

void add(SlotCounts& to, const SlotCounts& from) {
  to.right += from.right;
  to.found += from.found;
  to.wanted += from.wanted;
}

void add(SlotQuality& to, const SlotQuality& from) {
  add(to.spans, from.spans);
  to.by_slot.resize(from.by_slot.size());
  for (std::size_t i = 0; i < from.by_slot.size(); ++i) add(to.by_slot[i], from.by_slot[i]);
  to.texts += from.texts;
  to.right += from.right;
  to.scored.insert(to.scored.end(), from.scored.begin(), from.scored.end());
  to.by_text.insert(to.by_text.end(), from.by_text.begin(), from.by_text.end());
}

SlotQuality cross_validated(const SlotData& data, std::span<const Sentence> sentences, double penalty,
                            const SlotFitSettings& settings) {
  SlotQuality out;
  for (std::size_t fold = 0; fold < kSlotFolds; ++fold) {
    std::vector<Sentence> others;
    std::vector<SlotExample> held;
    for (std::size_t i = 0; i < sentences.size(); ++i) {
      if (statistics::mixed(settings.seed ^ alike(data.examples[i])) % kSlotFolds == fold) {
        held.push_back(data.examples[i]);
      } else {
        others.push_back(sentences[i]);
      }
    }
    SlotModel model;
    model.slots = data.slots;
    fit_weights(std::move(others), penalty, settings, model);
    add(out, measure_slots(model, held));
  }
  return out;
}

}  // namespace

std::span<const double> slot_penalties() {
  return kPenalties;
}

double SlotCounts::f1() const {
  const std::size_t all = found + wanted;
  return all == 0 ? 1 : 2 * static_cast<double>(right) / static_cast<double>(all);
}

bool same_spans(std::span<const SlotSpan> a, std::span<const SlotSpan> b) {
  return std::ranges::equal(a, b, [](const SlotSpan& x, const SlotSpan& y) {
    return x.slot == y.slot && x.begin == y.begin && x.end == y.end;
  });
}

SlotQuality measure_slots(const SlotModel& model, std::span<const SlotExample> examples) {
  SlotQuality out;
  out.by_slot.resize(model.slots.size());
  for (const SlotExample& example : examples) {
    const SlotAnswer answer = find_slots(model, example.text, example.asked);
    SlotCounts counts{0, answer.spans.size(), example.spans.size()};
    for (const SlotSpan& span : example.spans) ++out.by_slot[span.slot].wanted;
    for (const SlotSpan& span : answer.spans) {
      ++out.by_slot[span.slot].found;
      const auto is_it = [&span](const SlotSpan& one) { return same_spans({&span, 1}, {&one, 1}); };
      if (std::ranges::none_of(example.spans, is_it)) continue;
      ++counts.right;
      ++out.by_slot[span.slot].right;
    }
    const bool right = counts.right == counts.found && counts.right == counts.wanted;
    add(out.spans, counts);
    out.by_text.push_back(counts);
    out.scored.push_back({answer.right, right});
    out.right += right ? 1U : 0U;
    ++out.texts;
  }
  return out;
}

Result<SlotFitReport> fit_slots(const SlotData& data, const SlotFitSettings& settings, SlotModel& model) {
  const auto has_span = [](const SlotExample& one) { return !one.spans.empty(); };
  if (data.examples.size() < kFewestSlotExamples || std::ranges::none_of(data.examples, has_span)) {
    return Error(
        ErrorCode::kInvalidData,
        fmt::format("{} texts, {} of them with a span; wanted at least {} texts, and spans in some of them",
                    data.examples.size(), std::ranges::count_if(data.examples, has_span), kFewestSlotExamples));
  }
  std::vector<Sentence> sentences;
  for (const SlotExample& example : data.examples) sentences.push_back(sentence_of(example));
  SlotFitReport report;
  double best = -1;
  for (const double penalty : kPenalties) {
    SlotQuality quality = cross_validated(data, sentences, penalty, settings);
    report.f1.push_back(quality.spans.f1());
    if (report.f1.back() <= best) continue;
    best = report.f1.back();
    report.penalty = penalty;
    report.held_out = std::move(quality);
  }
  model.slots = data.slots;
  fit_weights(std::move(sentences), report.penalty, settings, model);
  return report;
}

}  // namespace shoal::learning
