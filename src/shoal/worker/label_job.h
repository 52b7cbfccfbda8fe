// LabelJob: the labels of a Score request after their prompt was computed. Each label is a branch: a sequence of the KV
// cache that has the prompt's cells and then its own, up to the last token but one, whose row gives the last
// probability. The first tokens of all labels come from the prompt's last row, so labels of one token cost nothing.
// Plain state; the scheduler plans and computes its tokens. Owned by a Sequence. Threads: the compute thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shoal/types/completion.h"
#include "shoal/worker/model.h"
#include "shoal/worker/signals.h"

namespace shoal::worker {

class LabelJob {
 public:
  // REQUIRES: no label is empty.
  explicit LabelJob(std::vector<std::vector<std::int32_t>> labels);

  // Cells that the longest label needs, and all of them together.
  [[nodiscard]] std::uint32_t longest_cells() const;
  [[nodiscard]] std::uint32_t all_cells() const;

  // The row after the prompt: the probabilities of all first tokens. From here on the job computes labels.
  void begin(std::span<const float> row, const RowSignals& signals, std::int32_t prompt_tokens);
  [[nodiscard]] bool begun() const { return begun_; }
  [[nodiscard]] bool done() const { return begun_ && branches_open_ == 0 && next_label() == labels_.size(); }

  // A sequence of the KV cache that holds the prompt and nothing more, for labels one after the other.
  void add_branch(std::int32_t number);
  // How many labels wait for a branch.
  [[nodiscard]] std::size_t waiting() const;
  // Appends at most `room` tokens, all of which want logits; `cells`: that labels may have at the same time.
  void plan(std::size_t room, std::uint32_t cells, std::vector<BatchToken>& batch);
  // The row of a token that plan() appended, in the same order.
  void take(const BatchToken& token, std::span<const float> row, const RowSignals& signals);
  // Branches whose label is complete: their cells after the prompt are to be dropped.
  [[nodiscard]] std::vector<std::int32_t> finished_branches();
  struct Rewind {
    std::int32_t number = 0;
    std::int32_t length = 0;
  };
  // After a step that was interrupted: what each branch may keep; the rest is planned again.
  [[nodiscard]] std::vector<Rewind> rewinds() const;
  [[nodiscard]] std::vector<std::int32_t> numbers() const;

  [[nodiscard]] std::vector<types::LabelLogprobs> take_result() { return std::move(labels_); }
  [[nodiscard]] std::int32_t label_tokens() const;

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  struct Branch {
    std::int32_t number = 0;
    std::size_t label = kNone;
    std::size_t computed = 0;  // tokens of the label in its cells
    bool stale = false;        // the cells of the label before are still there
  };

  [[nodiscard]] std::size_t next_label() const;
  [[nodiscard]] static std::size_t cells_of(const types::LabelLogprobs& label) { return label.tokens.size() - 1; }

  std::vector<types::LabelLogprobs> labels_;
  std::vector<Branch> branches_;
  std::size_t branches_open_ = 0;
  std::size_t next_ = 0;  // the first label that no branch has had
  std::int32_t prompt_tokens_ = 0;
  bool begun_ = false;
};

}  // namespace shoal::worker
