// A bounded reader of GGUF headers (versions 2 and 3): metadata and tensor descriptions, never weights. Model
// files are hostile input: this reads them before llama.cpp does, checks every length against the file and
// every offset against its neighbours, and allocates in proportion to what the file really holds.
// Used by models/ (what is this file?), engine/ (how much memory will it need?) and worker/ (may it be loaded?).
// Threads: any; a Source belongs to one caller.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::gguf {

// Where the bytes come from.
class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  // Fills all of `into` from `offset`; false at the end of the file or on an I/O error.
  [[nodiscard]] virtual bool read(std::uint64_t offset, std::span<char> into) = 0;
};

// A descriptor, read with pread in blocks; not closed.
class FileSource final : public Source {
 public:
  explicit FileSource(int fd);
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<char> into) override;

 private:
  int fd_;
  std::uint64_t size_ = 0;
  std::uint64_t block_offset_ = 0;
  std::vector<char> block_;
};

class MemorySource final : public Source {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] std::uint64_t size() const override { return bytes_.size(); }
  [[nodiscard]] bool read(std::uint64_t offset, std::span<char> into) override;

 private:
  std::string_view bytes_;
};

// Types of metadata values, as the format numbers them.
enum class ValueType : std::uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

// Arrays are checked and counted; their elements are kept only when they are few numbers.
struct Array {
  ValueType type = ValueType::kUint8;
  std::uint64_t count = 0;
  std::vector<double> numbers;  // at most kKeptNumbers
};
inline constexpr std::uint64_t kKeptNumbers = 256;

using Value = std::variant<std::uint64_t, std::int64_t, double, bool, std::string, Array>;

struct Tensor {
  std::string name;
  std::vector<std::uint64_t> dims;  // 1 to 4, all positive
  std::uint32_t type = 0;           // ggml_type
  std::uint64_t offset = 0;         // from the start of the data
  std::uint64_t bytes = 0;
};

// Where a key with its type and its value stands in the file: [begin, end).
struct KeySpan {
  std::string key;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct Header {
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;
  std::uint64_t data_offset = 0;  // of the tensor data in the file
  std::uint64_t file_bytes = 0;
  std::map<std::string, Value, std::less<>> metadata;
  std::vector<KeySpan> keys;  // of metadata, as they stand in the file, for a copy of what is not understood
  std::vector<Tensor> tensors;

  [[nodiscard]] std::optional<std::string> text(std::string_view key) const;
  // Any integer that fits; nothing for other kinds.
  [[nodiscard]] std::optional<std::uint64_t> number(std::string_view key) const;
  // The same for a key of the architecture: arch_number("context_length") reads "llama.context_length". The
  // largest element when it is an array (per-layer head counts).
  [[nodiscard]] std::optional<std::uint64_t> arch_number(std::string_view key) const;
  [[nodiscard]] std::string architecture() const;
  [[nodiscard]] std::uint64_t parameters() const;  // elements of all tensors
  [[nodiscard]] std::uint64_t weight_bytes() const;
  [[nodiscard]] std::uint64_t vocabulary() const;  // 0: no tokenizer
  // Keys and values of one token over all layers, in bytes, with `bytes_per_value` (f16: 2). 0 when the file
  // does not say. Source: llama.cpp's KV cache, 2 * layers * heads_kv * head_dim * bytes.
  [[nodiscard]] std::uint64_t kv_bytes_per_token(double bytes_per_value) const;
};

// Errors: kModelInvalid, with the offset, what was wanted and what came.
[[nodiscard]] Result<Header> read_header(Source& source);

// Bytes of a tensor of that type with `elements`, of which rows have `row` (a multiple of the type's block).
// Nothing for types that are not known.
[[nodiscard]] std::optional<std::uint64_t> tensor_bytes(std::uint32_t type, std::uint64_t elements, std::uint64_t row);

// "Q4_1"; "type 99" for an unknown one.
[[nodiscard]] std::string type_name(std::uint32_t type);
// The type of that name, in any case.
[[nodiscard]] std::optional<std::uint32_t> type_by_name(std::string_view name);
// Weights of a block; a row is a multiple of it.
[[nodiscard]] std::optional<std::uint64_t> block_length(std::uint32_t type);
// Bits of file per weight: 4.5 for Q4_0. 0 for types that are not known.
[[nodiscard]] double bits_per_weight(std::uint32_t type);

}  // namespace shoal::gguf
