#include "shoal/routing/model_file.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <system_error>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/gguf/writer.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
using learning::Tree;
using learning::TreeNode;

constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20U;

class File {
 public:
  explicit File(const fs::path& path) : path_(path), fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  [[nodiscard]] Result<std::vector<char>> read() const {
    struct stat info{};
    if (fd_ < 0 || ::fstat(fd_, &info) != 0) return failed(errno);
    if (static_cast<std::uint64_t>(info.st_size) > kMostBytes)
      return bad_model(fmt::format("{}: {} bytes are more than a router has", path_.string(), info.st_size));
    std::vector<char> out(static_cast<std::size_t>(info.st_size));
    for (std::size_t at = 0; at < out.size();) {
      const ::ssize_t got = ::read(fd_, out.data() + at, out.size() - at);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return failed(got == 0 ? EIO : errno);
      at += static_cast<std::size_t>(got);
    }
    return out;
  }

 private:
  [[nodiscard]] Error failed(int code) const {
    return {ErrorCode::kIo, fmt::format("cannot read {}: {}", path_.string(), std::generic_category().message(code))};
  }

  const fs::path& path_;
  int fd_;
};

// That every walk ends at a leaf, within the nodes: children come after their parent, and depths are what they are.
bool walks_end(const learning::Trees& trees, std::size_t features) {
  const auto n = static_cast<std::int32_t>(trees.nodes.size());
  std::vector<std::int32_t> below(trees.nodes.size());  // steps to the farthest leaf
  for (std::int32_t i = n - 1; i >= 0; --i) {
    const TreeNode& node = trees.nodes[static_cast<std::size_t>(i)];
    const bool leaf = node.left == i && std::isinf(node.limit) && node.limit > 0;
    const bool inner = node.left > i && node.left < n - 1 && std::isfinite(node.limit);
    const bool feature = node.feature >= 0 && node.feature < static_cast<std::int32_t>(features);
    if ((!leaf && !inner) || !feature || !std::isfinite(node.value)) return false;
    const auto left = static_cast<std::size_t>(node.left);
    if (inner) below[static_cast<std::size_t>(i)] = 1 + std::max(below[left], below[left + 1]);
  }
  return std::ranges::all_of(trees.trees, [&](const Tree& tree) {
    return tree.root >= 0 && tree.root < n && tree.depth == below[static_cast<std::size_t>(tree.root)];
  });
}

Result<void> write_file(const fs::path& path, std::string_view architecture, std::string_view key,
                        const std::string& head, std::span<const Block> blocks) {
  gguf::Writer writer;
  writer.text("general.architecture", std::string(architecture));
  writer.text(std::string(key), head);
  for (const Block& one : blocks) writer.describe(one.name, one.dims, one.type, one.bytes.size());
  SHOAL_TRY(writer.open(path));
  for (const Block& one : blocks) SHOAL_TRY(writer.append(one.bytes));
  return writer.close();
}

}  // namespace

std::string print_origin(const GainOrigin& o) {
  const auto text = [](const std::string& value) { return base::json_string(value); };
  return fmt::format(
      "{{\"weak\": {}, \"strong\": {}, \"data\": {}, \"date\": {}, \"command\": {}, \"rows\": {}, \"weak_score\": {}, "
      "\"strong_score\": {}, \"apgr\": {}, \"apgr_error\": {}}}",
      text(o.weak), text(o.strong), text(o.data), text(o.date), text(o.command), o.rows, json_number(o.weak_score),
      json_number(o.strong_score), json_number(o.apgr), json_number(o.apgr_error));
}

GainOrigin read_origin(JsonReader from) {
  GainOrigin out;
  out.weak = from.text("weak");
  out.strong = from.text("strong");
  out.data = from.text("data");
  out.date = from.text("date");
  out.command = from.text("command");
  out.rows = from.count("rows", 1);
  out.weak_score = from.real("weak_score", 0, 1);
  out.strong_score = from.real("strong_score", 0, 1);
  out.apgr = from.real("apgr", -JsonReader::kMost, JsonReader::kMost);
  out.apgr_error = from.real("apgr_error", 0, JsonReader::kMost);
  return out;
}

