#include "shoal/gguf/reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <set>
#include <type_traits>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shoal::gguf {
namespace {

// Limits far above every real model, and far below what would hurt.
constexpr std::uint64_t kMaxKeys = 65'536;
constexpr std::uint64_t kMaxTensors = 65'536;
constexpr std::uint64_t kMaxKeyBytes = 256;
constexpr std::uint64_t kMaxTensorNameBytes = 63;            // GGML_MAX_NAME - 1
constexpr std::uint64_t kMaxStringBytes = 16 * 1024 * 1024;  // chat templates and merges are far smaller
constexpr std::uint64_t kMaxArrayElements = 16'777'216;
constexpr std::uint64_t kMaxAlignment = 1 << 20;
constexpr std::size_t kBlockBytes = 1 << 16;

// Reads forward through the source. The first fault is kept; everything after it reads as zero.
class Cursor {
 public:
  explicit Cursor(Source& source) : source_(source) {}

  template <class T>
  T number() {
    std::array<char, sizeof(T)> bytes{};
    T value{};
    if (!bytes_into(bytes)) return value;
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }

  std::string text(std::uint64_t limit, const char* what) {
    const std::uint64_t at = offset_;
    const auto size = number<std::uint64_t>();
    if (failed()) return {};
    if (size > limit || size > left()) {
      fail(at, fmt::format("{}: wanted at most {} bytes, got a length of {}", what, std::min(limit, left()), size));
      return {};
    }
    std::string value(size, '\0');
    bytes_into(value);
    return value;
  }

  void skip(std::uint64_t bytes, const char* what) {
    if (failed()) return;
    if (bytes > left())
      return fail(offset_, fmt::format("{}: {} bytes announced, {} left in the file", what, bytes, left()));
    offset_ += bytes;
  }

  void fail(std::uint64_t at, std::string why) {
    if (!fault_) fault_ = Error(ErrorCode::kModelInvalid, fmt::format("GGUF at byte {}: {}", at, why));
  }
  [[nodiscard]] bool failed() const { return fault_.has_value(); }
  [[nodiscard]] Error take_fault() { return *std::move(fault_); }
  [[nodiscard]] std::uint64_t offset() const { return offset_; }
  [[nodiscard]] std::uint64_t left() const { return source_.size() - offset_; }

 private:
  bool bytes_into(std::span<char> into) {
    if (failed()) return false;
    if (into.size() > left()) {
      fail(offset_, fmt::format("wanted {} more bytes, the file ends after {}", into.size(), left()));
      return false;
    }
    if (!source_.read(offset_, into)) {
      fail(offset_, "the file could not be read");
      return false;
    }
    offset_ += into.size();
    return true;
  }

