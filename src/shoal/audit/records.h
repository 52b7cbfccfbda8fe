// What is in the records of the journal, as values, and as the JSON that is written: one object, its version first, no
// white space. Readers take what any version so far has written, and nothing else: a field that is missing, of another
// type, unknown, or given twice is an error, so that a record is never half understood. A field comes or goes with a
// new version.
// Use: print(intent, text) with a string that is used again; parse_intent(record.payload).
// Text is UTF-8; bytes that are none become U+FFFD when they are printed. All else comes back as it was.
// Owned by value. Threads: any; pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "shoal/base/result.h"

namespace shoal::audit {

// The type byte of a record. The numbers stand in files.
enum class RecordType : std::uint8_t { kIntent = 1, kOutcome = 2, kReceipt = 3, kLabel = 4 };

__extension__ using Pico = __int128;  // of a dollar: 10^-12

// Bytes are about to leave for a provider, and money may be spent. On disk before the first of them leaves.
struct Intent {
  std::string attempt;  // id; one request may make several
  std::string request;  // id
  std::int64_t unix_ms = 0;
  std::string principal;  // stable id; empty: anonymous
  std::string provider;
  std::string model;        // as the provider calls it
  std::string purpose;      // "answer", "audit"
  std::string body_sha256;  // lower-case hexadecimal, of the bytes that leave
  std::int64_t body_bytes = 0;
  Pico reserved_pico = 0;
  std::string price;  // id of the price row: "openai/gpt-4o-mini@2026-03-01"
  std::string route;

  bool operator==(const Intent&) const = default;
};

enum class OutcomeKind : std::uint8_t {
  kSettled,  // the provider said what it counted
  kNotSent,  // no byte left
  kUnknown,  // bytes left and no count came back: the reservation is what it costs
};

// Tokens as they are billed: each in one count only.
struct TokenCounts {
  std::int64_t input = 0;  // without those of the cache
  std::int64_t cache_read = 0;
  std::int64_t cache_write_5m = 0;
  std::int64_t cache_write_1h = 0;
  std::int64_t output = 0;  // without reasoning
  std::int64_t reasoning = 0;

  bool operator==(const TokenCounts&) const = default;
};

// What came of an attempt.
struct Outcome {
  std::string attempt;
  std::int64_t unix_ms = 0;
  OutcomeKind kind = OutcomeKind::kUnknown;
  TokenCounts tokens;
  Pico cost_pico = 0;
  std::int32_t status = 0;  // of HTTP; 0: none came
  std::string failure;      // slug of the error; empty: none
  std::string upstream_id;  // the provider's id of the request

  bool operator==(const Outcome&) const = default;
};

enum class Decision : std::uint8_t { kLocal, kRemote, kEscalated, kFailedOver, kRefused };

// What a request is compared with: so many tokens at that model, without Shoal.
struct Baseline {
  std::string provider;
  std::string model;  // as the provider calls it
  TokenCounts tokens;

  bool operator==(const Baseline&) const = default;
};

// What became of a local answer that was judged.
enum class Action : std::uint8_t {
  kKept,        // it was sure enough, and the client has it
  kKeptUnsure,  // it was not, and the client has it all the same: nobody else could answer, or might be asked
  kEscalated,   // a provider's answer took its place
  kRefused,     // nobody's answer reached the client to its end
};

// Answers of different strata are audited by different rules: nothing is taken from one for another.
enum class Stratum : std::uint8_t {
  kOpen,
  kLocalOnly,  // nothing of it may leave, so no large model sees it
  kSeveral,    // several answers at once, which nobody compares
};

// How a local answer was judged, and with what probability it is known afterwards whether it was right.
struct Judged {
  Action action = Action::kKept;
  double threshold = 0;
  double propensity = 0;  // of kept ones: of an audit, before the draw; of escalated ones: 1; else 0
  bool drawn = false;     // for an audit
  bool late = false;      // the whole answer was not sure enough when it was whole, and had been sent
  Stratum stratum = Stratum::kOpen;
  std::string certificate;  // the beginning of its SHA-256; empty: the threshold is of the configuration
  std::string model;        // what judged: weights, quantisation, template, sampler, task

  bool operator==(const Judged&) const = default;
};

// How a request was answered, local ones too.
struct Receipt {
  std::string request;
  std::int64_t unix_ms = 0;  // when it came; in version 1 when it ended
  std::string principal;
  std::string route;
  std::string model;  // that answered
  Decision decision = Decision::kLocal;
  std::string egress;               // the providers that bytes went to; empty: nothing left
  std::int64_t billed_micro = 0;    // of a dollar: 10^-6
  std::int64_t baseline_micro = 0;  // what it would have cost without Shoal; -1: unknown
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t local_ms = 0;
  std::string durability;  // "strict", "batch", "none"
  std::int32_t status = 0;
  std::optional<double> confidence;  // one that is not finite is printed as none
  std::string detail;                // everything else: a JSON value, printed as it is; empty: none
  std::optional<Baseline>
      baseline;                    // of which baseline_micro is the price; none: compared with nobody, and in version 1
  std::optional<Judged> judged{};  // none: no local answer was, and before version 3

  bool operator==(const Receipt&) const = default;
};

// Who says whether an answer was right.
enum class LabelKind : std::uint8_t {
  kAudit,       // a large model was asked the same; drawn with a known probability
  kEscalation,  // the answer that took its place was another one; never of kept answers
  kFeedback,    // somebody else, who chose which answers to judge: with no known probability
};

// What somebody says of a local answer, after it was given or thrown away. A later one of the same kind and source
// takes the place of an earlier one.
struct Label {
  std::string request;  // id of the decision
  std::int64_t unix_ms = 0;
  LabelKind kind = LabelKind::kFeedback;
  bool right = false;
  std::string source;     // "large/gpt-4o"; of feedback whatever its giver calls it
  std::string how;        // answers were compared: "normalised"; of feedback empty
  std::string note;       // of feedback; of at most 500 bytes
  std::string principal;  // who gave it

  bool operator==(const Label&) const = default;
};

// Append to `out`.
void print(const Intent& intent, std::string& out);
void print(const Outcome& outcome, std::string& out);
// REQUIRES: detail is empty or one JSON value of at most 64 levels; another makes a record that nobody can read.
void print(const Receipt& receipt, std::string& out);
void print(const Label& label, std::string& out);

// Errors: kJournalDamaged when it is not such a record, with the field as param; kUnimplemented for a later version.
[[nodiscard]] Result<Intent> parse_intent(std::string_view json);
[[nodiscard]] Result<Outcome> parse_outcome(std::string_view json);
[[nodiscard]] Result<Receipt> parse_receipt(std::string_view json);
[[nodiscard]] Result<Label> parse_label(std::string_view json);

// "settled", "failed_over".
[[nodiscard]] std::string_view name_of(OutcomeKind kind);
[[nodiscard]] std::string_view name_of(Decision decision);
[[nodiscard]] std::string_view name_of(Action action);
[[nodiscard]] std::string_view name_of(Stratum stratum);
[[nodiscard]] std::string_view name_of(LabelKind kind);

}  // namespace shoal::audit
