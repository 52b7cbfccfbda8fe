#include "shoal/routing/json_file.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <system_error>

namespace shoal::routing {

namespace fs = std::filesystem;

std::string json_number(double value) {
  return fmt::format("{}", value);
}

Result<boost::json::value> parse_exactly(std::string_view text) {
  const auto parsed = [](std::string_view of) {
    boost::system::error_code error;
    boost::json::value out = boost::json::parse(boost::json::string_view(of.data(), of.size()), error);
    return error ? boost::json::value() : out;
  };
  // Only what is JSON is rewritten, so that every digit outside of a text is a number's.
  if (!parsed(text).is_object()) return Error(ErrorCode::kInvalidConfig, "it is not a JSON object");
  std::string marked;
  bool in_text = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_text && c == '\\') {
      marked += text.substr(i++, 2);
      continue;
    }
    if (c == '"') in_text = !in_text;
    if (in_text || (c != '-' && (c < '0' || c > '9'))) {
      marked += c;
      continue;
    }
    const std::size_t end = std::min(text.find_first_not_of("+-.0123456789eE", i), text.size());
    marked += "\"\\u0001";
    marked += text.substr(i, end - i);
    marked += '"';
    i = end - 1;
  }
  return parsed(marked);
}

std::vector<fs::path> json_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".json") files.push_back(at->path());
  }
  std::ranges::sort(files);
  return files;
}

Result<std::string> read_text(const fs::path& path) {
  constexpr std::uintmax_t kMaxBytes = 1U << 20;
  std::error_code error;
  if (const std::uintmax_t size = fs::file_size(path, error); !error && size > kMaxBytes) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("it has {} bytes, and {} are the most", size, kMaxBytes));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return base::errno_error("cannot open it", errno);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return base::errno_error("cannot read it", errno);
  return text;
}

Result<fs::path> save_text(const fs::path& folder, const std::string& name, std::string_view text) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  fs::path path = folder / name;
  const fs::path partial = path.string() + ".partial";
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return base::errno_error("cannot write " + partial.string(), errno);
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  return path;
}

std::string plain_file_name(std::string name) {
  for (char& c : name) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!plain) c = '_';
  }
  if (name.starts_with('.')) name.front() = '_';
  return name;
}

}  // namespace shoal::routing
