// PrefixTree: which token prefixes were computed, as a radix tree over token ids with one root per salt. It knows
// the tokens and their structure; KvCache decides what is kept where. No text is looked at, and a prompt of one
// principal never meets a node of another.
// Owned by KvCache. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "shoal/worker/model.h"

namespace shoal::worker {

struct PrefixNode {
  PrefixNode* parent = nullptr;
  std::map<std::int32_t, std::unique_ptr<PrefixNode>> children;  // by the first token of their spans
  std::int32_t begin = 0;                                        // position of the first token of the span
  std::vector<std::int32_t> tokens;                              // the span; empty at a root

  std::int32_t stored = 0;     // tokens of the span that were computed: in cells, or in a blob
  bool hot = false;            // they are in KV cells
  std::int32_t anchor = -1;    // the sequence whose cells reach to the end of `stored`; set where no child is hot
  std::int32_t builder = -1;   // the running sequence that computes the rest of the span
  std::uint32_t users = 0;     // running sequences that hold this node or one below
  std::uint64_t last_use = 0;  // a counter, not a time
  std::unique_ptr<KvBlob> cold;

  [[nodiscard]] std::int32_t size() const { return static_cast<std::int32_t>(tokens.size()); }
  [[nodiscard]] std::int32_t end() const { return begin + size(); }
  [[nodiscard]] std::int32_t stored_end() const { return begin + stored; }
  [[nodiscard]] bool complete() const { return stored == size(); }
  [[nodiscard]] bool is_root() const { return parent == nullptr; }
};

class PrefixTree {
 public:
  struct Match {
    PrefixNode* node = nullptr;  // the deepest that shares a token with the prompt; the root when none does
    std::int32_t length = 0;     // tokens that are the same, from the first one
  };

  // The tree of this salt; made when it is new.
  [[nodiscard]] PrefixNode& root(std::uint64_t salt);
  [[nodiscard]] static Match match(PrefixNode& root, std::span<const std::int32_t> tokens);
  // A new leaf with these tokens. REQUIRES: `parent` has no child that begins with the first of them.
  static PrefixNode& add(PrefixNode& parent, std::span<const std::int32_t> tokens);
  // Cuts the span in two: a new node has its first `size` tokens and becomes the parent of `node`, which keeps its
  // children, its blob and its address. Returns the new node. REQUIRES: 0 < size < node.size().
  static PrefixNode& split(PrefixNode& node, std::int32_t size);
  // REQUIRES: not a root, no children.
  static void remove(PrefixNode& node);
  // Roots of salts that have nothing any more.
  void forget_empty_roots();

  // Every node but the roots, children before their parents. `visit` may remove the node that it was given.
  void each(const std::function<void(PrefixNode&)>& visit);
  [[nodiscard]] std::size_t nodes() const;

 private:
  std::map<std::uint64_t, std::unique_ptr<PrefixNode>> roots_;
};

}  // namespace shoal::worker
