#include "shoal/learning/class_file.h"

#include <algorithm>
#include <cmath>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/learning/model_file.h"

namespace shoal::learning {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kKind = "shoal-task";

void write(Writer& out, const Detector& from) {
  out.numbers(from.means);
  out.numbers(from.scales);
  out.numbers(from.weights);
  for (const double one : {from.bias, from.slope, from.offset}) out.number(one);
}
Detector read_detector(Reader& in) {
  Detector out;
  out.means = in.numbers<double>();
  out.scales = in.numbers<double>();
  out.weights = in.numbers<double>();
  out.bias = in.number();
  out.slope = in.number();
  out.offset = in.number();
  return out;
}

void write(Writer& out, const ClassHead& from) {
  out.number(from.of_hashed);
  out.number(from.of_probe);
  write(out, from.right);
  out.number(from.outside ? 1 : 0);
  if (from.outside) write(out, *from.outside);
  out.numbers(from.ordinary_means);
  out.numbers(from.ordinary_scales);
  out.numbers(from.ordinary_quantiles);
}
ClassHead read_head(Reader& in) {
  ClassHead out;
  out.of_hashed = in.number();
  out.of_probe = in.number();
  out.right = read_detector(in);
  if (in.number() == 1) out.outside = read_detector(in);
  out.ordinary_means = in.numbers<double>();
  out.ordinary_scales = in.numbers<double>();
  out.ordinary_quantiles = in.numbers<double>();
  return out;
}

bool fits(const Detector& detector, std::size_t signals) {
  return detector.means.size() == signals && detector.scales.size() == signals && detector.weights.size() == signals;
}
bool fits(const ClassHead& head, std::size_t signals) {
  return fits(head.right, signals) && (!head.outside || fits(*head.outside, signals)) &&
         head.ordinary_means.size() == signals && head.ordinary_scales.size() == signals;
}

void write(Writer& out, const Neighbours& from) {
  for (const Neighbours::Whitened* of : {&from.of_classes, &from.of_all}) {
    out.numbers(of->whitener);
    out.numbers(of->means);
  }
  out.numbers(from.rows);
  out.number(static_cast<double>(from.scale));
}
Neighbours read_neighbours(Reader& in, std::size_t width) {
  Neighbours out;
  out.width = width;
  for (Neighbours::Whitened* of : {&out.of_classes, &out.of_all}) {
    of->whitener = in.numbers<float>();
    of->means = in.numbers<float>();
  }
  out.rows = in.numbers<std::int8_t>();
  out.scale = static_cast<float>(in.number());
  return out;
}
bool fits(const Neighbours& of, std::size_t labels) {
  const std::size_t square = of.width * of.width;
  return of.of_classes.whitener.size() == square && of.of_all.whitener.size() == square &&
         of.of_classes.means.size() == labels * of.width && of.of_all.means.size() == of.width && !of.rows.empty() &&
         of.rows.size() % of.width == 0 && of.scale > 0;
}

bool fits(const Softmax::Parts& parts, std::size_t labels) {
  const auto in_place = [&](std::uint32_t place) { return place == Softmax::kNone || place < parts.scales.size(); };
  return parts.bias.size() == labels && parts.places.size() == kClassColumns &&
         parts.weights.size() == parts.scales.size() * labels && std::ranges::all_of(parts.places, in_place);
}

std::string print_header(const ClassModel& model) {
  json::object out{{"task", model.name},
                   {"features", kClassFeaturesVersion},
                   {"date", model.date},
                   {"data_sha256", model.data_sha256}};
  if (model.embedder) {
    out["embedder"] = json::object{{"name", model.embedder->name},
                                   {"sha256", model.embedder->sha256},
                                   {"bytes", model.embedder->bytes},
                                   {"width", model.embedder->width}};
  }
  boost::system::error_code error;
  out["report"] = json::parse(model.report, error);
  out["labels"] = json::array(model.labels.begin(), model.labels.end());
  return json::serialize(out);
}

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}
std::uint64_t count_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  boost::system::error_code error;
  const auto out = value != nullptr && value->is_number() ? value->to_number<std::uint64_t>(error) : 0;
  return error ? 0 : out;
}

