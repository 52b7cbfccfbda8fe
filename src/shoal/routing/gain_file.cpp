#include "shoal/routing/gain_file.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/gguf/reader.h"
#include "shoal/gguf/writer.h"
#include "shoal/routing/json_file.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
using learning::kShapeFeatures;
using learning::kWordBuckets;
using learning::TopicTable;
using learning::Tree;
using learning::TreeNode;

constexpr std::string_view kFormat = "shoal-gain-1";
constexpr std::string_view kKey = "shoal.gain";
constexpr std::uint32_t kF32 = 0;  // as ggml numbers the types
constexpr std::uint32_t kI8 = 24;
constexpr std::uint32_t kI32 = 26;
constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20U;

// --- printing

template <class Numbers>
std::string list(const Numbers& numbers) {
  std::string out;
  for (const auto number : numbers) {
    if (!out.empty()) out += ", ";
    out += json_number(static_cast<double>(number));
  }
  return "[" + out + "]";
}

std::string print_origin(const GainOrigin& o) {
  const auto text = [](const std::string& value) { return base::json_string(value); };
  return fmt::format(
      "{{\"weak\": {}, \"strong\": {}, \"data\": {}, \"date\": {}, \"command\": {}, \"rows\": {}, \"weak_score\": {}, "
      "\"strong_score\": {}, \"apgr\": {}, \"apgr_error\": {}}}",
      text(o.weak), text(o.strong), text(o.data), text(o.date), text(o.command), o.rows, json_number(o.weak_score),
      json_number(o.strong_score), json_number(o.apgr), json_number(o.apgr_error));
}

std::string print_head(const GainModel::Parts& parts) {
  std::string weights;
  for (std::size_t i = 0; i < kGainParts; ++i) {
    weights +=
        fmt::format("{}{{\"name\": \"{}\", \"weight\": {}, \"center\": {}}}", i == 0 ? "" : ", ", kGainPartNames[i],
                    json_number(parts.weights[i].weight), json_number(parts.weights[i].center));
  }
  std::string curve;
  for (const GainPoint& point : parts.curve) {
    curve += fmt::format("{}{{\"gain\": {}, \"share\": {}, \"score\": {}}}", curve.empty() ? "" : ", ",
                         json_number(point.gain), json_number(point.share), json_number(point.score));
  }
  const WordsAndShape& words = parts.words;
  return fmt::format(
      "{{\"format\": \"{}\", \"features\": {}, \"segments\": {}, \"mean\": {}, \"origin\": {}, \"parts\": [{}], "
      "\"shape\": {{\"center\": {}, \"spread\": {}, \"weight\": {}}}, \"trees\": {{\"base\": {}}}, "
      "\"topics\": {{\"temperature\": {}, \"priors\": {}, \"means\": {}}}, \"curve\": [{}]}}",
      kFormat, learning::kTextFeaturesVersion, parts.segments, json_number(parts.mean), print_origin(parts.origin),
      weights, list(words.center), list(words.spread), list(words.weight), json_number(parts.trees.base),
      json_number(parts.topics.temperature()), list(parts.topics.priors()), list(parts.topics.means()), curve);
}

// What goes into a tensor, column by column of the structures.
struct Block {
  std::string name;
  std::vector<std::uint64_t> dims;
  std::uint32_t type = kF32;
  std::vector<char> bytes;
};

template <class Number, class From, class Of>
Block block(std::string name, std::uint32_t type, const From& from, Of of) {
  Block out{std::move(name), {from.size()}, type, std::vector<char>(from.size() * sizeof(Number))};
  std::size_t at = 0;
  for (const auto& one : from) {
    const Number number = of(one);
    std::memcpy(out.bytes.data() + at, &number, sizeof(Number));
    at += sizeof(Number);
  }
  return out;
}

