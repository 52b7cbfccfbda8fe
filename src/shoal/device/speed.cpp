#include "shoal/device/speed.h"

#include <algorithm>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <sys/mman.h>

namespace shoal::device {
namespace {

using Seconds = std::chrono::duration<double>;

constexpr std::size_t kBytes = std::size_t{256} << 20;  // of all threads together; larger than any cache
constexpr std::size_t kSmallestBytes = std::size_t{32} << 20;
constexpr int kPasses = 8;
constexpr std::size_t kFlopLoops = 1'000'000;  // of one pass: some milliseconds

typedef std::uint64_t Words __attribute__((vector_size(64)));
typedef float Floats16 __attribute__((vector_size(16)));
typedef float Floats32 __attribute__((vector_size(32)));
typedef float Floats64 __attribute__((vector_size(64)));
constexpr double kChains = 12;  // independent sums: two units with four cycles of latency keep eight busy

[[gnu::always_inline]] inline std::uint64_t read_words(const Words* data, std::size_t count) {
  Words a{};
  Words b{};
  Words c{};
  Words d{};
  for (std::size_t i = 0; i + 4 <= count; i += 4) {
    a += data[i];
    b += data[i + 1];
    c += data[i + 2];
    d += data[i + 3];
  }
  a += b + c + d;
  return a[0] + a[3] + a[7];
}

template <class V>
[[gnu::always_inline]] inline float multiply_add(std::size_t loops, float factor) {
  const V by = V{} + factor;
  V a = by, b = by + 1, c = by + 2, d = by + 3, e = by + 4, f = by + 5, g = by + 6, h = by + 7, i = by + 8, j = by + 9,
    k = by + 10, l = by + 11;
  for (std::size_t n = 0; n < loops; ++n) {
    a = a * by + by;
    b = b * by + by;
    c = c * by + by;
    d = d * by + by;
    e = e * by + by;
    f = f * by + by;
    g = g * by + by;
    h = h * by + by;
    i = i * by + by;
    j = j * by + by;
    k = k * by + by;
    l = l * by + by;
  }
  a += b + c + d + e + f + g + h + i + j + k + l;
  return a[0];
}

// What one processor has: the vectors of its level.
struct Kernels {
  std::uint64_t (*read)(const Words*, std::size_t);
  float (*multiply_add)(std::size_t, float);
  double floats;  // of a vector
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) std::uint64_t read_avx512(const Words* data, std::size_t count) {
  return read_words(data, count);
}
__attribute__((target("avx512f"))) float multiply_add_avx512(std::size_t loops, float factor) {
  return multiply_add<Floats64>(loops, factor);
}
__attribute__((target("avx2,fma"))) std::uint64_t read_avx2(const Words* data, std::size_t count) {
  return read_words(data, count);
}
__attribute__((target("avx2,fma"))) float multiply_add_avx2(std::size_t loops, float factor) {
  return multiply_add<Floats32>(loops, factor);
}
#endif
std::uint64_t read_any(const Words* data, std::size_t count) {
  return read_words(data, count);
}
float multiply_add_any(std::size_t loops, float factor) {
  return multiply_add<Floats16>(loops, factor);
}

Kernels kernels() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return {read_avx512, multiply_add_avx512, 16};
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0)
    return {read_avx2, multiply_add_avx2, 8};
#endif
  return {read_any, multiply_add_any, 4};
}

// Every core does `work(core)` at once, several times; the best time of a pass. `prepare(core)` comes before.
double best_seconds(std::size_t cores, const std::function<void(std::size_t)>& prepare,
                    const std::function<void(std::size_t)>& work) {
  std::barrier together(static_cast<std::ptrdiff_t>(cores));
  double best = 1e9;
  const auto run = [&](std::size_t core) {
    prepare(core);
    for (int pass = 0; pass < kPasses; ++pass) {
      together.arrive_and_wait();
      const auto begin = std::chrono::steady_clock::now();
      work(core);
      together.arrive_and_wait();
      if (core == 0) best = std::min(best, Seconds(std::chrono::steady_clock::now() - begin).count());
    }
  };
  std::vector<std::jthread> others;
  for (std::size_t core = 1; core < cores; ++core) others.emplace_back(run, core);
  run(0);
  return best;
}

