// Judgement: what is known of a local answer that is judged, beside the verdict: whether it is drawn for an audit, what
// it says where it will be compared with another answer, and how sure the model is of all of it, which a stream only
// knows when it has been sent. It becomes audit::Judged of the receipt. REQUIRES: as PrefixJudge; hear() sees every
// event of the answer that is judged, also those after the verdict. Owned by the pipeline for one request, and made for
// those alone whose answer is judged. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/audit/records.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/answer_stream.h"
#include "shoal/gateway/outside.h"
#include "shoal/routing/calibration.h"
#include "shoal/routing/certificate.h"
#include "shoal/routing/prefix_judge.h"
#include "shoal/routing/route.h"

namespace shoal::gateway {

// In [0, 1): an answer is audited when this is below the share. Anybody can compute it again from the receipt: the
// first 53 bits of SHA-256("SEED:DECISION_ID").
[[nodiscard]] double audit_draw(std::string_view decision_id, std::int64_t seed);

void count(JudgedCounts& counts, const audit::Judged& judged);

// What is asked, as far as it is text: of a chat what its user said last, else the prompts. Points into the request.
[[nodiscard]] std::vector<std::string_view> asked_of(const AnswerRequest& request);

class Judgement {
 public:
  // What is pointed to outlives it; the certificate may be null. `audits`: somebody can ask a provider afterwards.
  Judgement(const routing::Route& route, const routing::Certificate* certificate, const routing::Calibration& tables,
            const AnswerRequest& request, bool audits);

  // More of the local answer.
  void hear(const AnswerEvent& event);
  // Once. `decision_id` decides whether it is audited.
  void settle(routing::Verdict verdict, std::string_view decision_id);

  // A provider's answer begins; and goes on. Remembered only where drafted() can be compared with it.
  void begin_theirs() { theirs_.clear(); }
  void hear(const types::RemoteEvent& event);

  [[nodiscard]] bool drawn() const { return judged_.drawn; }
  // How sure it was of the whole answer, where that is less than what was wanted, and the answer has been sent.
  [[nodiscard]] std::optional<double> late_miss() const;
  // The draft is whole, was thrown away, and a provider's answer can be held against it.
  [[nodiscard]] bool compares() const;
  [[nodiscard]] const std::string& drafted() const { return text_; }
  [[nodiscard]] const std::string& theirs() const { return theirs_; }

  // Nothing: there was no verdict.
  [[nodiscard]] std::optional<audit::Judged> record(types::Decision decision, int status) const;

 private:
  [[nodiscard]] bool looks_back() const { return audits_ && judged_.stratum == audit::Stratum::kOpen; }

  const routing::Route& route_;
  const routing::Calibration& tables_;
  const bool audits_;
  audit::Judged judged_;
  routing::Verdict verdict_ = routing::Verdict::kWait;
  std::vector<routing::Statistic> whole_;  // by answer
  std::vector<std::string> said_;          // by answer, where the table of complete answers weighs checks
  std::vector<std::string_view> prompts_;  // then
  std::size_t open_;                       // answers that have not ended
  std::optional<double> least_;            // whole confidence of those that have
  std::string text_;                       // of the one answer
  std::string theirs_;
};

}  // namespace shoal::gateway