std::vector<Block> blocks_of(const GainModel::Parts& p) {
  std::vector<Block> out;
  out.push_back(block<float>("words.rarity", kF32, p.words.words, [](const WordWeight& w) { return w.rarity; }));
  out.push_back(block<float>("words.weight", kF32, p.words.words, [](const WordWeight& w) { return w.weight; }));
  if (!p.trees.trees.empty()) {
    const auto& nodes = p.trees.nodes;
    out.push_back(block<std::int32_t>("nodes.feature", kI32, nodes, [](const TreeNode& n) { return n.feature; }));
    out.push_back(block<float>("nodes.limit", kF32, nodes, [](const TreeNode& n) { return n.limit; }));
    out.push_back(block<std::int32_t>("nodes.left", kI32, nodes, [](const TreeNode& n) { return n.left; }));
    out.push_back(block<float>("nodes.value", kF32, nodes, [](const TreeNode& n) { return n.value; }));
    out.push_back(block<std::int32_t>("trees.root", kI32, p.trees.trees, [](const Tree& t) { return t.root; }));
    out.push_back(block<std::int32_t>("trees.depth", kI32, p.trees.trees, [](const Tree& t) { return t.depth; }));
  }
  if (p.topics.topics() > 0)
    out.push_back(block<std::int8_t>("topics.words", kI8, p.topics.words(), [](std::int8_t x) { return x; }));
  return out;
}

Result<void> write(const GainModel::Parts& parts, const fs::path& path) {
  gguf::Writer writer;
  writer.text("general.architecture", "shoal-gain");
  writer.text(kKey, print_head(parts));
  const std::vector<Block> blocks = blocks_of(parts);
  for (const Block& one : blocks) writer.describe(one.name, one.dims, one.type, one.bytes.size());
  SHOAL_TRY(writer.open(path));
  for (const Block& one : blocks) SHOAL_TRY(writer.append(one.bytes));
  return writer.close();
}

// --- reading

Error bad(std::string message) {
  return {ErrorCode::kInvalidConfig, std::move(message)};
}

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
      return bad(fmt::format("{}: {} bytes are more than a router has", path_.string(), info.st_size));
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

// The tensors of a file that is all in memory.
class Tensors {
 public:
  Tensors(const gguf::Header& header, std::span<const char> bytes) : header_(header), bytes_(bytes) {}

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  template <class Number>
  [[nodiscard]] Result<std::vector<Number>> read(std::string_view name, std::uint32_t type) const {
    const gguf::Tensor* const tensor = find(name);
    if (tensor == nullptr) return bad(fmt::format("the tensor {} is missing", name));
    const std::uint64_t begin = header_.data_offset + tensor->offset;
    if (tensor->type != type || tensor->dims.size() != 1 || tensor->bytes % sizeof(Number) != 0 ||
        begin > bytes_.size() || tensor->bytes > bytes_.size() - begin)
      return bad(fmt::format("the tensor {} has another type or size", name));
    std::vector<Number> out(tensor->bytes / sizeof(Number));
    std::memcpy(out.data(), bytes_.data() + begin, tensor->bytes);
    return out;
  }

 private:
  [[nodiscard]] const gguf::Tensor* find(std::string_view name) const {
    const auto found = std::ranges::find(header_.tensors, name, &gguf::Tensor::name);
    return found == header_.tensors.end() ? nullptr : &*found;
  }

  const gguf::Header& header_;
  std::span<const char> bytes_;
};

