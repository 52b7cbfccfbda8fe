#include "shoal/learning/trees.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <numeric>
#include <utility>

#include "shoal/statistics/random.h"

namespace shoal::learning {
namespace {

constexpr std::size_t kMostBins = 255;

// Each feature of each row as the number of the bin that it falls into, and the borders between the bins.
class Binned {
 public:
  Binned(std::span<const float> rows, std::size_t features)
      : rows_(rows.size() / features), cuts_(features), bins_(features, std::vector<std::uint8_t>(rows_)) {
    std::vector<float> values(rows_);
    for (std::size_t f = 0; f < features; ++f) {
      for (std::size_t i = 0; i < rows_; ++i) values[i] = rows[i * features + f];
      std::vector<float> sorted = values;
      std::ranges::sort(sorted);
      cuts_[f] = cuts_of(sorted);
      for (std::size_t i = 0; i < rows_; ++i) {
        bins_[f][i] = static_cast<std::uint8_t>(std::ranges::lower_bound(cuts_[f], values[i]) - cuts_[f].begin());
      }
    }
  }

  [[nodiscard]] std::size_t rows() const { return rows_; }
  [[nodiscard]] const std::vector<float>& cuts(std::size_t feature) const { return cuts_[feature]; }
  [[nodiscard]] const std::vector<std::uint8_t>& bins(std::size_t feature) const { return bins_[feature]; }

 private:
  static std::vector<float> cuts_of(const std::vector<float>& sorted) {
    std::vector<float> distinct = sorted;
    const auto repeated = std::ranges::unique(distinct);
    distinct.erase(repeated.begin(), repeated.end());
    std::vector<float> out;
    if (distinct.size() <= kMostBins) {
      for (std::size_t i = 0; i + 1 < distinct.size(); ++i) out.push_back((distinct[i] + distinct[i + 1]) / 2);
      return out;
    }
    for (std::size_t b = 1; b < kMostBins; ++b) {
      const float cut = sorted[sorted.size() * b / kMostBins];
      if (out.empty() || cut > out.back()) out.push_back(cut);
    }
    return out;
  }

  std::size_t rows_;
  std::vector<std::vector<float>> cuts_;
  std::vector<std::vector<std::uint8_t>> bins_;
};

struct Split {
  std::size_t feature = 0;
  std::size_t bin = 0;  // up to and with it: to the left
  double gain = 0;      // 0: there is none
};

struct Leaf {
  std::int32_t node = 0;
  std::int32_t depth = 0;
  std::vector<std::uint32_t> rows;
  double sum = 0;  // of the residuals
  Split split;
};

class Grower {
 public:
  Grower(const Binned& data, const TreeOptions& options) : data_(data), options_(options) {}

  // One tree for `residuals`, after `nodes`.
  Tree grow(std::vector<TreeNode>& nodes, std::vector<std::uint32_t> rows, std::span<const std::size_t> features,
            const std::vector<double>& residuals) {
    Tree tree{.root = static_cast<std::int32_t>(nodes.size())};
    nodes.emplace_back();
    std::vector<Leaf> leaves;
    leaves.push_back(leaf(tree.root, 0, std::move(rows), features, residuals));
    while (leaves.size() < static_cast<std::size_t>(options_.leaves)) {
      const auto best = std::ranges::max_element(leaves, {}, [](const Leaf& l) { return l.split.gain; });
      if (!(best->split.gain > 0)) break;
      Leaf parent = std::move(*best);
      const auto left = static_cast<std::int32_t>(nodes.size());
      nodes.resize(nodes.size() + 2);
      nodes[static_cast<std::size_t>(parent.node)] = {.feature = static_cast<std::int32_t>(parent.split.feature),
                                                      .limit = data_.cuts(parent.split.feature)[parent.split.bin],
                                                      .left = left};
      std::vector<std::uint32_t> low;
      std::vector<std::uint32_t> high;
      const std::vector<std::uint8_t>& bins = data_.bins(parent.split.feature);
      for (const std::uint32_t row : parent.rows) (bins[row] <= parent.split.bin ? low : high).push_back(row);
      const std::int32_t depth = parent.depth + 1;
      tree.depth = std::max(tree.depth, depth);
      *best = leaf(left, depth, std::move(low), features, residuals);
      leaves.push_back(leaf(left + 1, depth, std::move(high), features, residuals));
    }
    for (const Leaf& one : leaves) {
      const double value = options_.rate * one.sum / (static_cast<double>(one.rows.size()) + options_.penalty);
      nodes[static_cast<std::size_t>(one.node)] = {
          .limit = std::numeric_limits<float>::infinity(), .left = one.node, .value = static_cast<float>(value)};
    }
    return tree;
  }

