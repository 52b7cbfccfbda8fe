// EmbedQueue: texts to embed, of all clients, packed into shared batches. A batch takes one input of each waiting
// request in turn until its tokens or sequences are used up, so that many short requests share one pass through the
// model and none waits behind the sixty-four inputs of another. An input that is interrupted, or shares a batch with
// one that fails, is computed again; a failure reaches only the request that causes it.
// Owned by the Scheduler. Threads: the compute thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/model.h"

namespace shoal::worker {

class EmbedQueue {
 public:
  using Send = std::function<void(std::uint64_t request, const ipc::Body& body)>;

  EmbedQueue(Model& model, Send send) : model_(model), send_(std::move(send)) {}

  // Errors: kUnsupportedParameter (the model does not embed), kContextLengthExceeded, kInvalidRequest, kOverloaded.
  [[nodiscard]] Result<void> push(const ipc::FrameHeader& header, const ipc::Embed& request);
  // Forgets the request; false when it is not here.
  bool cancel(std::uint64_t request);
  // Fails those whose deadline has passed.
  void expire(const base::Clock& clock);
  // Computes one batch and sends what it gave, if `begin` allows it for these requests. REQUIRES: not empty().
  void step(const std::function<bool(std::vector<std::uint64_t> requests)>& begin);
  // Whether the last batch was interrupted.
  [[nodiscard]] bool interrupted() const { return interrupted_; }

  [[nodiscard]] bool empty() const { return waiting_.empty(); }
  [[nodiscard]] std::size_t size() const { return waiting_.size(); }
  // Of all that were embedded.
  [[nodiscard]] std::uint64_t tokens() const { return tokens_; }

 private:
  struct Waiting {
    std::uint64_t request = 0;
    base::Deadline deadline;
    std::vector<std::vector<std::int32_t>> inputs;
    std::size_t taken = 0;  // of inputs, from the front: sent, or in the batch
    std::size_t sent = 0;
    bool alone = false;  // a batch with it failed; find out whose fault it was
  };
  struct Item {
    std::list<Waiting>::iterator owner;
    std::size_t index;
  };

  [[nodiscard]] std::vector<Item> pack();
  static void give_back(const std::vector<Item>& batch);
  void failed(const std::vector<Item>& batch, const Error& error);
  void fail(std::uint64_t request, const Error& error);

  Model& model_;
  const Send send_;
  std::list<Waiting> waiting_;  // in turn: who had an input in the last batch goes behind all others
  std::uint64_t tokens_ = 0;
  bool interrupted_ = false;
};

}  // namespace shoal::worker
