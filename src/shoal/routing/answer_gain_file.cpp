#include "shoal/routing/answer_gain_file.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/gguf/reader.h"
#include "shoal/routing/json_file.h"
#include "shoal/routing/model_file.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
using learning::kShapeFeatures;

constexpr std::string_view kFormat = "shoal-answer-gain-1";
constexpr std::string_view kKey = "shoal.answer_gain";
constexpr float kLeastSpread = 1e-9F;

std::string print_head(const AnswerGain::Parts& parts) {
  std::string weights;
  for (std::size_t i = 0; i < kAnswerParts; ++i) {
    weights +=
        fmt::format("{}{{\"name\": \"{}\", \"weight\": {}, \"center\": {}}}", i == 0 ? "" : ", ", kAnswerPartNames[i],
                    json_number(parts.weights[i].weight), json_number(parts.weights[i].center));
  }
  return fmt::format(
      "{{\"format\": \"{}\", \"features\": {}, \"checks\": {}, \"numbers\": {}, \"mean\": {}, \"origin\": {}, "
      "\"parts\": [{}], \"expected\": {}, \"gains\": {{\"bias\": {}}}, \"wrong\": {{\"bias\": {}}}, \"trees\": "
      "{{\"base\": {}}}, \"curve\": [{}]}}",
      kFormat, learning::kTextFeaturesVersion, kChecksVersion, kAnswerFeatures, json_number(parts.mean),
      print_origin(parts.origin), weights, list(parts.question.mean), json_number(parts.gains.bias),
      json_number(parts.wrong.bias), json_number(parts.trees.base), print_curve(parts.curve));
}

template <class Numbers>
void add_floats(std::string name, const Numbers& numbers, std::vector<Block>& out) {
  if (numbers.size() > 0) out.push_back(block<float>(std::move(name), kF32, numbers, [](float x) { return x; }));
}

std::vector<Block> blocks_of(const AnswerGain::Parts& p) {
  std::vector<Block> out;
  add_floats("question.rarity", p.question.words.rarity, out);
  add_floats("question.weight", p.question.words.weight, out);
  add_floats("question.center", p.question.center, out);
  add_floats("question.spread", p.question.spread, out);
  std::vector<float> shape;
  for (const learning::Shape& one : p.question.shape) shape.insert(shape.end(), one.begin(), one.end());
  add_floats("question.shape", shape, out);
  add_floats("words.rarity", p.words.rarity, out);
  add_floats("words.weight", p.words.weight, out);
  add_floats("center", p.center, out);
  add_floats("spread", p.spread, out);
  add_floats("gains", p.gains.weight, out);
  add_floats("wrong", p.wrong.weight, out);
  add_tree_blocks(p.trees, out);
  return out;
}

// --- reading

Result<std::vector<float>> read_numbers(const Tensors& tensors, std::string_view name, std::size_t size) {
  std::vector<float> out = SHOAL_TRY(tensors.read<float>(name, kF32));
  if (out.size() == size && all_finite(out)) return out;
  return bad_model(fmt::format("{} is not {} finite numbers", name, size));
}

template <std::size_t N>
Result<void> read_into(const Tensors& tensors, std::string_view name, std::array<float, N>& out) {
  const std::vector<float> numbers = SHOAL_TRY(read_numbers(tensors, name, N));
  std::ranges::copy(numbers, out.begin());
  return {};
}

template <std::size_t N>
Result<void> read_spread(const Tensors& tensors, std::string_view name, std::array<float, N>& out) {
  SHOAL_TRY(read_into(tensors, name, out));
  if (std::ranges::all_of(out, [](float x) { return x >= kLeastSpread; })) return {};
  return bad_model(fmt::format("{} has numbers that are not above 0", name));
}

