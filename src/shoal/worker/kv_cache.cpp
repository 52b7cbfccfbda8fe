#include "shoal/worker/kv_cache.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace shoal::worker {

KvCache::KvCache(Model& model, std::uint64_t cold_limit_bytes)
    : model_(model), shape_(model.shape()), cold_limit_bytes_(cold_limit_bytes), running_(shape_.sequence_ids) {
  for (std::int32_t number = 0; number < static_cast<std::int32_t>(shape_.sequence_ids); ++number) {
    if (number != shape_.scratch_id) free_numbers_.insert(number);
  }
}

KvCache::Path KvCache::path_of(PrefixNode& deepest) {
  Path path;
  for (PrefixNode* node = &deepest; !node->is_root(); node = node->parent) path.push_back(node);
  std::ranges::reverse(path);
  return path;
}

void KvCache::hold(PrefixNode& node) {
  for (PrefixNode* at = &node; at != nullptr; at = at->parent) ++at->users;
}

void KvCache::let_go(PrefixNode& node) {
  for (PrefixNode* at = &node; at != nullptr; at = at->parent) --at->users;
}

// --- a sequence from admission to its end

Admission KvCache::admit(Sequence& s, std::int32_t& moves) {
  moves_left_ = moves;
  const Admission admission = find_place(s);
  moves = moves_left_;
  return admission;
}

Admission KvCache::find_place(Sequence& s) {
  const auto prompt = static_cast<std::uint32_t>(s.prompt_tokens);
  s.reserved = static_cast<std::uint32_t>(s.max_tokens + s.more_cells);
  if (!shape_.keeps_prefixes) {
    s.reserved += prompt;
    if (const Admission room = make_room(s.reserved, 1); room != Admission::kDone) return room;
    cells_ += s.reserved;
    s.number = take_number();
    return Admission::kDone;
  }
  for (;;) {
    PrefixTree::Match match = PrefixTree::match(tree_.root(s.principal), std::span(s.tokens).first(prompt));
    // Only what is shared is held: the rest of a span makes way like all that is kept.
    const std::int32_t inside = match.length - match.node->begin;
    if (!match.node->is_root() && inside < match.node->size() && !match.node->cold)
      match.node = &PrefixTree::split(*match.node, inside);
    const Admission place = take_place(s, match);
    if (place == Admission::kDone) return place;
    if (place == Admission::kLater || !forget_cold(match)) {
      tree_.forget_empty_roots();
      return place;
    }
  }
}

// The sequence has its place with kDone only; what was moved for it stays moved.
Admission KvCache::take_place(Sequence& s, PrefixTree::Match match) {
  const auto prompt = static_cast<std::uint32_t>(s.prompt_tokens);
  hold(*match.node);  // what follows may evict, but not this
  // The last token of a prompt that is all there is computed again, for its logits; its cell is given back before
  // an answer needs one.
  if (match.length == s.prompt_tokens && prompt < shape_.sequence_length) s.reserved = std::max(s.reserved, 1U);
  std::uint32_t need = 0;
  Path cold;
  if (!shape_.shares_cells) {
    need = prompt + s.reserved;  // of its own stream, whatever is kept elsewhere
  } else {
    need = prompt - static_cast<std::uint32_t>(match.length) + s.reserved;
    for (PrefixNode* node : path_of(*match.node)) {
      if (!node->cold) continue;
      cold.push_back(node);
      need += static_cast<std::uint32_t>(node->size());
    }
  }
  // One number for what comes back: each span that does takes over from the one before.
  Admission room = make_room(need, cold.empty() ? 1 : 2);
  for (auto node = cold.begin(); room == Admission::kDone && node != cold.end(); ++node) {
    if (moves_left_ <= 0) {
      room = Admission::kLater;
    } else {
      need -= static_cast<std::uint32_t>((*node)->size());
      warm(**node);
    }
  }
  if (room != Admission::kDone) {
    let_go(*match.node);
    return room;
  }
  cells_ += need;
  s.number = take_number();
  s.place = &seat(s, match);
  return Admission::kDone;
}

