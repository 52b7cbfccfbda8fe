#include "shoal/engine/memory_estimate.h"

#include <algorithm>

namespace shoal::engine {
namespace {

constexpr double kKvBytesPerValue = 2;  // f16
constexpr std::uint64_t kFloatBytes = 4;
// Code, ggml's context and thread stacks of a worker without a model.
constexpr std::uint64_t kBareProcessBytes = std::uint64_t{20} << 20;
// llama_vocab: text, score, type and two hash entries per token.
constexpr std::uint64_t kBytesPerVocabularyEntry = 160;

}  // namespace

ModelShape shape_of(const gguf::Header& header) {
  return {.kv_bytes_per_token = header.kv_bytes_per_token(kKvBytesPerValue),
          .vocabulary = header.vocabulary(),
          .feed_forward = header.arch_number("feed_forward_length").value_or(0)};
}

MemoryEstimate estimate_memory(const LocalModel& model, std::uint64_t file_bytes, std::uint32_t context_tokens,
                               std::uint32_t slots, std::uint32_t ubatch_tokens) {
  const ModelShape& shape = model.shape;
  MemoryEstimate out;
  out.weights_bytes = file_bytes;
  out.kv_bytes = std::uint64_t{context_tokens} * shape.kv_bytes_per_token;
  // A quarter of the weights stands for the cache of a model whose shape is not known.
  if (shape.kv_bytes_per_token == 0) out.kv_bytes = file_bytes / 4;
  // Encoders read an input at once and keep no cache. Source: llama_model::create_memory().
  if (model.info.architecture.find("bert") != std::string::npos) out.kv_bytes = 0;
  // The widest live tensors of a graph: six of the hidden width (residual, norm, q, k, v, attention out), three
  // of the feed-forward width (gate, up, product), and one row of logits per slot.
  const std::uint64_t feed_forward =
      shape.feed_forward > 0 ? shape.feed_forward : std::uint64_t{4} * model.info.embedding_length;
  out.compute_bytes =
      std::uint64_t{ubatch_tokens} * kFloatBytes * (std::uint64_t{6} * model.info.embedding_length + 3 * feed_forward) +
      std::max<std::uint64_t>(slots, 1) * shape.vocabulary * kFloatBytes;
  out.process_bytes = kBareProcessBytes + shape.vocabulary * kBytesPerVocabularyEntry;
  return out;
}

}  // namespace shoal::engine
