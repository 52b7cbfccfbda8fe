#include "shoal/cli/tune_probe.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/suggest.h"
#include "shoal/cli/answerer.h"
#include "shoal/cli/app.h"
#include "shoal/cli/tune_slots.h"
#include "shoal/learning/class_file.h"
#include "shoal/learning/slot_file.h"
#include "shoal/learning/typos.h"
#include "shoal/statistics/random.h"

namespace shoal::cli {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

// The embedder that is meant, or nothing where none is named and none is here.
Result<std::optional<types::ModelInfo>> find_embedder(const config::Config& config, const std::string& named) {
  const auto source = SHOAL_TRY(make_model_source(config, {}));
  const std::string& name = named.empty() ? config.engine.default_embedding_model : named;
  if (!name.empty()) {
    types::ModelInfo info = SHOAL_TRY(source->resolve(name)).info;
    if (info.embeds) return std::optional(std::move(info));
    return Error(ErrorCode::kUnsupportedParameter,
                 fmt::format("{} makes no embeddings; name a model that does with --embedder, or pass --no-embedder",
                             info.name));
  }
  const auto models = source->list();
  const auto found = std::ranges::find_if(models, &types::ModelInfo::embeds);
  if (found == models.end()) return std::optional<types::ModelInfo>();
  return std::optional(*found);
}

learning::Embedder embedder_of(const types::ModelInfo& info) {
  return {info.name, info.sha256, info.bytes, info.embedding_length};
}

// Embeds many texts: alike in length together, for a batch is as long as its longest.
class Embedding {
 public:
  static Result<Embedding> make(const config::Config& config, std::string model) {
    return Embedding(SHOAL_TRY(make_local_answerer(config)), std::move(model));
  }

  Result<learning::EmbeddingRows> rows(const std::vector<std::string>& texts) {
    std::vector<std::size_t> order(texts.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {}, [&texts](std::size_t i) { return texts[i].size(); });
    learning::EmbeddingRows out;
    for (std::size_t first = 0; first < order.size(); first += kAtOnce) {
      const std::size_t count = std::min(kAtOnce, order.size() - first);
      std::vector<std::string> part;
      for (std::size_t i = first; i < first + count; ++i) {
        part.emplace_back(learning::embedded_part(texts[order[i]]));
      }
      const Embeddings embedded = SHOAL_TRY(answerer_->embed(model_, part));
      if (out.width == 0) {
        out.width = embedded.rows.front().size();
        out.values.resize(texts.size() * out.width);
      }
      for (std::size_t i = 0; i < count; ++i) {
        std::ranges::copy(embedded.rows[i],
                          out.values.begin() + static_cast<std::ptrdiff_t>(order[first + i] * out.width));
      }
    }
    return out;
  }

 private:
  static constexpr std::size_t kAtOnce = 512;

  Embedding(std::unique_ptr<Answerer> answerer, std::string model)
      : answerer_(std::move(answerer)), model_(std::move(model)) {}

