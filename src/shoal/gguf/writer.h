// Writes GGUF version 3: metadata first, then tensor descriptions, then the tensors, streamed in the order in which
// they were described. Used by models/convert. Owned by one caller; nothing is shared. Threads: one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::gguf {

class Writer {
 public:
  void text(std::string_view key, std::string_view value);
  void u32(std::string_view key, std::uint32_t value);
  void f32(std::string_view key, float value);
  void boolean(std::string_view key, bool value);
  void texts(std::string_view key, const std::vector<std::string>& values);
  void i32s(std::string_view key, const std::vector<std::int32_t>& values);
  void f32s(std::string_view key, const std::vector<float>& values);

  // dims as ggml counts them: dims[0] is the length of a row. `bytes` must be tensor_bytes() of the type.
  void describe(std::string_view name, const std::vector<std::uint64_t>& dims, std::uint32_t type, std::uint64_t bytes);

  // Writes everything described so far; then append() each tensor, in that order. Errors: kIo.
  [[nodiscard]] Result<void> open(const std::filesystem::path& path);
  [[nodiscard]] Result<void> append(std::span<const char> tensor);
  // REQUIRES: every tensor was appended. Errors: kIo.
  [[nodiscard]] Result<void> close();

 private:
  void key(std::string_view name, std::uint32_t type);

  std::string metadata_;
  std::string descriptions_;
  std::uint64_t keys_ = 0;
  std::vector<std::uint64_t> sizes_;
  std::uint64_t next_offset_ = 0;
  std::size_t appended_ = 0;
  std::ofstream out_;
  std::filesystem::path path_;
};

}  // namespace shoal::gguf
