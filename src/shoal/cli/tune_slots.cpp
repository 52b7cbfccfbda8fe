#include "shoal/cli/tune_slots.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/learning/class_file.h"
#include "shoal/learning/model_file.h"
#include "shoal/learning/slot_file.h"
#include "shoal/statistics/random.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view kWanted =
    R"(wanted {"text": "at 7 pm", "spans": [{"slot": "time", "start": 3, "end": 7}], "asked": ["time"]})";

Error fault(std::size_t line, std::string_view what) {
  return {ErrorCode::kInvalidData, fmt::format("line {}: {}; {}", line, what, kWanted)};
}

// Where each character begins, and the end.
std::vector<std::size_t> character_places(std::string_view text) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U) out.push_back(i);
  }
  out.push_back(text.size());
  return out;
}

struct NamedSpan {
  std::string slot;
  std::size_t begin = 0;
  std::size_t end = 0;
};
struct Row {
  std::string text;
  std::vector<std::string> asked;
  std::vector<NamedSpan> spans;
};

Result<NamedSpan> read_span(const json::value& value, const std::vector<std::size_t>& places, std::size_t line) {
  const json::object* const span = value.if_object();
  if (span == nullptr) return fault(line, "a span is no object");
  const json::value* const slot = span->if_contains("slot");
  if (slot == nullptr || !slot->is_string() || slot->get_string().empty()) return fault(line, "a span has no slot");
  const auto place = [&](std::string_view name) -> Result<std::size_t> {
    const json::value* const at = span->if_contains(name);
    if (at == nullptr || !at->is_int64()) return fault(line, fmt::format("a span's {} is no whole number", name));
    const std::int64_t number = at->get_int64();
    if (number < 0 || number >= static_cast<std::int64_t>(places.size())) {
      return fault(line,
                   fmt::format("a span's {} is {}, and the text has {} characters", name, number, places.size() - 1));
    }
    return places[static_cast<std::size_t>(number)];
  };
  NamedSpan out{std::string(slot->get_string()), SHOAL_TRY(place("start")), SHOAL_TRY(place("end"))};
  if (out.begin >= out.end) return fault(line, "a span ends before it begins");
  return out;
}

Result<Row> read_row(const json::object& from, std::size_t line) {
  const json::value* const text = from.if_contains("text");
  if (text == nullptr || !text->is_string()) return fault(line, "it has no text");
  const json::value* const spans = from.if_contains("spans");
  if (spans == nullptr || !spans->is_array()) return fault(line, "it has no list of spans");
  Row out{std::string(text->get_string()), {}, {}};
  if (const json::value* const asked = from.if_contains("asked")) {
    if (!asked->is_array()) return fault(line, "asked is no list of names");
    for (const json::value& one : asked->get_array()) {
      if (!one.is_string()) return fault(line, "asked is no list of names");
      out.asked.emplace_back(one.get_string());
    }
  }
  const std::vector<std::size_t> places = character_places(out.text);
  for (const json::value& one : spans->get_array()) out.spans.push_back(SHOAL_TRY(read_span(one, places, line)));
  std::ranges::sort(out.spans, {}, &NamedSpan::begin);
  return out;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double share(std::size_t part, std::size_t all) {
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

json::object quality_json(const learning::SlotQuality& of, const std::vector<std::string>& slots, std::uint64_t seed) {
  json::object by_slot;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const learning::SlotCounts& one = of.by_slot[i];
    by_slot[slots[i]] =
        json::object{{"f1", one.f1()}, {"right", one.right}, {"found", one.found}, {"wanted", one.wanted}};
  }
  const statistics::Reliability sure = statistics::reliability(of.scored);
  return {{"texts", of.texts},
          {"f1", of.spans.f1()},
          {"standard_error", f1_error(of, seed)},
          {"precision", share(of.spans.right, of.spans.found)},
          {"recall", share(of.spans.right, of.spans.wanted)},
          {"texts_right", share(of.right, of.texts)},
          {"right_auroc", sure.auroc},
          {"ece", sure.ece},
          {"by_slot", std::move(by_slot)}};
}

std::string quality_text(const learning::SlotQuality& of, const std::vector<std::string>& slots, std::uint64_t seed) {
  const statistics::Reliability sure = statistics::reliability(of.scored);
  std::string out = fmt::format(
      "Spans: F1 {:.4f} (standard error {:.4f}), precision {:.4f}, recall {:.4f}\n"
      "Texts with every span right: {:.2f} %; how sure it is: ECE {:.3f} (debiased), AUROC {:.3f}\n",
      of.spans.f1(), f1_error(of, seed), share(of.spans.right, of.spans.found), share(of.spans.right, of.spans.wanted),
      100 * share(of.right, of.texts), sure.ece, sure.auroc);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    const learning::SlotCounts& one = of.by_slot[i];
    out += fmt::format("  {:<20} F1 {:.4f}, {} right of {} found and {} wanted\n", base::escape_control(slots[i]),
                       one.f1(), one.right, one.found, one.wanted);
  }
  return out;
}

