// How fast a worker computes while it computes: rates over the last ten seconds of its reports, by the time that it was
// busy and not by the clock on the wall. Owned by a ModelHost. Threads: one.
#pragma once

#include <cstdint>
#include <deque>

#include "shoal/ipc/frames.h"

namespace shoal::engine {

// Per second of computing; 0 when nothing of the kind was computed.
struct Rates {
  double decode_tokens = 0;
  double decode_steps = 0;
  double decode_cells = 0;
  double prefill_tokens = 0;
};

class WorkRates {
 public:
  // Totals since the worker began, as it says. Totals that shrink begin anew.
  void add(std::int64_t now_ns, const ipc::Work& total);
  [[nodiscard]] Rates rates() const;
  void clear() { reports_.clear(); }

 private:
  struct Report {
    std::int64_t at_ns;
    ipc::Work total;
  };
  std::deque<Report> reports_;
};

// What a step costs a machine.
struct ModelCost {
  std::uint64_t bytes_per_step = 0;   // weights that every step reads once, however many sequences it decodes
  std::uint64_t bytes_per_cell = 0;   // keys and values of one token
  std::uint64_t flops_per_token = 0;  // of a prompt: two for each weight that it is multiplied with
};

// What the rates ask of the machine. A decode step is bound by the bytes that it reads, weights once and the cells of
// each sequence; a prompt by its multiplications. Source: Williams, Waterman, Patterson, Roofline (2009); for
// transformers Pope et al., Efficiently Scaling Transformer Inference (2022), section 2.
struct Demand {
  double bytes_per_second = 0;
  double flops_per_second = 0;
};
[[nodiscard]] Demand demand(const Rates& rates, const ModelCost& cost);

}  // namespace shoal::engine
