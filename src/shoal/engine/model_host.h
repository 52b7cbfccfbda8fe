// One model and its worker: starts it, feeds it requests, watches it, restarts it, stops it. The state machine of
// the supervisor:
//
//   kStopped -> (kWaitingForRoom ->) kLoading -> kReady -> kStopping -> kStopped
//       a loss in kLoading or kReady -> kStopping -> kBackoff -> kLoading, or kFailed after too many
//
// Owned by the Supervisor through shared_ptr. Threads: the I/O thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>

#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/engine/core_share.h"
#include "shoal/engine/engine.h"
#include "shoal/engine/engine_metrics.h"
#include "shoal/engine/model_source.h"
#include "shoal/engine/options.h"
#include "shoal/engine/rate_meter.h"
#include "shoal/engine/request.h"
#include "shoal/engine/work_rates.h"
#include "shoal/engine/worker_process.h"
#include "shoal/ipc/frames.h"
#include "shoal/ipc/worker_args.h"

namespace shoal::engine {

enum class HostPhase : std::uint8_t { kStopped, kWaitingForRoom, kLoading, kReady, kStopping, kBackoff, kFailed };

class ModelHost;

// The memory that all hosts share; implemented by the Supervisor.
class MemoryRoom {
 public:
  virtual ~MemoryRoom() = default;
  // True: take it. False: wait, room_freed() will be called: others are being unloaded, or have their turn first.
  // Errors: kInsufficientMemory, with need and budget, when it is more than there is.
  virtual Result<bool> ask(ModelHost& host, const struct MemoryEstimate& need, std::uint32_t context_tokens) = 0;
  // A host has given back what it reserved, or became idle.
  virtual void changed() = 0;
  // No new process once the gateway drains, unless a request waits for it.
  [[nodiscard]] virtual bool draining() const = 0;
};

struct HostServices {
  base::Executor executor;
  const base::Clock& clock;
  base::Log& log;
  const ModelSource& source;
  const SupervisorOptions& options;
  MemoryRoom& room;
  CoreShare& cores;
  telemetry::Registry& registry;
};

class ModelHost final : public RequestOwner, public std::enable_shared_from_this<ModelHost> {
 public:
  ModelHost(HostServices services, LocalModel model);
  ~ModelHost() override;

  // Takes the request, and starts the worker when none runs. Errors: kOverloaded, kModelFailed.
  Result<void> submit(const std::shared_ptr<Request>& request);
  void end(const std::shared_ptr<Request>& request, Error why) override;
  void top_up(const std::shared_ptr<Request>& request) override;
  // Fails every request with `why`.
  void end_all(const Error& why);

  // Looks at every limit in time. Called every tick_ms while needs_tick_soon(), less often while needs_tick().
  void tick();
  [[nodiscard]] bool needs_tick() const;
  // A limit may pass at any moment: not so for a worker that only waits.
  [[nodiscard]] bool needs_tick_soon() const;
  // Memory became free: a host in kWaitingForRoom asks again.
  void room_freed();
  // Unloads: drains the worker when it is ready, kills it otherwise. `why` goes to the log.
  void stop(std::string_view why);
  // Kills the process and forgets it, at once: for a supervisor that ends.
  void abandon();
  // Forgets past failures: the next request may start a worker again.
  void forgive();
  void count_eviction() { metrics_.evictions.add(); }
  // Its turn is over: requests that come from now on wait, and once those that run have ended it is unloaded.
  void yield_to(const std::string& other);
  // Nobody waits for its memory any more.
  void stay();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] HostPhase phase() const { return phase_; }
  [[nodiscard]] bool idle() const { return requests_.empty(); }
  [[nodiscard]] bool has_process() const { return process_ != nullptr; }
  [[nodiscard]] std::int64_t idle_since_ns() const { return idle_since_ns_; }
  [[nodiscard]] std::int64_t ready_since_ns() const { return ready_since_ns_; }
  [[nodiscard]] bool yields() const { return yields_; }
  // Whether it asked for room before the other did.
  [[nodiscard]] bool asked_before(const ModelHost& other) const;
  // What counts against the budget now.
  [[nodiscard]] std::uint64_t reserved_bytes() const;
  [[nodiscard]] WorkerStatus status() const;

