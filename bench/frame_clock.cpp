// frame_clock: preloaded into a worker by `bench/engine hop`, it notes when each token frame is handed to the kernel.
// The times go to a file that is mapped before the sandbox closes, so the worker makes no call that it would not
// make anyway. The file holds a count and then that many CLOCK_MONOTONIC nanoseconds.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shoal/ipc/frames.h"
#include "shoal/ipc/worker_args.h"

namespace {
namespace ipc = shoal::ipc;

constexpr std::size_t kCapacity = 1U << 20U;

struct Times {
  std::atomic<std::uint64_t> count;
  std::array<std::int64_t, kCapacity> ns;
};
Times* times = nullptr;

__attribute__((constructor)) void map_file() {
  const char* path = std::getenv("SHOAL_FRAME_CLOCK");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Times)) != 0) _exit(71);
  void* memory = mmap(nullptr, sizeof(Times), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) _exit(71);
  times = static_cast<Times*>(memory);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ssize_t write(int fd, const void* data, std::size_t bytes) {
  if (times != nullptr && fd == ipc::kWorkerSocketFd && bytes >= sizeof(ipc::FrameHeader)) {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    // All frames of a step come in one write.
    ipc::FrameHeader header;
    for (std::size_t begin = 0; begin + sizeof header <= bytes; begin += sizeof header + header.body_bytes) {
      std::memcpy(&header, static_cast<const char*>(data) + begin, sizeof header);
      if (header.type != ipc::FrameType::kToken) continue;
      const std::uint64_t at = times->count.fetch_add(1);
      if (at < kCapacity) times->ns[at] = now.tv_sec * 1'000'000'000LL + now.tv_nsec;
    }
  }
  return syscall(SYS_write, fd, data, bytes);
}
