// Attention of the CPU backend over a cache that sequences share: patches 0004 and 0007.
#include <algorithm>
#include <limits>

#include "cpu_backend.h"

namespace shoal {
namespace {

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

struct Case {
  std::string name;
  std::int64_t rows = 1;  // of each sequence
  std::int64_t sequences = 1;
  std::int64_t prefix = 0;  // cells that all sequences see
  std::int64_t own = 40;    // cells of each sequence, the row's own included
  std::int64_t heads = 6;
  std::int64_t key_heads = 2;
  std::int64_t head = 64;  // values of a head
  ggml_type type = GGML_TYPE_F16;
  float max_bias = 0;
  float softcap = 0;
  bool sinks = false;
  bool masked = true;
};

/// Cells lie as they do in a cache that was in use for a while: those of all sequences mixed.
class SharedCache {
 public:
  SharedCache(const Case& c, unsigned seed) : case_(c), generator_(seed) {
    const auto count = static_cast<std::size_t>(c.prefix + c.sequences * c.own + 77);
    owner_.assign(count, kNobody);
    position_.assign(count, 0);
    std::vector<std::size_t> order(count);
    for (std::size_t i = 0; i < count; ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), generator_);
    std::size_t next = 0;
    for (std::int64_t i = 0; i < c.prefix; ++i, ++next) owner_[order[next]] = kEverybody;
    for (std::int64_t s = 0; s < c.sequences; ++s) {
      for (std::int64_t i = 0; i < c.own; ++i, ++next) {
        owner_[order[next]] = static_cast<int>(s);
        position_[order[next]] = i;
      }
    }
  }

  [[nodiscard]] std::int64_t cells() const { return static_cast<std::int64_t>(owner_.size()); }
  [[nodiscard]] std::int64_t rows() const { return case_.rows * case_.sequences; }

  /// Each row sees the prefix, and of its sequence the cells up to its own.
  [[nodiscard]] bool sees(std::int64_t row, std::int64_t cell) const {
    const int owner = owner_[static_cast<std::size_t>(cell)];
    if (!case_.masked || owner == kEverybody) return true;
    return owner == row / case_.rows &&
           position_[static_cast<std::size_t>(cell)] <= case_.own - case_.rows + row % case_.rows;
  }

