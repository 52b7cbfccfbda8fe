#include "shoal/gguf/writer.h"

#include <cassert>
#include <cerrno>
#include <cstring>

#include "shoal/gguf/reader.h"

namespace shoal::gguf {
namespace {

constexpr std::uint64_t kAlignment = 32;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view value) {
  put(out, static_cast<std::uint64_t>(value.size()));
  out += value;
}

std::uint64_t padded(std::uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

std::uint32_t code(ValueType type) {
  return static_cast<std::uint32_t>(type);
}

}  // namespace

void Writer::key(std::string_view name, std::uint32_t type) {
  put_text(metadata_, name);
  put(metadata_, type);
  ++keys_;
}

void Writer::text(std::string_view name, std::string_view value) {
  key(name, code(ValueType::kString));
  put_text(metadata_, value);
}

void Writer::u32(std::string_view name, std::uint32_t value) {
  key(name, code(ValueType::kUint32));
  put(metadata_, value);
}

void Writer::f32(std::string_view name, float value) {
  key(name, code(ValueType::kFloat32));
  put(metadata_, value);
}

void Writer::boolean(std::string_view name, bool value) {
  key(name, code(ValueType::kBool));
  put(metadata_, static_cast<std::uint8_t>(value));
}

void Writer::texts(std::string_view name, const std::vector<std::string>& values) {
  key(name, code(ValueType::kArray));
  put(metadata_, code(ValueType::kString));
  put(metadata_, static_cast<std::uint64_t>(values.size()));
  for (const std::string& value : values) put_text(metadata_, value);
}

void Writer::i32s(std::string_view name, const std::vector<std::int32_t>& values) {
  key(name, code(ValueType::kArray));
  put(metadata_, code(ValueType::kInt32));
  put(metadata_, static_cast<std::uint64_t>(values.size()));
  for (const std::int32_t value : values) put(metadata_, value);
}

void Writer::f32s(std::string_view name, const std::vector<float>& values) {
  key(name, code(ValueType::kArray));
  put(metadata_, code(ValueType::kFloat32));
  put(metadata_, static_cast<std::uint64_t>(values.size()));
  for (const float value : values) put(metadata_, value);
}

void Writer::describe(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type,
                      std::uint64_t bytes) {
  put_text(descriptions_, name);
  put(descriptions_, static_cast<std::uint32_t>(dims.size()));
  for (const std::uint64_t dim : dims) put(descriptions_, dim);
  put(descriptions_, type);
  put(descriptions_, next_offset_);
  sizes_.push_back(bytes);
  next_offset_ += padded(bytes);
}

Result<void> Writer::open(const std::filesystem::path& path) {
  path_ = path;
  out_.open(path, std::ios::binary | std::ios::trunc);
  std::string head = "GGUF";
  put(head, std::uint32_t{3});
  put(head, static_cast<std::uint64_t>(sizes_.size()));
  put(head, keys_);
  head += metadata_;
  head += descriptions_;
  head.resize(padded(head.size()));
  out_ << head;
  if (!out_) return base::errno_error("cannot write " + path_.string(), errno);
  return {};
}

Result<void> Writer::append(std::span<const char> tensor) {
  assert(appended_ < sizes_.size() && tensor.size() == sizes_[appended_]);
  ++appended_;
  out_.write(tensor.data(), static_cast<std::streamsize>(tensor.size()));
  const std::string padding(padded(tensor.size()) - tensor.size(), '\0');
  out_ << padding;
  if (!out_) return base::errno_error("cannot write " + path_.string(), errno);
  return {};
}

Result<void> Writer::close() {
  assert(appended_ == sizes_.size());
  out_.close();
  if (!out_) return base::errno_error("cannot write " + path_.string(), errno);
  return {};
}

}  // namespace shoal::gguf
