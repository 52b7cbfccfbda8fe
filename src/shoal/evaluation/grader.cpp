#include "shoal/evaluation/grader.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "shoal/evaluation/graders/parts.h"
#include "shoal/evaluation/normalise.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

struct Named {
  GraderKind kind;
  std::string_view name;
};
constexpr std::array kNames = {
    Named{GraderKind::kExact, "exact"},        Named{GraderKind::kNormalised, "normalised"},
    Named{GraderKind::kContains, "contains"},  Named{GraderKind::kRegex, "regex"},
    Named{GraderKind::kNumeric, "numeric"},    Named{GraderKind::kLabel, "label"},
    Named{GraderKind::kSchema, "json-schema"}, Named{GraderKind::kFields, "fields"},
    Named{GraderKind::kTokenF1, "token-f1"},   Named{GraderKind::kSetF1, "set-f1"},
    Named{GraderKind::kCoverage, "coverage"},  Named{GraderKind::kCode, "code"},
    Named{GraderKind::kJudge, "judge"},
};

Error wrong(std::string message) {
  return {ErrorCode::kInvalidData, std::move(message)};
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const std::size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) - first + 1);
}

Grade match(bool right, std::string_view said, const Gold& gold) {
  const std::string wanted = gold.answers.empty() ? "" : gold.answers.front();
  return {.score = right ? 1.0 : 0.0,
          .right = right,
          .why = right ? fmt::format("it is \"{}\"", wire::shortened(trimmed(said)))
                       : fmt::format("\"{}\" where \"{}\" is right", wire::shortened(trimmed(said)),
                                     wire::shortened(wanted))};
}

Grade match_any(const Gold& gold, std::string_view said, const auto& same) {
  return match(std::ranges::any_of(gold.answers, same), said, gold);
}

Result<Grade> grade_regex(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  for (const std::string& pattern : gold.answers) {
    if (SHOAL_TRY(found(pattern, settings.ignore_case, answer)))
      return Grade{.score = 1, .right = true, .why = fmt::format("/{}/ is found", wire::shortened(pattern))};
  }
  return Grade{.score = 0, .right = false, .why = fmt::format("/{}/ is not found", wire::shortened(gold.answers[0]))};
}

Result<Grade> grade_text(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  switch (settings.kind) {
    case GraderKind::kExact:
      return match_any(gold, answer, [&](const std::string& right) { return trimmed(right) == trimmed(answer); });
    case GraderKind::kNormalised: {
      const std::string said = normalised(answer);
      return match_any(gold, answer, [&](const std::string& right) { return normalised(right) == said; });
    }
    case GraderKind::kContains: {
      const std::string said = normalised(answer);
      return match_any(gold, answer, [&](const std::string& right) { return has_words(said, normalised(right)); });
    }
    case GraderKind::kLabel: {
      const std::string said = normalised(first_line(answer));
      return match_any(gold, first_line(answer), [&](const std::string& right) { return normalised(right) == said; });
    }
    case GraderKind::kRegex:
      return grade_regex(settings, gold, answer);
    case GraderKind::kNumeric:
      return grade_numeric(settings, gold, answer);
    case GraderKind::kSchema:
      return grade_schema(gold, answer);
    case GraderKind::kFields:
      return grade_fields(gold, answer);
    case GraderKind::kTokenF1:
      return grade_token_f1(gold, answer);
    case GraderKind::kSetF1:
      return grade_set_f1(settings, gold, answer);
    case GraderKind::kCoverage:
      return grade_coverage(gold, answer);
    case GraderKind::kJudge:
      return wrong("this grader asks a judge: `shoal eval run` does");
    case GraderKind::kCode:
      break;
  }
  return grade_code(settings, gold, answer);
}

}  // namespace

std::string_view grader_name(GraderKind kind) {
  return std::ranges::find(kNames, kind, &Named::kind)->name;
}

std::optional<GraderKind> grader_named(std::string_view name) {
  const auto* const at = std::ranges::find(kNames, name, &Named::name);
  if (at == kNames.end()) return std::nullopt;
  return at->kind;
}

std::vector<std::string> grader_names() {
  std::vector<std::string> out;
  for (const Named& one : kNames) out.emplace_back(one.name);
  return out;
}

bool all_or_nothing(GraderKind kind) {
  switch (kind) {
    case GraderKind::kFields:
    case GraderKind::kTokenF1:
    case GraderKind::kSetF1:
    case GraderKind::kCoverage:
    case GraderKind::kCode:
    case GraderKind::kJudge:
      return false;
    default:
      return true;
  }
}

Result<Grade> grade(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  if (answer.size() > kMaxGradedBytes)
    return Grade{
        .score = 0, .right = false, .why = fmt::format("it has {} bytes, which no right answer has", answer.size())};
  std::optional<std::string> part;
  if (!settings.extract.empty()) {
    part = SHOAL_TRY(extracted(settings.extract, settings.ignore_case, answer));
    if (!part) return Grade{.score = 0, .right = false, .why = "the pattern of `extract` is not found"};
  }
  Grade out = SHOAL_TRY(grade_text(settings, gold, part ? std::string_view(*part) : answer));
  // Scores are sums of a few shares: 1 may be 1 - 1e-16.
  out.right = out.score >= settings.right_from - 1e-12;
  return out;
}

Result<void> check_gold(const GraderSettings& settings, const Gold& gold) {
  switch (settings.kind) {
    case GraderKind::kSchema:
      if (gold.schema.is_null()) return wrong("the grader json-schema needs \"schema\"");
      return check_schema(gold.schema);
    case GraderKind::kFields:
      if (!gold.fields.is_object()) return wrong("the grader fields needs \"fields\", an object");
      return gold.schema.is_null() ? Result<void>() : check_schema(gold.schema);
    case GraderKind::kCoverage:
      if (gold.facts.empty()) return wrong("the grader coverage needs \"facts\"");
      return {};
    case GraderKind::kCode:
      if (gold.tests.empty()) return wrong("the grader code needs \"tests\"");
      return {};
    case GraderKind::kJudge:  // which rows need an answer read_suite() knows
      return {};
    default:
      break;
  }
  if (gold.answers.empty()) {
    return wrong(fmt::format("the grader {} needs \"answer\" or \"answers\"", grader_name(settings.kind)));
  }
  for (const std::string& answer : gold.answers) {
    const bool compares_words = settings.kind == GraderKind::kNormalised || settings.kind == GraderKind::kContains ||
                                settings.kind == GraderKind::kLabel || settings.kind == GraderKind::kSetF1;
    if (compares_words && normalised(answer).empty())
      return wrong(fmt::format("nothing of the answer \"{}\" is a letter or a digit", wire::shortened(answer)));
    if (settings.kind == GraderKind::kRegex) SHOAL_TRY(found(answer, settings.ignore_case, ""));
    if (settings.kind == GraderKind::kNumeric && !last_number(answer))
      return wrong(fmt::format("there is no number in the answer \"{}\"", wire::shortened(answer)));
  }
  return {};
}

std::string label_of(const GraderSettings& settings, std::string_view answer) {
  std::string said = normalised(first_line(answer));
  for (const std::string& label : settings.labels) {
    if (normalised(label) == said) return label;
  }
  return said;
}

}  // namespace shoal::evaluation
