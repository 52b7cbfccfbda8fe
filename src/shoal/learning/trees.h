// Gradient-boosted regression trees on few dense features, for squared error: each tree is grown leaf by leaf on what
// the ones before it leave, over a drawn part of the rows and of the features (Friedman 2002, "Stochastic gradient
// boosting"), with splits at the borders of at most 255 bins. Same rows, options and seed: same trees, bit for bit.
// A Trees is immutable once made. Threads: any; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace shoal::learning {

// A leaf leads to itself, so that every tree can be walked a fixed number of steps, without asking where it ends.
struct TreeNode {
  std::int32_t feature = 0;
  float limit = 0;        // at most this: to `left`, else to the node after it; of a leaf: infinity
  std::int32_t left = 0;  // index into the nodes of all trees; of a leaf: its own
  float value = 0;        // of a leaf
};

struct Tree {
  std::int32_t root = 0;
  std::int32_t depth = 0;  // steps from the root to the farthest leaf
};

struct Trees {
  double base = 0;
  std::vector<TreeNode> nodes;
  std::vector<Tree> trees;

  // REQUIRES: as many features as it was fitted on, none of them NaN.
  [[nodiscard]] double predict(std::span<const float> features) const;
};

struct TreeOptions {
  int trees = 100;
  int leaves = 15;
  double rate = 0.06;
  std::size_t least_rows = 40;  // in a leaf
  double row_share = 0.7;
  double feature_share = 0.5;
  double penalty = 10;  // L2, on the values of leaves
  std::uint64_t seed = 1;
};

// `rows`: one after the other, `features` numbers each. REQUIRES: as many targets as rows, at least one.
[[nodiscard]] Trees fit_trees(std::span<const float> rows, std::size_t features, std::span<const float> targets,
                              const TreeOptions& options);

}  // namespace shoal::learning