 private:
  static constexpr int kNobody = -1;
  static constexpr int kEverybody = -2;
  Case case_;
  std::mt19937 generator_;
  std::vector<int> owner_;
  std::vector<std::int64_t> position_;
};

constexpr float kScale = 0.125F;

double slope(const Case& c, std::int64_t head) {
  if (c.max_bias == 0) return 1;
  const auto n = std::pow(2.0, std::floor(std::log2(static_cast<double>(c.heads))));
  const auto h = static_cast<double>(head);
  return h < n ? std::pow(std::pow(2.0, -c.max_bias / n), h + 1)
               : std::pow(std::pow(2.0, -c.max_bias / 2 / n), 2 * (h - n) + 1);
}

/// In double, cell by cell: [row][head][value].
Floats expected(const Case& c, const SharedCache& cache, const Floats& q, const Floats& k, const Floats& v,
                const Floats& bias, const Floats& sinks) {
  Floats out;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  const std::int64_t size = c.head;
  for (std::int64_t row = 0; row < cache.rows(); ++row) {
    for (std::int64_t head = 0; head < c.heads; ++head) {
      const std::int64_t key_head = head / (c.heads / c.key_heads);
      std::vector<double> sum(at(c.head));
      double total = c.sinks ? std::exp(static_cast<double>(sinks[at(head)])) : 0;
      for (std::int64_t cell = 0; cell < cache.cells(); ++cell) {
        if (!cache.sees(row, cell)) continue;
        double score = 0;
        for (std::int64_t i = 0; i < size; ++i)
          score += static_cast<double>(q[at((head * cache.rows() + row) * size + i)]) *
                   static_cast<double>(k[at((key_head * cache.cells() + cell) * size + i)]);
        score *= static_cast<double>(kScale);
        if (c.softcap != 0) score = static_cast<double>(c.softcap) * std::tanh(score / static_cast<double>(c.softcap));
        const double weight = std::exp(score + slope(c, head) * static_cast<double>(c.masked ? bias[at(cell)] : 0.0F));
        total += weight;
        for (std::int64_t i = 0; i < size; ++i)
          sum[at(i)] += weight * static_cast<double>(v[at((key_head * cache.cells() + cell) * size + i)]);
      }
      for (const double value : sum) out.push_back(static_cast<float>(value / total));
    }
  }
  return out;
}

void fill(ggml_tensor* tensor, const Floats& values) {
  if (tensor->type == GGML_TYPE_F32) return write(tensor, values.data());
  std::vector<ggml_fp16_t> halves(values.size());
  ggml_fp32_to_fp16_row(values.data(), halves.data(), static_cast<std::int64_t>(values.size()));
  write(tensor, halves.data());
}

/// As the halves that the cache holds.
Floats rounded(Floats values, ggml_type type) {
  if (type == GGML_TYPE_F32) return values;
  for (float& value : values) value = ggml_fp16_to_fp32(ggml_fp32_to_fp16(value));
  return values;
}

void check(CpuBackend& backend, const Case& c, int threads) {
  SCOPED_TRACE(testing::Message() << c.name << ", " << threads << " threads");
  const SharedCache cache(c, 21);
  const auto size = [&c](std::int64_t a, std::int64_t b) { return static_cast<std::size_t>(a * b * c.head); };
  const Floats q = random_floats(size(cache.rows(), c.heads), 22);
  const Floats k = rounded(random_floats(size(cache.cells(), c.key_heads), 23), c.type);
  const Floats v = rounded(random_floats(size(cache.cells(), c.key_heads), 24), c.type);
  const Floats sinks = random_floats(static_cast<std::size_t>(c.heads), 25);
  // What ALiBi puts into the mask: a distance.
  Floats bias = random_floats(static_cast<std::size_t>(cache.cells()), 26);
  for (float& value : bias) value = c.max_bias > 0 ? -std::floor(std::abs(value) * 9) : 0.0F;
  Floats mask;
  for (std::int64_t row = 0; row < cache.rows(); ++row) {
    for (std::int64_t cell = 0; cell < cache.cells(); ++cell)
      mask.push_back(cache.sees(row, cell) ? bias[static_cast<std::size_t>(cell)]
                                           : -std::numeric_limits<float>::infinity());
  }

  const Context context = make_context();
  ggml_tensor* tq = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, c.head, cache.rows(), c.heads);
  ggml_tensor* tk = ggml_new_tensor_3d(context.get(), c.type, c.head, cache.cells(), c.key_heads);
  ggml_tensor* tv = ggml_new_tensor_3d(context.get(), c.type, c.head, cache.cells(), c.key_heads);
  ggml_tensor* tm = c.masked ? ggml_new_tensor_2d(context.get(), GGML_TYPE_F16, cache.cells(), cache.rows()) : nullptr;
  ggml_tensor* ts = c.sinks ? ggml_new_tensor_1d(context.get(), GGML_TYPE_F32, c.heads) : nullptr;
  ggml_tensor* result = ggml_flash_attn_ext(context.get(), tq, tk, tv, tm, kScale, c.max_bias, c.softcap);
  ggml_flash_attn_ext_add_sinks(result, ts);
  const Buffer buffer = backend.allocate(context.get());
  fill(tq, q);
  fill(tk, k);
  fill(tv, v);
  if (tm != nullptr) fill(tm, mask);
  if (ts != nullptr) fill(ts, sinks);
  backend.compute(context.get(), result, threads);
  const bool in_halves = cache.rows() == 1 && (c.heads == c.key_heads || c.key_heads < threads);
  EXPECT_LT(relative_error(expected(c, cache, q, k, v, bias, sinks), read(result)), in_halves ? 5e-3 : 1e-5);
}

