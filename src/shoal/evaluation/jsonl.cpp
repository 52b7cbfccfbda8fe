#include "shoal/evaluation/jsonl.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json.hpp>

#include "shoal/base/text.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace json = boost::json;

Result<json::object> parse_object(std::string_view line) {
  boost::system::error_code error;
  json::value root = json::parse(json::string_view(line.data(), line.size()), error);
  if (error || !root.is_object()) return Error(ErrorCode::kInvalidData, "it is not a JSON object");
  return std::move(root.get_object());
}

}  // namespace

Result<void> each_object(std::string_view text, const TakeObject& take) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (text.starts_with(kMark)) text.remove_prefix(kMark.size());
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<json::object> object = parse_object(line);
    const Result<void> taken = object.ok() ? take(*object, number) : Result<void>(std::move(object).error());
    if (!taken.ok()) return Error(ErrorCode::kInvalidData, fmt::format("line {}: {}", number, taken.error().message()));
  }
  return {};
}

Result<void> read_jsonl(const std::filesystem::path& path, const TakeObject& take) {
  const std::string text = SHOAL_TRY(contents_of(path));
  const Result<void> read = each_object(text, take);
  if (!read.ok()) return Error(ErrorCode::kInvalidData, fmt::format("{}, {}", shown(path), read.error().message()));
  return {};
}

// Not a stream: reading a folder as one throws.
Result<std::string> contents_of(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::errno_error("cannot open " + shown(path), errno);
  std::string out;
  std::size_t there = 0;
  int fault = 0;
  for (;;) {
    out.resize(std::max<std::size_t>(2 * there, 1 << 16));
    const ssize_t n = ::read(fd, out.data() + there, out.size() - there);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fault = errno;
    if (n <= 0) break;
    there += static_cast<std::size_t>(n);
  }
  ::close(fd);
  if (fault != 0) return base::errno_error("cannot read " + shown(path), fault);
  out.resize(there);
  return out;
}

std::string shown(const std::filesystem::path& path) {
  return base::escape_control(path.string());
}
std::string shown(std::string_view text) {
  return base::escape_control(wire::shortened(text));
}

}  // namespace shoal::evaluation
