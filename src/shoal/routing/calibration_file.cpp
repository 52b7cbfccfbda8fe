#include "shoal/routing/calibration_file.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/text.h"
#include "shoal/routing/fit.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kFormat = "shoal-calibration-1";
constexpr std::uintmax_t kMaxFileBytes = 1U << 20;

// Shortest digits that read back to the same number.
std::string number(double value) {
  return fmt::format("{}", value);
}

std::string list(const Features& values) {
  return fmt::format("[{}, {}, {}, {}]", values[0], values[1], values[2], values[3]);
}

// Reads members of an object and remembers the first that is not as it should be.
class Reader {
 public:
  Reader(const json::object& object, std::string path, std::string& fault)
      : object_(object), path_(std::move(path)), fault_(fault) {}

  std::string text(std::string_view name) {
    const json::value* const value = find(name);
    if (value != nullptr && value->is_string()) return std::string(value->as_string());
    return bad(name, "a text"), std::string();
  }
  double real(std::string_view name, double min, double max) { return checked(name, find(name), min, max); }
  std::size_t count(std::string_view name, std::size_t min) {
    const json::value* const value = find(name);
    constexpr std::int64_t kMostAnswers = std::int64_t{1} << 40;
    if (value != nullptr && value->is_int64() && value->as_int64() >= static_cast<std::int64_t>(min) &&
        value->as_int64() <= kMostAnswers) {
      return static_cast<std::size_t>(value->as_int64());
    }
    return bad(name, fmt::format("a whole number from {}", min)), 0;
  }
  Features features(std::string_view name, double min) {
    Features out{};
    const json::array* const values = array(name);
    if (values == nullptr || values->size() != kFeatures) return bad(name, "four numbers"), out;
    for (std::size_t i = 0; i < kFeatures; ++i) out[i] = checked(name, &(*values)[i], min, kMost);
    return out;
  }
  const json::array* array(std::string_view name) {
    const json::value* const value = find(name);
    return value == nullptr ? nullptr : value->if_array();
  }
  Reader object(std::string_view name) {
    static const json::object kEmpty;
    const json::value* const value = find(name);
    const json::object* const inner = value == nullptr ? nullptr : value->if_object();
    if (inner == nullptr) bad(name, "an object");
    return {inner == nullptr ? kEmpty : *inner, path_ + std::string(name) + ".", fault_};
  }
  // Each element of a list, which must be an object.
  template <class Each>
  void objects(std::string_view name, Each each) {
    const json::array* const values = array(name);
    if (values == nullptr) return bad(name, "a list");
    for (const json::value& value : *values) {
      const json::object* const inner = value.if_object();
      if (inner == nullptr) return bad(name, "a list of objects");
      each(Reader(*inner, path_ + std::string(name) + ".", fault_));
    }
  }
  void bad(std::string_view name, std::string_view wanted) {
    if (fault_.empty()) fault_ = fmt::format("{}{}: wanted {}", path_, name, wanted);
  }

  static constexpr double kMost = 1e9;

 private:
  [[nodiscard]] const json::value* find(std::string_view name) const { return object_.if_contains(name); }
  double checked(std::string_view name, const json::value* value, double min, double max) {
    boost::system::error_code error;
    const double out = value != nullptr && value->is_number() ? value->to_number<double>(error) : NAN;
    if (!error && out >= min && out <= max) return out;
    return bad(name, fmt::format("a number from {} to {}", min, max)), 0;
  }

  const json::object& object_;
  const std::string path_;
  std::string& fault_;
};

Reliability read_reliability(Reader from) {
  Reliability out;
  out.answers = from.count("answers", 1);
  out.right = from.real("right", 0, 1);
  out.brier = from.real("brier", 0, 1);
  out.log_loss = from.real("log_loss", 0, Reader::kMost);
  out.ece = from.real("ece", 0, 1);
  out.auroc = from.real("auroc", 0, 1);
  from.objects("bins", [&out](Reader bin) {
    out.bins.push_back({bin.count("answers", 1), bin.real("predicted", 0, 1), bin.real("right", 0, 1)});
  });
  return out;
}

Logistic read_logistic(Reader from) {
  Logistic out;
  out.center = from.features("center", -Reader::kMost);
  out.spread = from.features("spread", std::numeric_limits<double>::min());
  out.weight = from.features("weight", -Reader::kMost);
  out.bias = from.real("bias", -Reader::kMost, Reader::kMost);
  if (std::any_of(out.weight.begin(), out.weight.begin() + kMonotone, [](double w) { return w < 0; })) {
    from.bad("weight", "none of the first three below 0");
  }
  return out;
}

std::vector<Step> read_steps(Reader& from) {
  std::vector<Step> out;
  from.objects("steps", [&out](Reader step) {
    out.push_back({step.real("score", -Reader::kMost, Reader::kMost), step.real("probability", 0, 1)});
  });
  const auto falls = [](const Step& a, const Step& b) { return a.score >= b.score || a.probability > b.probability; };
  if (std::ranges::adjacent_find(out, falls) != out.end()) from.bad("steps", "scores and probabilities that rise");
  return out;
}

Result<std::string> read_file(const fs::path& path) {
  std::error_code error;
  if (const std::uintmax_t size = fs::file_size(path, error); !error && size > kMaxFileBytes) {
    return Error(ErrorCode::kInvalidConfig, fmt::format("{} bytes are too many for a table", size));
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return base::errno_error("cannot open it", errno);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad()) return base::errno_error("cannot read it", errno);
  return text;
}

}  // namespace