Result<ClassModel> parse_header(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !root.is_object()) return damaged("its header is not JSON");
  const json::object& from = root.get_object();
  if (const std::uint64_t features = count_of(from, "features"); features != kClassFeaturesVersion) {
    return damaged(
        fmt::format("it reads texts by version {}, and this program by version {}", features, kClassFeaturesVersion));
  }
  ClassModel out;
  out.name = text_of(from, "task");
  out.date = text_of(from, "date");
  out.data_sha256 = text_of(from, "data_sha256");
  if (const json::value* const report = from.if_contains("report")) out.report = json::serialize(*report);
  const json::value* const embedder = from.if_contains("embedder");
  if (embedder != nullptr && embedder->is_object()) {
    const json::object& by = embedder->get_object();
    out.embedder = Embedder{text_of(by, "name"), text_of(by, "sha256"), count_of(by, "bytes"),
                            static_cast<std::uint32_t>(count_of(by, "width"))};
  }
  const json::value* const labels = from.if_contains("labels");
  if (labels == nullptr || !labels->is_array()) return damaged("it names no labels");
  for (const json::value& label : labels->get_array()) {
    if (!label.is_string()) return damaged("a label is not a text");
    out.labels.emplace_back(label.get_string());
  }
  if (!is_task_name(out.name) || out.labels.size() < 2) return damaged("its header is not one of a task");
  return out;
}

bool fits_all(const ClassModel& model) {
  if (!fits(model.hashed_head, kHashedSignals)) return false;
  if (!model.embedder) return true;
  return fits(model.fused_head, kFusedSignals) && model.parts.probe->classes() == model.labels.size() &&
         model.parts.probe->weights.size() == model.labels.size() * model.embedder->width &&
         fits(*model.parts.neighbours, model.labels.size());
}

}  // namespace

bool is_task_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !name.empty() && name.size() <= 64 && name.front() != '.' && name.back() != '.' &&
         std::ranges::all_of(name, plain);
}

std::string print_class_model(const ClassModel& model) {
  std::string out = sealed_head(kKind, kClassFileVersion, print_header(model));
  Writer writer(out);
  writer.numbers(model.parts.columns.all());
  const Softmax::Parts parts = model.parts.hashed.parts();
  writer.numbers(parts.places);
  writer.numbers(parts.scales);
  writer.numbers(parts.weights);
  writer.numbers(parts.bias);
  write(writer, model.hashed_head);
  if (model.embedder) {
    writer.numbers(model.parts.probe->weights);
    writer.numbers(model.parts.probe->bias);
    write(writer, *model.parts.neighbours);
    write(writer, model.fused_head);
  }
  return out + sum_of(out);
}

Result<ClassModel> parse_class_model(std::string_view bytes) {
  const Unsealed file = SHOAL_TRY(unseal(kKind, kClassFileVersion, bytes));
  ClassModel out = SHOAL_TRY(parse_header(file.header));
  Reader reader(file.numbers);
  std::vector<float> columns = reader.numbers<float>();
  Softmax::Parts parts;
  parts.places = reader.numbers<std::uint32_t>();
  parts.scales = reader.numbers<float>();
  parts.weights = reader.numbers<std::int8_t>();
  parts.bias = reader.numbers<float>();
  out.hashed_head = read_head(reader);
  if (columns.size() != kClassColumns || !fits(parts, out.labels.size())) return damaged("its numbers do not fit");
  out.parts.columns.assign(std::move(columns));
  out.parts.hashed = Softmax::from(std::move(parts));
  if (out.embedder) {
    const std::uint32_t width = out.embedder->width;
    if (width == 0 || width > Neighbours::kMostWidth) return damaged("its embedder has no width");
    out.parts.probe.emplace();
    out.parts.probe->weights = reader.numbers<float>();
    out.parts.probe->bias = reader.numbers<float>();
    out.parts.neighbours = read_neighbours(reader, width);
    out.fused_head = read_head(reader);
  }
  if (!reader.ended() || !fits_all(out)) return damaged("its numbers do not fit");
  return out;
}

Result<fs::path> save_class_model(const ClassModel& model, const fs::path& folder) {
  return save_model_file(folder, model.name + std::string(kClassFileEnding), print_class_model(model));
}

Result<ClassModel> load_class_model(const fs::path& path) {
  return parse_class_model(SHOAL_TRY(read_model_file(path)));
}

}  // namespace shoal::learning
