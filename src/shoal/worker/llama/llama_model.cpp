#include "shoal/worker/llama/llama_model.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include <dlfcn.h>
#include <fmt/format.h>
#include <llama.h>
#include <sched.h>
#include <unistd.h>

#include <ggml-backend.h>
#include <ggml-cpu.h>

#include "shoal/worker/llama/chat_template.h"
#include "shoal/worker/speculation.h"
#include "shoal/worker/word_piece.h"

namespace shoal::worker::llama {
namespace {

// Embedders read whole inputs: llama.cpp never splits a non-causal input, and asserts when it does not fit.
constexpr std::uint32_t kEmbedSequences = 16;
constexpr std::uint32_t kMaxEmbedTokens = 8192;
// Of logits in one batch, at least: with 49,152 tokens a row takes 192 KiB.
constexpr std::uint32_t kLabelRows = 32;
// A look costs a nanosecond, and there are some hundred of them per token; to tell costs fifty.
constexpr std::uint32_t kLooksPerProgress = 8;

// The CPU backend is a loaded library, so its functions are asked for by name. Null: it has none of that name.
template <class Function>
Function cpu_function(const char* name) {
  ggml_backend_dev_t device = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  ggml_backend_reg_t reg = device != nullptr ? ggml_backend_dev_backend_reg(device) : nullptr;
  return reg != nullptr ? reinterpret_cast<Function>(ggml_backend_reg_get_proc_address(reg, name)) : nullptr;
}

// Threads that wait between graphs. A graph wakes all threads of its pool, also those that it does not use, so there is
// a pool for each power of two: of one thread, which wakes nobody, of two, of four, up to the most.
// Where a pool has a thread for each core of this process, each keeps to one. Whoever wakes beside them, such as the
// gateway, could otherwise push two of them onto one core for the rest of a step, which then takes twice as long.
class Threadpools {
 public:
  struct Pool {
    std::uint32_t threads;
    ggml_threadpool_t pool;
    bool one_per_core;
  };

  explicit Threadpools(std::uint32_t threads) {
    const auto create = cpu_function<New>("ggml_threadpool_new");
    free_ = cpu_function<Free>("ggml_threadpool_free");
    const bool known = sched_getaffinity(0, sizeof cores_, &cores_) == 0;
    if (create == nullptr || free_ == nullptr) return;
    for (std::uint32_t size = 1;; size = std::min(size * 2, threads)) {
      ggml_threadpool_params params = ggml_threadpool_params_default(static_cast<int>(size));
      params.poll = 0;  // but for a moment (patch 0009): upstream's least would burn milliseconds after each graph
      const bool one_per_core = known && size > 1 && std::cmp_equal(size, CPU_COUNT(&cores_));
      params.strict_cpu = one_per_core;
      for (std::size_t core = 0; one_per_core && core < std::min<std::size_t>(CPU_SETSIZE, GGML_MAX_N_THREADS); ++core)
        params.cpumask[core] = CPU_ISSET(core, &cores_);
      pools_.push_back({size, create(&params), one_per_core});
      // Who makes a pool is its first thread.
      if (one_per_core && sched_getaffinity(0, sizeof first_core_, &first_core_) == 0) place(false);
      if (size >= threads) break;
    }
  }
  Threadpools(const Threadpools&) = delete;
  Threadpools& operator=(const Threadpools&) = delete;
  ~Threadpools() {
    keep_to_one_core(false);
    for (const Pool& pool : pools_) free_(pool.pool);
  }

  // The smallest with so many; null when there is none.
  [[nodiscard]] const Pool* with(std::uint32_t threads) const {
    const auto found = std::ranges::find_if(pools_, [threads](const Pool& pool) { return pool.threads >= threads; });
    return found == pools_.end() ? nullptr : &*found;
  }

  // The calling thread computes with a pool whose other threads keep to one core each, or does not.
  void keep_to_one_core(bool one) {
    if (std::exchange(on_one_core_, one) != one) place(one);
  }

 private:
  using New = ggml_threadpool_t (*)(ggml_threadpool_params*);
  using Free = void (*)(ggml_threadpool_t);

