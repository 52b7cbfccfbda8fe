// Scheduler: continuous batching over one Model. Each step decodes one token for every answer that may go on
// and fills what is left of the batch with prompt chunks, so a long prompt never stalls the others for more
// than a step. The KV cache for prompt and answer is reserved at admission: an answer that began never fails
// for lack of room. Requests wait in a bounded queue, by deadline, then by arrival.
// Owned by main. Threads: run() has the compute thread; post() and stop() may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/model.h"
#include "shoal/worker/sequence.h"

namespace shoal::worker {

// Where frames go. Called on the compute thread only; may block while the gateway does not read.
using SendFrame = std::function<void(std::uint64_t request, const ipc::Body& body)>;

class Scheduler {
 public:
  Scheduler(Model& model, const base::Clock& clock, SendFrame send, std::uint64_t seed);
  ~Scheduler();

  // A frame from the gateway. A Cancel of a request that computes interrupts the step that runs.
  void post(ipc::Frame frame);
  // Makes run() return as soon as the step that runs is over.
  void stop();
  // Computes until stop(), or until everything is answered after a Drain.
  void run();

 private:
  struct Queued;

  [[nodiscard]] std::deque<ipc::Frame> take_inbox();
  void handle(ipc::Frame frame);
  void handle_generate(const ipc::FrameHeader& header, ipc::Generate request);
  void handle_embed(const ipc::FrameHeader& header, const ipc::Embed& request);
  void handle_tokenize(std::uint64_t request, const ipc::Tokenize& body);
  void handle_detokenize(std::uint64_t request, const ipc::Detokenize& body);
  [[nodiscard]] Result<std::vector<std::int32_t>> prompt_tokens(const PromptInput& prompt);
  void handle_cancel(std::uint64_t request);
  void heartbeat();
  void expire();
  void admit();
  void step();
  void plan(std::vector<BatchToken>& batch);
  void after_decode(DecodeStatus status, const std::vector<BatchToken>& batch);
  void advance(Sequence& sequence, std::size_t batch_index, std::uint32_t step_us);
  void finish(Sequence& sequence, types::FinishReason reason, std::string text);
  void fail(std::uint64_t request, const Error& error);
  void release(Sequence& sequence);
  void report();
  [[nodiscard]] bool admissible(const Sequence& next) const;
  [[nodiscard]] bool runnable() const;

  Model& model_;
  const base::Clock& clock_;
  const SendFrame send_;
  std::uint64_t next_seed_;

  std::mutex mutex_;  // guards inbox_, stopping_
  std::condition_variable wake_;
  std::deque<ipc::Frame> inbox_;
  bool stopping_ = false;

  // Compute thread only.
  std::deque<std::unique_ptr<Queued>> queue_;
  std::vector<std::unique_ptr<Sequence>> running_;  // by sequence number; null: free
  std::uint32_t reserved_tokens_ = 0;
  bool draining_ = false;
  bool working_ = false;  // the graph that is computed is for requests
  std::uint64_t work_ = 0;
  std::uint64_t tokens_decoded_ = 0;
  std::int64_t last_report_ns_ = 0;
};

}  // namespace shoal::worker