  std::unique_ptr<Answerer> answerer_;
  std::string model_;
};

// Of one text in kTextsPerTypo: they cost as much time as others.
Result<void> embed_typos(Embedding& embedding, std::uint64_t seed, learning::ClassData& data) {
  constexpr std::size_t kTextsPerTypo = 2;
  std::vector<std::string> copies;
  std::vector<std::size_t> seen(data.labels.size());
  for (std::size_t i = 0; i < data.texts.size(); ++i) {
    if (seen[data.classes[i]]++ % kTextsPerTypo != 0) continue;
    data.typo_rows.push_back(i);
    copies.push_back(learning::typo_copy(data.texts[i], seed));
  }
  data.typo_embeddings = SHOAL_TRY(embedding.rows(copies));
  return {};
}

json::object quality_json(const learning::ClassQuality& of) {
  json::array bins;
  for (const statistics::Bin& bin : of.right.bins) {
    bins.push_back(json::object{{"predicted", bin.predicted}, {"right", bin.right}, {"texts", bin.answers}});
  }
  return {{"accuracy", of.accuracy},       {"low", of.interval.low},
          {"high", of.interval.high},      {"log_loss", of.log_loss},
          {"of_hashed", of.of_hashed},     {"of_probe", of.of_probe},
          {"ece", of.right.ece},           {"brier", of.right.brier},
          {"right_auroc", of.right.auroc}, {"out_of_scope_auroc", of.outside_auroc},
          {"reliability", std::move(bins)}};
}

std::string report_of(const ProbeReport& report, const ProbeRequest& request) {
  json::object out{{"texts", report.texts},
                   {"out_of_scope_texts", report.outside},
                   {"folds", learning::kClassFolds},
                   {"seed", request.seed},
                   {"typos", request.typos},
                   {"hashed", quality_json(report.fit.hashed)},
                   {"typo_accuracy", report.fit.typo_accuracy}};
  if (!report.embedder.empty()) {
    out["fused"] = quality_json(report.fit.fused);
    out["probe_accuracy"] = report.fit.probe_accuracy;
    out["fused_typo_accuracy"] = report.fit.fused_typo_accuracy;
  }
  json::array worst;
  for (std::size_t i = 0; i < std::min<std::size_t>(10, report.fit.by_label.size()); ++i) {
    const learning::ClassFitReport::Label& one = report.fit.by_label[i];
    json::object label{{"label", report.labels[one.label]}, {"texts", one.texts}, {"right", one.right}};
    if (one.taken > 0) {
      label["taken_for"] = report.labels[one.taken_for];
      label["taken"] = one.taken;
    }
    worst.push_back(std::move(label));
  }
  out["worst_labels"] = std::move(worst);
  json::array grid;
  for (const double one : learning::fusion_grid()) grid.push_back(one);
  out["search_space"] = json::object{{"of_hashed", grid}, {"of_probe", grid}};
  return json::serialize(out);
}

// Texts and what they are, of those that the task knows. Errors: kInvalidData.
Result<std::vector<std::uint32_t>> numbers_in(const learning::ClassData& data, const learning::ClassModel& model) {
  std::vector<std::uint32_t> of_label;
  for (const std::string& label : data.labels) {
    const auto found = std::ranges::find(model.labels, label);
    if (found == model.labels.end()) {
      return Error(ErrorCode::kInvalidData,
                   fmt::format("the task {} has no label {}; if that stands for texts of another kind, pass "
                               "--out-of-scope {}",
                               model.name, label, label));
    }
    of_label.push_back(static_cast<std::uint32_t>(found - model.labels.begin()));
  }
  std::vector<std::uint32_t> out;
  for (const std::uint32_t one : data.classes) out.push_back(of_label[one]);
  return out;
}

struct TestTexts {
  std::vector<std::string> texts;
  learning::EmbeddingRows embeddings;  // of none, without an embedder