 private:
  // Start and end of a process.
  void start();
  Result<bool> prepare_start();
  Result<void> spawn(int model_fd, const ipc::WorkerArgs& args);
  void fail_start(Error error);
  void on_lost(const std::string& why);
  void on_gone();
  void recover();
  void give_up(Error error);
  std::int64_t backoff_ms();

  // Frames, in model_host_frames.cpp. Each error is a violation of the protocol.
  Result<void> on_frame(ipc::Frame frame);
  Result<void> on_ready(const ipc::Ready& ready);
  Result<void> on_request_frame(const std::shared_ptr<Request>& request, ipc::Frame frame);
  Result<void> on_accepted(Request& request, const ipc::Accepted& accepted);
  Result<void> on_token(Request& request, ipc::TokenFrame token);
  Result<void> on_finished(const std::shared_ptr<Request>& request, ipc::Finished finished);
  Result<void> on_scored(const std::shared_ptr<Request>& request, ipc::Scored scored);
  Result<void> on_hidden_state(Request& request, ipc::HiddenState state);
  Result<void> on_tokens(const std::shared_ptr<Request>& request, ipc::Tokens part);
  Result<void> on_text(const std::shared_ptr<Request>& request, const ipc::Text& part);
  Result<void> on_embedding(const std::shared_ptr<Request>& request, ipc::Embedding embedding);
  void on_pong();
  void on_stats(const ipc::Stats& stats);

  void send(const std::shared_ptr<Request>& request);
  void send_waiting();
  void send_frame(std::uint64_t request, const ipc::Body& body);
  void finish(const std::shared_ptr<Request>& request, std::optional<Error> error);
  void leave_if_done();
  void watch_ready(std::int64_t now_ns);
  [[nodiscard]] bool work_is_possible() const;
  [[nodiscard]] std::uint32_t slots() const;
  [[nodiscard]] ModelCost cost() const;
  [[nodiscard]] std::uint32_t running() const;
  void set_phase(HostPhase phase);
  void publish();
  void on_lease(const ipc::Lease& lease, std::int64_t waited_ns);
  [[nodiscard]] bool has_work() const;
  void want_cores();

  HostServices services_;
  std::string name_;
  LocalModel model_;
  EngineMetrics metrics_;
  std::minstd_rand jitter_;

  HostPhase phase_ = HostPhase::kStopped;
  std::shared_ptr<WorkerProcess> process_;
  CoreArbiter::Id cores_ = 0;  // of this process
  ipc::Ready ready_;
  std::map<std::uint64_t, std::shared_ptr<Request>> requests_;  // not done, in order of arrival
  std::uint64_t predicted_bytes_ = 0;

  bool stop_wanted_ = false;  // the process ends because we asked
  bool was_ready_ = false;    // the process that was lost had served
  std::string lost_why_;
  std::optional<Error> load_error_;  // what the worker said before it gave up loading
  std::optional<Error> failure_;     // why the model is given up
  std::deque<std::int64_t> failures_ns_;

  std::int64_t started_ns_ = 0;
  std::int64_t stop_started_ns_ = 0;
  std::int64_t retry_at_ns_ = 0;
  std::int64_t idle_since_ns_ = 0;
  std::int64_t ready_since_ns_ = 0;
  std::int64_t asked_room_ns_ = 0;  // 0: it does not wait for room
  bool yields_ = false;
  std::int64_t last_ping_ns_ = 0;
  bool pong_due_ = false;
  std::int64_t leased_ns_ = 0;         // its last lease
  std::int64_t beat_ns_ = 0;           // core time of its last heartbeat while idle
  std::int64_t last_alive_ns_ = 0;     // something was computed for a request
  std::int64_t last_progress_ns_ = 0;  // the same, or there was nothing to compute
  std::uint64_t work_ = 0;             // of the last kStats
  std::uint64_t prefilled_ = 0;        // as the worker last said, and so the next one
  std::uint64_t prefix_evictions_ = 0;

  std::uint64_t restarts_ = 0;
  std::uint64_t tokens_ = 0;
  RateMeter rate_;
  WorkRates work_rates_;
  std::uint32_t kv_used_ = 0;
};

}  // namespace shoal::engine