// A prompt that found no room may do so without what would come back from outside for it: a span of which it wants a
// part, or anything, when nobody runs whose end it could wait for. False: there is nothing like that.
bool KvCache::forget_cold(PrefixTree::Match match) {
  if (!shape_.shares_cells) return false;
  const Path path = path_of(*match.node);
  const auto cold = std::ranges::find_if(path, [](const PrefixNode* node) { return node->cold != nullptr; });
  if (cold == path.end()) return false;
  if (match.node->cold && match.length < match.node->end()) {
    forget(*match.node);
    return true;
  }
  if (std::ranges::find(running_, true) != running_.end()) return false;
  forget(**cold);
  return true;
}

// The node where the prompt ends, made when there is none. The path of `match` is held, and stays so.
PrefixNode& KvCache::seat(Sequence& s, PrefixTree::Match match) {
  PrefixNode* node = match.node;
  if (const std::int32_t inside = match.length - node->begin; !node->is_root() && inside < node->size()) {
    PrefixNode& upper = PrefixTree::split(*node, inside);
    --node->users;  // this sequence goes another way
    node = &upper;
  }
  const auto rest = std::span(s.tokens).subspan(static_cast<std::size_t>(match.length),
                                                static_cast<std::size_t>(s.prompt_tokens - match.length));
  if (!rest.empty()) {
    node = &PrefixTree::add(*node, rest);
    node->users = 1;
  }
  ++uses_;
  for (PrefixNode* on_path : path_of(*node)) on_path->last_use = uses_;
  return *node;
}

std::int32_t KvCache::advance(Sequence& s) {
  const std::int32_t last = s.prompt_tokens - 1;
  if (!shape_.keeps_prefixes) return s.prompt_tokens - s.stored;
  const Path path = path_of(*s.place);
  for (std::size_t i = 0;;) {
    if (s.stored == last) return 1;  // always: its logits are wanted
    while (path[i]->end() <= s.stored) ++i;
    PrefixNode& node = *path[i];
    if (node.stored_end() > s.stored) {
      const std::int32_t upto = std::min(node.stored_end(), last);
      if (const std::int32_t before = s.stored; take(s, node, upto)) {
        s.cached += upto - before;
        s.stored = upto;
      } else {
        node.stored = std::max(0, s.stored - node.begin);  // it is gone; what `s` has of it is there
        if (node.stored > 0) make_hot(node, s.number);
        i = 0;
      }
      continue;
    }
    if (node.builder >= 0 && node.builder != s.number) return 0;
    std::int32_t end = s.stored;
    for (std::size_t j = i; j < path.size(); ++j) {
      PrefixNode& mine = *path[j];
      if (mine.stored_end() > end || (mine.builder >= 0 && mine.builder != s.number)) break;
      mine.builder = s.number;
      end = mine.end();
    }
    return end - s.stored;
  }
}

bool KvCache::take(Sequence& s, PrefixNode& node, std::int32_t upto) {
  if (node.hot) return model_.share(anchor_of(node), s.number, s.stored, upto);
  const KvBlob* blob = blob_below(node);
  if (blob == nullptr || blob->end < upto) return false;
  if (!model_.shorten(s.number, 0) || !model_.restore(s.number, *blob)) {
    s.stored = s.cached = 0;
    return false;
  }
  restored_tokens_ += static_cast<std::uint64_t>(upto - s.stored);
  return model_.shorten(s.number, upto);
}

