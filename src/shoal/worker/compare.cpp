#include "shoal/worker/compare.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "shoal/worker/sample_texts.h"

namespace shoal::worker {
namespace {

using Tokens = std::vector<std::int32_t>;

// log of the sum of exp(x), from the largest on so that nothing overflows.
double log_sum_exp(std::span<const float> row) {
  const double most = *std::ranges::max_element(row);
  double sum = 0;
  for (const float x : row) sum += std::exp(static_cast<double>(x) - most);
  return most + std::log(sum);
}

// The texts as tokens, in pieces that fit the context.
Result<std::vector<Tokens>> windows(Model& model) {
  const std::size_t longest = model.shape().context_length;
  std::vector<Tokens> out;
  for (const PromptInput& text : sample_texts()) {
    auto tokens = model.tokenize(text, true);
    // A model without a template, or one whose template refuses these turns, reads what was said as text.
    if (!tokens.ok()) tokens = model.tokenize(spoken(text), true);
    if (!tokens.ok()) return std::move(tokens).error();
    for (std::size_t at = 0; at < tokens->size(); at += longest) {
      const auto begin = tokens->begin() + static_cast<std::ptrdiff_t>(at);
      out.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(std::min(longest, tokens->size() - at)));
    }
  }
  return out;
}

Result<void> decode(Model& model, std::span<const BatchToken> batch) {
  if (model.decode(batch) == DecodeStatus::kDone) return {};
  return Error(ErrorCode::kInternal, fmt::format("a batch of {} tokens could not be decoded", batch.size()));
}

class Comparison {
 public:
  Comparison(Model& source, Model& candidate) : source_(source), candidate_(candidate) {}

  // Errors: kNumericFault, kInternal.
  Result<void> add_window(const Tokens& tokens, const std::function<void(std::uint64_t)>& on_batch) {
    (void)source_.shorten(0, 0);
    (void)candidate_.shorten(0, 0);
    const std::size_t step = std::min(source_.shape().batch_logits, source_.shape().batch_tokens);
    for (std::size_t at = 0; at < tokens.size(); at += step) {
      std::vector<BatchToken> batch;
      for (std::size_t i = at; i < std::min(at + step, tokens.size()); ++i)
        batch.push_back({tokens[i], static_cast<std::int32_t>(i), 0, true});
      SHOAL_TRY(decode(source_, batch));
      SHOAL_TRY(decode(candidate_, batch));
      for (std::size_t i = 0; i < batch.size(); ++i)
        SHOAL_TRY(add_row(i, at + i + 1 < tokens.size() ? tokens[at + i + 1] : -1));
      on_batch(batch.size());
    }
    return {};
  }

  [[nodiscard]] ipc::Compared result() const {
    const auto mean = [](double sum, std::uint64_t count) {
      return count == 0 ? 0.0 : sum / static_cast<double>(count);
    };
    return {rows_, mean(kl_, rows_), mean(static_cast<double>(same_), rows_), std::exp(mean(source_loss_, followed_)),
            std::exp(mean(loss_, followed_))};
  }

 private:
  // `next` is the token that follows; -1: none.
  Result<void> add_row(std::size_t index, std::int32_t next) {
    const std::span<const float> source = source_.logits(index);
    const std::span<const float> candidate = candidate_.logits(index);
    const RowDistance row = row_distance(source, candidate);
    if (!std::isfinite(row.kl)) return Error(ErrorCode::kNumericFault, "a row of logits is not finite");
    kl_ += row.kl;
    same_ += row.same_best ? 1 : 0;
    ++rows_;
    if (next < 0) return {};
    const auto at = static_cast<std::size_t>(next);
    source_loss_ += row.source_log_sum - static_cast<double>(source[at]);
    loss_ += row.log_sum - static_cast<double>(candidate[at]);
    ++followed_;
    return {};
  }

  Model& source_;
  Model& candidate_;
  double kl_ = 0;
  double source_loss_ = 0;
  double loss_ = 0;
  std::uint64_t same_ = 0;
  std::uint64_t rows_ = 0;
  std::uint64_t followed_ = 0;
};

}  // namespace

RowDistance row_distance(std::span<const float> source, std::span<const float> candidate) {
  RowDistance out;
  out.source_log_sum = log_sum_exp(source);
  out.log_sum = log_sum_exp(candidate);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const double log_p = static_cast<double>(source[i]) - out.source_log_sum;
    const double log_q = static_cast<double>(candidate[i]) - out.log_sum;
    const double p = std::exp(log_p);
    if (p != 0) out.kl += p * (log_p - log_q);  // true of a number that is none: it must be seen
  }
  out.same_best =
      std::ranges::max_element(source) - source.begin() == std::ranges::max_element(candidate) - candidate.begin();
  return out;
}

Result<ipc::Compared> compare(Model& source, Model& candidate,
                              const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
  if (source.shape().vocabulary != candidate.shape().vocabulary) {
    return Error(ErrorCode::kModelInvalid, fmt::format("the models have vocabularies of {} and {} tokens",
                                                       source.shape().vocabulary, candidate.shape().vocabulary));
  }
  const std::vector<Tokens> pieces = SHOAL_TRY(windows(source));
  std::uint64_t total = 0;
  for (const Tokens& piece : pieces) total += piece.size();
  std::uint64_t done = 0;
  Comparison comparison(source, candidate);
  for (const Tokens& piece : pieces) {
    SHOAL_TRY(comparison.add_window(piece, [&](std::uint64_t tokens) {
      done += tokens;
      on_progress(done, total);
    }));
  }
  return comparison.result();
}

}  // namespace shoal::worker
