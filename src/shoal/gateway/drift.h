// Drift: whether a certificate still describes what runs. Two alarms watch each gate, of a route and a certificate: an
// e-process on the audits of its kept answers, which is right whenever one looks at it, and a CUSUM on the scores,
// which needs no label and learns from the first of them what is usual. Each alarm moves the gate to the next stricter
// threshold that the certificate shows, and both begin anew; after one at the strictest there is none any more: all is
// escalated until a new certificate comes. The state follows from the receipts and labels alone, in the order of the
// journal: after a restart it is made again from them.
// Owned by cli/'s OutsideParts. Threads: the I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shoal/audit/records.h"
#include "shoal/base/log.h"
#include "shoal/routing/certificate.h"
#include "shoal/statistics/e_process.h"

namespace shoal::gateway {

// The beginning of the SHA-256 of a certificate, by which receipts call it; empty: it has none.
[[nodiscard]] std::string certificate_id(const routing::Certificate& certificate);

struct DriftOptions {
  double delta = 0.05;             // of a false alarm
  std::size_t horizon = 3'000;     // within so many audits
  double harmful = 2;              // times the promised risk: the rise that is found soonest
  std::size_t usual_scores = 500;  // of the first so many it is learned what is usual
  std::size_t bins = 5;            // of as many each
  std::size_t score_horizon = 100'000;
};

// One gate. Pure.
class GateDrift {
 public:
  GateDrift(double risk, std::size_t thresholds, DriftOptions options);

  // A judged answer had this score. True: an alarm.
  bool scored(double score);
  // A kept answer with this score was audited. Only those count that the threshold of now would keep.
  bool audited(double score, bool wrong, double threshold);

  [[nodiscard]] std::size_t alarms() const { return alarms_; }
  [[nodiscard]] bool exhausted() const { return alarms_ >= thresholds_; }
  [[nodiscard]] const statistics::RiskAlarm& risk_alarm() const { return risk_alarm_; }

 private:
  bool step();

  const double risk_;
  const std::size_t thresholds_;
  const DriftOptions options_;
  statistics::RiskAlarm risk_alarm_;
  std::vector<double> usual_;  // scores, until there are enough of them; then the upper ends of all bins but the last
  std::optional<statistics::ShiftAlarm> score_alarm_;
  std::size_t alarms_ = 0;
};

class Drift {
 public:
  explicit Drift(base::Log& log, DriftOptions options = {}) : log_(log), options_(options) {}

  // What a route promises by this certificate; once before the others, and again after a reload.
  void promise(std::string_view route, double risk, const routing::Certificate& certificate);
  // How many steps back its threshold is; none: there is none left. Of a gate that nobody promised: 0.
  [[nodiscard]] std::optional<std::size_t> steps_back(std::string_view route,
                                                      const routing::Certificate& certificate) const;

  // What is told next was told before: the log has it.
  void set_replaying(bool on) { replaying_ = on; }
  // As the journal tells it, at the moment it is told, or at a start. What was judged by no promised gate changes
  // nothing.
  void judged(std::string_view request, std::string_view route, const audit::Judged& judged,
              std::optional<double> confidence);
  void labelled(std::string_view request, audit::LabelKind kind, bool right);

  [[nodiscard]] std::uint64_t alarms() const { return alarms_; }
  // [{"certificate":"3f0c...","alarms":1,"threshold":0.95,"audits":12,"wrong":1}] of a route; threshold null: none.
  [[nodiscard]] std::string json(std::string_view route) const;

 private:
  struct Gate {
    std::vector<double> thresholds;  // the loosest first
    GateDrift state;

    [[nodiscard]] std::optional<double> threshold() const;
  };
  using Name = std::pair<std::string, std::string>;  // route, certificate
  struct Drawn {
    std::string request;
    Name gate;
    double score = 0;
  };

  void tell(const Name& name, const Gate& gate, const char* signal);

  base::Log& log_;
  const DriftOptions options_;
  bool replaying_ = false;
  std::map<Name, Gate> gates_;
  std::deque<Drawn> drawn_;  // for audits that have not come; the oldest are forgotten
  std::uint64_t alarms_ = 0;
};

}  // namespace shoal::gateway