  // A core that was taken from this process meanwhile is refused; the kernel has moved the thread by then.
  void place(bool one) const { (void)sched_setaffinity(0, sizeof cores_, one ? &first_core_ : &cores_); }

  Free free_ = nullptr;
  cpu_set_t cores_{};  // of this process
  cpu_set_t first_core_{};
  bool on_one_core_ = false;
  std::vector<Pool> pools_;
};

// Errors to stderr, which the gateway logs; not those of a computation that was told to stop.
void log_error(ggml_log_level level, const char* text, void* interrupted) {
  const auto* const muted = static_cast<const std::atomic<bool>*>(interrupted);
  if (level != GGML_LOG_LEVEL_ERROR || (muted != nullptr && muted->load(std::memory_order_relaxed))) return;
  (void)!write(STDERR_FILENO, text, std::strlen(text));
}

std::string vocab_text(const llama_vocab* vocab, llama_token token) {
  return token >= 0 ? llama_vocab_get_text(vocab, token) : "";
}

// Of a BERT model; nullopt for all others, whose texts llama.cpp splits as their authors do.
std::optional<WordPiece> word_piece_of(const llama_model* model) {
  const llama_vocab* vocab = llama_model_get_vocab(model);
  if (llama_vocab_type(vocab) != LLAMA_VOCAB_TYPE_WPM) return std::nullopt;
  // Defaults as in llama.cpp.
  const auto metadata = [model](const char* key, std::string otherwise) {
    std::array<char, 16> value{};
    return llama_model_meta_val_str(model, key, value.data(), value.size()) < 0 ? otherwise : std::string(value.data());
  };
  const std::string lowercase = metadata("tokenizer.ggml.normalizer.lowercase", "true");
  const std::string unknown = metadata("tokenizer.ggml.unknown_token_id", "100");
  const std::int32_t size = llama_vocab_n_tokens(vocab);
  WordPieceOptions options;
  options.lowercase = lowercase == "true";
  options.strip_accents = metadata("tokenizer.ggml.normalizer.strip_accents", lowercase) == "true";
  std::from_chars(unknown.data(), unknown.data() + unknown.size(), options.unknown);
  options.unknown = std::clamp(options.unknown, 0, size - 1);
  std::vector<std::string> tokens;
  for (llama_token token = 0; token < size; ++token) tokens.push_back(vocab_text(vocab, token));
  return WordPiece(tokens, options);
}

class LlamaModel final : public Model {
 public:
  LlamaModel(llama_model* model, llama_context* context, ModelShape shape, std::uint32_t batch_sequences)
      : model_(model), context_(context), vocab_(llama_model_get_vocab(model)), shape_(shape), pools_(shape.threads) {
    batch_ =
        llama_batch_init(static_cast<std::int32_t>(shape_.batch_tokens), 0, static_cast<std::int32_t>(batch_sequences));
    set_threads(shape_.threads);
    llama_log_set(log_error, &interrupted_);
    llama_set_abort_callback(
        context_,
        [](void* data) {
          auto* self = static_cast<LlamaModel*>(data);
          self->tell_progress();
          return self->shape_.rewind != Rewind::kNever && self->interrupted_.load(std::memory_order_relaxed);
        },
        this);
    for (llama_token token = 0; token < llama_vocab_n_tokens(vocab_); ++token) {
      if (llama_vocab_is_eog(vocab_, token)) end_tokens_.push_back(token);
      const bool control =
          (llama_vocab_get_attr(vocab_, token) & (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN)) != 0;
      if (std::string text = vocab_text(vocab_, token); control && !text.empty())
        control_texts_.push_back(std::move(text));
    }
    word_piece_ = word_piece_of(model_);
    std::vector<std::int32_t> probe;
    append_tokens(probe, "a", false, false);
    prefixes_space_ = !probe.empty() && piece(probe.front(), false).starts_with(' ');
  }
  ~LlamaModel() override {
    llama_log_set(log_error, nullptr);
    llama_batch_free(batch_);
    llama_free(context_);
    llama_model_free(model_);
  }
  LlamaModel(const LlamaModel&) = delete;
  LlamaModel& operator=(const LlamaModel&) = delete;

