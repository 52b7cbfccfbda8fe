#include "shoal/evaluation/suite.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <toml++/toml.h>

#include "shoal/base/sha256.h"
#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/evaluation/jsonl.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kMaxFaults = 20;
constexpr std::size_t kMaxLabels = 200;  // of a confusion matrix that is made up from the answers

// All that is wrong with a suite.
class Faults {
 public:
  void add(const fs::path& file, std::size_t line, const std::string& message) {
    ++count_;
    if (lines_.size() < kMaxFaults) lines_.push_back(fmt::format("{}:{}: {}", shown(file), line, message));
  }
  [[nodiscard]] bool any() const { return count_ > 0; }
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] Error error() const {
    std::string all = fmt::format("{}", fmt::join(lines_, "\n"));
    if (count_ > lines_.size()) all += fmt::format("\nand {} more", count_ - lines_.size());
    return {ErrorCode::kInvalidConfig, std::move(all)};
  }

 private:
  std::vector<std::string> lines_;
  std::size_t count_ = 0;
};

// One table of the TOML file: its keys are taken one by one, and what is left is unknown.
class Table {
 public:
  Table(const fs::path& file, std::string name, const toml::table* table, Faults& faults)
      : file_(file), name_(std::move(name)), table_(table), faults_(faults) {}

  void text(std::string_view key, std::string& into) {
    if (const toml::node* const node = take(key)) {
      if (const auto value = node->value_exact<std::string>()) {
        into = *value;
      } else {
        wanted(key, *node, "a text");
      }
    }
  }
  void texts(std::string_view key, std::vector<std::string>& into) {
    const toml::node* const node = take(key);
    if (node == nullptr) return;
    if (const auto value = node->value_exact<std::string>()) {
      into = {*value};
      return;
    }
    const toml::array* const list = node->as_array();
    if (list == nullptr) return wanted(key, *node, "a list of texts");
    into.clear();
    for (const toml::node& item : *list) {
      const auto value = item.value_exact<std::string>();
      if (!value) return wanted(key, item, "a list of texts");
      into.push_back(*value);
    }
  }
  void flag(std::string_view key, bool& into) {
    if (const toml::node* const node = take(key)) {
      if (const auto value = node->value_exact<bool>()) {
        into = *value;
      } else {
        wanted(key, *node, "true or false");
      }
    }
  }
  void number(std::string_view key, double& into, double low, double high) {
    if (const toml::node* const node = take(key)) {
      const auto value = node->is_number() ? node->value<double>() : std::nullopt;
      if (value && *value >= low && *value <= high) {
        into = *value;
      } else {
        wanted(key, *node, fmt::format("a number from {} to {}", low, high));
      }
    }
  }
  void whole(std::string_view key, std::int64_t& into, std::int64_t low, std::int64_t high) {
    if (const toml::node* const node = take(key)) {
      const auto value = node->value_exact<std::int64_t>();
      if (value && *value >= low && *value <= high) {
        into = *value;
      } else {
        wanted(key, *node, fmt::format("a whole number from {} to {}", low, high));
      }
    }
  }
  [[nodiscard]] const toml::table* table(std::string_view key) {
    const toml::node* const node = take(key);
    if (node == nullptr) return nullptr;
    if (!node->is_table()) wanted(key, *node, fmt::format("a table: write [{}] and its keys below", key));
    return node->as_table();
  }
  [[nodiscard]] bool has(std::string_view key) const { return table_ != nullptr && table_->contains(key); }

  void fault(std::string_view key, const std::string& message) {
    const toml::node* const node = table_ == nullptr ? nullptr : table_->get(key);
    const std::size_t line = node != nullptr     ? node->source().begin.line
                             : table_ != nullptr ? table_->source().begin.line
                                                 : 1;
    faults_.add(file_, std::max<std::size_t>(line, 1), fmt::format("`{}{}`: {}", name_, key, message));
  }

  void end() {
    if (table_ == nullptr) return;
    for (auto&& [key, node] : *table_) {
      if (std::ranges::find(taken_, key.str()) != taken_.end()) continue;
      const std::string near = base::suggest(key.str(), taken_);
      faults_.add(file_, key.source().begin.line,
                  fmt::format("unknown key `{}{}`{}", name_, base::escape_control(key.str()),
                              near.empty() ? "" : fmt::format("; did you mean `{}`?", near)));
    }
  }

 private:
  const toml::node* take(std::string_view key) {
    taken_.emplace_back(key);
    return table_ == nullptr ? nullptr : table_->get(key);
  }
  void wanted(std::string_view key, const toml::node& node, std::string_view what) {
    faults_.add(file_, node.source().begin.line, fmt::format("`{}{}`: wanted {}", name_, key, what));
  }

  const fs::path& file_;
  std::string name_;  // with the point behind it
  const toml::table* table_;
  Faults& faults_;
  std::vector<std::string> taken_;
};

