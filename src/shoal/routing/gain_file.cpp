#include "shoal/routing/gain_file.h"

#include <algorithm>
#include <limits>
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
using learning::kWordBuckets;
using learning::TopicTable;

constexpr std::string_view kFormat = "shoal-gain-1";
constexpr std::string_view kKey = "shoal.gain";

// --- printing

std::string print_head(const GainModel::Parts& parts) {
  std::string weights;
  for (std::size_t i = 0; i < kGainParts; ++i) {
    weights +=
        fmt::format("{}{{\"name\": \"{}\", \"weight\": {}, \"center\": {}}}", i == 0 ? "" : ", ", kGainPartNames[i],
                    json_number(parts.weights[i].weight), json_number(parts.weights[i].center));
  }
  const WordsAndShape& words = parts.words;
  return fmt::format(
      "{{\"format\": \"{}\", \"features\": {}, \"segments\": {}, \"mean\": {}, \"origin\": {}, \"parts\": [{}], "
      "\"shape\": {{\"center\": {}, \"spread\": {}, \"weight\": {}}}, \"trees\": {{\"base\": {}}}, "
      "\"topics\": {{\"temperature\": {}, \"priors\": {}, \"means\": {}}}, \"curve\": [{}]}}",
      kFormat, learning::kTextFeaturesVersion, parts.segments, json_number(parts.mean), print_origin(parts.origin),
      weights, list(words.center), list(words.spread), list(words.weight), json_number(parts.trees.base),
      json_number(parts.topics.temperature()), list(parts.topics.priors()), list(parts.topics.means()),
      print_curve(parts.curve));
}

std::vector<Block> blocks_of(const GainModel::Parts& p) {
  std::vector<Block> out;
  out.push_back(block<float>("words.rarity", kF32, p.words.words, [](const WordWeight& w) { return w.rarity; }));
  out.push_back(block<float>("words.weight", kF32, p.words.words, [](const WordWeight& w) { return w.weight; }));
  add_tree_blocks(p.trees, out);
  if (p.topics.topics() > 0)
    out.push_back(block<std::int8_t>("topics.words", kI8, p.topics.words(), [](std::int8_t x) { return x; }));
  return out;
}

// --- reading

Result<void> read_words(const Tensors& tensors, WordsAndShape& out) {
  const std::vector<float> rarity = SHOAL_TRY(tensors.read<float>("words.rarity", kF32));
  const std::vector<float> weight = SHOAL_TRY(tensors.read<float>("words.weight", kF32));
  if (rarity.size() != kWordBuckets || weight.size() != kWordBuckets || !all_finite(rarity) || !all_finite(weight))
    return bad_model(fmt::format("words.rarity and words.weight are not {} finite numbers each", kWordBuckets));
  out.words.resize(kWordBuckets);
  for (std::size_t i = 0; i < kWordBuckets; ++i) out.words[i] = {rarity[i], weight[i]};
  return {};
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
  out.parts.curve = read_curve(from);
  if (!fault.empty()) return bad_model(std::move(fault));
  return out;
}

// A part that counts must be there.
Result<void> check_parts(const GainModel::Parts& parts) {
  const auto weight = [&](GainPart part) { return parts.weights[static_cast<std::size_t>(part)].weight; };
  if (weight(GainPart::kShape) > 0 && parts.trees.trees.empty()) return bad_model("the trees are missing");
  if (weight(GainPart::kTopic) > 0 && parts.topics.topics() == 0) return bad_model("the topics are missing");
  return {};
}

Result<GainModel> parse(std::span<const char> bytes) {
  gguf::MemorySource source(std::string_view(bytes.data(), bytes.size()));
  auto header = gguf::read_header(source);
  if (!header.ok()) return bad_model(header.error().message());
  const auto text = header->text(kKey);
  if (!text) return bad_model("it is a GGUF file, but no router");
  Head head = SHOAL_TRY(read_head(*text));
  const Tensors tensors(*header, bytes);
  SHOAL_TRY(read_words(tensors, head.parts.words));
  SHOAL_TRY(read_trees(tensors, kShapeFeatures, head.parts.trees));
  if (!head.means.empty()) {
    auto words = SHOAL_TRY(tensors.read<std::int8_t>("topics.words", kI8));
    if (words.size() != TopicTable::kBuckets * TopicTable::padded(head.means.size()))
      return bad_model("topics.words has another size than the topics need");
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
  return save_model(path, "shoal-gain", kKey, print_head(model.parts()), blocks_of(model.parts()));
}

Result<LoadedGain> load_gain(const fs::path& path) {
  const std::vector<char> bytes = SHOAL_TRY(read_model(path));
  auto model = parse(bytes);
  if (!model.ok()) return bad_model(fmt::format("{}: {}", path.string(), model.error().message()));
  return LoadedGain{std::move(model).value(), sha256_of(bytes)};
}

}  // namespace shoal::routing