  [[nodiscard]] std::span<const float> embedding(std::size_t i) const {
    return embeddings.size() == 0 ? std::span<const float>() : embeddings[i];
  }
};

TaskTestPart test_part(std::string name, const learning::ClassModel& model, const std::vector<std::uint32_t>& classes,
                       const TestTexts& plain, const TestTexts& swapped, const TestTexts& outside,
                       std::vector<TextScore>& scores) {
  TaskTestPart out;
  out.name = std::move(name);
  const bool fused = out.name == "fused";
  learning::ClassScorer scorer;
  const auto ask = [&](const TestTexts& of, std::size_t i) {
    return scorer.classify(model, of.texts[i], fused ? of.embedding(i) : std::span<const float>());
  };
  std::vector<statistics::Scored> right;
  std::vector<statistics::Scored> strange;
  scores.clear();
  for (std::size_t i = 0; i < plain.texts.size(); ++i) {
    const learning::ClassAnswer answer = ask(plain, i);
    const bool is_right = answer.best == classes[i];
    out.right += is_right ? 1U : 0U;
    right.push_back({answer.right, is_right});
    strange.push_back({answer.outside, false});
    scores.push_back({plain.texts[i], "", answer.score, is_right, false});
    if (i < swapped.texts.size()) out.right_with_swaps += ask(swapped, i).best == classes[i] ? 1U : 0U;
  }
  for (std::size_t i = 0; i < outside.texts.size(); ++i) {
    const learning::ClassAnswer answer = ask(outside, i);
    strange.push_back({answer.outside, true});
    scores.push_back({outside.texts[i], "", answer.score, false, true});
  }
  out.reliability = statistics::reliability(right);
  out.outside_auroc = statistics::auroc(strange);
  return out;
}

void time_decisions(const learning::ClassModel& model, const std::vector<std::string>& texts, TaskTestReport& report) {
  learning::ClassScorer scorer;
  std::vector<double> times;
  // The first round warms the caches.
  for (int round = 0; round < 2; ++round) {
    times.clear();
    for (const std::string& text : texts) {
      const auto begin = std::chrono::steady_clock::now();
      static_cast<void>(scorer.classify(model, text));
      times.push_back(seconds_since(begin) * 1e6);
    }
  }
  std::ranges::sort(times);
  report.p50_us = times[times.size() / 2];
  report.p99_us = times[times.size() * 99 / 100];
}

}  // namespace

fs::path task_folder(const config::Config& config) {
  return fs::path(config.server.data_dir) / "tasks";
}

std::vector<fs::path> task_files(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == learning::kClassFileEnding || at->path().extension() == learning::kSlotFileEnding)
      out.push_back(at->path());
  }
  std::ranges::sort(out);
  return out;
}

Result<learning::ClassModel> load_task(const config::Config& config, const std::string& name) {
  const fs::path folder = task_folder(config);
  const fs::path path = folder / (name + std::string(learning::kClassFileEnding));
  std::error_code error;
  if (!learning::is_task_name(name) || !fs::exists(path, error)) {
    std::vector<std::string> names;
    for (const fs::path& file : task_files(folder)) names.push_back(file.stem().string());
    return Error(ErrorCode::kNotFound,
                 names.empty()
                     ? fmt::format("no task was trained yet, in {}; `shoal tune probe DATA --task {}` does",
                                   folder.string(), learning::is_task_name(name) ? name : "NAME")
                     : fmt::format("no trained task is called {}; there are: {}", name, fmt::join(names, ", ")))
        .with_suggestion(base::suggest(name, names));
  }
  auto model = learning::load_class_model(path);
  if (model.ok()) return model;
  return Error(model.error().code(), fmt::format("{}: {}", path.string(), model.error().message()));
}

Result<void> check_task_name(const std::string& name) {
  if (!learning::is_task_name(name)) {
    return Error(ErrorCode::kUsage,
                 fmt::format("a task cannot be called `{}`: a name has up to 64 letters, digits, '-', '_' and '.', and "
                             "neither begins nor ends with '.'",
                             name));
  }
  return {};
}