  // Errors: kModelInvalid. A model without a template is a model all the same.
  Result<void> compile_template() {
    const char* source = llama_model_chat_template(model_, nullptr);
    if (source == nullptr) return {};
    template_ = SHOAL_TRY(ChatTemplate::compile(source, vocab_text(vocab_, llama_vocab_bos(vocab_)),
                                                vocab_text(vocab_, llama_vocab_eos(vocab_))));
    return {};
  }

  [[nodiscard]] const ModelShape& shape() const override { return shape_; }
  [[nodiscard]] std::span<const std::int32_t> end_tokens() const override { return end_tokens_; }
  [[nodiscard]] std::int32_t any_token() const override { return std::max(0, llama_vocab_bos(vocab_)); }
  void on_progress(std::function<void()> callback) override { on_progress_ = std::move(callback); }
  void set_threads(std::uint32_t threads) override {
    pool_ = pools_.with(threads);
    if (pool_ != nullptr) llama_attach_threadpool(context_, pool_->pool, pool_->pool);
    llama_set_n_threads(context_, static_cast<std::int32_t>(threads), static_cast<std::int32_t>(threads));
  }
  void interrupt() override { interrupted_.store(true, std::memory_order_relaxed); }
  void clear_interrupt() override { interrupted_.store(false, std::memory_order_relaxed); }

  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(const PromptInput& prompt, bool add_special) override {
    std::vector<std::int32_t> tokens;
    if (const auto* messages = std::get_if<std::vector<types::Message>>(&prompt)) {
      tokens = SHOAL_TRY(tokenize_chat(*messages));
    } else if (const auto* text = std::get_if<std::string>(&prompt)) {
      append_tokens(tokens, *text, add_special, /*parse_special=*/false);
    } else {
      tokens = std::get<std::vector<std::int32_t>>(prompt);
      SHOAL_TRY(check_ids(tokens, "prompt"));
    }
    return tokens;
  }

  // A tokenizer that puts a space before a text puts it before the line break, which merges with nothing: what comes
  // after the tokens of the break alone is the text without the space.
  [[nodiscard]] std::vector<std::int32_t> continue_with(const std::string& text) override {
    std::vector<std::int32_t> tokens;
    if (!prefixes_space_) {
      append_tokens(tokens, text, false, false);
      return tokens;
    }
    std::vector<std::int32_t> line_break;
    append_tokens(line_break, "\n", false, false);
    append_tokens(tokens, "\n" + text, false, false);
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(line_break.size()));
    return tokens;
  }

  [[nodiscard]] Result<std::vector<std::int32_t>> next_turn(const std::string& text) override {
    if (!template_) return no_template();
    // No template has this text, and no user sees it.
    const std::string answer = "(answer)";
    auto pieces = SHOAL_TRY(template_->render({{types::Role::kUser, "(question)", ""},
                                               {types::Role::kAssistant, answer, ""},
                                               {types::Role::kUser, text, ""}}));
    const auto said = std::ranges::find_if(
        pieces, [&](const PromptPiece& piece) { return piece.from_client && piece.text.ends_with(answer); });
    if (said == pieces.end()) {
      return Error(ErrorCode::kInvalidRequest, "the chat template of this model does not show earlier answers");
    }
    pieces.erase(pieces.begin(), said + 1);
    return tokenize_pieces(pieces);
  }

  // Not llama_detokenize(): for some vocabularies it tidies the spaces before punctuation, so bytes are lost.
  [[nodiscard]] Result<std::string> detokenize(std::span<const std::int32_t> tokens, bool skip_special) override {
    SHOAL_TRY(check_ids(tokens, "tokens"));
    std::string text;
    bool first = true;
    for (const std::int32_t token : tokens) {
      std::string bytes = token_bytes(token);
      if (bytes.empty()) {
        if (!skip_special) text += piece(token, true);
        continue;
      }
      // The space that the tokenizer put before the first word of a text.
      if (std::exchange(first, false) && prefixes_space_ && bytes.front() == ' ') bytes.erase(0, 1);
      text += bytes;
    }
    return text;
  }

  [[nodiscard]] std::string token_bytes(std::int32_t token) override { return piece(token, false); }

