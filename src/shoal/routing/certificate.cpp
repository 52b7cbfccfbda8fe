#include "shoal/routing/certificate.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/routing/json_file.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFormat = "shoal-certificate-1";
constexpr std::size_t kHashDigits = 12;
constexpr double kMostScore = JsonReader::kMost;

std::string print_points(const std::vector<GatePoint>& points) {
  std::string out;
  for (const GatePoint& point : points) {
    out += fmt::format(
        "{}\n    {{\"threshold\": {}, \"coverage\": {}, \"kept\": {}, \"wrong\": {}, \"risk\": {}, \"upper\": {}}}",
        out.empty() ? "" : ",", json_number(point.threshold), json_number(point.coverage), point.kept, point.wrong,
        json_number(point.risk), json_number(point.upper));
  }
  return "[" + out + "\n  ]";
}

std::vector<GatePoint> read_points(JsonReader& from, std::string_view name) {
  std::vector<GatePoint> out;
  from.objects(name, [&out](JsonReader point) {
    out.push_back({.threshold = point.real("threshold", -kMostScore, kMostScore),
                   .kept = point.count("kept", 0),
                   .wrong = point.count("wrong", 0),
                   .coverage = point.real("coverage", 0, 1),
                   .risk = point.real("risk", 0, 1),
                   .upper = point.real("upper", 0, 1)});
    if (out.back().wrong > out.back().kept) point.bad("wrong", "no more than were kept");
  });
  const auto rises = [](const GatePoint& a, const GatePoint& b) { return a.threshold <= b.threshold; };
  if (std::ranges::adjacent_find(out, rises) != out.end()) from.bad(name, "thresholds that fall");
  if (out.empty()) from.bad(name, "at least one threshold");
  return out;
}

TableKey read_key(JsonReader from) {
  TableKey out;
  out.weights = from.text("weights");
  out.quantisation = from.text("quantisation");
  out.chat_template = from.text("chat_template");
  out.sampler = from.text("sampler");
  out.task = from.text("task");
  constexpr std::size_t kMostTokens = 1'000'000;
  const std::size_t tokens = from.count("tokens", 0);
  if (tokens > kMostTokens) from.bad("tokens", "fewer");
  out.tokens = static_cast<std::int32_t>(std::min(tokens, kMostTokens));
  if (out.task.empty()) from.bad("task", "a name");
  return out;
}

Certification read_shown(JsonReader& from) {
  Certification out;
  // A promise of all or nothing is none.
  constexpr double kLeast = 1e-6;
  out.options.risk = from.real("risk", kLeast, 1 - kLeast);
  out.options.confidence = from.real("confidence", kLeast, 1 - kLeast);
  out.options.seed = from.count("seed", 0);
  const auto ends = from.numbers<2>("coverage", 0);
  out.coverage = {ends[0], ends[1]};
  out.least_escalated = from.real("least_escalated", 0, 1);
  JsonReader labels = from.object("labels");
  out.labels = labels.count("all", 1);
  out.ranking = labels.count("ranking", 0);
  out.certifying = labels.count("certifying", 1);
  out.wrong = labels.count("wrong", 0);
  out.late = labels.count("late", 0);
  out.unscored = labels.count("unscored", 0);
  out.repeated = labels.count("repeated", 0);
  out.certified = read_points(from, "certified");
  out.curve = read_points(from, "curve");
  return out;
}

std::string digits(std::string_view sha256) {
  return sha256.empty() ? "none" : std::string(sha256.substr(0, kHashDigits));
}

// The further down the list, the nearer is the certificate; past its end it holds.
enum Difference : std::size_t { kTokens = kSameKey, kGate, kScores, kRisk, kConfidence, kNone };

