// Scheduler: continuous batching over one Model. Each step decodes one token for every answer that may go on, and
// prompt tokens beside them for as long as StepBudget allows, so a long prompt stalls nobody. Cells for prompt and
// answer are reserved at admission (KvCache), in the order of FairQueue: an answer that began never fails for lack of
// room. What prompts have in common is computed once.
// Owned by main. Threads: run() has the compute thread; post() has the thread that reads from the gateway, where text
// becomes tokens, so that it stalls no step; stop() may be called from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/embed_queue.h"
#include "shoal/worker/fair_queue.h"
#include "shoal/worker/kv_cache.h"
#include "shoal/worker/lease.h"
#include "shoal/worker/model.h"
#include "shoal/worker/sequence.h"
#include "shoal/worker/signals.h"
#include "shoal/worker/speculation.h"
#include "shoal/worker/step_budget.h"
#include "shoal/worker/truth_probe.h"
#include "shoal/worker/work_meter.h"

namespace shoal::worker {

// Where frames go. Called on the compute thread only.
using SendFrame = std::function<void(std::uint64_t request, const ipc::Body& body)>;
// Hands on what was sent since; may block while the gateway does not read. A frame at a time would wake the gateway for
// each token of a step, on a core that computes. What nobody reads as it comes is handed on every 10 ms.
using FlushFrames = std::function<void()>;

struct SchedulerOptions {
  std::uint64_t seed = 0;              // of requests that bring none
  std::uint64_t cold_cache_bytes = 0;  // for prefixes that lost their cells
  bool speculates = true;              // guesses tokens of answers that copy
  FlushFrames flush = [] {};
};

class Scheduler {
 public:
  Scheduler(Model& model, const base::Clock& clock, SendFrame send, SchedulerOptions options);

  // A frame from the gateway. A Cancel of a request that computes interrupts the step that runs; not the next one too
  // when others are in it, so that they come to their end whoever goes away.
  void post(ipc::Frame frame);
  // Makes run() return as soon as the step that runs is over.
  void stop();
  // Computes until stop(), or until everything is answered after a Drain.
  void run();

 private:
  // What a request asks for, as tokens.
  struct Prepared {
    std::vector<std::int32_t> tokens;               // of the prompt
    std::vector<std::vector<std::int32_t>> labels;  // of a Score
    std::optional<TruthProbe> probe;
  };
  struct Posted {
    ipc::Frame frame;
    Result<Prepared> prepared;
  };

  [[nodiscard]] Result<std::vector<std::int32_t>> tokenize(const ipc::Frame& frame);
  [[nodiscard]] Result<Prepared> prepare(const ipc::Frame& frame);
  [[nodiscard]] std::deque<Posted> take_inbox();
  // Around what can be interrupted, with the requests that it is for. False: one of them is cancelled, or all stops.
  [[nodiscard]] bool begin_work(std::vector<std::uint64_t> requests);
  void end_work(bool interrupted);
  void handle(Posted posted);
  void handle_generate(const ipc::FrameHeader& header, ipc::Generate request, Prepared prepared);
  void handle_score(const ipc::FrameHeader& header, const ipc::Score& request, Prepared prepared);
  [[nodiscard]] Result<void> takes_requests() const;
  void handle_embed(const ipc::FrameHeader& header, const ipc::Embed& request);
  void handle_tokenize(std::uint64_t request, const ipc::Tokenize& body, const std::vector<std::int32_t>& tokens);
  void handle_detokenize(std::uint64_t request, const ipc::Detokenize& body);
  void handle_cancel(std::uint64_t request);
  [[nodiscard]] bool hold_cores();
  void heartbeat();
  void expire();
  void admit();
  void step();
  void embed();
  void plan(std::vector<BatchToken>& batch);
  void plan_prompt(Sequence& sequence, std::size_t& room, std::vector<BatchToken>& batch);
  void plan_labels(Sequence& sequence, std::size_t& room, std::vector<BatchToken>& batch);
  [[nodiscard]] Sequence* state_is_next() const;
  [[nodiscard]] bool send_state(Sequence& sequence, const ipc::HiddenState& state);
  [[nodiscard]] DecodeStatus compute(std::span<const BatchToken> batch, std::vector<float>* state);
  void after_decode(DecodeStatus status, std::span<const BatchToken> batch);
  [[nodiscard]] std::vector<std::int32_t> guesses_for(Sequence& sequence, std::size_t decoding, std::size_t planned,
                                                      std::size_t limit);
  [[nodiscard]] std::size_t advance_guessed(Sequence& sequence, std::size_t row, std::uint32_t step_us);
  bool advance(Sequence& sequence, std::size_t batch_index, std::uint32_t step_us);
  bool finish(Sequence& sequence, types::FinishReason reason, std::string text);
  // Labels and the question after the answer, in scheduler_labels.cpp. False: `sequence` has ended.
  bool begin_labels(Sequence& sequence, std::span<const float> row, const RowSignals& signals);
  void advance_labels(Sequence& sequence, std::span<const BatchToken> batch, std::size_t first, std::size_t end);
  void rewind_labels(Sequence& sequence);
  void finish_labels(Sequence& sequence);
  bool ask_if_true(Sequence& sequence, types::FinishReason reason, std::string text);
  bool hear_if_true(Sequence& sequence, std::span<const float> row);
  void fail(std::uint64_t request, const Error& error);
  void release(Sequence& sequence, bool keep);
  void on_progress();
  void report();
  void hand_on(bool all);
  [[nodiscard]] Sequence* running(std::uint64_t request);
  [[nodiscard]] Sequence& of(const BatchToken& token) { return *by_number_[static_cast<std::size_t>(token.sequence)]; }
  [[nodiscard]] bool can_admit() const;
  [[nodiscard]] bool runnable() const;

  Model& model_;
  const base::Clock& clock_;
  const SendFrame send_;
  const FlushFrames flush_;
  std::uint64_t next_seed_;
  const bool speculates_;

  // The thread of post() only: the answers to one prompt come one after the other, and share its tokens.
  PromptInput last_prompt_ = std::string();
  std::vector<std::int32_t> last_tokens_;

  std::mutex mutex_;  // guards what follows, to the empty line
  std::condition_variable wake_;
  std::deque<Posted> inbox_;
  bool stopping_ = false;
  std::vector<std::uint64_t> in_flight_;  // requests that are computed for, and not cancelled
  bool spares_others_ = false;            // the last work was interrupted, so this is only when all are cancelled

  // Compute thread only.
  KvCache kv_;
  FairQueue queue_;
  EmbedQueue embeds_;
  bool queue_blocked_ = false;                      // the first in order has no room until something is released
  std::vector<std::unique_ptr<Sequence>> running_;  // in order of admission
  std::vector<Sequence*> by_number_;
  StepBudget budget_;
  WorkMeter meter_;
  Speculation speculation_;
  std::size_t guesses_planned_ = 0;  // in the step at hand
  Lease lease_;
  std::uint32_t pings_due_ = 0;
  bool draining_ = false;
  std::uint64_t unflushed_ = 0;  // frames
  std::uint64_t can_wait_ = 0;   // of them: tokens that nobody reads as they come
  std::int64_t waits_since_ns_ = 0;
  bool working_ = false;  // the graph that is computed is for requests
  std::uint64_t work_ = 0;
  std::uint64_t tokens_decoded_ = 0;
  std::uint64_t tokens_prefilled_ = 0;
  std::int64_t last_report_ns_ = 0;
  bool told_idle_ = true;  // the last report came after the last answer
};

}  // namespace shoal::worker