std::string identity(const Machine& machine) {
  std::ifstream info("/proc/cpuinfo");
  std::string line;
  while (std::getline(info, line) && !line.starts_with("model name")) continue;
  return fmt::format("{} cores, {} bytes, {}", machine.cores, machine.memory_bytes, line);
}

}  // namespace

Result<Speed> measure_speed(const Machine& machine) {
  const std::size_t cores = std::max<std::size_t>(machine.cores, 1);
  const std::size_t limit = machine.memory_bytes > 0 ? machine.memory_bytes / 8 : kBytes;
  const std::size_t each = std::min(kBytes, limit) / cores / sizeof(Words);
  const std::size_t bytes = each * cores * sizeof(Words);
  void* const memory = bytes < kSmallestBytes
                           ? MAP_FAILED
                           : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return Error(ErrorCode::kInsufficientMemory,
                 fmt::format("measuring the memory takes a buffer of {} MiB, an eighth of what there is, and that is "
                             "too little or not to be had",
                             kSmallestBytes >> 20));
  }
  Words* const data = static_cast<Words*>(memory);
  const Kernels run = kernels();
  std::vector<std::uint64_t> sinks(cores * 8);  // a cache line each
  std::vector<float> float_sinks(cores * 16);
  const double read_s = best_seconds(
      cores, [&](std::size_t core) { std::fill_n(data + core * each, each, Words{} + core); },
      [&](std::size_t core) { sinks[core * 8] += run.read(data + core * each, each); });
  ::munmap(memory, bytes);
  const double flop_s = best_seconds(
      cores, [](std::size_t) {},
      [&](std::size_t core) { float_sinks[core * 16] += run.multiply_add(kFlopLoops, 0.5F); });
  // Read, so that the sums are computed.
  const volatile std::uint64_t used = sinks[0];
  const volatile float used_float = float_sinks[0];
  (void)used;
  (void)used_float;
  return Speed{static_cast<double>(bytes) / read_s,
               static_cast<double>(cores) * kFlopLoops * 2.0 * kChains * run.floats / flop_s};
}

std::optional<Speed> read_speed(const std::filesystem::path& file, const Machine& machine) {
  std::ifstream in(file);
  std::string who;
  Speed speed;
  if (!std::getline(in, who) || who != identity(machine)) return std::nullopt;
  if (!(in >> speed.bytes_per_second >> speed.flops_per_second)) return std::nullopt;
  if (speed.bytes_per_second <= 0 || speed.flops_per_second <= 0) return std::nullopt;
  return speed;
}

Speed faster_than_kept(const std::filesystem::path& file, const Machine& machine, const Speed& speed) {
  const Speed kept = read_speed(file, machine).value_or(speed);
  return {std::max(kept.bytes_per_second, speed.bytes_per_second),
          std::max(kept.flops_per_second, speed.flops_per_second)};
}

Result<void> write_speed(const std::filesystem::path& file, const Machine& machine, const Speed& speed) {
  const std::filesystem::path fresh = file.string() + ".new";
  std::ofstream out(fresh, std::ios::trunc);
  out << fmt::format("{}\n{:.0f} {:.0f}\n", identity(machine), speed.bytes_per_second, speed.flops_per_second);
  out.close();
  std::error_code fault;
  if (out) std::filesystem::rename(fresh, file, fault);
  if (!out || fault)
    return Error(ErrorCode::kIo, fmt::format("the speed of this machine could not be kept in {}", file.string()));
  return {};
}

}  // namespace shoal::device