void KvCache::computed(Sequence& s, std::int32_t count) {
  const std::int32_t begin = s.stored;
  s.stored += count;
  if (!shape_.keeps_prefixes || begin >= s.prompt_tokens) return;
  for (PrefixNode* node : path_of(*s.place)) {
    const std::int32_t from = std::max(begin, node->begin);
    const std::int32_t to = std::min(s.stored, node->end());
    if (from >= to) continue;
    if (node->stored_end() == from) {
      node->stored += to - from;
      make_hot(*node, s.number);
      if (node->complete()) node->builder = -1;
    } else if (shape_.shares_cells && node->hot && node->stored_end() >= to) {
      (void)model_.share(anchor_of(*node), s.number, from, to);  // gives the second cell of this position back
    }
  }
}

std::optional<std::int32_t> KvCache::lend(const Sequence& s) {
  if (!shape_.shares_cells || free_numbers_.empty()) return std::nullopt;
  const std::int32_t number = take_number();
  if (model_.share(s.number, number, 0, s.stored)) return number;
  give_back(number);
  return std::nullopt;
}

void KvCache::give_back(std::int32_t number) {
  running_[static_cast<std::size_t>(number)] = false;
  free_number(number);
}

void KvCache::release(Sequence& s, bool keep) {
  const std::int32_t number = s.number;
  if (!shape_.keeps_prefixes) {
    cells_ -= s.reserved;
    running_[static_cast<std::size_t>(number)] = false;
    return free_number(number);
  }
  cells_ -= s.reserved + (shape_.shares_cells ? 0 : static_cast<std::uint32_t>(s.prompt_tokens));
  for (PrefixNode* node : path_of(*s.place)) {
    if (node->builder == number) node->builder = -1;
  }
  if (keep) remember_answer(s);
  let_go(*s.place);
  trim_unfinished(*s.place);
  s.place = nullptr;
  running_[static_cast<std::size_t>(number)] = false;
  PrefixNode* anchored = nullptr;
  tree_.each([&](PrefixNode& node) {
    if (node.anchor == number) anchored = &node;
  });
  if (anchored != nullptr && shape_.shares_cells) {
    (void)model_.shorten(number, anchored->stored_end());  // now the tree's
  } else {
    if (anchored != nullptr) chill(*anchored);
    free_number(number);
  }
  tree_.forget_empty_roots();
}

// The answer becomes a leaf below the prompt: the next turn of a conversation begins with both.
void KvCache::remember_answer(Sequence& s) {
  PrefixNode* node = s.place;
  std::int32_t at = s.prompt_tokens;
  while (at < s.stored) {
    const auto rest =
        std::span(s.tokens).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(s.stored - at));
    const auto found = node->children.find(rest.front());
    if (found == node->children.end()) {
      PrefixNode& leaf = PrefixTree::add(*node, rest);
      leaf.stored = leaf.size();
      leaf.last_use = uses_;
      if (shape_.shares_cells) cells_ += static_cast<std::uint32_t>(leaf.size());
      return make_hot(leaf, s.number);
    }
    PrefixNode& child = *found->second;
    if (!child.complete() || (shape_.shares_cells && !child.hot)) return;
    const auto same = static_cast<std::int32_t>(std::ranges::mismatch(child.tokens, rest).in1 - child.tokens.begin());
    if (shape_.shares_cells && !model_.share(anchor_of(child), s.number, at, at + same)) return;
    at += same;
    if (at == s.stored) return;
    node = same < child.size() ? &PrefixTree::split(child, same) : &child;
  }
}

// Spans that nobody computes any more end where they were left.
void KvCache::trim_unfinished(PrefixNode& deepest) {
  for (PrefixNode* node = &deepest; !node->is_root() && node->users == 0 && !node->complete();) {
    if (shape_.shares_cells) cells_ -= static_cast<std::uint32_t>(node->size() - node->stored);
    node->tokens.resize(static_cast<std::size_t>(node->stored));
    if (node->stored > 0) return;
    PrefixNode* parent = node->parent;
    std::erase_if(parent->children, [node](const auto& entry) { return entry.second.get() == node; });
    node = parent;
  }
}

// --- cells and numbers