  [[nodiscard]] DecodeStatus decode(std::span<const BatchToken> tokens) override {
    batch_.n_tokens = 0;
    for (const BatchToken& token : tokens) add(token);
    switch (compute()) {
      case 0:
        return DecodeStatus::kDone;
      case 1:
        return DecodeStatus::kNoRoom;
      case 2:
        return DecodeStatus::kInterrupted;
      default:
        return DecodeStatus::kFailed;
    }
  }

  [[nodiscard]] DecodeStatus decode_with_state(const BatchToken& token, std::vector<float>& state) override {
    // Every token of a batch is an output while this is on, so it is on for one token. The logits stay the same.
    llama_set_embeddings(context_, true);
    const DecodeStatus status = decode({&token, 1});
    if (status == DecodeStatus::kDone) {
      const float* values = llama_get_embeddings_ith(context_, 0);
      if (values != nullptr) state.assign(values, values + shape_.embedding_length);
    }
    llama_set_embeddings(context_, false);
    return status;
  }

  [[nodiscard]] std::span<const float> logits(std::size_t batch_index) override {
    return {llama_get_logits_ith(context_, static_cast<std::int32_t>(batch_index)), shape_.vocabulary};
  }
  [[nodiscard]] std::int32_t length(std::int32_t sequence) override {
    return llama_memory_seq_pos_max(llama_get_memory(context_), sequence) + 1;
  }
  bool shorten(std::int32_t sequence, std::int32_t length) override {
    if (this->length(sequence) <= length) return true;  // llama.cpp would look at every cell
    llama_memory_t memory = llama_get_memory(context_);
    if (llama_memory_seq_rm(memory, sequence, length, -1)) return true;
    llama_memory_seq_rm(memory, sequence, -1, -1);
    return false;
  }
  bool share(std::int32_t from, std::int32_t to, std::int32_t begin, std::int32_t end) override {
    if (shape_.shares_cells) {
      llama_memory_t memory = llama_get_memory(context_);
      if (length(to) > begin) llama_memory_seq_rm(memory, to, begin, end);
      llama_memory_seq_cp(memory, from, to, begin, end);
      return true;
    }
    const auto blob = save(from, 0);
    return blob && shorten(to, 0) && restore(to, *blob) && shorten(to, end);
  }
  [[nodiscard]] std::optional<KvBlob> save(std::int32_t sequence, std::int32_t begin) override {
    KvBlob blob{begin, length(sequence), {}};
    std::int32_t source = sequence;
    if (shape_.shares_cells) {
      // llama.cpp saves whole sequences only, and of low numbers only, so the part becomes one.
      source = shape_.scratch_id;
      shorten(source, 0);
      llama_memory_seq_cp(llama_get_memory(context_), sequence, source, begin, blob.end);
    }
    blob.bytes.resize(llama_state_seq_get_size(context_, source));
    const std::size_t written = llama_state_seq_get_data(context_, blob.bytes.data(), blob.bytes.size(), source);
    if (source != sequence) shorten(source, 0);
    if (written == 0 || written != blob.bytes.size()) return std::nullopt;
    return blob;
  }
  [[nodiscard]] bool restore(std::int32_t sequence, const KvBlob& blob) override {
    const std::int32_t target = blob.begin > 0 ? shape_.scratch_id : sequence;
    const std::size_t read = llama_state_seq_set_data(context_, blob.bytes.data(), blob.bytes.size(), target);
    if (read != blob.bytes.size()) {
      shorten(target, target == sequence ? blob.begin : 0);
      return false;
    }
    if (target != sequence) {
      llama_memory_seq_cp(llama_get_memory(context_), target, sequence, blob.begin, blob.end);
      shorten(target, 0);
    }
    return true;
  }