  Source& source_;
  std::uint64_t offset_ = 0;
  std::optional<Error> fault_;
};

// Bytes of one element; 0 for strings and arrays.
std::uint64_t element_bytes(ValueType type) {
  switch (type) {
    case ValueType::kUint8:
    case ValueType::kInt8:
    case ValueType::kBool:
      return 1;
    case ValueType::kUint16:
    case ValueType::kInt16:
      return 2;
    case ValueType::kUint32:
    case ValueType::kInt32:
    case ValueType::kFloat32:
      return 4;
    case ValueType::kUint64:
    case ValueType::kInt64:
    case ValueType::kFloat64:
      return 8;
    case ValueType::kString:
    case ValueType::kArray:
      return 0;
  }
  return 0;
}

ValueType read_type(Cursor& cursor) {
  const std::uint64_t at = cursor.offset();
  const auto type = cursor.number<std::uint32_t>();
  if (type > static_cast<std::uint32_t>(ValueType::kFloat64)) {
    cursor.fail(at, fmt::format("wanted a value type from 0 to 12, got {}", type));
    return ValueType::kUint8;
  }
  return static_cast<ValueType>(type);
}

Value read_scalar(Cursor& cursor, ValueType type) {
  switch (type) {
    case ValueType::kUint8:
      return std::uint64_t{cursor.number<std::uint8_t>()};
    case ValueType::kInt8:
      return std::int64_t{cursor.number<std::int8_t>()};
    case ValueType::kUint16:
      return std::uint64_t{cursor.number<std::uint16_t>()};
    case ValueType::kInt16:
      return std::int64_t{cursor.number<std::int16_t>()};
    case ValueType::kUint32:
      return std::uint64_t{cursor.number<std::uint32_t>()};
    case ValueType::kInt32:
      return std::int64_t{cursor.number<std::int32_t>()};
    case ValueType::kFloat32:
      return static_cast<double>(cursor.number<float>());
    case ValueType::kBool: {
      const std::uint64_t at = cursor.offset();
      const auto value = cursor.number<std::uint8_t>();
      if (value > 1) cursor.fail(at, fmt::format("wanted a boolean, 0 or 1, got {}", value));
      return value == 1;
    }
    case ValueType::kString:
      return cursor.text(kMaxStringBytes, "a string");
    case ValueType::kUint64:
      return cursor.number<std::uint64_t>();
    case ValueType::kInt64:
      return cursor.number<std::int64_t>();
    case ValueType::kFloat64:
      return cursor.number<double>();
    case ValueType::kArray:
      break;
  }
  return std::uint64_t{0};
}

double as_double(const Value& value) {
  return std::visit(
      [](const auto& v) -> double {
        if constexpr (std::is_arithmetic_v<std::remove_cvref_t<decltype(v)>>) {
          return static_cast<double>(v);
        } else {
          return 0;
        }
      },
      value);
}

Array read_array(Cursor& cursor) {
  Array array;
  const std::uint64_t at = cursor.offset();
  array.type = read_type(cursor);
  array.count = cursor.number<std::uint64_t>();
  if (cursor.failed()) return array;
  if (array.type == ValueType::kArray) {
    cursor.fail(at, "arrays of arrays are not used by any model and are refused");
    return array;
  }
  // A string takes at least its length field.
  const std::uint64_t each =
      std::max<std::uint64_t>(element_bytes(array.type), array.type == ValueType::kString ? 8 : 1);
  if (array.count > kMaxArrayElements || array.count > cursor.left() / each) {
    cursor.fail(
        at, fmt::format("an array of {} elements does not fit the {} bytes that are left", array.count, cursor.left()));
    return array;
  }
  if (array.type == ValueType::kString) {
    for (std::uint64_t i = 0; i < array.count && !cursor.failed(); ++i) {
      const std::uint64_t element_at = cursor.offset();
      const auto size = cursor.number<std::uint64_t>();
      if (size > kMaxStringBytes) {
        cursor.fail(element_at, fmt::format("a string of {} bytes; at most {}", size, kMaxStringBytes));
        break;
      }
      cursor.skip(size, "a string");
    }
    return array;
  }
  if (array.count > kKeptNumbers) {
    cursor.skip(array.count * element_bytes(array.type), "an array");
    return array;
  }
  for (std::uint64_t i = 0; i < array.count && !cursor.failed(); ++i)
    array.numbers.push_back(as_double(read_scalar(cursor, array.type)));
  return array;
}

void read_metadata(Cursor& cursor, std::uint64_t count, Header& header) {
  for (std::uint64_t i = 0; i < count && !cursor.failed(); ++i) {
    const std::uint64_t at = cursor.offset();
    std::string key = cursor.text(kMaxKeyBytes, "a key");
    const ValueType type = read_type(cursor);
    Value value = type == ValueType::kArray ? Value(read_array(cursor)) : read_scalar(cursor, type);
    if (cursor.failed()) return;
    if (key.empty()) return cursor.fail(at, "a key is empty");
    const auto [place, fresh] = header.metadata.emplace(std::move(key), std::move(value));
    if (!fresh) return cursor.fail(at, fmt::format("the key '{}' stands twice", place->first));
    header.keys.push_back({place->first, at, cursor.offset()});
  }
}

std::optional<Tensor> read_tensor(Cursor& cursor) {
  Tensor tensor;
  const std::uint64_t at = cursor.offset();
  tensor.name = cursor.text(kMaxTensorNameBytes, "a tensor name");
  const auto dims = cursor.number<std::uint32_t>();
#ifdef SHOAL_PLANTED_BUG
  constexpr std::uint32_t kLeastDims = 0;
#else
  constexpr std::uint32_t kLeastDims = 1;
#endif
  if (!cursor.failed() && (dims < kLeastDims || dims > 4))
    cursor.fail(at, fmt::format("tensor '{}': wanted 1 to 4 dimensions, got {}", tensor.name, dims));
  std::uint64_t elements = 1;
  for (std::uint32_t i = 0; i < dims && !cursor.failed(); ++i) {
    const auto dim = cursor.number<std::uint64_t>();
    if (dim == 0 || dim > (1ULL << 40) || __builtin_mul_overflow(elements, dim, &elements) || elements > (1ULL << 48)) {
      cursor.fail(at, fmt::format("tensor '{}': dimension {} of {} is out of range", tensor.name, i, dim));
    }
    tensor.dims.push_back(dim);
  }
  tensor.type = cursor.number<std::uint32_t>();
  tensor.offset = cursor.number<std::uint64_t>();
  if (cursor.failed()) return std::nullopt;
  const auto bytes = tensor_bytes(tensor.type, elements, tensor.dims[0]);
  if (!bytes) {
    cursor.fail(at, fmt::format("tensor '{}': {} with rows of {} elements is not a known layout", tensor.name,
                                type_name(tensor.type), tensor.dims[0]));
    return std::nullopt;
  }
  tensor.bytes = *bytes;
  return tensor;
}

// Every tensor is aligned, inside the file, and apart from the others.
void check_layout(Cursor& cursor, const Header& header) {
  const std::uint64_t space = header.file_bytes - std::min(header.file_bytes, header.data_offset);
  std::vector<const Tensor*> by_offset;
  std::set<std::string_view> names;
  for (const Tensor& tensor : header.tensors) {
    if (!names.insert(tensor.name).second)
      return cursor.fail(header.data_offset, fmt::format("the tensor '{}' stands twice", tensor.name));
    if (tensor.offset % header.alignment != 0) {
      return cursor.fail(header.data_offset, fmt::format("tensor '{}': offset {} is not aligned to {}", tensor.name,
                                                         tensor.offset, header.alignment));
    }
    if (tensor.offset > space || tensor.bytes > space - tensor.offset) {
      return cursor.fail(
          header.data_offset,
          fmt::format("tensor '{}': {} bytes at offset {} are not within the {} bytes of data; the file is cut short",
                      tensor.name, tensor.bytes, tensor.offset, space));
    }
    by_offset.push_back(&tensor);
  }
  std::ranges::sort(by_offset, {}, &Tensor::offset);
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    if (by_offset[i - 1]->offset + by_offset[i - 1]->bytes > by_offset[i]->offset) {
      return cursor.fail(header.data_offset,
                         fmt::format("the tensors '{}' and '{}' overlap", by_offset[i - 1]->name, by_offset[i]->name));
    }
  }
}

}  // namespace

