// What the patches change in ggml's CPU backend, in each of its builds that this machine can run.
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <ggml.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>

namespace shoal {
namespace {

using Floats = std::vector<float>;
using Context = std::unique_ptr<ggml_context, decltype(&ggml_free)>;
using Buffer = std::unique_ptr<ggml_backend_buffer, decltype(&ggml_backend_buffer_free)>;

Context make_context() {
  return {ggml_init({.mem_size = std::size_t{1} << 20U, .mem_buffer = nullptr, .no_alloc = true}), ggml_free};
}

/// One libggml-cpu-*.so.
class CpuBackend {
 public:
  explicit CpuBackend(ggml_backend_reg_t reg)
      : reg_(reg), device_(ggml_backend_reg_dev_get(reg, 0)), backend_(ggml_backend_dev_init(device_, nullptr)) {}
  CpuBackend(const CpuBackend&) = delete;
  CpuBackend& operator=(const CpuBackend&) = delete;
  ~CpuBackend() {
    ggml_backend_free(backend_);
    ggml_backend_unload(reg_);
  }

  ggml_backend_buffer_type_t plain() { return ggml_backend_dev_buffer_type(device_); }

  ggml_backend_buffer_type_t repacked() {
    const auto extra = procedure<ggml_backend_dev_get_extra_bufts_t>("ggml_backend_dev_get_extra_bufts");
    for (auto* type = extra(device_); type != nullptr && *type != nullptr; ++type) {
      if (std::strcmp(ggml_backend_buft_name(*type), "CPU_REPACK") == 0) return *type;
    }
    return nullptr;
  }

  bool has_avx2() {
    const auto features = procedure<ggml_backend_get_features_t>("ggml_backend_get_features");
    for (auto* feature = features(reg_); feature->name != nullptr; ++feature) {
      if (std::strcmp(feature->name, "AVX2") == 0) return true;
    }
    return false;
  }

  Buffer allocate(ggml_context* context) {
    return {ggml_backend_alloc_ctx_tensors(context, backend_), ggml_backend_buffer_free};
  }

  void compute(ggml_context* context, ggml_tensor* result, int threads) {
    procedure<ggml_backend_set_n_threads_t>("ggml_backend_set_n_threads")(backend_, threads);
    ggml_cgraph* graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, result);
    ASSERT_EQ(ggml_backend_graph_compute(backend_, graph), GGML_STATUS_SUCCESS);
  }

 private:
  template <typename Procedure>
  Procedure procedure(const char* name) {
    return reinterpret_cast<Procedure>(ggml_backend_reg_get_proc_address(reg_, name));
  }

  ggml_backend_reg_t reg_;
  ggml_backend_dev_t device_;
  ggml_backend_t backend_;
};

/// Calls `check` with each backend that this machine can run.
template <typename Check>
void for_each_backend(const Check& check) {
  std::set<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(SHOAL_LLAMA_LIB)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("libggml-cpu") && name.ends_with(".so")) paths.insert(entry.path());
  }
  int runs = 0;
  for (const std::string& path : paths) {
    ggml_backend_reg_t reg = ggml_backend_load(path.c_str());
    if (reg == nullptr) continue;
    SCOPED_TRACE(path);
    CpuBackend backend(reg);
    check(backend);
    ++runs;
  }
  EXPECT_GT(runs, 0);
}

Floats random_floats(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

Floats read(const ggml_tensor* tensor) {
  Floats values(static_cast<std::size_t>(ggml_nelements(tensor)));
  ggml_backend_tensor_get(tensor, values.data(), 0, ggml_nbytes(tensor));
  return values;
}

void write(ggml_tensor* tensor, const void* data) {
  ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
}

struct Shape {
  int length;   // of a row
  int outputs;  // rows of the weights
  int rows;     // rows of the activations
};

Floats multiply(CpuBackend& backend, ggml_backend_buffer_type_t where, Shape shape, const Floats& weights,
                const float* rows, int threads) {
  const Context held = make_context();
  ggml_tensor* w = ggml_new_tensor_2d(held.get(), GGML_TYPE_Q4_1, shape.length, shape.outputs);
  const Buffer weight_buffer(ggml_backend_alloc_ctx_tensors_from_buft(held.get(), where), ggml_backend_buffer_free);
  std::vector<std::uint8_t> quants(ggml_nbytes(w));
  ggml_quantize_chunk(GGML_TYPE_Q4_1, weights.data(), quants.data(), 0, shape.outputs, shape.length, nullptr);
  write(w, quants.data());

  const Context context = make_context();
  ggml_tensor* x = ggml_new_tensor_2d(context.get(), GGML_TYPE_F32, shape.length, shape.rows);
  ggml_tensor* product = ggml_mul_mat(context.get(), w, x);
  const Buffer buffer = backend.allocate(context.get());
  write(x, rows);
  backend.compute(context.get(), product, threads);
  return read(product);
}

double relative_error(const Floats& wanted, const Floats& got) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(wanted[i] - got[i], 2);
    size += std::pow(wanted[i], 2);
  }
  return std::sqrt(error / size);
}