  [[nodiscard]] Result<std::vector<std::vector<float>>> embed(
      std::span<const std::vector<std::int32_t>> inputs) override {
    // What an earlier batch left, however it ended: sequences begin anew.
    if (llama_memory_t memory = llama_get_memory(context_); memory != nullptr) llama_memory_clear(memory, false);
    batch_.n_tokens = 0;
    for (std::size_t sequence = 0; sequence < inputs.size(); ++sequence) {
      for (std::size_t i = 0; i < inputs[sequence].size(); ++i)
        add({inputs[sequence][i], static_cast<std::int32_t>(i), static_cast<std::int32_t>(sequence), true});
    }
    const int status = compute();
    if (status == 2) return Error(ErrorCode::kCancelled, "the computation was interrupted");
    if (status != 0)
      return Error(ErrorCode::kInternal,
                   fmt::format("llama_decode failed with {} on {} inputs", status, inputs.size()));
    std::vector<std::vector<float>> vectors;
    for (std::size_t i = 0; i < inputs.size(); ++i)
      vectors.push_back(SHOAL_TRY(normalised(llama_get_embeddings_seq(context_, static_cast<std::int32_t>(i)))));
    return vectors;
  }

 private:
  [[nodiscard]] std::int32_t compute() {
    compute_thread_ = std::this_thread::get_id();
    pools_.keep_to_one_core(pool_ != nullptr && pool_->one_per_core);
    return llama_decode(context_, batch_);
  }

  // From llama.cpp, on each of its threads, after every node of a graph and some times within a long one.
  void tell_progress() {
    if (std::this_thread::get_id() != compute_thread_ || ++looks_ % kLooksPerProgress != 0) return;
    if (on_progress_) on_progress_();
  }

  // The bytes of a token; with `special` the spelling of a control token too.
  [[nodiscard]] std::string piece(std::int32_t token, bool special) const {
    std::string bytes(64, '\0');
    const auto convert = [&] {
      return llama_token_to_piece(vocab_, token, bytes.data(), static_cast<std::int32_t>(bytes.size()), 0, special);
    };
    std::int32_t size = convert();
    if (size < 0) {
      bytes.resize(static_cast<std::size_t>(-size));
      size = convert();
    }
    bytes.resize(static_cast<std::size_t>(std::max(0, size)));
    return bytes;
  }

  [[nodiscard]] Result<void> check_ids(std::span<const std::int32_t> tokens, std::string_view param) const {
    const std::int32_t size = llama_vocab_n_tokens(vocab_);
    const auto wrong = std::ranges::find_if(tokens, [size](std::int32_t id) { return id < 0 || id >= size; });
    if (wrong == tokens.end()) return {};
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("token ids of this model are 0 to {}, got {}", size - 1, *wrong))
        .with_param(std::string(param));
  }

  void add(const BatchToken& token) {
    const auto i = static_cast<std::size_t>(batch_.n_tokens++);
    batch_.token[i] = token.id;
    batch_.pos[i] = token.position;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = token.sequence;
    batch_.logits[i] = token.want_logits ? 1 : 0;
  }

  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize_chat(const std::vector<types::Message>& messages) {
    if (!template_) return no_template();
    std::vector<std::int32_t> tokens = tokenize_pieces(SHOAL_TRY(template_->render(messages)));
    const llama_token bos = llama_vocab_bos(vocab_);
    if (llama_vocab_get_add_bos(vocab_) && bos >= 0 && (tokens.empty() || tokens.front() != bos))
      tokens.insert(tokens.begin(), bos);
    return tokens;
  }

  [[nodiscard]] static Error no_template() {
    return Error(ErrorCode::kUnsupportedParameter,
                 "this model has no chat template; send a prompt to /v1/completions instead")
        .with_param("messages");
  }

  [[nodiscard]] std::vector<std::int32_t> tokenize_pieces(const std::vector<PromptPiece>& pieces) {
    std::string text;
    std::vector<Span> client;
    for (const PromptPiece& piece : pieces) {
      if (piece.from_client) client.push_back({text.size(), text.size() + piece.text.size()});
      text += piece.text;
    }
    // One text, as the model was trained on; only where a client spells a control token is it cut out and
    // tokenised as the plain text that it is.
    std::vector<std::int32_t> tokens;
    std::size_t done = 0;
    for (const Span& forged : forged_controls(text, client)) {
      append_tokens(tokens, text.substr(done, forged.begin - done), false, true);
      append_tokens(tokens, text.substr(forged.begin, forged.end - forged.begin), false, false);
      done = forged.end;
    }
    append_tokens(tokens, text.substr(done), false, true);
    return tokens;
  }

