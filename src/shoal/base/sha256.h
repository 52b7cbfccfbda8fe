// SHA-256, incrementally, and sums of whole files. Owned by one caller. Threads: any.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "shoal/base/result.h"

namespace shoal::base {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::span<const char> bytes);
  // Lower-case hexadecimal. REQUIRES: called once.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of a whole file; blocks for as long as the disk needs. Errors: kIo.
[[nodiscard]] Result<std::string> sha256_of_file(const std::filesystem::path& path);

// SHA-512 in base64, as npm's registry promises its archives (`sha512-...`). Blocks, too. Errors: kIo.
[[nodiscard]] Result<std::string> sha512_base64_of_file(const std::filesystem::path& path);

}  // namespace shoal::base