FileSource::FileSource(int fd) : fd_(fd) {
  struct stat info{};
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) size_ = static_cast<std::uint64_t>(info.st_size);
}

bool FileSource::read(std::uint64_t offset, std::span<char> into) {
  while (!into.empty()) {
    if (offset < block_offset_ || offset >= block_offset_ + block_.size()) {
      block_.resize(kBlockBytes);
      const ssize_t got = pread(fd_, block_.data(), block_.size(), static_cast<off_t>(offset));
      block_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
      block_offset_ = offset;
      if (block_.empty()) return false;
    }
    const std::size_t at = offset - block_offset_;
    const std::size_t take = std::min(into.size(), block_.size() - at);
    std::memcpy(into.data(), block_.data() + at, take);
    into = into.subspan(take);
    offset += take;
  }
  return true;
}

bool MemorySource::read(std::uint64_t offset, std::span<char> into) {
  if (offset > bytes_.size() || into.size() > bytes_.size() - offset) return false;
  std::memcpy(into.data(), bytes_.data() + offset, into.size());
  return true;
}

Result<Header> read_header(Source& source) {
  Cursor cursor(source);
  Header header;
  header.file_bytes = source.size();
  const auto magic = cursor.number<std::uint32_t>();
  if (!cursor.failed() && magic != 0x46554747)
    cursor.fail(0, fmt::format("wanted the magic 'GGUF', got {:#010x}; this is not a GGUF file", magic));
  header.version = cursor.number<std::uint32_t>();
  if (!cursor.failed() && header.version != 2 && header.version != 3)
    cursor.fail(4, fmt::format("wanted version 2 or 3, got {}", header.version));
  const auto tensors = cursor.number<std::uint64_t>();
  const auto keys = cursor.number<std::uint64_t>();
  if (!cursor.failed() && (tensors > kMaxTensors || keys > kMaxKeys)) {
    cursor.fail(8, fmt::format("{} tensors and {} keys; at most {} and {}", tensors, keys, kMaxTensors, kMaxKeys));
  }
  read_metadata(cursor, cursor.failed() ? 0 : keys, header);
  if (!cursor.failed()) header.alignment = header.number("general.alignment").value_or(32);
  if (!cursor.failed() &&
      (header.alignment == 0 || header.alignment > kMaxAlignment || (header.alignment & (header.alignment - 1)) != 0)) {
    cursor.fail(cursor.offset(), fmt::format("general.alignment: wanted a power of two up to {}, got {}", kMaxAlignment,
                                             header.alignment));
  }
  for (std::uint64_t i = 0; i < tensors && !cursor.failed(); ++i) {
    if (auto tensor = read_tensor(cursor)) header.tensors.push_back(*std::move(tensor));
  }
  if (!cursor.failed()) {
    header.data_offset = (cursor.offset() + header.alignment - 1) / header.alignment * header.alignment;
    check_layout(cursor, header);
  }
  if (!cursor.failed() && header.architecture().empty())
    cursor.fail(cursor.offset(), "general.architecture is missing");
  if (cursor.failed()) return cursor.take_fault();
  return header;
}

