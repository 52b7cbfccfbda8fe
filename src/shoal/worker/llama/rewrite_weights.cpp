#include "shoal/worker/llama/rewrite_weights.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <ggml.h>

#include "shoal/gguf/reader.h"
#include "shoal/gguf/rewrite_plan.h"
#include "shoal/gguf/writer.h"

namespace shoal::worker::llama {
namespace {

// Of one step, over all threads: 16 MiB as floats.
constexpr std::uint64_t kStepWeights = std::uint64_t{4} << 20;
constexpr std::uint64_t kCopyBytes = std::uint64_t{1} << 20;
constexpr std::uint32_t kQuantizationVersion = GGML_QNT_VERSION;

constexpr std::string_view kFileType = "general.file_type";
constexpr std::string_view kQuantization = "general.quantization_version";
// The writer aligns to 32, which is what a file without this key has.
constexpr std::string_view kAlignment = "general.alignment";

Error unreadable(const gguf::Tensor& tensor) {
  return {ErrorCode::kIo, fmt::format("the tensor '{}' could not be read", tensor.name)};
}

Result<void> copy_metadata(gguf::Source& source, const gguf::Header& header, std::uint32_t type, gguf::Writer& writer) {
  for (const gguf::KeySpan& span : header.keys) {
    if (span.key == kFileType || span.key == kQuantization || span.key == kAlignment) continue;
    std::string bytes(span.end - span.begin, '\0');
    if (!source.read(span.begin, bytes)) return Error(ErrorCode::kIo, "the metadata could not be read");
    writer.copied(bytes);
  }
  writer.u32(kQuantization, kQuantizationVersion);
  writer.u32(kFileType, gguf::file_type_number(type));
  return {};
}

// Rows of one tensor from one type into another.
class Converter {
 public:
  Converter(std::uint32_t from, std::uint32_t to, std::uint64_t row)
      : from_(static_cast<ggml_type>(from)), to_(static_cast<ggml_type>(to)), row_(row) {}

  [[nodiscard]] std::uint64_t row_bytes_in() const { return ggml_row_size(from_, static_cast<std::int64_t>(row_)); }
  [[nodiscard]] std::uint64_t row_bytes_out() const { return ggml_row_size(to_, static_cast<std::int64_t>(row_)); }

  // False: a weight is not finite. Threads: any, on rows of its own.
  [[nodiscard]] bool convert(const char* in, char* out, std::uint64_t rows) const {
    std::vector<float> weights(rows * row_);
    if (from_ == GGML_TYPE_F32) {
      std::copy_n(in, rows * row_bytes_in(), reinterpret_cast<char*>(weights.data()));
    } else {
      ggml_get_type_traits(from_)->to_float(in, weights.data(), static_cast<std::int64_t>(weights.size()));
    }
    // ggml asserts on numbers that are none.
    if (!std::ranges::all_of(weights, [](float weight) { return std::isfinite(weight); })) return false;
    ggml_quantize_chunk(to_, weights.data(), out, 0, static_cast<std::int64_t>(rows), static_cast<std::int64_t>(row_),
                        nullptr);
    return true;
  }

  // Over several threads.
  [[nodiscard]] bool convert_all(std::span<const char> in, std::span<char> out, std::uint32_t threads) const {
    const std::uint64_t rows = in.size() / row_bytes_in();
    const std::uint64_t share = (rows + threads - 1) / threads;
    std::atomic<bool> finite = true;
    std::vector<std::jthread> pool;
    for (std::uint64_t first = 0; first < rows; first += share) {
      pool.emplace_back([&, first, count = std::min(share, rows - first)] {
        if (!convert(in.data() + first * row_bytes_in(), out.data() + first * row_bytes_out(), count)) finite = false;
      });
    }
    pool.clear();
    return finite;
  }

 private:
  ggml_type from_;
  ggml_type to_;
  std::uint64_t row_;
};

// One tensor, in steps; `on_read` hears of each.
Result<void> write_tensor(gguf::Source& source, std::uint64_t begin, const gguf::Tensor& tensor, std::uint32_t type,
                          std::uint32_t threads, gguf::Writer& writer,
                          const std::function<void(std::uint64_t)>& on_read) {
  const Converter converter(tensor.type, type, tensor.dims[0]);
  const bool same = tensor.type == type;
  const std::uint64_t step_rows = std::max<std::uint64_t>(kStepWeights / tensor.dims[0], 1);
  const std::uint64_t step = same ? kCopyBytes : step_rows * converter.row_bytes_in();
  std::vector<char> in;
  std::vector<char> out;
  for (std::uint64_t at = 0; at < tensor.bytes; at += in.size()) {
    in.resize(std::min(step, tensor.bytes - at));
    if (!source.read(begin + at, in)) return unreadable(tensor);
    if (same) {
      SHOAL_TRY(writer.append(in));
    } else {
      out.resize(in.size() / converter.row_bytes_in() * converter.row_bytes_out());
      if (!converter.convert_all(in, out, threads)) {
        return Error(ErrorCode::kNumericFault,
                     fmt::format("the tensor '{}' has weights that are not finite", tensor.name));
      }
      SHOAL_TRY(writer.append(out));
    }
    on_read(in.size());
  }
  return {};
}

}  // namespace

Result<ipc::Rewritten> rewrite_weights(const RewriteJob& job,
                                       const std::function<void(std::uint64_t, std::uint64_t)>& on_progress) {
  gguf::FileSource source(job.source_fd);
  const gguf::Header header = SHOAL_TRY(gguf::read_header(source));
  const gguf::RewritePlan plan = SHOAL_TRY(gguf::plan_rewrite(header, job.type));
  gguf::Writer writer;
  SHOAL_TRY(copy_metadata(source, header, job.type, writer));
  ipc::Rewritten result;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    const gguf::Tensor& tensor = header.tensors[i];
    writer.describe(tensor.name, tensor.dims, plan.types[i], plan.bytes[i]);
    ++(plan.types[i] == tensor.type ? result.kept : result.changed);
  }
  SHOAL_TRY(writer.open(job.output_fd));
  const std::uint64_t total = header.weight_bytes();
  std::uint64_t done = 0;
  for (std::size_t i = 0; i < header.tensors.size(); ++i) {
    const gguf::Tensor& tensor = header.tensors[i];
    SHOAL_TRY(write_tensor(source, header.data_offset + tensor.offset, tensor, plan.types[i],
                           std::max<std::uint32_t>(job.threads, 1), writer, [&](std::uint64_t bytes) {
                             done += bytes;
                             on_progress(done, total);
                           }));
  }
  SHOAL_TRY(writer.close());
  result.bytes = gguf::FileSource(job.output_fd).size();
  return result;
}

}  // namespace shoal::worker::llama
