#include "shoal/learning/class_model.h"

#include <algorithm>
#include <cassert>
#include <cmath>

namespace shoal::learning {
namespace {

struct Two {
  double first = -HUGE_VAL;
  double second = -HUGE_VAL;
  std::size_t place = 0;
};

Two largest_two(std::span<const float> values) {
  Two out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    if (value > out.first) {
      out.second = out.first;
      out.first = value;
      out.place = i;
    } else if (value > out.second) {
      out.second = value;
    }
  }
  return out;
}

double negative_entropy(std::span<const float> probabilities, std::span<const float> logarithms) {
  double sum = 0;
  for (std::size_t i = 0; i < logarithms.size(); ++i) {
    sum += static_cast<double>(probabilities[i]) * static_cast<double>(logarithms[i]);
  }
  return sum;
}

void scale_into(std::vector<float>& out, std::span<const float> from, double by) {
  out.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) out[i] = static_cast<float>(by * static_cast<double>(from[i]));
}

// Where in `quantiles`, which rise, the value stands: 0 below all, 1 above all.
double rank_in(const std::vector<double>& quantiles, double value) {
  if (quantiles.empty()) return 1;
  const auto above = std::ranges::upper_bound(quantiles, value);
  return static_cast<double>(above - quantiles.begin()) / static_cast<double>(quantiles.size());
}

// Of signals_of(), those that rise with how ordinary a text looks; the sign of each.
struct Ordinary {
  std::size_t signal;
  double sign;
};
constexpr std::array<Ordinary, 2> kOrdinaryHashed = {{{0, 1}, {3, 1}}};
constexpr std::array<Ordinary, 4> kOrdinaryFused = {{{6, 1}, {7, 1}, {11, -1}, {13, 1}}};

std::span<const Ordinary> ordinary_of(const ClassSignals& signals) {
  return signals.count == kHashedSignals ? std::span<const Ordinary>(kOrdinaryHashed)
                                         : std::span<const Ordinary>(kOrdinaryFused);
}

}  // namespace

bool same_embedder(const Embedder& a, const Embedder& b) {
  if (a.name != b.name || a.width != b.width || a.bytes != b.bytes) return false;
  return a.sha256.empty() || b.sha256.empty() || a.sha256 == b.sha256;
}

std::string_view embedded_part(std::string_view text) {
  constexpr std::size_t kMostBytes = 1000;
  if (text.size() <= kMostBytes) return text;
  text.remove_prefix(text.size() - kMostBytes);
  while (!text.empty() && (static_cast<unsigned char>(text.front()) & 0xc0U) == 0x80U) text.remove_prefix(1);
  return text;
}

ClassSignals signals_of(const LogProbabilities& of, const Neighbours::Distances* distances) {
  const Two fused = largest_two(of.fused);
  const Two logits = largest_two(of.hashed_logits);
  ClassSignals out;
  auto add = [&out](double value) { out.values[out.count++] = value; };
  add(fused.first);
  add(std::log(-std::expm1(std::min(fused.first, -1e-6))));
  add(fused.first - fused.second);
  add(logits.first);
  add(logits.first - logits.second);
  add(negative_entropy(of.fused_probabilities, of.fused));
  if (distances == nullptr) return out;
  const Two hashed = largest_two(of.hashed);
  const Two probe = largest_two(of.probe);
  add(hashed.first);
  add(probe.first);
  add(fused.place == hashed.place ? 1 : 0);
  add(fused.place == probe.place ? 1 : 0);
  add(static_cast<double>(of.fused[hashed.place]));
  for (const double distance : *distances) add(distance);
  assert(out.count == kFusedSignals);
  return out;
}

double ordinary_score(const ClassHead& head, const ClassSignals& signals) {
  double sum = 0;
  for (const auto& [signal, sign] : ordinary_of(signals)) {
    const double z = (signals.values[signal] - head.ordinary_means[signal]) * head.ordinary_scales[signal];
    sum += sign * z;
  }
  return sum;
}

ClassAnswer ClassScorer::classify(const ClassModel& model, std::string_view text, std::span<const float> embedding) {
  const ClassParts& parts = model.parts;
  const bool fused = !embedding.empty() && parts.probe.has_value();
  const ClassHead& head = fused ? model.fused_head : model.hashed_head;
  hashed_logits_.resize(model.labels.size());
  parts.hashed.logits(features_.read(text, parts.columns), hashed_logits_);
  scale_into(fused_, hashed_logits_, head.of_hashed);
  LogProbabilities of;
  of.hashed_logits = hashed_logits_;
  Neighbours::Distances distances{};
  if (fused) {
    probe_.resize(model.labels.size());
    parts.probe->logits(embedding, probe_);
    for (std::size_t i = 0; i < probe_.size(); ++i) {
      probe_[i] = static_cast<float>(head.of_probe * static_cast<double>(probe_[i]));
      fused_[i] += probe_[i];
    }
    to_log_probabilities(probe_);
    hashed_ = hashed_logits_;
    to_log_probabilities(hashed_);
    distances = parts.neighbours->measure(embedding, scratch_);
    of.hashed = hashed_;
    of.probe = probe_;
  }
  probabilities_.resize(fused_.size());
  to_log_probabilities(fused_, probabilities_);
  of.fused = fused_;
  of.fused_probabilities = probabilities_;
  const ClassSignals signals = signals_of(of, fused ? &distances : nullptr);
  ClassAnswer out;
  out.best = largest_two(fused_).place;
  out.right = head.right.probability(signals.all());
  out.outside = head.outside ? 1 / (1 + std::exp(-head.outside->score(signals.all())))
                             : 1 - rank_in(head.ordinary_quantiles, ordinary_score(head, signals));
  out.score = head.outside ? out.right * (1 - out.outside) : out.right;
  out.fused = fused;
  out.probabilities = probabilities_;
  return out;
}

}  // namespace shoal::learning