std::optional<std::string> Header::text(std::string_view key) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  const auto* value = std::get_if<std::string>(&found->second);
  return value != nullptr ? std::optional(*value) : std::nullopt;
}

std::optional<std::uint64_t> Header::number(std::string_view key) const {
  const auto found = metadata.find(key);
  if (found == metadata.end()) return std::nullopt;
  if (const auto* value = std::get_if<std::uint64_t>(&found->second)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&found->second); value != nullptr && *value >= 0)
    return static_cast<std::uint64_t>(*value);
  if (const auto* array = std::get_if<Array>(&found->second); array != nullptr && !array->numbers.empty()) {
    const double most = *std::ranges::max_element(array->numbers);
    if (std::isfinite(most) && most >= 0 && most < 9e15) return static_cast<std::uint64_t>(most);
  }
  return std::nullopt;
}

std::optional<std::uint64_t> Header::arch_number(std::string_view key) const {
  return number(fmt::format("{}.{}", architecture(), key));
}

std::string Header::architecture() const {
  return text("general.architecture").value_or("");
}

std::uint64_t Header::parameters() const {
  std::uint64_t sum = 0;
  for (const Tensor& tensor : tensors) {
    std::uint64_t elements = 1;
    for (const std::uint64_t dim : tensor.dims) elements *= dim;  // checked for overflow when it was read
    sum += elements;
  }
  return sum;
}

std::uint64_t Header::weight_bytes() const {
  std::uint64_t sum = 0;
  for (const Tensor& tensor : tensors) sum += tensor.bytes;
  return sum;
}

std::uint64_t Header::vocabulary() const {
  const auto found = metadata.find("tokenizer.ggml.tokens");
  if (found == metadata.end()) return 0;
  const auto* array = std::get_if<Array>(&found->second);
  return array != nullptr ? array->count : 0;
}

std::uint64_t Header::kv_bytes_per_token(double bytes_per_value) const {
  const std::uint64_t layers = arch_number("block_count").value_or(0);
  const std::uint64_t heads = arch_number("attention.head_count").value_or(0);
  const std::uint64_t width = arch_number("embedding_length").value_or(0);
  if (layers == 0 || heads == 0 || width == 0) return 0;
  const std::uint64_t heads_kv = arch_number("attention.head_count_kv").value_or(heads);
  const std::uint64_t key = arch_number("attention.key_length").value_or(width / heads);
  const std::uint64_t value = arch_number("attention.value_length").value_or(width / heads);
  const double bytes = static_cast<double>(layers) * static_cast<double>(heads_kv) *
                       (static_cast<double>(key) + static_cast<double>(value)) * bytes_per_value;
  // A hostile file may say anything; past 2^62 the number no longer matters and the conversion would not be defined.
  return static_cast<std::uint64_t>(std::min(bytes, 0x1p62));
}

}  // namespace shoal::gguf
