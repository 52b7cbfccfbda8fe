#include "shoal/worker/model_file.h"

#include <array>
#include <cerrno>
#include <cstring>

#include <unistd.h>

namespace shoal::worker {

Result<void> check_model_file(int fd) {
  std::array<char, 4> magic{};
  if (pread(fd, magic.data(), magic.size(), 0) != 4 || std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return Error(ErrorCode::kModelInvalid, "the file does not begin with GGUF");
  }
  return {};
}

}  // namespace shoal::worker
