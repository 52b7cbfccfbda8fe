// KvCache: who holds which cells of the KV cache. It reserves them at admission, so that an answer that began never
// fails for lack of room; it lets sequences share the prefixes that they have in common, also with one that still
// computes; and it keeps what ended answers computed for the next ones, as long as nobody needs the room. What it
// evicts goes to memory outside the cache, up to a limit, and comes back when it is asked for again.
//
//   model shares cells:  a hit copies nothing; kept prefixes are sequences of their own over the same cells
//   streams of cells:    a hit copies; kept prefixes are in memory outside the cache, whole paths of the tree
//   no prefixes:         recurrent and sliding-window models, or by configuration: only the reservation
//
// Owned by the Scheduler. Threads: the compute thread.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "shoal/worker/model.h"
#include "shoal/worker/prefix_tree.h"
#include "shoal/worker/sequence.h"

namespace shoal::worker {

enum class Admission {
  kDone,
  kLater,   // room is being made: ask again after a step
  kNoRoom,  // until another is released
};

class KvCache {
 public:
  // Of one piece that goes out of the cells, and comes back as a whole: touching memory for the first time takes a
  // large part of a step.
  static constexpr std::int32_t kPieceTokens = 256;

  // `cold_limit_bytes`: memory for evicted prefixes; 0: they are forgotten.
  KvCache(Model& model, std::uint64_t cold_limit_bytes);

  // Gives `s` a number and cells for its prompt and its longest answer. Never kNoRoom when none runs. `moves`: tokens
  // that may go out of the cells or come back for it, but for a piece; less those that did, after that.
  [[nodiscard]] Admission admit(Sequence& s, std::int32_t& moves);
  // Takes over what was computed of the rest of the prompt. Returns how many of the next tokens `s` may compute; 0:
  // another sequence computes them at this moment, wait for it. REQUIRES: s.prefilling().
  [[nodiscard]] std::int32_t advance(Sequence& s);
  // The next `count` tokens of `s` are in the cells.
  void computed(Sequence& s, std::int32_t count);
  // Another number with the cells that `s` has; null when there is none to spare, or when cells cannot be in common.
  [[nodiscard]] std::optional<std::int32_t> lend(const Sequence& s);
  void give_back(std::int32_t number);
  // `s` has ended; `keep`: what it computed may begin another answer.
  void release(Sequence& s, bool keep);

  struct Use {
    std::uint32_t cells = 0;       // reserved or kept
    std::uint32_t kept_cells = 0;  // of them: free for who needs them
    std::uint64_t cold_bytes = 0;
    std::uint64_t evictions = 0;        // prefixes that lost their cells, since the start
    std::uint64_t restored_tokens = 0;  // that came back from outside the cache, since the start
  };
  [[nodiscard]] Use use();

 private:
  using Path = std::vector<PrefixNode*>;  // from the root's child to the deepest

  [[nodiscard]] static Path path_of(PrefixNode& deepest);
  static void hold(PrefixNode& node);
  static void let_go(PrefixNode& node);

  // Cells and numbers.
  [[nodiscard]] Admission make_room(std::uint32_t cells, std::size_t numbers);
  [[nodiscard]] std::uint32_t kept_cells();
  [[nodiscard]] bool evict();
  [[nodiscard]] std::int32_t take_number();
  void free_number(std::int32_t number);

  // Where the cells of a node are.
  [[nodiscard]] static bool has_hot_child(const PrefixNode& node);
  [[nodiscard]] static std::int32_t anchor_of(const PrefixNode& node);
  [[nodiscard]] static const KvBlob* blob_below(const PrefixNode& node);
  void make_hot(PrefixNode& node, std::int32_t anchor);
  void drop_anchor(PrefixNode& node);
  [[nodiscard]] bool take(Sequence& s, PrefixNode& node, std::int32_t upto);

  // Outside the cache.
  [[nodiscard]] std::optional<KvBlob> save(std::int32_t number, std::int32_t begin);
  void warm(PrefixNode& node);
  void chill(PrefixNode& node);
  void keep_cold(PrefixNode& node, KvBlob blob);
  void drop_cold(PrefixNode& node);
  void remove_with_children(PrefixNode& node);
  void forget(PrefixNode& leaf);
  void trim_cold();

  [[nodiscard]] Admission find_place(Sequence& s);
  [[nodiscard]] Admission take_place(Sequence& s, PrefixTree::Match match);
  [[nodiscard]] bool forget_cold(PrefixTree::Match match);
  PrefixNode& seat(Sequence& s, PrefixTree::Match match);
  void remember_answer(Sequence& s);
  void trim_unfinished(PrefixNode& deepest);

  Model& model_;
  const ModelShape& shape_;
  const std::uint64_t cold_limit_bytes_;
  PrefixTree tree_;
  std::set<std::int32_t> free_numbers_;
  std::vector<bool> running_;  // by number; the others that are not free belong to the tree
  std::uint32_t cells_ = 0;
  std::uint64_t cold_bytes_ = 0;
  std::int32_t moves_left_ = 0;  // of the admit() that runs
  std::uint64_t uses_ = 0;
  std::uint64_t evictions_ = 0;
  std::uint64_t restored_tokens_ = 0;
};

}  // namespace shoal::worker