// Keys of [grader] that a judge has, and no other one.
void read_judge(Table& grader, const fs::path& file, Suite& suite) {
  constexpr std::array<std::string_view, 5> kOwn = {"judge", "rubric", "gold", "mode", "max_tokens"};
  if (suite.grader.kind != GraderKind::kJudge) {
    for (const std::string_view key : kOwn) {
      if (grader.has(key)) grader.fault(key, "only the grader \"judge\" has it");
    }
    return;
  }
  JudgeSettings& judge = suite.judge.emplace();
  std::string gold;
  std::string mode;
  grader.text("judge", judge.judge);
  grader.text("rubric", judge.rubric);
  grader.text("gold", gold);
  grader.text("mode", mode);
  grader.whole("max_tokens", judge.max_tokens, 1, 1 << 16);
  if (judge.judge.empty()) grader.fault("judge", "missing: the route or model of the server that judges");
  if (judge.rubric.empty()) grader.fault("rubric", "missing: say in words what makes an answer good");
  if (gold.empty()) {
    grader.fault("gold", fmt::format("missing: a JSONL file of at least {} pairs that people labelled, for a judge is "
                                     "used only when it agrees with them",
                                     kLeastGoldPairs));
  }
  if (!mode.empty() && mode != "pairwise" && mode != "single")
    grader.fault("mode", fmt::format("wanted \"pairwise\" or \"single\", not \"{}\"", wire::shortened(mode)));
  judge.pairwise = mode != "single";
  if (!gold.empty()) suite.gold = file.parent_path() / gold;
  // As good as the reference; 4 of 5.
  if (!grader.has("right_from")) suite.grader.right_from = judge.pairwise ? 0.5 : 0.75;
  if (grader.has("extract")) grader.fault("extract", "a judge reads the whole answer");
}

void read_grader(Table& root, const fs::path& file, Suite& suite, Faults& faults) {
  const toml::table* const table = root.table("grader");
  if (table == nullptr) {
    if (!root.has("grader")) root.fault("grader", "missing: write [grader] and kind = \"...\" below");
    return;
  }
  Table grader(file, "grader.", table, faults);
  GraderSettings& settings = suite.grader;
  std::string kind;
  grader.text("kind", kind);
  if (const auto known = grader_named(kind)) {
    settings.kind = *known;
  } else {
    const std::string near = base::suggest(kind, grader_names());
    grader.fault("kind",
                 fmt::format("wanted one of {}, not \"{}\"{}", fmt::join(grader_names(), ", "), wire::shortened(kind),
                             near.empty() ? "" : fmt::format("; did you mean `{}`?", near)));
  }
  grader.number("right_from", settings.right_from, 0, 1);
  grader.text("extract", settings.extract);
  grader.flag("ignore_case", settings.ignore_case);
  grader.number("tolerance", settings.tolerance, 0, 1e300);
  grader.number("relative_tolerance", settings.relative_tolerance, 0, 1);
  grader.text("separator", settings.separator);
  grader.texts("labels", settings.labels);
  grader.whole("timeout_s", settings.timeout_s, 1, 600);
  grader.whole("memory_mib", settings.memory_mib, 64, 65536);
  grader.text("python", settings.python);
  read_judge(grader, file, suite);
  grader.end();
  if (!settings.extract.empty()) {
    // It is tried here so that a fault has its place.
    GraderSettings trial = settings;
    trial.kind = GraderKind::kExact;
    Gold gold;
    gold.answers = {""};
    if (const auto tried = grade(trial, gold, ""); !tried.ok()) grader.fault("extract", tried.error().message());
  }
}

void read_ask(Table& root, const fs::path& file, Suite& suite, Faults& faults) {
  Table request(file, "request.", root.table("request"), faults);
  request.whole("max_tokens", suite.ask.max_tokens, 1, 1 << 20);
  request.number("temperature", suite.ask.temperature, 0, 2);
  request.text("system", suite.ask.system);
  request.texts("stop", suite.ask.stop);
  if (request.has("seed")) {
    std::int64_t seed = 0;
    request.whole("seed", seed, 0, INT64_MAX);
    suite.ask.seed = seed;
  }
  request.end();
}

