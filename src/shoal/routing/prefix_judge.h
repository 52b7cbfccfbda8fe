// PrefixJudge: whether a local answer is sure enough, while it is being written. Fed each token of each answer, it says
// wait, keep or escalate; of several answers the least sure counts. A stream is decided at its K-th token, by the table
// of the first K, or at its end when that comes first, by the table of complete answers. An answer that is sent whole
// is decided when it is whole; what its first K tokens say may end it early.
//
// Where the table of complete answers weighs checks (answer_checks.h), the judge reads the answer when it is complete:
// what is said of its first tokens knows nothing of them.
//
// It escalates before the K-th token only where every possible rest of the answer would: Table::ceiling().
// The tables must live as long as the judge. Owned by the pipeline for one attempt. Threads: one at a time; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/routing/calibration.h"
#include "shoal/types/chat.h"
#include "shoal/types/completion.h"
#include "shoal/types/route.h"

namespace shoal::routing {

enum class Verdict : std::uint8_t { kWait, kKeep, kEscalate };

struct JudgeOptions {
  std::size_t answers = 1;
  double threshold = 0.8;
  std::int32_t commit_tokens = 16;
  std::int64_t commit_ms = 1'500;  // for the reason only: whoever has the clock calls late()
  bool streams = true;             // false: decided when whole
  bool keep_unknown = false;       // keep an answer that no table is for
  // What was asked, for checks: as many as the answers, or one for each equal share of them; empty: not known. Must
  // live as long as the judge.
  std::vector<std::string_view> prompts{};
  Calibration tables{};
};

// The judge keeps an answer of these tokens up to this threshold, whatever else it looks at on the way; none: at no
// threshold. What a promise for a threshold is made of. `answer`: what was seen of it when it was complete.
[[nodiscard]] std::optional<double> decisive_confidence(const Calibration& tables, bool streams,
                                                        std::int32_t commit_tokens, std::span<const float> logprobs,
                                                        const Checks* answer = nullptr);

// What a conversation asks, for checks: what its user said last. Empty: nothing.
[[nodiscard]] std::string_view last_asked(std::span<const types::Message> messages);

class PrefixJudge {
 public:
  explicit PrefixJudge(const JudgeOptions& options);

  // Another token of answer `answer`, and the text that it released. REQUIRES: it has not finished.
  Verdict add(std::size_t answer, const types::Token& token, std::string_view text = {});
  // That answer is complete, with this last piece; `cut`: because no more tokens were allowed.
  Verdict finish(std::size_t answer, std::string_view text = {}, bool cut = false);
  // How sure that answer is, is known from elsewhere, before it has a token; none: it is not, and `wanted` says what
  // would have told. REQUIRES: it has not finished.
  Verdict scored(std::size_t answer, std::optional<double> confidence, std::string wanted = {});
  // The time is over. An answer of fewer than commit_tokens tokens is not sure then; no table is for it.
  Verdict late();
  // Once it is kKeep or kEscalate it stays so.
  [[nodiscard]] Verdict verdict() const { return verdict_; }

  // Of the least sure answer, once there is a verdict. None: not known. Of one that was given up early it is the most
  // that it could have become.
  [[nodiscard]] std::optional<double> confidence() const { return confidence_; }
  // What was held against what, and what came of it. REQUIRES: a verdict.
  [[nodiscard]] types::Reason reason() const { return reason_; }
  // Of the least sure answer, what its checks saw and what that did to its confidence, in log-odds. Empty: no table
  // weighed them, or they saw nothing.
  [[nodiscard]] const std::vector<types::Reason>& checks() const { return check_reasons_; }

 private:
  struct Answer {
    Statistic statistic;
    std::string text;  // where checks are weighed
    bool settled = false;
  };

  Verdict judge(Answer& answer, const Table* table, const char* without, const Checks* seen = nullptr);
  [[nodiscard]] bool weighs_checks() const;
  void tell(const Table& table, const Checks& seen);
  Verdict settle(Answer& answer, std::optional<double> confidence);
  Verdict escalate(std::optional<double> confidence, types::Reason reason);
  Verdict unknown(Answer& answer, std::string why);
  Verdict hold(Answer& answer, double confidence);
  [[nodiscard]] std::optional<double> ceiling(const Statistic& statistic) const;
  [[nodiscard]] types::Reason held_against(std::string value, const char* effect) const;

  const JudgeOptions options_;
  std::vector<Answer> answers_;
  std::size_t open_;
  Verdict verdict_ = Verdict::kWait;
  std::optional<double> confidence_;
  bool all_known_ = true;
  types::Reason reason_;
  std::vector<types::Reason> check_reasons_;
};

}  // namespace shoal::routing