TEST(Q4_1, RepackedEqualsPlainButForTheOrderOfAdditions) {
  for_each_backend([](CpuBackend& backend) {
    if (!backend.has_avx2()) return;
    ASSERT_NE(backend.repacked(), nullptr);
    for (const int length : {32, 576}) {
      for (const int outputs : {8, 24, 192}) {
        for (const int rows : {1, 3, 4, 8, 13}) {
          SCOPED_TRACE(testing::Message() << length << " x " << outputs << " x " << rows);
          const Shape shape{.length = length, .outputs = outputs, .rows = rows};
          const Floats weights = random_floats(static_cast<std::size_t>(length * outputs), 1);
          const Floats x = random_floats(static_cast<std::size_t>(length * rows), 2);
          const Floats plain = multiply(backend, backend.plain(), shape, weights, x.data(), 1);
          const Floats fast = multiply(backend, backend.repacked(), shape, weights, x.data(), 2);
          EXPECT_LT(relative_error(plain, fast), 1e-6);
        }
      }
    }
  });
}

TEST(Q4_1, RepackedGivesTheSameBitsForARowAloneAndInEveryBackend) {
  const Shape shape{.length = 96, .outputs = 40, .rows = 15};
  const Floats weights = random_floats(96 * 40, 3);
  const Floats x = random_floats(96 * 15, 4);
  Floats first;
  for_each_backend([&](CpuBackend& backend) {
    if (!backend.has_avx2()) return;
    const Floats together = multiply(backend, backend.repacked(), shape, weights, x.data(), 3);
    if (first.empty()) first = together;
    EXPECT_EQ(together, first);
    for (std::size_t row = 0; row < 15; ++row) {
      const Floats alone = multiply(backend, backend.repacked(), {.length = 96, .outputs = 40, .rows = 1}, weights,
                                    x.data() + row * 96, 1);
      EXPECT_EQ(alone, Floats(together.begin() + static_cast<std::ptrdiff_t>(row * 40),
                              together.begin() + static_cast<std::ptrdiff_t>((row + 1) * 40)));
    }
  });
}

constexpr std::size_t kHead = 64;

/// The attention of the rows over those cells for which `visible` holds, all others masked, or, with `compact`,
/// not there at all.
Floats attention(CpuBackend& backend, int rows, std::size_t cells, const std::vector<bool>& visible, bool compact) {
  const Floats all_keys = random_floats(cells * kHead, 6);
  const Floats all_values = random_floats(cells * kHead, 7);
  std::vector<ggml_fp16_t> keys;
  std::vector<ggml_fp16_t> values;
  std::vector<ggml_fp16_t> mask;
  for (std::size_t cell = 0; cell < cells; ++cell) {
    if (compact && !visible[cell]) continue;
    for (std::size_t i = 0; i < kHead; ++i) {
      keys.push_back(ggml_fp32_to_fp16(all_keys[cell * kHead + i]));
      values.push_back(ggml_fp32_to_fp16(all_values[cell * kHead + i]));
    }
    mask.push_back(ggml_fp32_to_fp16(visible[cell] ? 0.0F : -std::numeric_limits<float>::infinity()));
  }
  const auto count = static_cast<std::int64_t>(mask.size());
  const std::vector<ggml_fp16_t> one = mask;
  for (int row = 1; row < rows; ++row) mask.insert(mask.end(), one.begin(), one.end());

  const Context context = make_context();
  ggml_tensor* q = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, kHead, rows, 1);
  ggml_tensor* k = ggml_new_tensor_3d(context.get(), GGML_TYPE_F16, kHead, count, 1);
  ggml_tensor* v = ggml_new_tensor_3d(context.get(), GGML_TYPE_F16, kHead, count, 1);
  ggml_tensor* m = ggml_new_tensor_2d(context.get(), GGML_TYPE_F16, count, rows);
  ggml_tensor* result = ggml_flash_attn_ext(context.get(), q, k, v, m, 0.125F, 0, 0);
  const Buffer buffer = backend.allocate(context.get());
  write(q, random_floats(kHead * static_cast<std::size_t>(rows), 5).data());
  write(k, keys.data());
  write(v, values.data());
  write(m, mask.data());
  backend.compute(context.get(), result, 1);
  return read(result);
}

TEST(FlashAttention, MaskedCellsChangeNoBit) {
  std::mt19937 generator(8);
  for_each_backend([&](CpuBackend& backend) {
    for (const std::size_t cells : {std::size_t{33}, std::size_t{96}, std::size_t{300}}) {
      for (const unsigned one_in : {1U, 2U, 16U, 60U}) {
        SCOPED_TRACE(testing::Message() << cells << " cells, one of " << one_in << " visible");
        std::vector<bool> visible(cells);
        for (std::size_t i = 0; i < cells; ++i) visible[i] = generator() % one_in == 0;
        visible.back() = true;
        EXPECT_EQ(attention(backend, 3, cells, visible, false), attention(backend, 3, cells, visible, true));
      }
    }
  });
}

TEST(FlashAttention, MaskedTilesChangeNoBit) {
  constexpr std::size_t kTile = 64;
  for_each_backend([&](CpuBackend& backend) {
    std::vector<bool> visible(8 * kTile);
    for (std::size_t i = 0; i < visible.size(); ++i) visible[i] = i / kTile % 3 == 1;
    EXPECT_EQ(attention(backend, 70, visible.size(), visible, false),
              attention(backend, 70, visible.size(), visible, true));
  });
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
