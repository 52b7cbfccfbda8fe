#include "shoal/audit/records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <functional>
#include <initializer_list>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json/parser.hpp>
#include <boost/json/value.hpp>

#include "shoal/base/text.h"

namespace shoal::audit {
namespace {

namespace json = boost::json;

// That are written; all before are read.
template <class Record>
constexpr std::int64_t kVersion = 1;
template <>
constexpr std::int64_t kVersion<Receipt> = 3;
constexpr std::size_t kMaxDepth = 64;

// A field that is JSON already.
template <class Text>
struct Embedded {
  Text& text;
};
template <class Text>
Embedded(Text&) -> Embedded<Text>;

// The fields of each record in a version, once for printing and for parsing.
template <class Self, class Visit>
  requires std::same_as<std::remove_const_t<Self>, Intent>
void fields(Self& intent, std::int64_t, Visit&& field) {
  field("attempt", intent.attempt);
  field("request", intent.request);
  field("unix_ms", intent.unix_ms);
  field("principal", intent.principal);
  field("provider", intent.provider);
  field("model", intent.model);
  field("purpose", intent.purpose);
  field("body_sha256", intent.body_sha256);
  field("body_bytes", intent.body_bytes);
  field("reserved_pico", intent.reserved_pico);
  field("price", intent.price);
  field("route", intent.route);
}

template <class Self, class Visit>
  requires std::same_as<std::remove_const_t<Self>, Outcome>
void fields(Self& outcome, std::int64_t, Visit&& field) {
  field("attempt", outcome.attempt);
  field("unix_ms", outcome.unix_ms);
  field("kind", outcome.kind);
  field("input", outcome.tokens.input);
  field("cache_read", outcome.tokens.cache_read);
  field("cache_write_5m", outcome.tokens.cache_write_5m);
  field("cache_write_1h", outcome.tokens.cache_write_1h);
  field("output", outcome.tokens.output);
  field("reasoning", outcome.tokens.reasoning);
  field("cost_pico", outcome.cost_pico);
  field("status", outcome.status);
  field("failure", outcome.failure);
  field("upstream_id", outcome.upstream_id);
}

template <class Self, class Visit>
  requires std::same_as<std::remove_const_t<Self>, Receipt>
void fields(Self& receipt, std::int64_t version, Visit&& field) {
  field("request", receipt.request);
  field("unix_ms", receipt.unix_ms);
  field("principal", receipt.principal);
  field("route", receipt.route);
  field("model", receipt.model);
  field("decision", receipt.decision);
  field("egress", receipt.egress);
  field("billed_micro", receipt.billed_micro);
  field("baseline_micro", receipt.baseline_micro);
  field("prompt_tokens", receipt.prompt_tokens);
  field("completion_tokens", receipt.completion_tokens);
  field("local_ms", receipt.local_ms);
  field("durability", receipt.durability);
  field("status", receipt.status);
  field("confidence", receipt.confidence);
  field("detail", Embedded(receipt.detail));
  if (version >= 2) field("baseline", receipt.baseline);
  if (version >= 3) field("judged", receipt.judged);
}

template <class Self, class Visit>
  requires std::same_as<std::remove_const_t<Self>, Label>
void fields(Self& label, std::int64_t, Visit&& field) {
  field("request", label.request);
  field("unix_ms", label.unix_ms);
  field("kind", label.kind);
  field("right", label.right);
  field("source", label.source);
  field("how", label.how);
  field("note", label.note);
  field("principal", label.principal);
}

constexpr std::initializer_list<Action> kActions = {Action::kKept, Action::kKeptUnsure, Action::kEscalated,
                                                    Action::kRefused};
constexpr std::initializer_list<Stratum> kStrata = {Stratum::kOpen, Stratum::kLocalOnly, Stratum::kSeveral};
constexpr std::initializer_list<LabelKind> kLabelKinds = {LabelKind::kAudit, LabelKind::kEscalation,
                                                          LabelKind::kFeedback};

template <class Number>
void append_number(std::string& out, Number value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value);
  out.append(text.data(), end.ptr);
}

std::string_view decimal(Pico value, std::array<char, 40>& text) {
  const bool negative = value < 0;
  auto rest = static_cast<unsigned __int128>(value);
  if (negative) rest = -rest;
  char* begin = text.data() + text.size();
  do {
    *--begin = static_cast<char>('0' + static_cast<int>(rest % 10));
    rest /= 10;
  } while (rest != 0);
  if (negative) *--begin = '-';
  return {begin, static_cast<std::size_t>(text.data() + text.size() - begin)};
}

// In the order in which they stand in an array.
template <class Tokens>
auto counts_of(Tokens& tokens) {
  return std::array<std::conditional_t<std::is_const_v<Tokens>, std::int64_t, std::reference_wrapper<std::int64_t>>, 6>{
      tokens.input, tokens.cache_read, tokens.cache_write_5m, tokens.cache_write_1h, tokens.output, tokens.reasoning};
}

class Printer {
 public:
  Printer(std::string& out, std::int64_t version) : out_(out) {
    out_ += "{\"v\":";
    append_number(out_, version);
  }
  void end() { out_ += '}'; }