  struct Span {
    std::size_t begin, end;
  };

  // Where the text of a control token has a byte that a client wrote, in order, merged when they touch.
  [[nodiscard]] std::vector<Span> forged_controls(const std::string& text, const std::vector<Span>& client) const {
    std::vector<Span> found;
    for (const std::string& control : control_texts_) {
      for (std::size_t at = text.find(control); at != std::string::npos; at = text.find(control, at + 1)) {
        const Span span{at, at + control.size()};
        const auto overlaps = [&span](const Span& c) { return c.begin < span.end && span.begin < c.end; };
        if (std::ranges::any_of(client, overlaps)) found.push_back(span);
      }
    }
    std::ranges::sort(found, {}, &Span::begin);
    std::vector<Span> merged;
    for (const Span& span : found) {
      if (!merged.empty() && span.begin <= merged.back().end) {
        merged.back().end = std::max(merged.back().end, span.end);
      } else {
        merged.push_back(span);
      }
    }
    return merged;
  }

  void append_tokens(std::vector<std::int32_t>& tokens, const std::string& text, bool add_special, bool parse_special) {
    if (word_piece_) {
      const std::vector<std::int32_t> words = word_piece_->tokenize(text);
      if (const auto first = llama_vocab_bos(vocab_); add_special && first >= 0) tokens.push_back(first);
      tokens.insert(tokens.end(), words.begin(), words.end());
      if (const auto last = llama_vocab_sep(vocab_); add_special && last >= 0) tokens.push_back(last);
      return;
    }
    const std::size_t before = tokens.size();
    tokens.resize(before + text.size() + 4);
    const auto tokenize_into = [&] {
      return llama_tokenize(vocab_, text.data(), static_cast<std::int32_t>(text.size()), tokens.data() + before,
                            static_cast<std::int32_t>(tokens.size() - before), add_special, parse_special);
    };
    std::int32_t count = tokenize_into();
    if (count < 0) {
      tokens.resize(before + static_cast<std::size_t>(-count));
      count = tokenize_into();
    }
    tokens.resize(before + static_cast<std::size_t>(std::max(0, count)));
  }

  [[nodiscard]] Result<std::vector<float>> normalised(const float* raw) const {
    if (raw == nullptr) return Error(ErrorCode::kInternal, "the model gave no embedding");
    double square = 0;
    for (std::uint32_t i = 0; i < shape_.embedding_length; ++i)
      square += static_cast<double>(raw[i]) * static_cast<double>(raw[i]);
    if (!std::isfinite(square)) return Error(ErrorCode::kNumericFault, "the embedding is not finite");
    const double scale = square > 0 ? 1.0 / std::sqrt(square) : 0.0;
    std::vector<float> vector(shape_.embedding_length);
    for (std::uint32_t i = 0; i < shape_.embedding_length; ++i)
      vector[i] = static_cast<float>(static_cast<double>(raw[i]) * scale);
    return vector;
  }

  llama_model* model_;
  llama_context* context_;
  const llama_vocab* vocab_;
  ModelShape shape_;
  Threadpools pools_;
  const Threadpools::Pool* pool_ = nullptr;  // that computes
  llama_batch batch_{};
  std::vector<std::int32_t> end_tokens_;
  std::vector<std::string> control_texts_;
  std::optional<WordPiece> word_piece_;
  bool prefixes_space_ = false;  // the tokenizer puts a space before a text
  std::optional<ChatTemplate> template_;
  std::function<void()> on_progress_;
  std::thread::id compute_thread_;  // of the graph that is computed
  std::uint32_t looks_ = 0;
  std::atomic<bool> interrupted_{false};
};

// What the file is for: an encoder without a decoder, or one that says how to pool, embeds.
bool is_embedder(const llama_model* model) {
  if (!llama_model_has_decoder(model)) return true;
  std::array<char, 16> text{};
  std::array<char, 64> architecture{};
  if (llama_model_meta_val_str(model, "general.architecture", architecture.data(), architecture.size()) < 0)
    return false;
  const std::string_view name = architecture.data();
  if (name.find("bert") != std::string_view::npos || name == "gemma-embedding") return true;
  return llama_model_meta_val_str(model, fmt::format("{}.pooling_type", name).c_str(), text.data(), text.size()) >= 0 &&
         std::string_view(text.data()) != "0";
}

