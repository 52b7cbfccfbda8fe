// A model whose arithmetic can be predicted, over a KV cache that is checked: every cell is a token at a position,
// owned by the sequences that share it. Positions have no gaps, and the cells that are alive never exceed the cache.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include "shoal/worker/model.h"

namespace shoal::worker {

inline constexpr std::int32_t kVocabulary = 1000;
inline constexpr std::int32_t kEnd = 999;

class FakeModel : public Model {
 public:
  explicit FakeModel(ModelShape shape) : shape_(shape), stored_(shape.sequence_ids), row_(shape.vocabulary) {}

  [[nodiscard]] const ModelShape& shape() const override { return shape_; }
  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(const PromptInput& prompt, bool) override {
    ++tokenized;
    if (const auto* text = std::get_if<std::string>(&prompt))
      return std::vector<std::int32_t>(text->begin(), text->end());
    return std::get<std::vector<std::int32_t>>(prompt);
  }
  // A token for each byte, but none for a space that begins the text, and fewer for what is long.
  [[nodiscard]] std::vector<std::int32_t> continue_with(const std::string& text) override {
    std::vector<std::int32_t> tokens;
    for (std::size_t i = text.starts_with(' ') ? 1 : 0; i < text.size(); i += text.size() > 30 ? 7 : 1)
      tokens.push_back(text[i]);
    return tokens;
  }
  [[nodiscard]] Result<std::vector<std::int32_t>> next_turn(const std::string& text) override {
    return continue_with("?" + text);
  }
  [[nodiscard]] Result<std::string> detokenize(std::span<const std::int32_t> tokens, bool) override {
    if (!tokens.empty() && tokens.back() == kVocabulary)
      return Error(ErrorCode::kInvalidRequest, "no such token").with_param("tokens");
    return std::string(tokens.begin(), tokens.end());
  }
  [[nodiscard]] std::string token_bytes(std::int32_t token) override { return std::to_string(token) + " "; }
  [[nodiscard]] std::span<const std::int32_t> end_tokens() const override { return {&kEnd, 1}; }

  [[nodiscard]] DecodeStatus decode(std::span<const BatchToken> batch) override {
    batches.emplace_back(batch.begin(), batch.end());
    EXPECT_LE(batch.size(), shape_.batch_tokens);
    EXPECT_LE(std::ranges::count_if(batch, &BatchToken::want_logits), shape_.batch_logits);
    if (on_decode) on_decode();
    compute();
    if (next_status != DecodeStatus::kDone) return std::exchange(next_status, DecodeStatus::kDone);
    rows_.clear();
    for (const BatchToken& token : batch) {
      Cells& cells = cells_of(token.sequence);
      EXPECT_EQ(token.position, static_cast<std::int32_t>(cells.size())) << "positions have no gaps";
      cells.push_back(std::make_shared<const std::int32_t>(token.id));
      rows_.push_back(next_of(cells));
    }
    EXPECT_LE(cells_alive(), shape_.context_length) << "the cache overflowed";
    return DecodeStatus::kDone;
  }
  [[nodiscard]] DecodeStatus decode_with_state(const BatchToken& token, std::vector<float>& state) override {
    const DecodeStatus status = decode({&token, 1});
    if (status == DecodeStatus::kDone) state = {static_cast<float>(token.id)};
    return status;
  }
  [[nodiscard]] std::span<const float> logits(std::size_t index) override {
    std::fill(row_.begin(), row_.end(), 0.0F);
    if (poison) row_[3] = std::numeric_limits<float>::quiet_NaN();
    row_[static_cast<std::size_t>(rows_[index])] = 10;
    return row_;
  }
  [[nodiscard]] std::int32_t length(std::int32_t sequence) override {
    return static_cast<std::int32_t>(cells_of(sequence).size());
  }
  bool shorten(std::int32_t sequence, std::int32_t length) override {
    Cells& cells = cells_of(sequence);
    if (static_cast<std::size_t>(length) >= cells.size()) return true;
    if (shape_.rewind == Rewind::kNever && length > 0) {
      cells.clear();
      return false;
    }
    cells.resize(static_cast<std::size_t>(length));
    return true;
  }
  bool share(std::int32_t from, std::int32_t to, std::int32_t begin, std::int32_t end) override {
    EXPECT_TRUE(shape_.keeps_prefixes);
    EXPECT_GE(length(from), end);
    EXPECT_GE(length(to), begin);
    Cells& target = cells_of(to);
    if (length(to) < end) target.resize(static_cast<std::size_t>(end));
    for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at)
      target[at] = shape_.shares_cells ? cells_of(from)[at] : std::make_shared<const std::int32_t>(*cells_of(from)[at]);
    if (!shape_.shares_cells) target.resize(static_cast<std::size_t>(end));
    return true;
  }
  [[nodiscard]] std::optional<KvBlob> save(std::int32_t sequence, std::int32_t begin) override {
    EXPECT_TRUE(shape_.shares_cells || begin == 0);
    KvBlob blob{begin, length(sequence), {}};
    for (std::int32_t at = begin; at < blob.end; ++at) {
      const std::int32_t id = *cells_of(sequence)[static_cast<std::size_t>(at)];
      blob.bytes.push_back(static_cast<std::uint8_t>(id & 0xff));
      blob.bytes.push_back(static_cast<std::uint8_t>(id >> 8));
    }
    return blob;
  }
  [[nodiscard]] bool restore(std::int32_t sequence, const KvBlob& blob) override {
    if (refuse_restore) return false;
    EXPECT_EQ(length(sequence), blob.begin);
    for (std::size_t i = 0; i < blob.bytes.size(); i += 2)
      cells_of(sequence).push_back(std::make_shared<const std::int32_t>(blob.bytes[i] | blob.bytes[i + 1] << 8));
    return true;
  }
  [[nodiscard]] std::int32_t any_token() const override { return 1; }
  [[nodiscard]] Result<std::vector<std::vector<float>>> embed(
      std::span<const std::vector<std::int32_t>> inputs) override {
    embedded.emplace_back(inputs.begin(), inputs.end());
    if (on_embed) on_embed();
    compute();
    if (interrupted) return Error(ErrorCode::kCancelled, "interrupted");
    std::vector<std::vector<float>> vectors;
    for (const auto& input : inputs) {
      if (input.front() == poisoned_input) return Error(ErrorCode::kNumericFault, "not finite");
      vectors.push_back({static_cast<float>(input.front())});
    }
    return vectors;
  }
  void on_progress(std::function<void()> callback) override { progress_ = std::move(callback); }
  void set_threads(std::uint32_t count) override { threads = count; }
  void interrupt() override { interrupted = true; }
  void clear_interrupt() override { interrupted = false; }