Result<void> read_tensors(const Tensors& tensors, AnswerGain::Parts& out) {
  out.question.words.rarity = SHOAL_TRY(read_numbers(tensors, "question.rarity", kAnswerBuckets));
  out.question.words.weight = SHOAL_TRY(read_numbers(tensors, "question.weight", kExpected * kAnswerBuckets));
  SHOAL_TRY(read_into(tensors, "question.center", out.question.center));
  SHOAL_TRY(read_spread(tensors, "question.spread", out.question.spread));
  const std::vector<float> shape = SHOAL_TRY(read_numbers(tensors, "question.shape", kExpected * kShapeFeatures));
  for (std::size_t t = 0; t < kExpected; ++t)
    std::copy_n(shape.begin() + static_cast<std::ptrdiff_t>(t * kShapeFeatures), kShapeFeatures,
                out.question.shape[t].begin());
  if (tensors.has("words.rarity")) {
    out.words.rarity = SHOAL_TRY(read_numbers(tensors, "words.rarity", kAnswerBuckets));
    out.words.weight = SHOAL_TRY(read_numbers(tensors, "words.weight", kAnswerBuckets));
  } else if (out.weights[static_cast<std::size_t>(AnswerPart::kWords)].weight > 0) {
    return bad_model("the answer's words are missing");
  }
  SHOAL_TRY(read_into(tensors, "center", out.center));
  SHOAL_TRY(read_spread(tensors, "spread", out.spread));
  SHOAL_TRY(read_into(tensors, "gains", out.gains.weight));
  SHOAL_TRY(read_into(tensors, "wrong", out.wrong.weight));
  SHOAL_TRY(read_trees(tensors, kAnswerFeatures, out.trees));
  if (out.weights[static_cast<std::size_t>(AnswerPart::kTrees)].weight > 0 && out.trees.trees.empty())
    return bad_model("the trees are missing");
  return {};
}

Result<AnswerGain::Parts> read_head(std::string_view text) {
  const boost::json::value root = SHOAL_TRY(parse_exactly(text));
  std::string fault;
  JsonReader from(root.get_object(), "", fault);
  if (from.text("format") != kFormat) from.bad("format", fmt::format("\"{}\"", kFormat));
  if (from.count("features", 0) != learning::kTextFeaturesVersion || from.count("checks", 0) != kChecksVersion ||
      from.count("numbers", 0) != kAnswerFeatures)
    from.bad("checks", "those of this version, which reads answers in another way; train it again");
  AnswerGain::Parts out;
  constexpr double kMost = JsonReader::kMost;
  out.mean = from.real("mean", -1, 1);
  out.origin = read_origin(from.object("origin"));
  std::size_t part = 0;
  from.objects("parts", [&](JsonReader one) {
    if (part == kAnswerParts || one.text("name") != kAnswerPartNames[part])
      return one.bad("name", "the parts in order");
    out.weights[part++] = {one.real("weight", 0, kMost), one.real("center", -kMost, kMost)};
  });
  if (part != kAnswerParts) from.bad("parts", fmt::format("{} parts", kAnswerParts));
  out.question.mean = from.numbers<kExpected>("expected", -kMost);
  out.gains.bias = from.object("gains").real("bias", -kMost, kMost);
  out.wrong.bias = from.object("wrong").real("bias", -kMost, kMost);
  out.trees.base = from.object("trees").real("base", -1, 1);
  out.curve = read_curve(from);
  if (!fault.empty()) return bad_model(std::move(fault));
  return out;
}

Result<AnswerGain> parse(std::span<const char> bytes) {
  gguf::MemorySource source(std::string_view(bytes.data(), bytes.size()));
  auto header = gguf::read_header(source);
  if (!header.ok()) return bad_model(header.error().message());
  const auto text = header->text(kKey);
  if (!text) return bad_model("it is a GGUF file, but judges no answers");
  AnswerGain::Parts parts = SHOAL_TRY(read_head(*text));
  SHOAL_TRY(read_tensors(Tensors(*header, bytes), parts));
  return AnswerGain(std::move(parts));
}

}  // namespace

fs::path answer_router_file(const std::string& data_dir, const std::string& name) {
  return fs::path(data_dir) / "routers" / (name + std::string(kAnswerGainEnding));
}

Result<std::string> save_answer_gain(const AnswerGain& model, const fs::path& path) {
  return save_model(path, "shoal-answer-gain", kKey, print_head(model.parts()), blocks_of(model.parts()));
}

Result<LoadedAnswerGain> load_answer_gain(const fs::path& path) {
  const std::vector<char> bytes = SHOAL_TRY(read_model(path));
  auto model = parse(bytes);
  if (!model.ok()) return bad_model(fmt::format("{}: {}", path.string(), model.error().message()));
  return LoadedAnswerGain{std::move(model).value(), sha256_of(bytes)};
}

}  // namespace shoal::routing
