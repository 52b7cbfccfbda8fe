#include "shoal/models/convert/convert.h"

#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/gguf/writer.h"
#include "shoal/models/convert/bert.h"
#include "shoal/models/convert/fields.h"
#include "shoal/models/convert/llama.h"
#include "shoal/models/convert/plan.h"
#include "shoal/models/convert/tokenizer.h"
#include "shoal/models/convert/weights.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uint32_t kTypeF32 = 0;
constexpr std::uint32_t kTypeF16 = 1;
constexpr std::size_t kMaxMessageBytes = 1000;

Result<void> sync_and_rename(const fs::path& from, const fs::path& to) {
  const int fd = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::errno_error("cannot open " + from.string(), errno);
  const int synced = fsync(fd);
  close(fd);
  if (synced != 0) return base::errno_error("cannot sync " + from.string(), errno);
  std::error_code why;
  fs::rename(from, to, why);
  if (why) return Error(ErrorCode::kIo, fmt::format("cannot rename {}: {}", from.string(), why.message()));
  return {};
}

// With a last component, which names the model, also for "folder/" and ".".
fs::path full_path(const fs::path& folder) {
  std::error_code ignored;
  const fs::path full = (fs::current_path(ignored) / folder).lexically_normal();
  return full.has_filename() ? full : full.parent_path();
}

// Metadata and tensors of the architecture. Every fault of the folder but an unreadable weight shows here, before a
// byte is written.
Result<std::vector<PlannedTensor>> prepare(const json::object& config, const std::string& architecture,
                                           const fs::path& folder, const Weights& weights, gguf::Writer& writer) {
  if (architecture == "bert") {
    SHOAL_TRY(write_bert_metadata(config, folder, writer));
    return plan_bert_tensors(weights.tensors());
  }
  const LlamaConfig llama = SHOAL_TRY(read_llama_config(config));
  auto plan = SHOAL_TRY(plan_llama_tensors(llama, weights.tensors()));
  write_llama_metadata(llama, folder.filename().string(), writer);
  SHOAL_TRY(write_tokenizer(folder, config, llama.vocabulary, writer));
  return plan;
}

Result<ConvertReport> write_gguf(const fs::path& folder, const fs::path& out) {
  const json::object config = SHOAL_TRY(read_json(folder / "config.json"));
  const std::string architecture = SHOAL_TRY(Fields("config.json", config).text("model_type", ""));
  if (architecture != "bert" && architecture != "llama") {
    return Error(ErrorCode::kUnimplemented,
                 fmt::format("config.json: the architecture '{}' is not converted, only 'bert' and 'llama' are; import "
                             "a GGUF of this model instead",
                             architecture));
  }
  Weights weights = SHOAL_TRY(Weights::open(folder));
  gguf::Writer writer;
  const std::vector<PlannedTensor> plan = SHOAL_TRY(prepare(config, architecture, folder, weights, writer));
  ConvertReport report{architecture, 0, 0};
  for (const PlannedTensor& planned : plan) {
    const std::vector<std::uint64_t> shape = planned.shape();
    // ggml counts dimensions from the innermost.
    const std::vector<std::uint64_t> dims(shape.rbegin(), shape.rend());
    std::uint64_t elements = 1;
    for (const std::uint64_t dim : dims) elements *= dim;
    if (dims.empty() || dims.size() > 4 || elements == 0)
      return Error(ErrorCode::kModelInvalid, fmt::format("tensor '{}' has no shape that a model has", planned.name));
    writer.describe(planned.name, dims, planned.is_f32() ? kTypeF32 : kTypeF16, elements * (planned.is_f32() ? 4 : 2));
    ++report.tensors;
    report.parameters += elements;
  }
  SHOAL_TRY(writer.open(out));
  for (const PlannedTensor& planned : plan) {
    const std::string data = SHOAL_TRY(tensor_data(planned, weights));
    SHOAL_TRY(writer.append(data));
  }
  SHOAL_TRY(writer.close());
  return report;
}

}  // namespace

Result<ConvertReport> convert_folder(const fs::path& folder, const fs::path& out) {
  const fs::path temporary = out.string() + ".new";
  auto report = write_gguf(full_path(folder), temporary);
  if (report.ok()) {
    if (auto renamed = sync_and_rename(temporary, out); !renamed.ok()) report = std::move(renamed).error();
  }
  if (report.ok()) return report;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  // Names of tokens and tensors, which messages quote, may be of any length.
  return Error(report.error().code(), cut(report.error().message(), kMaxMessageBytes));
}

}  // namespace shoal::models::convert
