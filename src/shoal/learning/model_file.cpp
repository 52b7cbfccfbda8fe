#include "shoal/learning/model_file.h"

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

#include <fmt/format.h>

#include "shoal/base/sha256.h"

namespace shoal::learning {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSumBytes = 64;
constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 30U;

}  // namespace

std::string sum_of(std::string_view bytes) {
  base::Sha256 sum;
  sum.update(bytes);
  return sum.finish();
}

std::string sealed_head(std::string_view kind, std::uint32_t version, std::string_view header) {
  return fmt::format("{} {} {}\n{}\n", kind, version, header.size(), header);
}

Error damaged(std::string_view what) {
  return {ErrorCode::kInvalidConfig, fmt::format("{}; train the task again with `shoal tune probe`", what)};
}

Result<Unsealed> unseal(std::string_view kind, std::uint32_t wanted, std::string_view bytes) {
  const std::string first(bytes.substr(0, std::min(bytes.find('\n'), bytes.size())));
  unsigned version = 0;
  std::size_t length = 0;
  // NOLINTNEXTLINE(cert-err34-c): what it did not read stays 0, which is refused below.
  if (!first.starts_with(kind) || std::sscanf(first.c_str() + kind.size(), "%u %zu", &version, &length) != 2) {
    return damaged("it is not a file of a trained task");
  }
  if (version != wanted) {
    return damaged(fmt::format("it is of format {}, and this program reads {}", version, wanted));
  }
  const std::size_t begin = first.size() + 1;
  if (bytes.size() < begin + kSumBytes || bytes.size() - begin - kSumBytes < length + 1) {
    return damaged("it is cut off");
  }
  const std::string_view summed = bytes.substr(0, bytes.size() - kSumBytes);
  if (sum_of(summed) != bytes.substr(summed.size())) return damaged("it is damaged: its SHA-256 is another one");
  return Unsealed{bytes.substr(begin, length), summed.substr(begin + length + 1)};
}

Result<fs::path> save_model_file(const fs::path& folder, const std::string& name, std::string_view bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  fs::path path = folder / name;
  const fs::path partial = path.string() + ".partial";
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  if (!file) return base::errno_error("cannot write " + partial.string(), errno);
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  return path;
}

Result<std::string> read_model_file(const fs::path& path) {
  std::error_code error;
  if (const auto size = fs::file_size(path, error); !error && size > kMostBytes) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("it has {} bytes, and {} are the most", size, kMostBytes));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return base::errno_error("cannot open it", errno);
  std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return base::errno_error("cannot read it", errno);
  return bytes;
}

}  // namespace shoal::learning
