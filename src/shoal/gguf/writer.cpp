#include "shoal/gguf/writer.h"

#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <unistd.h>

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

void Writer::copied(std::string_view key_and_value) {
  metadata_ += key_and_value;
  ++keys_;
}

Writer::~Writer() {
  if (owns_fd_ && fd_ >= 0) ::close(fd_);
}

Result<void> Writer::open(const std::filesystem::path& path) {
  name_ = path.string();
  owns_fd_ = true;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return base::errno_error("cannot write " + name_, errno);
  return open(fd);
}

Result<void> Writer::open(int fd) {
  fd_ = fd;
  std::string head = "GGUF";
  put(head, std::uint32_t{3});
  put(head, static_cast<std::uint64_t>(sizes_.size()));
  put(head, keys_);
  head += metadata_;
  head += descriptions_;
  head.resize(padded(head.size()));
  return write(head);
}

Result<void> Writer::append(std::span<const char> bytes) {
  assert(tensor_ < sizes_.size() && bytes.size() <= sizes_[tensor_] - written_);
  SHOAL_TRY(write({bytes.data(), bytes.size()}));
  written_ += bytes.size();
  if (written_ < sizes_[tensor_]) return {};
  ++tensor_;
  const std::uint64_t padding = padded(written_) - written_;
  written_ = 0;
  return write(std::string(padding, '\0'));
}

Result<void> Writer::close() {
  assert(tensor_ == sizes_.size());
  const int fd = std::exchange(fd_, -1);
  if (owns_fd_ && ::close(fd) != 0) return base::errno_error("cannot write " + name_, errno);
  return {};
}

Result<void> Writer::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return base::errno_error("cannot write " + name_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

}  // namespace shoal::gguf