void read_toml(const fs::path& file, const toml::table& parsed, Suite& suite, Faults& faults) {
  Table root(file, "", &parsed, faults);
  root.text("name", suite.name);
  root.text("description", suite.description);
  std::vector<std::string> data;
  root.texts("data", data);
  root.texts("slices", suite.slices);
  root.number("margin", suite.margin, 0, 1);
  read_grader(root, file, suite, faults);
  read_ask(root, file, suite, faults);
  suite.by_score = !all_or_nothing(suite.grader.kind);
  std::string metric;
  root.text("metric", metric);
  if (metric == "right" || metric == "score") {
    suite.by_score = metric == "score";
  } else if (!metric.empty()) {
    root.fault("metric", fmt::format("wanted \"right\" or \"score\", not \"{}\"", wire::shortened(metric)));
  }
  root.end();
  if (suite.name.empty() ||
      suite.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") !=
          std::string::npos ||
      suite.name.front() == '.') {
    root.fault("name", "wanted a name of letters, digits and - _ . that does not begin with a point");
  }
  if (data.empty()) root.fault("data", "missing: name the JSONL file or files with the questions");
  for (const std::string& one : data) suite.data.push_back(file.parent_path() / one);
}

// --- rows

std::string_view view(const json::string& text) {
  return {text.data(), text.size()};
}
Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

// A text, or a number as it is written in JSON: graders of numbers read it again.
Result<std::string> answer_text(const json::value& value, std::string_view field) {
  if (value.is_string()) return std::string(view(value.get_string()));
  if (value.is_number()) return json::serialize(value);
  return wrong(fmt::format("\"{}\": wanted a text or a number", field));
}

Result<std::vector<std::string>> texts_of(const json::value& value, std::string_view field) {
  std::vector<std::string> out;
  if (const json::array* const list = value.if_array()) {
    for (const json::value& one : *list) out.push_back(SHOAL_TRY(answer_text(one, field)));
  } else {
    out.push_back(SHOAL_TRY(answer_text(value, field)));
  }
  return out;
}

Result<Gold> read_gold(const json::object& row) {
  Gold out;
  for (const std::string_view field : {"answer", "answers"}) {
    if (const json::value* const value = row.if_contains(field)) {
      for (std::string& one : SHOAL_TRY(texts_of(*value, field))) out.answers.push_back(std::move(one));
    }
  }
  if (const json::value* const facts = row.if_contains("facts")) {
    if (!facts->is_array()) return wrong("\"facts\": wanted a list, of texts or of lists of wordings");
    for (const json::value& fact : facts->get_array()) {
      out.facts.push_back(SHOAL_TRY(texts_of(fact, "facts")));
      if (out.facts.back().empty()) return wrong("\"facts\": a fact has no wording");
    }
  }
  if (const json::value* const schema = row.if_contains("schema")) out.schema = *schema;
  if (const json::value* const fields = row.if_contains("fields")) out.fields = *fields;
  if (const json::value* const tests = row.if_contains("tests")) out.tests = SHOAL_TRY(texts_of(*tests, "tests"));
  return out;
}

std::string hash_of(std::string_view text) {
  base::Sha256 hash;
  hash.update(text);
  return hash.finish();
}

using TakeLine = std::function<Result<void>(const json::object& object, std::string_view line)>;

Result<json::value> parse_line(std::string_view line) {
  json::stream_parser parser;
  boost::system::error_code error;
  const std::size_t read = parser.write_some(line.data(), line.size(), error);
  const bool rest = !error && line.find_first_not_of(" \t", read) != std::string_view::npos;
  if (!error && !rest) parser.finish(error);
  if (rest) return wrong(fmt::format("it is not a JSON object alone: more follows at byte {}", read + 1));
  if (error) return wrong(fmt::format("it is not a JSON object: {} at byte {}", error.message(), read + 1));
  json::value out = parser.release();
  if (!out.is_object()) return wrong("it is not a JSON object");
  return out;
}

// Line by line, for a fault in one says nothing about the next.
void each_line(const fs::path& file, std::string_view rest, Faults& faults, const TakeLine& take) {
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  if (rest.starts_with(kMark)) rest.remove_prefix(kMark.size());
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const auto parsed = parse_line(line);
    const Result<void> taken = parsed.ok() ? take(parsed->get_object(), line) : Result<void>(parsed.error());
    if (!taken.ok()) faults.add(file, number, taken.error().message());
  }
}

class RowReader {
 public:
  RowReader(Suite& suite, Faults& faults) : suite_(suite), faults_(faults) {}

  void read(const fs::path& file, const std::string& text) {
    each_line(file, text, faults_,
              [this](const json::object& object, std::string_view line) { return row(object, line); });
  }