json::object report_json(const SlotProbeReport& report, std::uint64_t seed) {
  json::object tried;
  for (std::size_t i = 0; i < report.fit.f1.size(); ++i) {
    tried[fmt::format("{}", learning::slot_penalties()[i])] = report.fit.f1[i];
  }
  return {{"texts", report.texts},
          {"folds", learning::kSlotFolds},
          {"penalty", report.fit.penalty},
          {"search_space", json::object{{"penalty", std::move(tried)}}},
          {"held_out", quality_json(report.fit.held_out, report.slots, seed)}};
}

fs::path file_of(const config::Config& config, const std::string& name, std::string_view ending) {
  return task_folder(config) / (name + std::string(ending));
}

}  // namespace

bool has_spans(const fs::path& path) {
  if (path.extension() == ".csv") return false;
  bool found = false;
  constexpr std::string_view kEnough = "enough";
  // What is wrong with the file is told by whoever reads it.
  static_cast<void>(evaluation::read_jsonl(path, [&found, kEnough](const json::object& row, std::size_t) {
    found = row.contains("spans");
    return Result<void>(Error(ErrorCode::kInvalidData, std::string(kEnough)));
  }));
  return found;
}

Result<SlotTexts> read_slot_texts(const fs::path& path, const std::vector<std::string>& slots) {
  const std::string bytes = SHOAL_TRY(evaluation::contents_of(path));
  std::vector<Row> rows;
  std::set<std::string> names;
  const auto take = [&](const json::object& from, std::size_t line) -> Result<void> {
    rows.push_back(SHOAL_TRY(read_row(from, line)));
    for (const NamedSpan& span : rows.back().spans) {
      names.insert(span.slot);
      if (!slots.empty() && std::ranges::find(slots, span.slot) == slots.end()) {
        return fault(line,
                     fmt::format("the task has no slot called {}", evaluation::shown(std::string_view(span.slot))));
      }
    }
    return {};
  };
  if (const auto done = evaluation::each_object(bytes, take); !done.ok()) {
    return Error(done.error().code(), fmt::format("{}: {}", evaluation::shown(path), done.error().message()));
  }
  SlotTexts out;
  out.data.slots = slots.empty() ? std::vector<std::string>(names.begin(), names.end()) : slots;
  for (Row& row : rows) {
    learning::SlotExample example{std::move(row.text), std::move(row.asked), {}};
    for (const NamedSpan& span : row.spans) {
      const auto slot = std::ranges::find(out.data.slots, span.slot) - out.data.slots.begin();
      example.spans.push_back({static_cast<std::size_t>(slot), span.begin, span.end, 0});
    }
    out.data.examples.push_back(std::move(example));
  }
  base::Sha256 sum;
  sum.update(bytes);
  out.sha256 = sum.finish();
  return out;
}

