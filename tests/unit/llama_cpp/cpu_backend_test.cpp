// What the patches change in ggml's CPU backend, in each of its builds that this machine can run.
#include "cpu_backend.h"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

namespace shoal {
namespace {

struct Shape {
  int length;   // of a row
  int outputs;  // rows of the weights
  int rows;     // rows of the activations
};

Floats multiply(CpuBackend& backend, ggml_backend_buffer_type_t where, ggml_type type, Shape shape,
                const Floats& weights, const float* rows, int threads) {
  const Context held = make_context();
  ggml_tensor* w = ggml_new_tensor_2d(held.get(), type, shape.length, shape.outputs);
  const Buffer weight_buffer(ggml_backend_alloc_ctx_tensors_from_buft(held.get(), where), ggml_backend_buffer_free);
  std::vector<std::uint8_t> quants(ggml_nbytes(w));
  ggml_quantize_chunk(type, weights.data(), quants.data(), 0, shape.outputs, shape.length, nullptr);
  write(w, quants.data());

  const Context context = make_context();
  ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, shape.length, shape.rows);
  ggml_tensor* product = ggml_mul_mat(context.get(), w, x);
  const Buffer buffer = backend.allocate(context.get());
  write(x, rows);
  backend.compute(context.get(), product, threads);
  return read(product);
}

constexpr std::array kRepacked = {GGML_TYPE_Q4_0, GGML_TYPE_Q4_1};

TEST(Repacked, EqualsPlainButForTheOrderOfAdditions) {
  for_each_backend([](CpuBackend& backend) {
    if (!backend.has_avx2()) return;
    ASSERT_NE(backend.repacked(), nullptr);
    for (const ggml_type type : kRepacked) {
      for (const int length : {32, 576}) {
        for (const int outputs : {8, 24, 192}) {
          for (const int rows : {1, 3, 4, 8, 13}) {
            SCOPED_TRACE(testing::Message()
                         << ggml_type_name(type) << ' ' << length << " x " << outputs << " x " << rows);
            const Shape shape{.length = length, .outputs = outputs, .rows = rows};
            const Floats weights = random_floats(static_cast<std::size_t>(length * outputs), 1);
            const Floats x = random_floats(static_cast<std::size_t>(length * rows), 2);
            const Floats plain = multiply(backend, backend.plain(), type, shape, weights, x.data(), 1);
            const Floats fast = multiply(backend, backend.repacked(), type, shape, weights, x.data(), 2);
            EXPECT_LT(relative_error(plain, fast), 1e-6);
          }
        }
      }
    }
  });
}

TEST(Repacked, GivesTheSameBitsForARowAloneAndInEveryBackend) {
  const Shape shape{.length = 96, .outputs = 40, .rows = 15};
  const Floats weights = random_floats(96 * 40, 3);
  const Floats x = random_floats(96 * 15, 4);
  for (const ggml_type type : kRepacked) {
    Floats first;
    for_each_backend([&](CpuBackend& backend) {
      if (!backend.has_avx2()) return;
      const Floats together = multiply(backend, backend.repacked(), type, shape, weights, x.data(), 3);
      if (first.empty()) first = together;
      EXPECT_EQ(together, first) << ggml_type_name(type);
      for (std::size_t row = 0; row < 15; ++row) {
        const Floats alone = multiply(backend, backend.repacked(), type, {.length = 96, .outputs = 40, .rows = 1},
                                      weights, x.data() + row * 96, 1);
        EXPECT_EQ(alone, Floats(together.begin() + static_cast<std::ptrdiff_t>(row * 40),
                                together.begin() + static_cast<std::ptrdiff_t>((row + 1) * 40)))
            << ggml_type_name(type);
      }
    });
  }
}

TEST(Barrier, MoreThreadsThanCoresGetThrough) {
  for_each_backend([](CpuBackend& backend) {
    const Context context = make_context();
    ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, 64, 16);
    ggml_tensor* sum = x;
    for (int i = 0; i < 400; ++i) sum = ggml_add(context.get(), sum, x);
    const Buffer buffer = backend.allocate(context.get());
    write(x, Floats(64 * 16, 1.0F).data());
    backend.compute(context.get(), sum, static_cast<int>(std::thread::hardware_concurrency()) + 2);
    EXPECT_EQ(read(sum), Floats(64 * 16, 401.0F));
  });
}

/// Two threads meet in the first step; the first of them then stays in the second until the other one sleeps.
struct Meeting {
  std::array<std::atomic<pid_t>, 2> threads{};
  bool slept = false;

  static void meet(ggml_tensor* /*result*/, const ggml_tensor* /*input*/, int thread, int /*threads*/, void* self) {
    auto& threads = static_cast<Meeting*>(self)->threads;
    threads[static_cast<std::size_t>(thread)] = gettid();
    while (threads[0] == 0 || threads[1] == 0) std::this_thread::yield();
  }

  static void wait(ggml_tensor* /*result*/, const ggml_tensor* /*input*/, int thread, int /*threads*/, void* self) {
    auto& meeting = *static_cast<Meeting*>(self);
    if (thread != 0) return;
    const std::string path = "/proc/self/task/" + std::to_string(meeting.threads[1]) + "/stat";
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!meeting.slept && std::chrono::steady_clock::now() < limit) {
      std::ifstream file(path);
      std::string line;
      std::getline(file, line);
      meeting.slept = line.substr(line.rfind(')') + 1).starts_with(" S");
    }
  }
};

TEST(Barrier, AThreadThatWaitsLongSleeps) {
  for_each_backend([](CpuBackend& backend) {
    Meeting meeting;
    const Context context = make_context();
    ggml_tensor* x = ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, 1);
    ggml_tensor* met = ggml_map_custom1(context.get(), x, Meeting::meet, 2, &meeting);
    ggml_tensor* waited = ggml_map_custom1(context.get(), met, Meeting::wait, 2, &meeting);
    const Buffer buffer = backend.allocate(context.get());
    backend.compute(context.get(), waited, 2);
    EXPECT_TRUE(meeting.slept);
  });
}

}  // namespace
}  // namespace shoal