Admission KvCache::make_room(std::uint32_t cells, std::size_t numbers) {
  const auto enough = [&](std::uint32_t used) { return !shape_.one_cache || used + cells <= shape_.context_length; };
  if (enough(cells_) && free_numbers_.size() >= numbers) return Admission::kDone;
  if (!shape_.keeps_prefixes || !shape_.shares_cells) return Admission::kNoRoom;
  if (!enough(cells_ - kept_cells())) return Admission::kNoRoom;  // do not evict in vain
  while (!enough(cells_) || free_numbers_.size() < numbers) {
    if (moves_left_ <= 0) return Admission::kLater;
    if (!evict()) return Admission::kNoRoom;
  }
  return Admission::kDone;
}

std::uint32_t KvCache::kept_cells() {
  std::uint32_t kept = 0;
  tree_.each([&kept](const PrefixNode& node) {
    if (node.users == 0 && node.hot) kept += static_cast<std::uint32_t>(node.size());
  });
  return kept;
}

// The leaf that was not used for the longest time gives its cells back, a long one those of its end.
bool KvCache::evict() {
  PrefixNode* victim = nullptr;
  tree_.each([&victim](PrefixNode& node) {
    const bool leaf = node.users == 0 && node.hot && !has_hot_child(node);
    if (leaf && (victim == nullptr || node.last_use < victim->last_use)) victim = &node;
  });
  if (victim == nullptr) return false;
  if (cold_limit_bytes_ > 0) {
    const std::int32_t piece = std::min(kPieceTokens, moves_left_);
    if (victim->size() > piece) PrefixTree::split(*victim, victim->size() - piece);
    moves_left_ -= victim->size();
  }
  ++evictions_;
  const std::int32_t number = std::exchange(victim->anchor, -1);
  std::optional<KvBlob> blob = save(number, victim->begin);
  victim->hot = false;
  cells_ -= static_cast<std::uint32_t>(victim->size());
  PrefixNode& parent = *victim->parent;
  if (!parent.is_root() && parent.hot && parent.anchor < 0 && !has_hot_child(parent)) {
    parent.anchor = number;
    (void)model_.shorten(number, parent.stored_end());
  } else {
    free_number(number);
  }
  if (!blob) {
    forget(*victim);
  } else {
    keep_cold(*victim, std::move(*blob));
  }
  return true;
}

// The lowest: streams that lie side by side are computed together.
std::int32_t KvCache::take_number() {
  assert(!free_numbers_.empty());
  const std::int32_t number = *free_numbers_.begin();
  free_numbers_.erase(free_numbers_.begin());
  running_[static_cast<std::size_t>(number)] = true;
  return number;
}

void KvCache::free_number(std::int32_t number) {
  (void)model_.shorten(number, 0);
  free_numbers_.insert(number);
}

// --- where the cells of a node are

bool KvCache::has_hot_child(const PrefixNode& node) {
  return std::ranges::any_of(node.children, [](const auto& entry) { return entry.second->hot; });
}

std::int32_t KvCache::anchor_of(const PrefixNode& node) {
  const PrefixNode* at = &node;
  while (at->anchor < 0) {
    const auto child = std::ranges::find_if(at->children, [](const auto& entry) { return entry.second->hot; });
    assert(child != at->children.end());
    at = child->second.get();
  }
  return at->anchor;
}

const KvBlob* KvCache::blob_below(const PrefixNode& node) {
  if (node.cold) return node.cold.get();
  for (const auto& [token, child] : node.children) {
    if (const KvBlob* blob = blob_below(*child)) return blob;
  }
  return nullptr;
}

// `anchor` holds all of the path to where `node` is stored. What its ancestors had for an anchor is not needed.
void KvCache::make_hot(PrefixNode& node, std::int32_t anchor) {
  if (node.cold) drop_cold(node);
  if (node.anchor != anchor) drop_anchor(node);
  node.hot = true;
  node.anchor = anchor;
  for (PrefixNode* at = node.parent; !at->is_root(); at = at->parent) {
    drop_anchor(*at);
    at->hot = true;
  }
}