Result<ProbeReport> tune_probe(const config::Config& config, const ProbeRequest& request) {
  SHOAL_TRY(check_task_name(request.task));
  if (is_slot_task(config, request.task)) {
    return Error(ErrorCode::kUsage,
                 fmt::format("a task of slots is called {}; give this one of classes another name", request.task));
  }
  ProbeReport report;
  report.read = SHOAL_TRY(read_labelled_texts(request.data));
  learning::ClassData data = class_data(report.read, request.data.out_of_scope);
  // Before minutes of embedding, not after them.
  SHOAL_TRY(learning::check_class_data(data));
  learning::ClassModel model;
  model.name = request.task;
  if (!request.no_embedder) {
    const auto embedder = SHOAL_TRY(find_embedder(config, request.embedder));
    if (embedder) {
      model.embedder = embedder_of(*embedder);
      report.embedder = embedder->name;
    } else {
      request.note(
          "No embedding model is here, so the hashed part is trained alone; with one, such as the one that "
          "`shoal pull all-minilm-l6-v2` fetches, fewer answers are wrong");
    }
  }
  if (model.embedder) {
    request.note(
        fmt::format("Embedding {} texts with {} ...", data.texts.size() + data.outside.size(), report.embedder));
    const auto begin = std::chrono::steady_clock::now();
    Embedding embedding = SHOAL_TRY(Embedding::make(config, report.embedder));
    data.embeddings = SHOAL_TRY(embedding.rows(data.texts));
    if (!data.outside.empty()) data.outside_embeddings = SHOAL_TRY(embedding.rows(data.outside));
    if (request.typos) SHOAL_TRY(embed_typos(embedding, request.seed, data));
    report.embed_seconds = seconds_since(begin);
    model.embedder->width = static_cast<std::uint32_t>(data.embeddings.width);
  }
  request.note(fmt::format("Training on {} texts of {} labels, with {}-fold cross-validation ...", data.texts.size(),
                           data.labels.size(), learning::kClassFolds));
  const auto begin = std::chrono::steady_clock::now();
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  report.fit =
      SHOAL_TRY(learning::fit_classes(data, {.seed = request.seed, .typos = request.typos, .threads = threads}, model));
  report.fit_seconds = seconds_since(begin);
  report.texts = data.texts.size();
  report.outside = data.outside.size();
  report.labels = data.labels;
  model.data_sha256 = report.read.sha256;
  model.date = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  model.report = report_of(report, request);
  report.file = SHOAL_TRY(learning::save_class_model(model, task_folder(config)));
  std::error_code error;
  report.file_bytes = fs::file_size(report.file, error);
  return report;
}

Result<TaskTestReport> test_task(const config::Config& config, const TaskTestRequest& request) {
  const learning::ClassModel model = SHOAL_TRY(load_task(config, request.task));
  const LabelledTexts read = SHOAL_TRY(read_labelled_texts(request.data));
  learning::ClassData data = class_data(read, request.data.out_of_scope);
  const std::vector<std::uint32_t> classes = SHOAL_TRY(numbers_in(data, model));
  if (classes.empty()) return Error(ErrorCode::kInvalidData, "the data have no text of the task's own labels");
  TaskTestReport report;
  report.texts = data.texts.size();
  report.outside = data.outside.size();
  report.data_sha256 = read.sha256;
  report.training_sha256 = model.data_sha256;
  TestTexts plain{std::move(data.texts), {}};
  TestTexts outside{std::move(data.outside), {}};
  TestTexts swapped;
  statistics::Random random(request.seed);
  for (std::size_t i = 0; request.typos && i < plain.texts.size(); ++i) {
    const std::string& text = plain.texts[i];
    swapped.texts.push_back(learning::with_typos(text, learning::Typos::kSwaps, random));
  }
  time_decisions(model, plain.texts, report);
  report.parts.push_back(test_part("hashed", model, classes, plain, swapped, outside, report.scores));
  if (!model.embedder) return report;
  const auto embedder = SHOAL_TRY(find_embedder(config, model.embedder->name));
  if (!embedder || !learning::same_embedder(*model.embedder, embedder_of(*embedder))) {
    return Error(ErrorCode::kInvalidData,
                 fmt::format("the embedder {} is another one than the task {} was trained with; train it again",
                             model.embedder->name, model.name));
  }
  request.note(fmt::format("Embedding {} texts{} ...", plain.texts.size() + swapped.texts.size(),
                           request.typos ? ", as they are and with typing errors" : ""));
  Embedding embedding = SHOAL_TRY(Embedding::make(config, embedder->name));
  for (TestTexts* const of : {&plain, &swapped, &outside}) {
    if (!of->texts.empty()) of->embeddings = SHOAL_TRY(embedding.rows(of->texts));
  }
  report.parts.push_back(test_part("fused", model, classes, plain, swapped, outside, report.scores));
  return report;
}

}  // namespace shoal::cli