bool all_finite(std::span<const float> numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

Result<void> read_words(const Tensors& tensors, WordsAndShape& out) {
  const std::vector<float> rarity = SHOAL_TRY(tensors.read<float>("words.rarity", kF32));
  const std::vector<float> weight = SHOAL_TRY(tensors.read<float>("words.weight", kF32));
  if (rarity.size() != kWordBuckets || weight.size() != kWordBuckets || !all_finite(rarity) || !all_finite(weight))
    return bad(fmt::format("words.rarity and words.weight are not {} finite numbers each", kWordBuckets));
  out.words.resize(kWordBuckets);
  for (std::size_t i = 0; i < kWordBuckets; ++i) out.words[i] = {rarity[i], weight[i]};
  return {};
}

// That every walk ends at a leaf, within the nodes: children come after their parent, and depths are what they are.
bool walks_end(const learning::Trees& trees) {
  const auto n = static_cast<std::int32_t>(trees.nodes.size());
  std::vector<std::int32_t> below(trees.nodes.size());  // steps to the farthest leaf
  for (std::int32_t i = n - 1; i >= 0; --i) {
    const TreeNode& node = trees.nodes[static_cast<std::size_t>(i)];
    const bool leaf = node.left == i && std::isinf(node.limit) && node.limit > 0;
    const bool inner = node.left > i && node.left < n - 1 && std::isfinite(node.limit);
    const bool feature = node.feature >= 0 && node.feature < static_cast<std::int32_t>(kShapeFeatures);
    if ((!leaf && !inner) || !feature || !std::isfinite(node.value)) return false;
    const auto left = static_cast<std::size_t>(node.left);
    if (inner) below[static_cast<std::size_t>(i)] = 1 + std::max(below[left], below[left + 1]);
  }
  return std::ranges::all_of(trees.trees, [&](const Tree& tree) {
    return tree.root >= 0 && tree.root < n && tree.depth == below[static_cast<std::size_t>(tree.root)];
  });
}

Result<void> read_trees(const Tensors& tensors, learning::Trees& out) {
  if (!tensors.has("trees.root")) return {};
  const auto feature = SHOAL_TRY(tensors.read<std::int32_t>("nodes.feature", kI32));
  const auto limit = SHOAL_TRY(tensors.read<float>("nodes.limit", kF32));
  const auto left = SHOAL_TRY(tensors.read<std::int32_t>("nodes.left", kI32));
  const auto value = SHOAL_TRY(tensors.read<float>("nodes.value", kF32));
  const auto root = SHOAL_TRY(tensors.read<std::int32_t>("trees.root", kI32));
  const auto depth = SHOAL_TRY(tensors.read<std::int32_t>("trees.depth", kI32));
  const std::size_t n = feature.size();
  if (limit.size() != n || left.size() != n || value.size() != n || root.size() != depth.size())
    return bad("the trees' tensors differ in size");
  for (std::size_t i = 0; i < n; ++i) out.nodes.push_back({feature[i], limit[i], left[i], value[i]});
  for (std::size_t i = 0; i < root.size(); ++i) out.trees.push_back({root[i], depth[i]});
  if (!walks_end(out)) return bad("the trees have branches that lead nowhere");
  return {};
}

std::vector<float> read_floats(JsonReader& from, std::string_view name) {
  std::vector<float> out;
  for (const double number : from.numbers(name, -JsonReader::kMost)) out.push_back(static_cast<float>(number));
  return out;
}

void read_shape(JsonReader from, WordsAndShape& out) {
  const auto copy = [&from](std::string_view name, double least, learning::Shape& shape) {
    const auto numbers = from.numbers<kShapeFeatures>(name, least);
    std::ranges::transform(numbers, shape.begin(), [](double x) { return static_cast<float>(x); });
  };
  copy("center", -JsonReader::kMost, out.center);
  copy("spread", static_cast<double>(std::numeric_limits<float>::min()), out.spread);
  copy("weight", -JsonReader::kMost, out.weight);
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

struct Head {
  GainModel::Parts parts;
  std::vector<float> priors;
  std::vector<float> means;
  double temperature = 1;
};

Result<Head> read_head(std::string_view text) {
  const boost::json::value root = SHOAL_TRY(parse_exactly(text));
  std::string fault;
  JsonReader from(root.get_object(), "", fault);
  if (from.text("format") != kFormat) from.bad("format", fmt::format("\"{}\"", kFormat));
  if (from.count("features", 0) != learning::kTextFeaturesVersion)
    from.bad("features",
             fmt::format("{}: this server reads texts in another way; train it again", learning::kTextFeaturesVersion));
  Head out;
  const std::size_t segments = from.count("segments", 1);
  if (segments != 1 && segments != 3) from.bad("segments", "1 or 3");
  out.parts.segments = segments == 3 ? 3 : 1;
  out.parts.mean = from.real("mean", -1, 1);
  out.parts.origin = read_origin(from.object("origin"));
  std::size_t part = 0;
  from.objects("parts", [&](JsonReader one) {
    if (part == kGainParts || one.text("name") != kGainPartNames[part]) return one.bad("name", "the parts in order");
    out.parts.weights[part++] = {one.real("weight", 0, JsonReader::kMost),
                                 one.real("center", -JsonReader::kMost, JsonReader::kMost)};
  });
  if (part != kGainParts) from.bad("parts", fmt::format("{} parts", kGainParts));
  read_shape(from.object("shape"), out.parts.words);
  out.parts.trees.base = from.object("trees").real("base", -1, 1);
  JsonReader topics = from.object("topics");
  out.temperature = topics.real("temperature", 0, JsonReader::kMost);
  out.priors = read_floats(topics, "priors");
  out.means = read_floats(topics, "means");
  if (out.priors.size() != out.means.size() || out.means.size() > TopicTable::kMostTopics)
    topics.bad("means", fmt::format("as many as priors, and at most {}", TopicTable::kMostTopics));
  from.objects("curve", [&out](JsonReader one) {
    out.parts.curve.push_back(
        {one.real("gain", -JsonReader::kMost, JsonReader::kMost), one.real("share", 0, 1), one.real("score", 0, 1)});
  });
  if (!fault.empty()) return bad(std::move(fault));
  return out;
}

// A part that counts must be there.
Result<void> check_parts(const GainModel::Parts& parts) {
  const auto weight = [&](GainPart part) { return parts.weights[static_cast<std::size_t>(part)].weight; };
  if (weight(GainPart::kShape) > 0 && parts.trees.trees.empty()) return bad("the trees are missing");
  if (weight(GainPart::kTopic) > 0 && parts.topics.topics() == 0) return bad("the topics are missing");
  return {};
}

Result<GainModel> parse(std::span<const char> bytes) {
  gguf::MemorySource source(std::string_view(bytes.data(), bytes.size()));
  auto header = gguf::read_header(source);
  if (!header.ok()) return bad(header.error().message());
  const auto text = header->text(kKey);
  if (!text) return bad("it is a GGUF file, but no router");
  Head head = SHOAL_TRY(read_head(*text));
  const Tensors tensors(*header, bytes);
  SHOAL_TRY(read_words(tensors, head.parts.words));
  SHOAL_TRY(read_trees(tensors, head.parts.trees));
  if (!head.means.empty()) {
    auto words = SHOAL_TRY(tensors.read<std::int8_t>("topics.words", kI8));
    if (words.size() != TopicTable::kBuckets * TopicTable::padded(head.means.size()))
      return bad("topics.words has another size than the topics need");
    head.parts.topics = TopicTable(std::move(words), std::move(head.priors), std::move(head.means), head.temperature);
  }
  SHOAL_TRY(check_parts(head.parts));
  return GainModel(std::move(head.parts));
}

}  // namespace

fs::path router_file(const std::string& data_dir, const std::string& name) {
  return fs::path(data_dir) / "routers" / (name + std::string(kGainEnding));
}

Result<std::string> save_gain(const GainModel& model, const fs::path& path) {
  std::error_code error;
  if (path.has_parent_path()) fs::create_directories(path.parent_path(), error);
  if (error)
    return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", path.parent_path().string(), error.message()));
  fs::path partial = path;
  partial += ".partial";
  SHOAL_TRY(write(model.parts(), partial));
  const std::vector<char> bytes = SHOAL_TRY(File(partial).read());
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  base::Sha256 hash;
  hash.update({bytes.data(), bytes.size()});
  return hash.finish();
}

Result<LoadedGain> load_gain(const fs::path& path) {
  const std::vector<char> bytes = SHOAL_TRY(File(path).read());
  auto model = parse(bytes);
  if (!model.ok()) return bad(fmt::format("{}: {}", path.string(), model.error().message()));
  base::Sha256 hash;
  hash.update({bytes.data(), bytes.size()});
  return LoadedGain{std::move(model).value(), hash.finish()};
}

}  // namespace shoal::routing