std::size_t first_difference(const Certificate& certificate, const Promise& promise) {
  constexpr double kRounding = 1e-9;
  const std::size_t of_key = first_difference(certificate.key, promise.key);
  if (of_key < kSameKey) return of_key;
  if (certificate.key.tokens != promise.key.tokens) return kTokens;
  if (certificate.gate != promise.gate) return kGate;
  if (certificate.scores != promise.scores || promise.scores.empty()) return kScores;
  if (certificate.shown.options.risk > promise.risk + kRounding) return kRisk;
  if (certificate.shown.options.confidence < promise.confidence - kRounding) return kConfidence;
  return kNone;
}

// "2 of 64 digits" tell nobody what changed: the first table that differs does.
Gap scores_gap(std::string_view running, std::string_view wanted) {
  const auto part = [](std::string_view name, bool second) {
    const std::size_t plus = name.find('+');
    if (plus == std::string_view::npos) return second ? std::string_view() : name;
    return second ? name.substr(plus + 1) : name.substr(0, plus);
  };
  const bool second = part(running, false) == part(wanted, false);
  return {.field = "calibration table", .value = digits(part(running, second)), .wanted = digits(part(wanted, second))};
}

Gap gap_of(const Certificate& certificate, const Promise& promise, std::size_t difference) {
  const CertifyOptions& shown = certificate.shown.options;
  switch (difference) {
    case kTokens:
      return {"commit_tokens", fmt::format("{}", promise.key.tokens), fmt::format("{}", certificate.key.tokens)};
    case kGate:
      return {"gate", std::string(gate_name(promise.gate)), std::string(gate_name(certificate.gate))};
    case kScores:
      return scores_gap(promise.scores, certificate.scores);
    case kRisk:
      return {"risk", json_number(promise.risk), json_number(shown.risk)};
    case kConfidence:
      return {"risk_confidence", json_number(promise.confidence), json_number(shown.confidence)};
    default:
      return gap_between(promise.key, certificate.key, difference);
  }
}

}  // namespace

std::string_view gate_name(Gate gate) {
  return gate == Gate::kStream ? "stream" : "whole";
}

double Certificate::threshold(std::size_t steps_back) const {
  assert(!shown.certified.empty());
  const std::size_t last = shown.certified.size() - 1;
  return shown.certified[last - std::min(steps_back, last)].threshold;
}

std::string scores_name(const Calibration& calibration) {
  const auto name = [](const Table* table) { return table == nullptr ? std::string("none") : table->sha256; };
  const std::string prefix = name(calibration.prefix);
  const std::string whole = name(calibration.whole);
  return prefix.empty() || whole.empty() ? "" : prefix + "+" + whole;
}

std::string print_certificate(const Certificate& c) {
  const auto text = [](const std::string& value) { return base::json_string(value); };
  const Certification& shown = c.shown;
  std::string out = fmt::format("{{\n  \"format\": \"{}\",\n  \"model\": {},\n  \"date\": {},\n  \"command\": {},\n",
                                kFormat, text(c.model), text(c.date), text(c.command));
  out += fmt::format("  \"data\": {},\n  \"scores\": {},\n  \"excludes\": {},\n  \"gate\": \"{}\",\n", text(c.data),
                     text(c.scores), text(c.excludes), gate_name(c.gate));
  out += fmt::format(
      "  \"key\": {{\n    \"weights\": {},\n    \"quantisation\": {},\n    \"chat_template\": {},\n    \"sampler\": "
      "{},\n    \"task\": {},\n    \"tokens\": {}\n  }},\n",
      text(c.key.weights), text(c.key.quantisation), text(c.key.chat_template), text(c.key.sampler), text(c.key.task),
      c.key.tokens);
  out += fmt::format("  \"risk\": {},\n  \"confidence\": {},\n  \"seed\": {},\n", json_number(shown.options.risk),
                     json_number(shown.options.confidence), shown.options.seed);
  out += fmt::format("  \"coverage\": [{}, {}],\n  \"least_escalated\": {},\n", json_number(shown.coverage.low),
                     json_number(shown.coverage.high), json_number(shown.least_escalated));
  out += fmt::format(
      "  \"labels\": {{\n    \"all\": {},\n    \"ranking\": {},\n    \"certifying\": {},\n    \"wrong\": {},\n    "
      "\"late\": {},\n    \"unscored\": {},\n    \"repeated\": {}\n  }},\n",
      shown.labels, shown.ranking, shown.certifying, shown.wrong, shown.late, shown.unscored, shown.repeated);
  out += fmt::format("  \"certified\": {},\n  \"curve\": {}\n}}\n", print_points(shown.certified),
                     print_points(shown.curve));
  return out;
}