  template <class Value>
  void operator()(std::string_view name, const Value& value) {
    out_ += ",\"";
    out_ += name;
    out_ += "\":";
    print(value);
  }

 private:
  void print(const std::string& text) {
    // What base::json_string() would copy as it is, and nearly all there is: ids, names, numbers.
    const auto plain = [](char c) { return c >= ' ' && c < 0x7F && c != '"' && c != '\\'; };
    if (!std::ranges::all_of(text, plain)) {
      out_ += base::json_string(text);
      return;
    }
    out_ += '"';
    out_ += text;
    out_ += '"';
  }
  void print(std::int64_t value) { append_number(out_, value); }
  void print(std::int32_t value) { append_number(out_, value); }
  void print(Pico value) {
    std::array<char, 40> text;
    out_ += '"';
    out_ += decimal(value, text);
    out_ += '"';
  }
  void print(OutcomeKind kind) { quote(name_of(kind)); }
  void print(Decision decision) { quote(name_of(decision)); }
  void print(LabelKind kind) { quote(name_of(kind)); }
  void print(bool value) { out_ += value ? "true" : "false"; }
  void print(const std::optional<double>& value) {
    if (value && std::isfinite(*value))
      append_number(out_, *value);
    else
      out_ += "null";
  }
  void print(const Embedded<const std::string>& json) { out_ += json.text.empty() ? "null" : json.text; }
  // ["openai","gpt-4o",10,0,0,0,5,0]: a line has little room.
  void print(const std::optional<Baseline>& baseline) {
    if (!baseline) {
      out_ += "null";
      return;
    }
    out_ += '[';
    print(baseline->provider);
    out_ += ',';
    print(baseline->model);
    for (const std::int64_t count : counts_of(baseline->tokens)) {
      out_ += ',';
      print(count);
    }
    out_ += ']';
  }

  // ["kept",0.8,0.02,true,false,"open","3f0c9a...","b179c9523d0e Q4_1 ..."].
  void print(const std::optional<Judged>& judged) {
    if (!judged) {
      out_ += "null";
      return;
    }
    out_ += '[';
    quote(name_of(judged->action));
    for (const double value : {judged->threshold, judged->propensity}) {
      out_ += ',';
      print(std::optional(value));
    }
    for (const bool value : {judged->drawn, judged->late}) {
      out_ += ',';
      print(value);
    }
    out_ += ',';
    quote(name_of(judged->stratum));
    for (const std::string* text : {&judged->certificate, &judged->model}) {
      out_ += ',';
      print(*text);
    }
    out_ += ']';
  }

  void quote(std::string_view name) {
    out_ += '"';
    out_ += name;
    out_ += '"';
  }

  std::string& out_;
};

template <class Record>
void print_record(const Record& record, std::string& out) {
  Printer printer(out, kVersion<Record>);
  fields(record, kVersion<Record>, printer);
  printer.end();
}

struct Member {
  std::string name;
  json::value value;
  std::string_view raw;
  bool used = false;
};

Error not_a_record(std::string_view what) {
  return {ErrorCode::kJournalDamaged, fmt::format("this is no record of the journal: {}", what)};
}

// The members of the object that `text` is, each with its own bytes.
Result<std::vector<Member>> members_of(std::string_view text) {
  json::parse_options options;
  options.max_depth = kMaxDepth;
  json::parser parser({}, options);
  const auto take = [&](json::value& value) -> std::string_view {
    json::error_code ec;
    parser.reset();
    const std::size_t n = parser.write_some(text.data(), text.size(), ec);
    if (ec) return {};
    value = parser.release();
    const std::string_view raw = text.substr(0, n);
    text.remove_prefix(n);
    return raw;
  };
  const auto skip = [&](char c) {
    const bool there = text.starts_with(c);
    if (there) text.remove_prefix(1);
    return there;
  };
  std::vector<Member> members;
  members.reserve(20);
  if (!skip('{')) return not_a_record("it is no JSON object");
  do {
    json::value name;
    Member member;
    if (take(name).empty() || !name.is_string() || !skip(':')) return not_a_record("a name is expected");
    member.name = name.get_string();
    member.raw = take(member.value);
    if (member.raw.empty()) return not_a_record(fmt::format("the value of {} is not JSON", member.name));
    members.push_back(std::move(member));
  } while (skip(','));
  if (!skip('}') || !text.empty()) return not_a_record("it does not end where the object ends");
  return members;
}

class Parser {
 public:
  explicit Parser(std::vector<Member> members) : members_(std::move(members)) {}

