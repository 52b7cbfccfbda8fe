// The builds of ggml's CPU backend, for tests of what the patches change in them.
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <ggml.h>
#include <gtest/gtest.h>

#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <ggml-cpu.h>

namespace shoal {

using Floats = std::vector<float>;
using Context = std::unique_ptr<ggml_context, decltype(&ggml_free)>;
using Buffer = std::unique_ptr<ggml_backend_buffer, decltype(&ggml_backend_buffer_free)>;

inline Context make_context() {
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
    ASSERT_EQ(try_compute(context, result, threads), GGML_STATUS_SUCCESS);
  }

  [[nodiscard]] ggml_status try_compute(ggml_context* context, ggml_tensor* result, int threads) {
    procedure<ggml_backend_set_n_threads_t>("ggml_backend_set_n_threads")(backend_, threads);
    ggml_cgraph* graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, result);
    return ggml_backend_graph_compute(backend_, graph);
  }

  void abort_when(ggml_abort_callback callback, void* data) {
    procedure<ggml_backend_set_abort_callback_t>("ggml_backend_set_abort_callback")(backend_, callback, data);
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

inline Floats random_floats(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

inline Floats read(const ggml_tensor* tensor) {
  Floats values(static_cast<std::size_t>(ggml_nelements(tensor)));
  ggml_backend_tensor_get(tensor, values.data(), 0, ggml_nbytes(tensor));
  return values;
}

inline void write(ggml_tensor* tensor, const void* data) {
  ggml_backend_tensor_set(tensor, data, 0, ggml_nbytes(tensor));
}

inline double relative_error(const Floats& wanted, const Floats& got) {
  double error = 0;
  double size = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    error += std::pow(wanted[i] - got[i], 2);
    size += std::pow(wanted[i], 2);
  }
  return std::sqrt(error / size);
}

}  // namespace shoal