Result<Certificate> parse_certificate(std::string_view text) {
  const boost::json::value root = SHOAL_TRY(parse_exactly(text));
  std::string fault;
  JsonReader from(root.get_object(), "", fault);
  if (from.text("format") != kFormat) from.bad("format", fmt::format("\"{}\"", kFormat));
  Certificate out;
  out.model = from.text("model");
  out.date = from.text("date");
  out.command = from.text("command");
  out.data = from.text("data");
  out.scores = from.text("scores");
  out.excludes = from.text("excludes");
  const std::string gate = from.text("gate");
  if (gate != "stream" && gate != "whole") from.bad("gate", "\"stream\" or \"whole\"");
  out.gate = gate == "stream" ? Gate::kStream : Gate::kWhole;
  out.key = read_key(from.object("key"));
  out.shown = read_shown(from);
  // What is written there is not believed: whoever changes a number by hand does not get a promise for it.
  if (fault.empty()) {
    for (const GatePoint& point : out.shown.certified) {
      if (!shows(point, out.shown.options)) from.bad("certified", "thresholds whose labels show the risk");
    }
  }
  if (!fault.empty()) return Error(ErrorCode::kInvalidConfig, std::move(fault));
  return out;
}

Certificates load_certificates(const fs::path& folder) {
  Certificates out;
  for (const fs::path& path : json_files(folder)) {
    auto text = read_text(path);
    auto one = text.ok() ? parse_certificate(*text) : Result<Certificate>(std::move(text).error());
    if (one.ok()) {
      out.certificates.push_back(std::move(one).value());
      base::Sha256 sum;
      sum.update(print_certificate(out.certificates.back()));
      out.certificates.back().sha256 = sum.finish();
    } else {
      out.bad.push_back({path, std::move(one).error()});
    }
  }
  return out;
}

std::string file_name(const Certificate& c) {
  std::string out = c.key.task;
  if (!c.model.empty()) out += "." + c.model;
  out += "." + (c.key.weights.empty() ? c.scores : c.key.weights.substr(0, kHashDigits));
  if (!c.key.weights.empty()) out += fmt::format(".{}.k{}", gate_name(c.gate), c.key.tokens);
  constexpr double kPercent = 100;
  return plain_file_name(out + fmt::format(".risk{:.4g}.json", kPercent * c.shown.options.risk));
}

Result<fs::path> save_certificate(const Certificate& certificate, const fs::path& folder) {
  return save_text(folder, file_name(certificate), print_certificate(certificate));
}

FoundCertificate find_certificate(std::span<const Certificate> certificates, const Promise& promise) {
  FoundCertificate out;
  const Certificate* nearest = nullptr;
  std::size_t furthest = 0;
  for (const Certificate& one : certificates) {
    if (one.key.weights.empty()) continue;
    const std::size_t same = first_difference(one, promise);
    const bool better =
        same == kNone && (out.certificate == nullptr || one.shown.coverage.low > out.certificate->shown.coverage.low);
    if (better) out.certificate = &one;
    if (nearest == nullptr || same > furthest) {
      nearest = &one;
      furthest = same;
    }
  }
  if (out.certificate != nullptr) return out;
  if (nearest == nullptr) {
    out.gap = Gap{.field = "certificate", .value = "none", .wanted = "one for this task"};
  } else {
    out.gap = gap_of(*nearest, promise, furthest);
  }
  return out;
}

}  // namespace shoal::routing