std::string print_table(const Table& t) {
  const auto text = [](const std::string& value) { return base::json_string(value); };
  std::string bins;
  for (const Bin& bin : t.held_out.bins) {
    bins += fmt::format("{}\n    {{\"answers\": {}, \"predicted\": {}, \"right\": {}}}", bins.empty() ? "" : ",",
                        bin.answers, number(bin.predicted), number(bin.right));
  }
  std::string steps;
  for (const Step& step : t.steps) {
    steps += fmt::format("{}\n    {{\"score\": {}, \"probability\": {}}}", steps.empty() ? "" : ",", number(step.score),
                         number(step.probability));
  }
  const Reliability& held = t.held_out;
  std::string out = fmt::format("{{\n  \"format\": \"{}\",\n  \"model\": {},\n  \"date\": {},\n  \"command\": {},\n",
                                kFormat, text(t.model), text(t.date), text(t.command));
  out += fmt::format("  \"data\": {},\n  \"grader\": {},\n", text(t.data), text(t.grader));
  out += fmt::format(
      "  \"key\": {{\n    \"weights\": {},\n    \"quantisation\": {},\n    \"chat_template\": {},\n    \"sampler\": "
      "{},\n"
      "    \"task\": {},\n    \"tokens\": {}\n  }},\n",
      text(t.key.weights), text(t.key.quantisation), text(t.key.chat_template), text(t.key.sampler), text(t.key.task),
      t.key.tokens);
  out += fmt::format("  \"fitted_on\": {},\n  \"fitted_right\": {},\n", t.fitted_on, number(t.fitted_right));
  out += fmt::format(
      "  \"logistic\": {{\n    \"features\": [\"{}\", \"{}\", \"{}\", \"{}\"],\n    \"center\": {},\n    \"spread\": "
      "{},\n"
      "    \"weight\": {},\n    \"bias\": {}\n  }},\n",
      kFeatureNames[0], kFeatureNames[1], kFeatureNames[2], kFeatureNames[3], list(t.logistic.center),
      list(t.logistic.spread), list(t.logistic.weight), number(t.logistic.bias));
  out += fmt::format("  \"steps\": [{}],\n", steps.empty() ? "" : steps + "\n  ");
  out += fmt::format(
      "  \"held_out\": {{\n    \"answers\": {},\n    \"right\": {},\n    \"brier\": {},\n    \"log_loss\": {},\n"
      "    \"ece\": {},\n    \"auroc\": {},\n    \"bins\": [{}\n    ]\n  }}\n}}\n",
      held.answers, number(held.right), number(held.brier), number(held.log_loss), number(held.ece), number(held.auroc),
      bins);
  return out;
}

Result<Table> parse_table(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !root.is_object()) return Error(ErrorCode::kInvalidConfig, "it is not a JSON object");
  std::string fault;
  Reader from(root.get_object(), "", fault);
  if (from.text("format") != kFormat) from.bad("format", fmt::format("\"{}\"", kFormat));
  Table out;
  out.model = from.text("model");
  out.date = from.text("date");
  out.command = from.text("command");
  out.data = from.text("data");
  out.grader = from.text("grader");
  Reader key = from.object("key");
  out.key.weights = key.text("weights");
  out.key.quantisation = key.text("quantisation");
  out.key.chat_template = key.text("chat_template");
  out.key.sampler = key.text("sampler");
  out.key.task = key.text("task");
  if (out.key.weights.empty()) key.bad("weights", "a SHA-256");
  if (out.key.task.empty()) key.bad("task", "a name");
  constexpr std::size_t kMostTokens = 1'000'000;
  const std::size_t tokens = key.count("tokens", 0);
  if (tokens > kMostTokens) key.bad("tokens", "fewer");
  out.key.tokens = static_cast<std::int32_t>(std::min(tokens, kMostTokens));
  out.fitted_on = from.count("fitted_on", kLeastLabels);
  out.fitted_right = from.real("fitted_right", 0, 1);
  out.logistic = read_logistic(from.object("logistic"));
  out.steps = read_steps(from);
  out.held_out = read_reliability(from.object("held_out"));
  if (!fault.empty()) return Error(ErrorCode::kInvalidConfig, std::move(fault));
  return out;
}

Tables load_tables(const fs::path& folder) {
  Tables out;
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".json") files.push_back(at->path());
  }
  std::ranges::sort(files);
  for (const fs::path& path : files) {
    auto text = read_file(path);
    auto table = text.ok() ? parse_table(*text) : Result<Table>(std::move(text).error());
    if (!table.ok()) {
      out.bad.push_back({path, std::move(table).error()});
    } else if (std::ranges::find(out.tables, table->key, &Table::key) != out.tables.end()) {
      out.bad.push_back({path, Error(ErrorCode::kInvalidConfig, "another file has the same key")});
    } else {
      out.tables.push_back(std::move(table).value());
    }
  }
  return out;
}

std::string file_name(const Table& table) {
  constexpr std::size_t kHashDigits = 12;
  std::string out =
      fmt::format("{}.{}.{}.{}.json", table.key.task, table.model, table.key.weights.substr(0, kHashDigits),
                  table.key.tokens == 0 ? "whole" : fmt::format("k{}", table.key.tokens));
  for (char& c : out) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!plain) c = '_';
  }
  if (out.starts_with('.')) out.front() = '_';
  return out;
}

Result<fs::path> save_table(const Table& table, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot make {}: {}", folder.string(), error.message()));
  fs::path path = folder / file_name(table);
  const fs::path partial = path.string() + ".partial";
  std::ofstream file(partial, std::ios::binary | std::ios::trunc);
  file << print_table(table);
  file.close();
  if (!file) return base::errno_error("cannot write " + partial.string(), errno);
  fs::rename(partial, path, error);
  if (error) return Error(ErrorCode::kIo, fmt::format("cannot write {}: {}", path.string(), error.message()));
  return path;
}

}  // namespace shoal::routing