  template <class Value>
  void operator()(std::string_view name, Value&& value) {
    if (failure_) return;
    const auto member = std::ranges::find(members_, name, &Member::name);
    if (member == members_.end()) {
      fail(name, "is missing");
    } else if (!read(*member, value)) {
      fail(name, "has a value that it cannot have");
    } else {
      member->used = true;
    }
  }

  // Errors: the first there was.
  Result<void> end() {
    const auto left = std::ranges::find(members_, false, &Member::used);
    if (!failure_ && left != members_.end()) fail(left->name, "is unknown, or stands there twice");
    if (failure_) return *std::move(failure_);
    return {};
  }

 private:
  void fail(std::string_view name, std::string_view what) {
    failure_ = not_a_record(fmt::format("{} {}", name, what)).with_param(std::string(name));
  }

  static bool read(const Member& member, std::string& text) {
    if (!member.value.is_string()) return false;
    text = member.value.get_string();
    return true;
  }
  static bool read(const Member& member, std::int64_t& value) {
    if (!member.value.is_int64()) return false;
    value = member.value.get_int64();
    return true;
  }
  static bool read(const Member& member, std::int32_t& value) {
    if (!member.value.is_int64() || !std::in_range<std::int32_t>(member.value.get_int64())) return false;
    value = static_cast<std::int32_t>(member.value.get_int64());
    return true;
  }
  static bool read(const Member& member, Pico& value) {
    if (!member.value.is_string()) return false;
    const std::string_view text = member.value.get_string();
    const bool negative = text.starts_with('-');
    unsigned __int128 sum = 0;
    if (text.size() > 40) return false;
    for (const char c : text.substr(negative ? 1 : 0)) {
      if (c < '0' || c > '9') return false;
      sum = sum * 10 + static_cast<unsigned>(c - '0');
    }
    value = static_cast<Pico>(negative ? -sum : sum);
    std::array<char, 40> again;  // which shows what was too large, and zeroes that are too many
    return decimal(value, again) == text;
  }
  static bool read(const Member& member, OutcomeKind& kind) {
    return read_name(member.value, kind, {OutcomeKind::kSettled, OutcomeKind::kNotSent, OutcomeKind::kUnknown});
  }
  static bool read(const Member& member, Decision& decision) {
    return read_name(
        member.value, decision,
        {Decision::kLocal, Decision::kRemote, Decision::kEscalated, Decision::kFailedOver, Decision::kRefused});
  }
  // Not by Boost.JSON 1.81, which may be one bit off.
  static bool read(const Member& member, std::optional<double>& value) {
    value.reset();
    if (member.value.is_null()) return true;
    if (!member.value.is_number()) return false;
    const char* const end = member.raw.data() + member.raw.size();
    const auto parsed = std::from_chars(member.raw.data(), end, value.emplace());
    return parsed.ec == std::errc() && parsed.ptr == end;
  }
  static bool read(const Member& member, const Embedded<std::string>& detail) {
    detail.text = member.value.is_null() ? "" : member.raw;
    return true;
  }
  static bool read(const Member& member, std::optional<Baseline>& baseline) {
    baseline.reset();
    if (member.value.is_null()) return true;
    if (!member.value.is_array() || member.value.get_array().size() != 8) return false;
    const json::array& all = member.value.get_array();
    if (!all[0].is_string() || !all[1].is_string()) return false;
    baseline.emplace();
    baseline->provider = all[0].get_string();
    baseline->model = all[1].get_string();
    std::size_t at = 2;
    for (std::int64_t& count : counts_of(baseline->tokens)) {
      if (!all[at].is_int64()) return false;
      count = all[at++].get_int64();
    }
    return true;
  }