 private:
  Result<void> row(const json::object& object, std::string_view line) {
    SuiteRow out;
    out.prompt = SHOAL_TRY(read_prompt(object));
    out.gold = SHOAL_TRY(read_gold(object));
    SHOAL_TRY(check_gold(suite_.grader, out.gold));
    if (suite_.judge && suite_.judge->pairwise && out.gold.answers.size() != 1)
      return wrong("a pairwise judge needs one \"answer\", which it compares with");
    for (const std::string& field : suite_.slices) {
      const json::value* const value = object.if_contains(field);
      const bool none = value == nullptr || value->is_null();
      if (!none && !value->is_string() && !value->is_number() && !value->is_bool())
        return wrong(fmt::format("\"{}\": a slice is a text, a number, true or false", wire::shortened(field)));
      out.slices.push_back(none                 ? ""
                           : value->is_string() ? std::string(view(value->get_string()))
                                                : json::serialize(*value));
    }
    if (const json::value* const id = object.if_contains("id")) {
      out.id = SHOAL_TRY(answer_text(*id, "id"));
      if (out.id.empty()) return wrong("\"id\" is empty");
    } else {
      out.id = hash_of(line).substr(0, 16);
    }
    const auto [first, is_new] = ids_.emplace(out.id, suite_.rows.size());
    if (!is_new)
      return wrong(fmt::format("the id \"{}\" has come before, or the whole line has", wire::shortened(out.id)));
    suite_.rows.push_back(std::move(out));
    return {};
  }

  Suite& suite_;
  Faults& faults_;
  std::map<std::string, std::size_t> ids_;
};

void read_gold_pairs(Suite& suite, const std::string& text, Faults& faults) {
  JudgeSettings& judge = *suite.judge;
  std::set<std::string> contents;
  std::size_t decided = 0;
  const std::size_t before = faults.count();
  each_line(suite.gold, text, faults, [&](const json::object& object, std::string_view) -> Result<void> {
    GoldPair pair = SHOAL_TRY(read_gold_pair(object));
    if (!contents.insert(content_of(pair)).second) return wrong("the same pair has come before");
    if (pair.better != Better::kTie) ++decided;
    judge.gold.push_back(std::move(pair));
    return {};
  });
  judge.gold_sha256 = hash_of(text);
  if (faults.count() == before && decided < kLeastGoldPairs) {
    faults.add(suite.gold, 1,
               fmt::format("people decided {} pairs, and a judge needs at least {}: label {} more", decided,
                           kLeastGoldPairs, kLeastGoldPairs - decided));
  }
}

// Of a label suite that names none: those that are right somewhere, in the order of the alphabet.
void find_labels(Suite& suite) {
  if (suite.grader.kind != GraderKind::kLabel || !suite.grader.labels.empty()) return;
  std::set<std::string> all;
  for (const SuiteRow& row : suite.rows) all.insert(row.gold.answers.front());
  if (all.size() <= kMaxLabels) suite.grader.labels.assign(all.begin(), all.end());
}

std::string_view role_name(types::Role role) {
  return role == types::Role::kSystem ? "system" : role == types::Role::kAssistant ? "assistant" : "user";
}

}  // namespace

Result<Suite> read_suite(const fs::path& path) {
  std::error_code ignored;
  const fs::path file = fs::is_directory(path, ignored) ? path / "suite.toml" : path;
  const std::string text = SHOAL_TRY(contents_of(file));
  Suite suite;
  Faults faults;
  try {
    read_toml(file, toml::parse(text, file.string()), suite, faults);
  } catch (const toml::parse_error& fault) {
    faults.add(file, fault.source().begin.line, std::string(fault.description()));
    return faults.error();
  }
  base::Sha256 hash;
  hash.update(text);
  RowReader rows(suite, faults);
  for (const fs::path& one : suite.data) {
    const std::string data = SHOAL_TRY(contents_of(one));
    hash.update(data);
    rows.read(one, data);
  }
  if (suite.judge && !suite.gold.empty()) {
    const std::string gold = SHOAL_TRY(contents_of(suite.gold));
    hash.update(gold);
    read_gold_pairs(suite, gold, faults);
  }
  if (suite.rows.empty() && !faults.any()) faults.add(suite.data.front(), 1, "there is no question in it");
  if (faults.any()) return faults.error();
  find_labels(suite);
  suite.sha256 = hash.finish();
  return suite;
}

std::string chat_body(const Suite& suite, const SuiteRow& row, std::string_view route) {
  json::array messages;
  const auto* const given = std::get_if<std::vector<types::Message>>(&row.prompt);
  const bool own_system = given != nullptr && given->front().role == types::Role::kSystem;
  if (!suite.ask.system.empty() && !own_system)
    messages.push_back(json::object{{"role", "system"}, {"content", suite.ask.system}});
  if (given != nullptr) {
    for (const types::Message& message : *given)
      messages.push_back(json::object{{"role", role_name(message.role)}, {"content", message.content}});
  } else {
    messages.push_back(json::object{{"role", "user"}, {"content", std::get<std::string>(row.prompt)}});
  }
  json::object body{{"model", route},
                    {"messages", std::move(messages)},
                    {"max_tokens", suite.ask.max_tokens},
                    {"temperature", suite.ask.temperature}};
  if (!suite.ask.stop.empty()) body["stop"] = json::array(suite.ask.stop.begin(), suite.ask.stop.end());
  if (suite.ask.seed) body["seed"] = *suite.ask.seed;
  return json::serialize(body);
}

}  // namespace shoal::evaluation
