#include "shoal/engine/work_rates.h"

#include <cstddef>

namespace shoal::engine {
namespace {

constexpr std::int64_t kWindowNs = 10'000'000'000;
constexpr std::size_t kMostReports = 64;  // a worker sends four a second
constexpr double kNsPerSecond = 1e9;

bool shrinks(const ipc::Work& from, const ipc::Work& to) {
  return to.decode_steps < from.decode_steps || to.decode_tokens < from.decode_tokens ||
         to.decode_cells < from.decode_cells || to.decode_ns < from.decode_ns ||
         to.prefill_tokens < from.prefill_tokens || to.prefill_ns < from.prefill_ns;
}

double per_second(std::uint64_t from, std::uint64_t to, std::uint64_t from_ns, std::uint64_t to_ns) {
  return to_ns > from_ns ? static_cast<double>(to - from) * kNsPerSecond / static_cast<double>(to_ns - from_ns) : 0;
}

}  // namespace

void WorkRates::add(std::int64_t now_ns, const ipc::Work& total) {
  if (reports_.empty() || shrinks(reports_.back().total, total)) {
    reports_.clear();
    reports_.push_back({now_ns, {}});
  }
  reports_.push_back({now_ns, total});
  // Two stay, so that a model that was asked once long ago still has a speed.
  while (reports_.size() > 2 && (reports_.size() > kMostReports || now_ns - reports_[1].at_ns > kWindowNs))
    reports_.pop_front();
}

Rates WorkRates::rates() const {
  if (reports_.empty()) return {};
  const ipc::Work& to = reports_.back().total;
  // Each kind from the last stretch that has it: a long prompt does not take the speed of decoding off the screen.
  Rates out;
  for (auto report = reports_.rbegin(); report != reports_.rend(); ++report) {
    const ipc::Work& from = report->total;
    if (from.decode_ns < to.decode_ns) {
      out.decode_tokens = per_second(from.decode_tokens, to.decode_tokens, from.decode_ns, to.decode_ns);
      out.decode_steps = per_second(from.decode_steps, to.decode_steps, from.decode_ns, to.decode_ns);
      out.decode_cells = per_second(from.decode_cells, to.decode_cells, from.decode_ns, to.decode_ns);
    }
    if (from.prefill_ns < to.prefill_ns)
      out.prefill_tokens = per_second(from.prefill_tokens, to.prefill_tokens, from.prefill_ns, to.prefill_ns);
  }
  return out;
}

Demand demand(const Rates& rates, const ModelCost& cost) {
  return {rates.decode_steps * static_cast<double>(cost.bytes_per_step) +
              rates.decode_cells * static_cast<double>(cost.bytes_per_cell),
          rates.prefill_tokens * static_cast<double>(cost.flops_per_token)};
}

}  // namespace shoal::engine