  static bool read(const Member& member, LabelKind& kind) { return read_name(member.value, kind, kLabelKinds); }
  static bool read(const Member& member, bool& value) {
    if (!member.value.is_bool()) return false;
    value = member.value.get_bool();
    return true;
  }
  static bool read(const Member& member, std::optional<Judged>& judged) {
    judged.reset();
    if (member.value.is_null()) return true;
    if (!member.value.is_array() || member.value.get_array().size() != 8) return false;
    const json::array& all = member.value.get_array();
    judged.emplace();
    // Not by Boost.JSON: see above. The bytes of a number are those between two commas.
    std::string_view raw = member.raw;
    const auto real = [&raw](double& value) {
      raw.remove_prefix(raw.find(',') + 1);
      const auto parsed = std::from_chars(raw.data(), raw.data() + raw.size(), value);
      return parsed.ec == std::errc() && *parsed.ptr == ',';
    };
    const bool numbers =
        all[1].is_number() && all[2].is_number() && real(judged->threshold) && real(judged->propensity);
    if (!numbers || !all[3].is_bool() || !all[4].is_bool() || !all[6].is_string() || !all[7].is_string()) return false;
    judged->drawn = all[3].get_bool();
    judged->late = all[4].get_bool();
    judged->certificate = all[6].get_string();
    judged->model = all[7].get_string();
    return read_name(all[0], judged->action, kActions) && read_name(all[5], judged->stratum, kStrata);
  }

  template <class Enum>
  static bool read_name(const json::value& from, Enum& value, std::initializer_list<Enum> all) {
    if (!from.is_string()) return false;
    const auto found =
        std::ranges::find(all, std::string_view(from.get_string()), [](Enum one) { return name_of(one); });
    if (found != all.end()) value = *found;
    return found != all.end();
  }

  std::vector<Member> members_;
  std::optional<Error> failure_;
};

template <class Record>
Result<Record> parse_record(std::string_view text) {
  auto members = SHOAL_TRY(members_of(text));
  const auto version = std::ranges::find(members, "v", &Member::name);
  if (version == members.end() || !version->value.is_int64() || version->value.get_int64() < 1) {
    return not_a_record("it has no version").with_param("v");
  }
  const std::int64_t number = version->value.get_int64();
  if (number > kVersion<Record>) {
    return Error(ErrorCode::kUnimplemented,
                 fmt::format("the record has version {}; this Shoal reads up to {}", number, kVersion<Record>));
  }
  version->used = true;
  Parser parser(std::move(members));
  Record record;
  fields(record, number, parser);
  SHOAL_TRY(parser.end());
  return record;
}

}  // namespace

std::string_view name_of(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kSettled:
      return "settled";
    case OutcomeKind::kNotSent:
      return "not_sent";
    case OutcomeKind::kUnknown:
      return "unknown";
  }
  return "";
}

std::string_view name_of(Decision decision) {
  switch (decision) {
    case Decision::kLocal:
      return "local";
    case Decision::kRemote:
      return "remote";
    case Decision::kEscalated:
      return "escalated";
    case Decision::kFailedOver:
      return "failed_over";
    case Decision::kRefused:
      return "refused";
  }
  return "";
}

std::string_view name_of(Action action) {
  switch (action) {
    case Action::kKept:
      return "kept";
    case Action::kKeptUnsure:
      return "kept_unsure";
    case Action::kEscalated:
      return "escalated";
    case Action::kRefused:
      return "refused";
  }
  return "";
}

std::string_view name_of(Stratum stratum) {
  switch (stratum) {
    case Stratum::kOpen:
      return "open";
    case Stratum::kLocalOnly:
      return "local_only";
    case Stratum::kSeveral:
      return "several";
  }
  return "";
}

std::string_view name_of(LabelKind kind) {
  switch (kind) {
    case LabelKind::kAudit:
      return "audit";
    case LabelKind::kEscalation:
      return "escalation";
    case LabelKind::kFeedback:
      return "feedback";
  }
  return "";
}

void print(const Intent& intent, std::string& out) {
  print_record(intent, out);
}
void print(const Outcome& outcome, std::string& out) {
  print_record(outcome, out);
}
void print(const Receipt& receipt, std::string& out) {
  print_record(receipt, out);
}
void print(const Label& label, std::string& out) {
  print_record(label, out);
}

Result<Intent> parse_intent(std::string_view json) {
  return parse_record<Intent>(json);
}
Result<Outcome> parse_outcome(std::string_view json) {
  return parse_record<Outcome>(json);
}
Result<Receipt> parse_receipt(std::string_view json) {
  return parse_record<Receipt>(json);
}
Result<Label> parse_label(std::string_view json) {
  return parse_record<Label>(json);
}

}  // namespace shoal::audit