TEST(FlashAttention, EqualsAReferenceInDouble) {
  const std::vector<Case> cases = {
      {.name = "one row"},
      {.name = "one row, a key head for each", .heads = 3, .key_heads = 3},
      {.name = "one row of many cells", .own = 700},
      {.name = "more heads than are taken at a time", .heads = 20, .key_heads = 2},
      {.name = "a prompt", .rows = 150, .own = 150},
      {.name = "a prompt behind a long prefix", .rows = 20, .own = 300},
      {.name = "sixteen answers", .sequences = 16, .own = 90},
      {.name = "sixteen answers, a key head for each", .sequences = 16, .own = 90, .heads = 2, .key_heads = 2},
      {.name = "sixteen answers with a prefix", .sequences = 16, .prefix = 200, .own = 20},
      {.name = "guesses", .rows = 3, .sequences = 5, .own = 70},
      {.name = "prompts beside each other", .rows = 45, .sequences = 3, .own = 60},
      {.name = "ALiBi", .rows = 10, .sequences = 3, .own = 60, .max_bias = 8},
      {.name = "ALiBi, cells that all rows see", .rows = 20, .own = 300, .max_bias = 8},
      {.name = "soft cap", .rows = 10, .sequences = 3, .own = 60, .softcap = 2},
      {.name = "sinks", .rows = 10, .sequences = 3, .own = 60, .sinks = true},
      {.name = "floats", .rows = 10, .sequences = 3, .own = 60, .type = GGML_TYPE_F32},
      {.name = "heads of 48", .rows = 10, .sequences = 3, .own = 60, .head = 48},
      {.name = "heads of 80", .rows = 10, .sequences = 3, .own = 60, .head = 80},
      {.name = "heads of 128", .rows = 10, .sequences = 3, .own = 60, .head = 128},
      {.name = "no mask", .rows = 70, .own = 70, .masked = false},
  };
  for_each_backend([&](CpuBackend& backend) {
    for (const Case& c : cases) {
      for (const int threads : {1, 3, 8}) check(backend, c, threads);
    }
  });
}

TEST(FlashAttention, ValuesThatOverflowReachNobodyElse) {
  // Two answers with a common prefix are computed together; the own values of the second are infinite.
  constexpr std::int64_t kPrefix = 60;
  constexpr std::int64_t kOwn = 10;
  constexpr auto kSize = static_cast<std::int64_t>(kHead);
  const std::int64_t cells = kPrefix + 2 * kOwn;
  const auto attend = [&](CpuBackend& backend, float own_of_second) {
    Floats v = random_floats(static_cast<std::size_t>(cells) * kHead, 32);
    std::fill(v.end() - kOwn * kSize, v.end(), own_of_second);
    Floats mask;
    for (int row = 0; row < 2; ++row) {
      for (std::int64_t cell = 0; cell < cells; ++cell)
        mask.push_back(cell < kPrefix || (cell - kPrefix) / kOwn == row ? 0 : -std::numeric_limits<float>::infinity());
    }
    const Context context = make_context();
    ggml_tensor* tq = ggml_new_tensor_3d(context.get(), GGML_TYPE_F32, kSize, 2, 2);
    ggml_tensor* tk = ggml_new_tensor_3d(context.get(), GGML_TYPE_F16, kSize, cells, 1);
    ggml_tensor* tv = ggml_new_tensor_3d(context.get(), GGML_TYPE_F16, kSize, cells, 1);
    ggml_tensor* tm = ggml_new_tensor_2d(context.get(), GGML_TYPE_F16, cells, 2);
    ggml_tensor* result = ggml_flash_attn_ext(context.get(), tq, tk, tv, tm, kScale, 0, 0);
    const Buffer buffer = backend.allocate(context.get());
    fill(tq, random_floats(4 * kHead, 30));
    fill(tk, random_floats(static_cast<std::size_t>(cells) * kHead, 31));
    fill(tv, v);
    fill(tm, mask);
    backend.compute(context.get(), result, 1);
    Floats out = read(result);
    out.resize(2 * kHead);  // the first row, both heads
    return out;
  };
  for_each_backend([&](CpuBackend& backend) {
    EXPECT_LT(relative_error(attend(backend, 1), attend(backend, std::numeric_limits<float>::infinity())), 5e-3);
  });
}

}  // namespace
}  // namespace shoal
