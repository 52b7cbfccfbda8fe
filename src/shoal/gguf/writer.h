// Writes GGUF version 3: metadata first, then tensor descriptions, then the tensors, streamed in the order in which
// they were described. Used by models/convert, and by worker/llama to rewrite weights. Owned by one caller; nothing is
// shared. Threads: one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::gguf {

class Writer {
 public:
  Writer() = default;
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, std::uint32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void i32s(std::string_view key, const std::vector<std::int32_t>& values);
  void f32s(std::string_view key, const std::vector<float>& values);

  // A key with its type and value as another file has them; see KeySpan in reader.h.
  void copied(std::string_view key_and_value);

  // dims as ggml counts them: dims[0] is the length of a row. `bytes` must be tensor_bytes() of the type.
  void describe(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t bytes);

  // Writes everything described so far; then append() each tensor, in that order. Errors: kIo.
  [[nodiscard]] Result<void> open(const std::filesystem::path& path);
  // The same into a descriptor, which stays open.
  [[nodiscard]] Result<void> open(int fd);
  // The next bytes of the tensor whose turn it is: all of it, or a part. Errors: kIo.
  [[nodiscard]] Result<void> append(std::span<const char> bytes);
  // REQUIRES: every tensor was appended. Errors: kIo.
  [[nodiscard]] Result<void> close();

 private:
  [[nodiscard]] Result<void> write(std::string_view bytes);
  void key(std::string_view name, std::uint32_t type);

  std::string metadata_;
  std::string descriptions_;
  std::uint64_t keys_ = 0;
  std::vector<std::uint64_t> sizes_;
  std::uint64_t next_offset_ = 0;
  std::size_t tensor_ = 0;     // whose turn it is
  std::uint64_t written_ = 0;  // bytes of it
  int fd_ = -1;
  bool owns_fd_ = false;
  std::string name_ = "the model file";  // for messages
};

}  // namespace shoal::gguf
