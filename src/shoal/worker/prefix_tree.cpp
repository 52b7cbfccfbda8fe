#include "shoal/worker/prefix_tree.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace shoal::worker {
namespace {

void visit_below(PrefixNode& node, const std::function<void(PrefixNode&)>& visit) {
  for (auto at = node.children.begin(); at != node.children.end();) {
    PrefixNode& child = *(at++)->second;  // the visitor may remove it
    visit_below(child, visit);
    visit(child);
  }
}

std::size_t count_below(const PrefixNode& node) {
  std::size_t count = node.children.size();
  for (const auto& [token, child] : node.children) count += count_below(*child);
  return count;
}

}  // namespace

PrefixNode& PrefixTree::root(std::uint64_t salt) {
  auto& place = roots_[salt];
  if (!place) place = std::make_unique<PrefixNode>();
  return *place;
}

PrefixTree::Match PrefixTree::match(PrefixNode& root, std::span<const std::int32_t> tokens) {
  Match match{&root, 0};
  while (static_cast<std::size_t>(match.length) < tokens.size()) {
    const auto rest = tokens.subspan(static_cast<std::size_t>(match.length));
    const auto child = match.node->children.find(rest.front());
    if (child == match.node->children.end()) break;
    const auto& span = child->second->tokens;
    const auto same = std::ranges::mismatch(span, rest).in1 - span.begin();
    match.node = child->second.get();
    match.length += static_cast<std::int32_t>(same);
    if (static_cast<std::size_t>(same) < span.size()) break;
  }
  return match;
}

PrefixNode& PrefixTree::add(PrefixNode& parent, std::span<const std::int32_t> tokens) {
  auto node = std::make_unique<PrefixNode>();
  node->parent = &parent;
  node->begin = parent.end();
  node->tokens.assign(tokens.begin(), tokens.end());
  PrefixNode& added = *node;
  const bool fresh = parent.children.emplace(tokens.front(), std::move(node)).second;
  assert(fresh);
  return added;
}

PrefixNode& PrefixTree::split(PrefixNode& node, std::int32_t size) {
  assert(size > 0 && size < node.size());
  auto upper = std::make_unique<PrefixNode>();
  upper->parent = node.parent;
  upper->begin = node.begin;
  upper->tokens.assign(node.tokens.begin(), node.tokens.begin() + size);
  upper->stored = std::min(node.stored, size);
  upper->builder = upper->complete() ? -1 : node.builder;
  upper->users = node.users;
  upper->last_use = node.last_use;
  node.begin += size;
  node.tokens.erase(node.tokens.begin(), node.tokens.begin() + size);
  node.stored -= upper->stored;
  upper->hot = node.hot;
  if (node.stored == 0 && node.hot) {  // all that was stored is in the upper part now
    node.hot = false;
    upper->anchor = std::exchange(node.anchor, -1);
  }
  auto& place = node.parent->children.at(upper->tokens.front());
  std::unique_ptr<PrefixNode> lower = std::exchange(place, std::move(upper));
  PrefixNode& result = *place;
  lower->parent = &result;
  const std::int32_t first = lower->tokens.front();
  result.children.emplace(first, std::move(lower));
  return result;
}

void PrefixTree::remove(PrefixNode& node) {
  assert(!node.is_root() && node.children.empty());
  node.parent->children.erase(node.tokens.front());
}

void PrefixTree::forget_empty_roots() {
  std::erase_if(roots_, [](const auto& entry) { return entry.second->children.empty() && entry.second->users == 0; });
}

void PrefixTree::each(const std::function<void(PrefixNode&)>& visit) {
  for (const auto& [salt, root] : roots_) visit_below(*root, visit);
}

std::size_t PrefixTree::nodes() const {
  std::size_t count = 0;
  for (const auto& [salt, root] : roots_) count += count_below(*root);
  return count;
}

}  // namespace shoal::worker
