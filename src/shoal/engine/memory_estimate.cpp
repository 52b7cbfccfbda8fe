#include "shoal/engine/memory_estimate.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <string_view>

namespace shoal::engine {
namespace {

constexpr std::uint64_t kFloatBytes = 4;
constexpr std::uint64_t kMaskBytes = 2;  // per token of a step and cell; f16 for flash attention
// Beside the mask, what a token of a step brings into a graph: id, position, two cache rows of 8 bytes.
constexpr std::uint64_t kInputBytes = 24;
constexpr std::uint64_t kCellPadding = 256;  // llama_context: n_ctx is padded to it
// A cell that is taken: position, shift, extension and the set of its sequences (48), and a node each in two trees
// (96). Source: llama-kv-cells.h.
constexpr std::uint64_t kBytesPerCell = 144;
constexpr std::uint64_t kEmbedSequences = 16;
constexpr std::uint64_t kLongestEmbedInput = 8192;
// A row of activations is quantised to q8_0 before it is multiplied: 34 bytes for 32 values.
constexpr std::uint64_t kQuantisedRow = 34;
constexpr std::uint64_t kQuantisedBlock = 32;

// Of a worker without a model, with the graphs of one of no layers: 9 MiB of code that it has touched, and what the
// libraries allocate. Read off stories260K with /proc/PID/smaps.
constexpr std::uint64_t kBareProcessBytes = std::uint64_t{11} << 20;
// About 43 nodes in each of three graphs (reserved, current, previous), and ggml-alloc's notes on them.
constexpr std::uint64_t kBytesPerLayer = std::uint64_t{64} << 10;
// llama_vocab: text (32), score and attribute (16) of an id, its spelling (32), and the way back from a text
// (a node of 64 with the text again, a bucket of 8).
constexpr std::uint64_t kBytesPerVocabularyEntry = 160;
// worker/word_piece keeps a way back of its own.
constexpr std::uint64_t kBytesPerWordPiece = 72;
// A node with two texts and a rank (104), a bucket (8), and the heap of longer texts.
constexpr std::uint64_t kBytesPerMerge = 120;
// The flags of every code point, which the splitting of texts before byte pairs asks for. Source: llama.cpp's
// unicode.cpp, unicode_cpt_flags_array().
constexpr std::uint64_t kCodePointTable = std::uint64_t{0x110000} * 2;
// The code and the tree of the template engine.
constexpr std::uint64_t kTemplateBytes = std::uint64_t{768} << 10;

bool is_encoder(const LocalModel& model) {
  return model.info.architecture.find("bert") != std::string::npos;
}

// Whether ggml keeps a matrix of this type in an order of its own, which token look-ups cannot read.
// Source: ggml-cpu/repack.cpp with our patches, ggml_repack_get_optimal_repack_type(); amx/common.h,
// qtype_has_amx_kernels().
bool is_repacked(std::uint32_t type, const CpuTraits& cpu) {
  const std::string name = gguf::type_name(type);
  const auto any = [&name](std::initializer_list<std::string_view> names) {
    return std::ranges::find(names, name) != names.end();
  };
  return (cpu.avx2 && any({"Q4_0", "Q4_1", "Q4_K", "IQ4_NL", "MXFP4"})) || (cpu.avx512 && name == "Q2_K") ||
         (cpu.amx && any({"Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"}));
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// What the widest step of a graph has live at once, as ggml-alloc lays it out; read off the compute buffers of
// SmolLM2, MiniMind2, stories15M, stories260K and MiniLM at steps of 16 to 2048 tokens, which this gives to 1 %.
// Decoder: four rows of the hidden width (residual, norm, and two that wait) and gate, up and product of the
// feed-forward layer; or, at the end, the logits. Encoder: three rows, one feed-forward, the pooling weights.
std::uint64_t graph_bytes(const LocalModel& model, const ipc::WorkerArgs& args, std::uint64_t step, std::uint64_t cells,
                          std::uint64_t sequences) {
  const ModelShape& shape = model.shape;
  const std::uint64_t width = model.info.embedding_length;
  const std::uint64_t feed_forward = shape.feed_forward > 0 ? shape.feed_forward : 4 * width;
  if (is_encoder(model)) {
    const std::uint64_t values = (shape.gated ? 4 : 3) * width + (shape.gated ? 3 : 1) * feed_forward + sequences;
    return step * (kFloatBytes * values + kInputBytes + kMaskBytes * step);
  }
  std::uint64_t layer = step * (kFloatBytes * (4 * width + 3 * feed_forward) + kMaskBytes * cells);
  if (args.exact) {
    // Without flash attention: a score for each head and cell, a mask of floats, and queries, keys and values.
    const std::uint64_t keys = shape.kv_values_per_token / std::max<std::uint64_t>(shape.layers, 1);
    layer = std::max(step * kFloatBytes * (4 * width + 3 * feed_forward + cells),
                     step * kFloatBytes * (5 * width + keys + (shape.heads + 1) * cells));
  }
  const std::uint64_t head = kFloatBytes * ((std::uint64_t{args.slots} + 1) * shape.vocabulary + 2 * step * width);
  return std::max(layer, head) + step * kInputBytes;
}

std::uint64_t elements(const gguf::Tensor& tensor) {
  std::uint64_t out = 1;
  for (const std::uint64_t dim : tensor.dims) out *= dim;  // the reader saw that they multiply
  return out;
}

// Of flash attention, by all threads: queries and sums of a tile, scores, mask, keys and values. Source:
// ggml_fa_tile_work_size() in patch 0007, for as many query heads to a key head as are taken at a time.
std::uint64_t attention_scratch(const ModelShape& shape, const ipc::WorkerArgs& args) {
  constexpr std::uint64_t kTile = 64;
  constexpr std::uint64_t kHeads = 8;
  if (args.exact) return 0;
  const std::uint64_t widths = std::uint64_t{shape.key_length} + shape.value_length;
  const std::uint64_t of_thread =
      std::min(shape.heads, kHeads) * kTile * (widths + 2) + 2 * kTile * kTile + kTile * widths;
  return std::max<std::uint64_t>(args.threads, 1) * of_thread * kFloatBytes;
}

}  // namespace

ModelShape shape_of(const gguf::Header& header) {
  const std::uint64_t heads = std::max<std::uint64_t>(header.arch_number("attention.head_count").value_or(1), 1);
  const std::uint64_t width = header.arch_number("embedding_length").value_or(0) / heads;
  ModelShape out;
  out.kv_values_per_token = header.kv_bytes_per_token(1);
  out.key_length = static_cast<std::uint32_t>(header.arch_number("attention.key_length").value_or(width));
  out.value_length = static_cast<std::uint32_t>(header.arch_number("attention.value_length").value_or(width));
  out.layers = header.arch_number("block_count").value_or(0);
  out.heads = heads;
  out.vocabulary = header.vocabulary();
  if (const auto merges = header.metadata.find("tokenizer.ggml.merges"); merges != header.metadata.end()) {
    if (const auto* array = std::get_if<gguf::Array>(&merges->second)) out.merges = array->count;
  }
  out.feed_forward = header.arch_number("feed_forward_length").value_or(0);
  const double experts = static_cast<double>(header.arch_number("expert_count").value_or(0));
  const double used = static_cast<double>(header.arch_number("expert_used_count").value_or(0));
  const double active = experts > 0 && used > 0 && used < experts ? used / experts : 1;
  out.weight_bytes = header.weight_bytes();
  out.tied = true;
  for (const gguf::Tensor& tensor : header.tensors) {
    if (tensor.name == "output.weight") out.tied = false;
    if (tensor.name.find(".ffn_gate") != std::string::npos) out.gated = true;
    const double share = tensor.name.find("_exps.") != std::string::npos ? active : 1;
    const bool table = tensor.name == "token_embd.weight";
    if (!table && tensor.name != "output.weight")
      out.prompt_parameters += static_cast<std::uint64_t>(share * static_cast<double>(elements(tensor)));
    if (!table) out.step_bytes += static_cast<std::uint64_t>(share * static_cast<double>(tensor.bytes));
    if (!table) continue;
    out.embedding_bytes = tensor.bytes;
    out.embedding_type = tensor.type;
  }
  if (out.tied) out.step_bytes += out.embedding_bytes;
  return out;
}

MemoryEstimate estimate_memory(const LocalModel& model, std::uint64_t file_bytes, const ipc::WorkerArgs& args,
                               const CpuTraits& cpu) {
  const ModelShape& shape = model.shape;
  const bool encoder = is_encoder(model);
  MemoryEstimate out;
  out.weights_bytes = shape.weight_bytes > 0 ? shape.weight_bytes : file_bytes;
  // A repacked output matrix cannot be looked up by token, so the table is kept in both orders. With mmap nothing is
  // repacked. Source: llama_model_loader::create_tensor(), TENSOR_DUPLICATED.
  if (shape.tied && !encoder && !args.use_mmap && is_repacked(shape.embedding_type, cpu))
    out.weights_bytes += shape.embedding_bytes;

  // Encoders read an input at once and keep no cache. Source: llama_model::create_memory().
  const types::KvFormat& format = types::format_of(args.kv_type);
  const std::uint64_t values = std::uint64_t{args.context_length} * shape.kv_values_per_token;
  if (!encoder && values > 0) out.kv_bytes = values / format.block * format.block_bytes;
  // Without flash attention values are stored by channel, so the one token of the heartbeat touches a whole sequence's.
  if (args.exact) out.kv_bytes += out.kv_bytes / 2 / std::max<std::uint32_t>(args.slots, 1);
  // A quarter of the weights stands for the cache of a model whose shape is not known.
  if (!encoder && shape.kv_values_per_token == 0) out.kv_bytes = file_bytes / 4;

  std::uint64_t step = std::max(args.ubatch, args.slots);
  std::uint64_t sequences = std::uint64_t{args.slots} + 1;
  std::uint64_t rows = sequences * shape.vocabulary;  // of results, outside the graph
  if (!model.info.generates && model.info.embeds) {
    step = std::min<std::uint64_t>({model.info.context_length > 0 ? model.info.context_length : kLongestEmbedInput,
                                    kLongestEmbedInput, std::max<std::uint64_t>(args.context_length, 512)});
    sequences = args.exact ? 1 : kEmbedSequences;
    rows = step * model.info.embedding_length;
  }
  step = round_up(step, sequences);  // llama_context reserves whole sequences
  // In the exact mode each sequence has cells of its own, which a step attends to alone.
  const std::uint64_t own_cells = args.context_length / std::max<std::uint32_t>(args.slots, 1);
  const std::uint64_t cells = round_up(args.exact ? own_cells : args.context_length + 64, kCellPadding);
  const std::uint64_t widest = std::max<std::uint64_t>(shape.feed_forward, model.info.embedding_length);
  // The threads' scratch is that of the node that needs the most.
  const std::uint64_t scratch =
      std::max(step * widest * kQuantisedRow / kQuantisedBlock, attention_scratch(shape, args));
  out.compute_bytes = graph_bytes(model, args, step, cells, sequences) + rows * kFloatBytes + scratch;
  out.process_bytes = kBareProcessBytes + shape.layers * kBytesPerLayer + shape.vocabulary * kBytesPerVocabularyEntry;
  if (shape.merges > 0) out.process_bytes += kCodePointTable + shape.merges * kBytesPerMerge;
  out.process_bytes +=
      encoder ? shape.vocabulary * kBytesPerWordPiece : std::uint64_t{args.context_length} * kBytesPerCell;
  if (model.info.has_chat_template) out.process_bytes += kTemplateBytes;
  if (args.keep_prefixes && !encoder) out.cold_bytes = std::uint64_t{args.cold_cache_mib} << 20;
  return out;
}

}  // namespace shoal::engine
