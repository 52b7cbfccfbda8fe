#include "shoal/worker/label_job.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace shoal::worker {

LabelJob::LabelJob(std::vector<std::vector<std::int32_t>> labels) {
  for (auto& tokens : labels) {
    assert(!tokens.empty());
    labels_.push_back({std::move(tokens), {}});
  }
}

std::uint32_t LabelJob::longest_cells() const {
  std::size_t most = 0;
  for (const types::LabelLogprobs& label : labels_) most = std::max(most, cells_of(label));
  return static_cast<std::uint32_t>(most);
}

std::uint32_t LabelJob::all_cells() const {
  return static_cast<std::uint32_t>(label_tokens()) - static_cast<std::uint32_t>(labels_.size());
}

std::int32_t LabelJob::label_tokens() const {
  std::size_t tokens = 0;
  for (const types::LabelLogprobs& label : labels_) tokens += label.tokens.size();
  return static_cast<std::int32_t>(tokens);
}

void LabelJob::begin(std::span<const float> row, const RowSignals& signals, std::int32_t prompt_tokens) {
  for (types::LabelLogprobs& label : labels_) {
    label.logprobs.push_back(signals.logprob(row[static_cast<std::size_t>(label.tokens.front())]));
  }
  prompt_tokens_ = prompt_tokens;
  begun_ = true;
}

// The next label that has more than one token.
std::size_t LabelJob::next_label() const {
  std::size_t label = next_;
  while (label < labels_.size() && cells_of(labels_[label]) == 0) ++label;
  return label;
}

void LabelJob::add_branch(std::int32_t number) {
  branches_.push_back({number, kNone, 0, false});
}

std::size_t LabelJob::waiting() const {
  const auto from = labels_.begin() + static_cast<std::ptrdiff_t>(next_);
  return static_cast<std::size_t>(
      std::count_if(from, labels_.end(), [](const auto& label) { return cells_of(label) > 0; }));
}

void LabelJob::plan(std::size_t room, std::uint32_t cells, std::vector<BatchToken>& batch) {
  std::size_t used = 0;
  for (const Branch& branch : branches_) used += branch.label == kNone ? 0 : cells_of(labels_[branch.label]);
  for (Branch& branch : branches_) {
    if (branch.label == kNone) {
      const std::size_t next = next_label();
      if (room == 0 || next == labels_.size() || used + cells_of(labels_[next]) > cells) continue;
      branch.label = next;
      branch.computed = 0;
      next_ = next + 1;
      used += cells_of(labels_[next]);
      ++branches_open_;
    }
    const std::vector<std::int32_t>& tokens = labels_[branch.label].tokens;
    const std::size_t end = std::min(tokens.size() - 1, branch.computed + room);
    for (std::size_t i = branch.computed; i < end; ++i, --room) {
      batch.push_back({tokens[i], prompt_tokens_ + static_cast<std::int32_t>(i), branch.number, true});
    }
  }
}

void LabelJob::take(const BatchToken& token, std::span<const float> row, const RowSignals& signals) {
  const auto branch = std::ranges::find(branches_, token.sequence, &Branch::number);
  assert(branch != branches_.end() && branch->label != kNone);
  types::LabelLogprobs& label = labels_[branch->label];
  assert(token.position - prompt_tokens_ == static_cast<std::int32_t>(branch->computed));
  const std::int32_t next = label.tokens[++branch->computed];
  label.logprobs.push_back(signals.logprob(row[static_cast<std::size_t>(next)]));
  if (branch->computed < cells_of(label)) return;
  branch->label = kNone;
  branch->stale = true;
  --branches_open_;
}

std::vector<std::int32_t> LabelJob::finished_branches() {
  std::vector<std::int32_t> finished;
  for (Branch& branch : branches_) {
    if (std::exchange(branch.stale, false)) finished.push_back(branch.number);
  }
  return finished;
}

std::vector<LabelJob::Rewind> LabelJob::rewinds() const {
  std::vector<Rewind> all;
  for (const Branch& branch : branches_) {
    const auto kept = branch.label == kNone ? 0 : static_cast<std::int32_t>(branch.computed);
    all.push_back({branch.number, prompt_tokens_ + kept});
  }
  return all;
}

std::vector<std::int32_t> LabelJob::numbers() const {
  std::vector<std::int32_t> all;
  for (const Branch& branch : branches_) all.push_back(branch.number);
  return all;
}

}  // namespace shoal::worker