ggml_type ggml_type_of(types::KvType type) {
  constexpr std::array kTypes = {GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0};
  return kTypes[static_cast<std::size_t>(type)];
}

// llama.cpp does not undo a step of a recurrent state that was interrupted: the positions stay, as if all had been
// computed, and the state of every sequence may be half of the old and half of the new.
Rewind rewind_of(const llama_model* model) {
  if (llama_model_is_recurrent(model) || llama_model_is_hybrid(model)) return Rewind::kNever;
  if (llama_model_is_diffusion(model) || llama_model_n_swa(model) > 0) return Rewind::kLastStep;
  return Rewind::kAnywhere;
}

// Room for the token of the heartbeat, whatever is reserved.
constexpr std::uint32_t kScratchCells = 64;

void shape_embedder(const LoadOptions& options, std::uint32_t trained, ModelShape& shape,
                    llama_context_params& params) {
  shape.sequence_length = std::min({trained, kMaxEmbedTokens, std::max(options.context_length, 512U)});
  shape.context_length = shape.sequence_length;
  shape.batch_tokens = shape.sequence_length;
  // Kernels for more rows, and the place of a text in the batch, change the last bits of a vector.
  shape.sequence_ids = options.exact ? 1 : kEmbedSequences;
  // Tiles of flash attention follow the number of threads.
  if (options.exact) params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.n_ctx = shape.sequence_length;
  params.n_batch = params.n_ubatch = shape.sequence_length;
  params.n_seq_max = shape.sequence_ids;
  params.embeddings = true;
  params.kv_unified = true;
}

void shape_generator(const LoadOptions& options, std::uint32_t trained, ModelShape& shape,
                     llama_context_params& params) {
  shape.context_length = options.context_length;
  shape.batch_tokens = std::max(options.ubatch, options.slots);
  shape.scratch_id = static_cast<std::int32_t>(options.slots);
  shape.shares_cells = shape.keeps_prefixes && shape.one_cache;
  params.n_seq_max = options.slots + 1;
  params.kv_unified = !options.exact;
  if (options.exact) {
    // Flash attention on f16 adds up in another order for other neighbours; without it, and with a stream of cells
    // for each sequence, every sum is over the same numbers in the same order.
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    shape.sequence_length = std::min(trained, options.context_length / options.slots);
    params.n_ctx = shape.sequence_length * (options.slots + 1);
  } else {
    shape.sequence_length = std::min(trained, options.context_length);
    params.n_ctx = options.context_length + kScratchCells;
  }
  // In a cache that is shared, cells may belong to more sequences than are computed at a time.
  shape.sequence_ids =
      shape.shares_cells ? static_cast<std::uint32_t>(llama_max_parallel_sequences()) : options.slots + 1;
  params.n_batch = params.n_ubatch = shape.batch_tokens;
  // Else the logits buffer takes n_ubatch rows. Labels want a row for each of their tokens.
  shape.batch_logits = std::max(options.slots + static_cast<std::uint32_t>(Speculation::kMostGuesses), kLabelRows);
  params.n_outputs_max = std::max(shape.batch_logits, params.n_seq_max);
}

llama_context_params context_params(const LoadOptions& options, ModelShape& shape, std::uint32_t trained) {
  llama_context_params params = llama_context_default_params();
  if (shape.embeds) {
    shape_embedder(options, trained, shape, params);
  } else {
    shape_generator(options, trained, shape, params);
  }
  params.type_k = params.type_v = ggml_type_of(options.kv_type);
  params.n_threads = params.n_threads_batch = static_cast<std::int32_t>(options.threads);
  params.no_perf = true;
  return params;
}

}  // namespace

void install_handlers() {
  // abort() with the reason on stderr; without this ggml opens files and starts a debugger.
  ggml_set_abort_callback([](const char* message) {
    (void)!write(STDERR_FILENO, message, std::strlen(message));
    (void)!write(STDERR_FILENO, "\n", 1);
  });
  llama_log_set(log_error, nullptr);
}