Result<SlotProbeReport> probe_slots(const config::Config& config, const fs::path& data, const std::string& task,
                                    std::uint64_t seed) {
  std::error_code error;
  if (fs::exists(file_of(config, task, learning::kClassFileEnding), error)) {
    return Error(ErrorCode::kUsage,
                 fmt::format("a task of classes is called {}; give this one of slots another name", task));
  }
  SlotTexts read = SHOAL_TRY(read_slot_texts(data));
  SlotProbeReport report;
  report.texts = read.data.examples.size();
  report.slots = read.data.slots;
  learning::SlotModel model;
  model.name = task;
  const auto begin = std::chrono::steady_clock::now();
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  report.fit = SHOAL_TRY(learning::fit_slots(read.data, {.seed = seed, .threads = threads}, model));
  report.fit_seconds = seconds_since(begin);
  model.data_sha256 = read.sha256;
  model.date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  model.report = json::serialize(report_json(report, seed));
  report.file = SHOAL_TRY(learning::save_slot_model(model, task_folder(config)));
  return report;
}

bool is_slot_task(const config::Config& config, const std::string& name) {
  std::error_code error;
  return learning::is_task_name(name) && fs::exists(file_of(config, name, learning::kSlotFileEnding), error);
}

Result<learning::SlotModel> load_slot_task(const config::Config& config, const std::string& name) {
  const fs::path path = file_of(config, name, learning::kSlotFileEnding);
  const std::string bytes = SHOAL_TRY(learning::read_model_file(path));
  auto model = learning::parse_slot_model(bytes);
  if (model.ok()) return model;
  return Error(model.error().code(), fmt::format("{}: {}", path.string(), model.error().message()));
}

double f1_error(const learning::SlotQuality& quality, std::uint64_t seed) {
  constexpr int kDraws = 400;
  statistics::Random random(seed);
  double sum = 0;
  double squares = 0;
  for (int draw = 0; draw < kDraws; ++draw) {
    learning::SlotCounts counts;
    for (std::size_t i = 0; i < quality.by_text.size(); ++i) {
      const learning::SlotCounts& one = quality.by_text[random.index(quality.by_text.size())];
      counts.right += one.right;
      counts.found += one.found;
      counts.wanted += one.wanted;
    }
    sum += counts.f1();
    squares += counts.f1() * counts.f1();
  }
  const double mean = sum / kDraws;
  return std::sqrt(std::max(0.0, squares / kDraws - mean * mean));
}

std::string slot_probe_text(const SlotProbeReport& report, const std::string& task) {
  std::string tried;
  for (std::size_t i = 0; i < report.fit.f1.size(); ++i) {
    tried += fmt::format("{}{} ({:.4f})", i > 0 ? ", " : "", learning::slot_penalties()[i], report.fit.f1[i]);
  }
  return fmt::format("{}: {} texts, {} slots\n\nOn texts that were held out, in {} folds:\n{}", task, report.texts,
                     report.slots.size(), learning::kSlotFolds, quality_text(report.fit.held_out, report.slots, 1)) +
         fmt::format("\nChosen by F1 on held-out texts: a penalty of {}, from {}\nTrained in {:.1f} s\nWrote {}\n",
                     report.fit.penalty, tried, report.fit_seconds, report.file.string()) +
         fmt::format("A running server uses it after `kill -HUP`: POST /v1/classify with \"task\": \"{}\".\n", task);
}

std::string slot_probe_json(const SlotProbeReport& report, const std::string& task) {
  json::object out = report_json(report, 1);
  out["task"] = task;
  out["slots"] = json::array(report.slots.begin(), report.slots.end());
  out["file"] = report.file.string();
  out["fit_seconds"] = report.fit_seconds;
  return json::serialize(out) + "\n";
}

std::string slot_test_text(const learning::SlotQuality& quality, const learning::SlotModel& model, std::uint64_t seed) {
  return fmt::format("{}: {} texts\n", model.name, quality.texts) + quality_text(quality, model.slots, seed);
}

std::string slot_test_json(const learning::SlotQuality& quality, const learning::SlotModel& model, std::uint64_t seed) {
  return json::serialize(quality_json(quality, model.slots, seed)) + "\n";
}

}  // namespace shoal::cli