  // What a sequence holds.
  [[nodiscard]] std::vector<std::int32_t> content(std::int32_t sequence) {
    std::vector<std::int32_t> tokens;
    for (const auto& cell : cells_of(sequence)) tokens.push_back(*cell);
    return tokens;
  }
  [[nodiscard]] std::size_t cells_alive() const {
    std::set<const void*> alive;
    for (const Cells& cells : stored_) {
      for (const auto& cell : cells) alive.insert(cell.get());
    }
    return alive.size();
  }

  std::vector<std::vector<BatchToken>> batches;
  std::function<void()> on_decode;
  std::function<void()> on_embed;
  std::function<void()> on_node;
  int tokenized = 0;
  std::uint32_t threads = 0;                                     // as set last
  std::vector<std::vector<std::vector<std::int32_t>>> embedded;  // batches of inputs
  std::int32_t poisoned_input = -1;                              // an input that begins with it
  DecodeStatus next_status = DecodeStatus::kDone;
  bool poison = false;
  bool refuse_restore = false;
  std::atomic<bool> interrupted = false;
  // Off: token i + 1 follows token i. On: what follows depends on every token before.
  bool hashes = false;
  std::int32_t cycle = 0;  // so many tokens from 10 on, again and again

 private:
  using Cells = std::vector<std::shared_ptr<const std::int32_t>>;

  Cells& cells_of(std::int32_t sequence) { return stored_.at(static_cast<std::size_t>(sequence)); }
  [[nodiscard]] std::int32_t next_of(const Cells& cells) const {
    if (cycle > 0) return 10 + (*cells.back() - 10 + 1) % cycle;
    if (!hashes) return *cells.back() + 1;
    std::uint64_t hash = 1469598103934665603ULL;  // FNV-1a
    for (const auto& cell : cells) hash = (hash ^ static_cast<std::uint64_t>(*cell)) * 1099511628211ULL;
    return static_cast<std::int32_t>(hash % 900);
  }
  void compute() {  // a graph of three nodes
    for (int node = 0; node < 3; ++node) {
      if (on_node) on_node();
      if (progress_) progress_();
    }
  }

  ModelShape shape_;
  std::function<void()> progress_;
  std::vector<Cells> stored_;
  std::vector<std::int32_t> rows_;
  std::vector<float> row_;
};

// 64 cells, two sequences at a time, of at most 40 tokens each, eight tokens in a batch.
inline ModelShape small_shape() {
  ModelShape shape;
  shape.context_length = 64;
  shape.sequence_length = 40;
  shape.sequences = 2;
  shape.sequence_ids = 16;
  shape.scratch_id = 2;
  shape.batch_tokens = shape.batch_logits = 8;
  shape.threads = 4;
  shape.vocabulary = kVocabulary;
  shape.embedding_length = 1;
  shape.generates = shape.embeds = true;
  shape.keeps_prefixes = shape.one_cache = shape.shares_cells = true;
  return shape;
}

}  // namespace shoal::worker