Result<std::string> load_backends() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(&ggml_backend_load_all_from_path), &info) == 0) {
    return Error(ErrorCode::kInternal, "cannot tell where the ggml libraries are");
  }
  const std::filesystem::path folder = std::filesystem::path(info.dli_fname).parent_path();
  ggml_backend_load_all_from_path(folder.c_str());
  if (ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) == nullptr) {
    return Error(ErrorCode::kInternal, fmt::format("no libggml-cpu-*.so for this machine in {}", folder.string()));
  }
  // The variant is in the name of the library that stayed mapped.
  std::ifstream maps("/proc/self/maps");
  constexpr std::string_view kPrefix = "libggml-cpu-";
  for (std::string line; std::getline(maps, line);) {
    if (const auto at = line.find(kPrefix); at != std::string::npos) {
      const std::string rest = line.substr(at + kPrefix.size());
      return rest.substr(0, rest.find('.'));
    }
  }
  return std::string("generic");
}

Result<std::unique_ptr<Model>> load(const LoadOptions& options) {
  llama_backend_init();
  std::FILE* file = fdopen(options.model_fd, "rb");
  if (file == nullptr) return base::errno_error("the inherited model descriptor", errno, ErrorCode::kInternal);
  llama_model_params model_params = llama_model_default_params();
  // Repacked weights are fast but a copy: with mmap both would stay in memory.
  model_params.load_mode = options.use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
  model_params.use_extra_bufts = !options.use_mmap;
  llama_model* model = llama_model_load_from_file_ptr(file, model_params);
  std::fclose(file);  // a mapping outlives its descriptor
  if (model == nullptr)
    return Error(ErrorCode::kModelInvalid, "llama.cpp refuses the model file; the log has its reason");

  if (options.exact) {
    const auto set_batch_invariant = cpu_function<void (*)(bool)>("ggml_cpu_set_batch_invariant");
    if (set_batch_invariant == nullptr) {
      llama_model_free(model);
      return Error(ErrorCode::kUnsupportedParameter,
                   "this build of llama.cpp has no products that are equal for every batch; set engine.exact = false");
    }
    set_batch_invariant(true);
  }
  ModelShape shape;
  shape.threads = std::max(options.threads, 1U);
  shape.sequences = options.slots;
  shape.vocabulary = static_cast<std::uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(model)));
  shape.embedding_length = static_cast<std::uint32_t>(llama_model_n_embd_out(model));
  shape.embeds = is_embedder(model);
  shape.generates = !shape.embeds;
  if (shape.generates) shape.rewind = rewind_of(model);
  shape.one_cache = shape.generates && !options.exact && !llama_model_is_recurrent(model);
  shape.keeps_prefixes = options.keep_prefixes && shape.generates && shape.rewind == Rewind::kAnywhere;
  const llama_context_params params =
      context_params(options, shape, static_cast<std::uint32_t>(llama_model_n_ctx_train(model)));
  llama_context* context = llama_init_from_model(model, params);
  if (context == nullptr) {
    llama_model_free(model);
    return Error(
        ErrorCode::kInsufficientMemory,
        fmt::format("a context of {} tokens with a cache of {} could not be made; lower engine.context_length{}",
                    shape.context_length, types::format_of(options.kv_type).name,
                    options.kv_type == types::KvType::kF16 ? "" : ", or set engine.kv_type to f16"));
  }
  const auto pooling = llama_pooling_type(context);
  if (shape.embeds && pooling != LLAMA_POOLING_TYPE_MEAN && pooling != LLAMA_POOLING_TYPE_CLS &&
      pooling != LLAMA_POOLING_TYPE_LAST) {
    llama_free(context);
    llama_model_free(model);
    return Error(ErrorCode::kModelInvalid,
                 pooling == LLAMA_POOLING_TYPE_RANK
                     ? "this model ranks pairs of texts and gives no vectors; name an embedding model"
                     : "the file does not say how one vector is made of a text (pooling_type)");
  }
  auto loaded = std::make_unique<LlamaModel>(model, context, shape, 1);
  SHOAL_TRY(loaded->compile_template());
  return std::unique_ptr<Model>(std::move(loaded));
}

}  // namespace shoal::worker::llama
