// A graph that is not wanted any more ends in the midst of a node: patch 0011.
#include <atomic>
#include <limits>

#include "cpu_backend.h"

namespace shoal {
namespace {

/// Says no, but for one time.
struct Refusal {
  int at = std::numeric_limits<int>::max();
  std::atomic<int> asked{0};

  static bool ask(void* data) {
    auto* self = static_cast<Refusal*>(data);
    return ++self->asked == self->at;
  }
};

/// A graph of one node.
struct Node {
  Context weights = make_context();
  Buffer weight_buffer{nullptr, ggml_backend_buffer_free};
  Context context = make_context();
  ggml_tensor* result = nullptr;
  Buffer buffer{nullptr, ggml_backend_buffer_free};

  void fill(CpuBackend& backend) {
    buffer = backend.allocate(context.get());
    for (ggml_tensor* t = ggml_get_first_tensor(context.get()); t != nullptr;
         t = ggml_get_next_tensor(context.get(), t))
      ggml_backend_tensor_memset(t, 0, 0, ggml_nbytes(t));
  }
};

Node attention(CpuBackend& backend) {
  Node node;
  ggml_context* context = node.context.get();
  ggml_tensor* q = ggml_new_tensor_3d(context, GGML_TYPE_F32, 64, 64, 2);
  ggml_tensor* k = ggml_new_tensor_3d(context, GGML_TYPE_F16, 64, 4096, 1);
  ggml_tensor* v = ggml_new_tensor_3d(context, GGML_TYPE_F16, 64, 4096, 1);
  ggml_tensor* mask = ggml_new_tensor_2d(context, GGML_TYPE_F16, 4096, 64);
  node.result = ggml_flash_attn_ext(context, q, k, v, mask, 0.125F, 0, 0);
  node.fill(backend);
  return node;
}

Node product(CpuBackend& backend, ggml_type type) {
  Node node;
  ggml_tensor* weights = ggml_new_tensor_2d(node.weights.get(), type, 256, 512);
  ggml_backend_buffer_type_t where = type == GGML_TYPE_Q4_0 ? backend.repacked() : backend.plain();
  node.weight_buffer.reset(ggml_backend_alloc_ctx_tensors_from_buft(node.weights.get(), where));
  const std::vector<std::uint8_t> zeros(ggml_nbytes(weights));
  write(weights, zeros.data());
  ggml_tensor* rows = ggml_new_tensor_2d(node.context.get(), GGML_TYPE_F32, 256, 64);
  node.result = ggml_mul_mat(node.context.get(), weights, rows);
  node.fill(backend);
  return node;
}

void ends_in_its_midst(CpuBackend& backend, const Node& node, int threads) {
  Refusal never;
  backend.abort_when(Refusal::ask, &never);
  EXPECT_EQ(backend.try_compute(node.context.get(), node.result, threads), GGML_STATUS_SUCCESS);
  const int asked = never.asked;
  EXPECT_GE(asked, 4) << "of one node";

  Refusal early{.at = 2, .asked = {}};
  backend.abort_when(Refusal::ask, &early);
  EXPECT_EQ(backend.try_compute(node.context.get(), node.result, threads), GGML_STATUS_ABORTED)
      << "by what was said once";
  EXPECT_LT(early.asked, asked) << "the rest is not computed";

  backend.abort_when(nullptr, nullptr);
  EXPECT_EQ(backend.try_compute(node.context.get(), node.result, threads), GGML_STATUS_SUCCESS) << "the next one";
}

TEST(Abort, IsHeardWithinAttention) {
  for_each_backend([](CpuBackend& backend) {
    for (const int threads : {1, 2}) ends_in_its_midst(backend, attention(backend), threads);
  });
}

TEST(Abort, IsHeardWithinAProduct) {
  for_each_backend([](CpuBackend& backend) {
    if (!backend.has_avx2()) return;
    // By the repacked kernels, row by row, and in tiles. Q8_0 is shared out beforehand, and all is for a single thread.
    for (const ggml_type type : {GGML_TYPE_Q4_0, GGML_TYPE_IQ4_XS, GGML_TYPE_F16}) {
      SCOPED_TRACE(ggml_type_name(type));
      ends_in_its_midst(backend, product(backend, type), 2);
    }
  });
}

}  // namespace
}  // namespace shoal
