#include "shoal/models/convert/convert.h"

#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/gguf/reader.h"
#include "shoal/gguf/writer.h"
#include "shoal/models/convert/bert.h"
#include "shoal/models/convert/safetensors.h"

namespace shoal::models::convert {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::uintmax_t kMaxJsonBytes = 64 * 1024 * 1024;  // the largest tokenizer.json in use is near 35 MB
constexpr std::uint32_t kTypeF32 = 0;
constexpr std::uint32_t kTypeF16 = 1;

Result<json::object> read_json(const fs::path& path) {
  std::error_code why;
  const std::uintmax_t size = fs::file_size(path, why);
  if (why)
    return Error(ErrorCode::kModelInvalid,
                 fmt::format("{} is missing; wanted a folder with config.json, tokenizer.json and model.safetensors",
                             path.string()));
  if (size > kMaxJsonBytes)
    return Error(ErrorCode::kModelInvalid,
                 fmt::format("{} has {} bytes; at most {}", path.string(), size, kMaxJsonBytes));
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  json::value root = json::parse(bytes, why);
  if (why || !root.is_object())
    return Error(ErrorCode::kModelInvalid, fmt::format("{} is not a JSON object", path.string()));
  return std::move(root.get_object());
}

std::string architecture_of(const json::object& config) {
  const json::value* type = config.if_contains("model_type");
  return type != nullptr && type->is_string() ? std::string(type->get_string()) : "";
}

struct Planned {
  const TensorEntry* source = nullptr;
  std::uint32_t type = kTypeF32;
};

// Positions and token types are few and added to everything: they stay exact.
std::uint32_t type_for(const std::string& name, const TensorEntry& tensor) {
  return tensor.shape.size() < 2 || name == "position_embd.weight" || name == "token_types.weight" ? kTypeF32
                                                                                                   : kTypeF16;
}

Result<void> append_tensor(Safetensors& file, const Planned& planned, gguf::Writer& writer) {
  const std::vector<float> values = SHOAL_TRY(file.read(*planned.source));
  if (planned.type == kTypeF32)
    return writer.append({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  std::vector<std::uint16_t> halves;
  halves.reserve(values.size());
  for (const float value : values) halves.push_back(to_f16(value));
  return writer.append({reinterpret_cast<const char*>(halves.data()), halves.size() * sizeof(std::uint16_t)});
}

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

Result<ConvertReport> write_gguf(const fs::path& folder, const fs::path& out) {
  const json::object config = SHOAL_TRY(read_json(folder / "config.json"));
  const std::string architecture = architecture_of(config);
  if (architecture != "bert") {
    return Error(
        ErrorCode::kUnimplemented,
        fmt::format(
            "config.json: the architecture '{}' is not converted, only 'bert' is; import a GGUF of this model instead",
            architecture));
  }
  const json::object tokenizer = SHOAL_TRY(read_json(folder / "tokenizer.json"));
  gguf::Writer writer;
  SHOAL_TRY(write_bert_metadata(config, tokenizer, folder, writer));
  Safetensors file = SHOAL_TRY(Safetensors::open(folder / "model.safetensors"));

  ConvertReport report{architecture, 0, 0};
  std::map<std::string, Planned> plan;
  for (const auto& [name, tensor] : file.tensors()) {
    const std::string target = SHOAL_TRY(bert_tensor_name(name));
    if (!target.empty()) plan[target] = {&tensor, type_for(target, tensor)};
  }
  for (const auto& [name, planned] : plan) {
    // ggml counts dimensions from the innermost.
    const std::vector<std::uint64_t> dims(planned.source->shape.rbegin(), planned.source->shape.rend());
    const std::uint64_t elements = planned.source->elements();
    if (dims.empty() || dims.size() > 4 || elements == 0)
      return Error(ErrorCode::kModelInvalid, fmt::format("tensor '{}' has no shape that a model has", name));
    writer.describe(name, dims, planned.type, elements * (planned.type == kTypeF32 ? 4 : 2));
    ++report.tensors;
    report.parameters += elements;
  }
  SHOAL_TRY(writer.open(out));
  for (const auto& [name, planned] : plan) SHOAL_TRY(append_tensor(file, planned, writer));
  SHOAL_TRY(writer.close());
  return report;
}

}  // namespace

Result<ConvertReport> convert_folder(const fs::path& folder, const fs::path& out) {
  const fs::path temporary = out.string() + ".new";
  auto report = write_gguf(folder, temporary);
  if (report.ok()) {
    if (auto renamed = sync_and_rename(temporary, out); !renamed.ok()) return std::move(renamed).error();
    return report;
  }
  std::error_code ignored;
  fs::remove(temporary, ignored);
  return report;
}

}  // namespace shoal::models::convert