 private:
  Leaf leaf(std::int32_t node, std::int32_t depth, std::vector<std::uint32_t> rows,
            std::span<const std::size_t> features, const std::vector<double>& residuals) {
    Leaf out{node, depth, std::move(rows), 0, {}};
    for (const std::uint32_t row : out.rows) out.sum += residuals[row];
    if (out.rows.size() < 2 * options_.least_rows) return out;
    for (const std::size_t feature : features) consider(out, feature, residuals);
    return out;
  }

  void consider(Leaf& leaf, std::size_t feature, const std::vector<double>& residuals) {
    const std::size_t bins = data_.cuts(feature).size() + 1;
    if (bins < 2) return;
    sums_.assign(bins, 0);
    counts_.assign(bins, 0);
    const std::vector<std::uint8_t>& bin = data_.bins(feature);
    for (const std::uint32_t row : leaf.rows) {
      sums_[bin[row]] += residuals[row];
      ++counts_[bin[row]];
    }
    const double l2 = options_.penalty;
    const double whole = leaf.sum * leaf.sum / (static_cast<double>(leaf.rows.size()) + l2);
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t b = 0; b + 1 < bins; ++b) {
      sum += sums_[b];
      count += counts_[b];
      const std::size_t rest = leaf.rows.size() - count;
      if (count < options_.least_rows) continue;
      if (rest < options_.least_rows) break;
      const double other = leaf.sum - sum;
      const double gain =
          sum * sum / (static_cast<double>(count) + l2) + other * other / (static_cast<double>(rest) + l2) - whole;
      if (gain > leaf.split.gain + 1e-12) leaf.split = {feature, b, gain};
    }
  }

  const Binned& data_;
  const TreeOptions& options_;
  std::vector<double> sums_;
  std::vector<std::size_t> counts_;
};

const TreeNode& step(const TreeNode* nodes, const TreeNode& node, const float* features) {
  const bool right = !(features[node.feature] <= node.limit);
  return nodes[node.left + static_cast<std::int32_t>(right)];
}

double leaf_value(const std::vector<TreeNode>& nodes, const Tree& tree, const float* features) {
  const TreeNode* node = &nodes[static_cast<std::size_t>(tree.root)];
  for (std::int32_t d = 0; d < tree.depth; ++d) node = &step(nodes.data(), *node, features);
  return node->value;
}

}  // namespace

// Four trees at a time: each step waits for the one before it, the trees do not wait for each other.
double Trees::predict(std::span<const float> features) const {
  constexpr std::size_t kTogether = 4;
  double sum = base;
  std::size_t t = 0;
  for (; t + kTogether <= trees.size(); t += kTogether) {
    std::array<const TreeNode*, kTogether> at{};
    std::int32_t depth = 0;
    for (std::size_t k = 0; k < kTogether; ++k) {
      at[k] = &nodes[static_cast<std::size_t>(trees[t + k].root)];
      depth = std::max(depth, trees[t + k].depth);
    }
    for (std::int32_t d = 0; d < depth; ++d) {
      for (const TreeNode*& node : at) node = &step(nodes.data(), *node, features.data());
    }
    for (const TreeNode* node : at) sum += node->value;
  }
  for (; t < trees.size(); ++t) sum += leaf_value(nodes, trees[t], features.data());
  return sum;
}

Trees fit_trees(std::span<const float> rows, std::size_t features, std::span<const float> targets,
                const TreeOptions& options) {
  const std::size_t n = targets.size();
  assert(features > 0 && n > 0 && rows.size() == n * features);
  const Binned data(rows, features);
  Trees out;
  out.base = std::accumulate(targets.begin(), targets.end(), 0.0) / static_cast<double>(n);
  std::vector<double> residuals(n);
  for (std::size_t i = 0; i < n; ++i) residuals[i] = targets[i] - out.base;
  statistics::Random random(options.seed);
  Grower grower(data, options);
  const auto some = static_cast<std::size_t>(static_cast<double>(n) * options.row_share);
  const auto few = static_cast<std::size_t>(static_cast<double>(features) * options.feature_share);
  for (int tree = 0; tree < options.trees; ++tree) {
    const std::vector<std::size_t> order = random.permutation(n);
    std::vector<std::uint32_t> drawn(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(some));
    // In the order of memory, and of sums that do not depend on the draw.
    std::ranges::sort(drawn);
    std::vector<std::size_t> chosen = random.permutation(features);
    chosen.resize(std::max<std::size_t>(1, few));
    const Tree grown = grower.grow(out.nodes, std::move(drawn), chosen, residuals);
    out.trees.push_back(grown);
    for (std::size_t i = 0; i < n; ++i) residuals[i] -= leaf_value(out.nodes, grown, rows.data() + i * features);
  }
  return out;
}

}  // namespace shoal::learning