void KvCache::drop_anchor(PrefixNode& node) {
  const std::int32_t number = std::exchange(node.anchor, -1);
  if (number >= 0 && !running_[static_cast<std::size_t>(number)]) free_number(number);
}

// --- outside the cache

// Nothing when there is no room for it.
std::optional<KvBlob> KvCache::save(std::int32_t number, std::int32_t begin) {
  if (cold_limit_bytes_ == 0) return std::nullopt;
  auto blob = model_.save(number, begin);
  return blob && blob->bytes.size() <= cold_limit_bytes_ ? std::move(blob) : std::nullopt;
}

// Back into cells, for which there is room. Where that fails, this span and those below are computed again: none of
// them counts as moved, so all of them get their cells now.
void KvCache::warm(PrefixNode& node) {
  const KvBlob blob = std::move(*node.cold);
  drop_cold(node);
  cells_ += static_cast<std::uint32_t>(node.size());
  const PrefixNode& parent = *node.parent;
  const bool whole = parent.is_root() || (parent.hot && parent.complete());
  const std::int32_t number = take_number();
  running_[static_cast<std::size_t>(number)] = false;
  if (whole && (parent.is_root() || model_.share(anchor_of(parent), number, 0, node.begin)) &&
      model_.restore(number, blob)) {
    moves_left_ -= node.size();
    restored_tokens_ += static_cast<std::uint64_t>(node.size());
    node.last_use = ++uses_;
    return make_hot(node, number);
  }
  node.stored = 0;
  free_number(number);
}

// A stream is needed for another sequence: its path goes outside.
void KvCache::chill(PrefixNode& node) {
  const std::int32_t number = std::exchange(node.anchor, -1);
  (void)model_.shorten(number, node.stored_end());
  std::optional<KvBlob> blob = save(number, 0);
  node.hot = false;
  for (PrefixNode* at = node.parent; !at->is_root(); at = at->parent) {
    at->hot = at->anchor >= 0 || has_hot_child(*at);
    if (blob && at->cold) drop_cold(*at);  // the path is in this one too
  }
  if (blob) {
    keep_cold(node, std::move(*blob));
  } else if (node.users == 0 && node.children.empty()) {
    forget(node);
  }
}

void KvCache::keep_cold(PrefixNode& node, KvBlob blob) {
  cold_bytes_ += blob.bytes.size();
  node.cold = std::make_unique<KvBlob>(std::move(blob));
  trim_cold();
}

void KvCache::drop_cold(PrefixNode& node) {
  cold_bytes_ -= node.cold->bytes.size();
  node.cold.reset();
}

void KvCache::remove_with_children(PrefixNode& node) {
  while (!node.children.empty()) remove_with_children(*node.children.begin()->second);
  if (node.cold) drop_cold(node);
  PrefixTree::remove(node);
}

// Also the parents whose path was only in what is gone.
void KvCache::forget(PrefixNode& leaf) {
  PrefixNode* parent = leaf.parent;
  remove_with_children(leaf);
  while (!parent->is_root() && parent->users == 0 && !parent->hot && !parent->cold && parent->children.empty()) {
    PrefixNode& useless = *parent;
    parent = parent->parent;
    PrefixTree::remove(useless);
  }
}

void KvCache::trim_cold() {
  while (cold_bytes_ > cold_limit_bytes_) {
    PrefixNode* oldest = nullptr;
    tree_.each([&oldest](PrefixNode& node) {
      const bool leaf = node.cold && node.users == 0 && node.children.empty();
      if (leaf && (oldest == nullptr || node.last_use < oldest->last_use)) oldest = &node;
    });
    if (oldest == nullptr) return;
    forget(*oldest);
  }
}

KvCache::Use KvCache::use() {
  return {cells_, shape_.shares_cells ? kept_cells() : 0, cold_bytes_, evictions_, restored_tokens_};
}

}  // namespace shoal::worker