std::vector<float> read_floats(JsonReader& from, std::string_view name) {
  std::vector<float> out;
  for (const double number : from.numbers(name, -JsonReader::kMost)) out.push_back(static_cast<float>(number));
  return out;
}

bool all_finite(std::span<const float> numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

std::string print_curve(std::span<const GainPoint> curve) {
  std::string out;
  for (const GainPoint& point : curve) {
    out += fmt::format("{}{{\"gain\": {}, \"share\": {}, \"score\": {}}}", out.empty() ? "" : ", ",
                       json_number(point.gain), json_number(point.share), json_number(point.score));
  }
  return out;
}

std::vector<GainPoint> read_curve(JsonReader& from) {
  std::vector<GainPoint> out;
  from.objects("curve", [&out](JsonReader one) {
    out.push_back(
        {one.real("gain", -JsonReader::kMost, JsonReader::kMost), one.real("share", 0, 1), one.real("score", 0, 1)});
  });
  return out;
}

void add_tree_blocks(const learning::Trees& trees, std::vector<Block>& out) {
  if (trees.trees.empty()) return;
  const auto& nodes = trees.nodes;
  out.push_back(block<std::int32_t>("nodes.feature", kI32, nodes, [](const TreeNode& n) { return n.feature; }));
  out.push_back(block<float>("nodes.limit", kF32, nodes, [](const TreeNode& n) { return n.limit; }));
  out.push_back(block<std::int32_t>("nodes.left", kI32, nodes, [](const TreeNode& n) { return n.left; }));
  out.push_back(block<float>("nodes.value", kF32, nodes, [](const TreeNode& n) { return n.value; }));
  out.push_back(block<std::int32_t>("trees.root", kI32, trees.trees, [](const Tree& t) { return t.root; }));
  out.push_back(block<std::int32_t>("trees.depth", kI32, trees.trees, [](const Tree& t) { return t.depth; }));
}

Result<void> read_trees(const Tensors& tensors, std::size_t features, learning::Trees& out) {
  if (!tensors.has("trees.root")) return {};
  const auto feature = SHOAL_TRY(tensors.read<std::int32_t>("nodes.feature", kI32));
  const auto limit = SHOAL_TRY(tensors.read<float>("nodes.limit", kF32));
  const auto left = SHOAL_TRY(tensors.read<std::int32_t>("nodes.left", kI32));
  const auto value = SHOAL_TRY(tensors.read<float>("nodes.value", kF32));
  const auto root = SHOAL_TRY(tensors.read<std::int32_t>("trees.root", kI32));
  const auto depth = SHOAL_TRY(tensors.read<std::int32_t>("trees.depth", kI32));
  const std::size_t n = feature.size();
  if (limit.size() != n || left.size() != n || value.size() != n || root.size() != depth.size())
    return bad_model("the trees' tensors differ in size");
  for (std::size_t i = 0; i < n; ++i) out.nodes.push_back({feature[i], limit[i], left[i], value[i]});
  for (std::size_t i = 0; i < root.size(); ++i) out.trees.push_back({root[i], depth[i]});
  if (!walks_end(out, features)) return bad_model("the trees have branches that lead nowhere");
  return {};
}

Result<std::vector<char>> read_model(const fs::path& path) {
  return File(path).read();
}

std::string sha256_of(std::span<const char> bytes) {
  base::Sha256 hash;
  hash.update({bytes.data(), bytes.size()});
  return hash.finish();
}

Result<std::string> save_model(const fs::path& path, std::string_view architecture, std::string_view key,
                               const std::string& head, std::span<const Block> blocks) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error)
    return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", path.parent_path().string(), error.message()));
  fs::path partial = path;
  partial += ".partial";
  SHOAL_TRY(write_file(partial, architecture, key, head, blocks));
  const std::vector<char> bytes = SHOAL_TRY(read_model(partial));
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  return sha256_of(bytes);
}

}  // namespace shoal::routing
