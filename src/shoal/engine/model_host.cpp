#include "shoal/engine/model_host.h"

#include <algorithm>
#include <cassert>
#include <functional>
#include <limits>
#include <ranges>
#include <tuple>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/engine/memory_estimate.h"
#include "shoal/engine/worker_command.h"

namespace shoal::engine {
namespace {

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr double kNsPerSecond = 1e9;
// An idle worker's heartbeat takes at most this part of a core: eight of them, with what the gateway does for them,
// stay under 0.5 %. A token of a 1B model takes 60 ms, so that model is asked every two minutes.
constexpr std::int64_t kIdleBeatShare = 2'000;

}  // namespace

ModelHost::ModelHost(HostServices services, LocalModel model)
    : services_(std::move(services)),
      name_(model.info.name),
      model_(std::move(model)),
      metrics_(services_.registry, name_),
      // Only spreads restarts in time; two models must not share a sequence.
      jitter_(static_cast<std::uint_fast32_t>(std::hash<std::string>()(name_) ^
                                              static_cast<std::uint64_t>(services_.clock.monotonic_ns()))),
      idle_since_ns_(services_.clock.monotonic_ns()) {}

ModelHost::~ModelHost() {
  abandon();
}

void ModelHost::abandon() {
  services_.cores.remove(cores_);
  if (process_) process_->abandon();
  process_.reset();
  phase_ = HostPhase::kStopped;
}

// --- requests

Result<void> ModelHost::submit(const std::shared_ptr<Request>& request) {
  if (phase_ == HostPhase::kFailed) return *failure_;
  const std::size_t limit = std::size_t{slots()} + services_.options.max_queue;
  if (requests_.size() >= limit) {
    return Error(ErrorCode::kOverloaded, fmt::format("{} has {} requests, of which {} may run at once and {} may wait",
                                                     name_, requests_.size(), slots(), services_.options.max_queue))
        .with_retry_after_ms(services_.options.retry_after_ms);
  }
  request->submitted_ns = services_.clock.monotonic_ns();
  if (requests_.empty()) last_progress_ns_ = request->submitted_ns;
  requests_.emplace(request->id, request);
  if (phase_ == HostPhase::kReady && !yields_) {
    send(request);
  } else if (phase_ == HostPhase::kStopped) {
    start();
  }
  publish();
  return {};
}

void ModelHost::send(const std::shared_ptr<Request>& request) {
  if (request->kind == RequestKind::kWarmUp) {  // it asks for nothing but a worker that is ready
    finish(request, std::nullopt);
    return;
  }
  request->state = RequestState::kSent;
  request->credits = services_.options.credit_tokens;
  request->taken = 0;
  process_->send(request->frame);
  want_cores();
}

// By id, because a warm-up leaves the map when it is served.
void ModelHost::send_waiting() {
  for (auto next = requests_.begin(); next != requests_.end();) {
    const auto request = next->second;
    ++next;
    if (request->state == RequestState::kWaiting) send(request);
  }
}

void ModelHost::send_frame(std::uint64_t request, const ipc::Body& body) {
  if (!process_) return;
  const auto bytes = ipc::encode(request, std::numeric_limits<std::int64_t>::max(), body);
  assert(bytes.ok());  // control frames have a fixed size
  process_->send(*bytes);
}

void ModelHost::end(const std::shared_ptr<Request>& request, Error why) {
  if (request->state == RequestState::kDone) return;
  if (phase_ == HostPhase::kReady && request->state != RequestState::kWaiting) {
    send_frame(request->id, ipc::Cancel{});
  }
  finish(request, std::move(why));
}

void ModelHost::end_all(const Error& why) {
  while (!requests_.empty()) end(requests_.begin()->second, why);
}

void ModelHost::top_up(const std::shared_ptr<Request>& request) {
  // In halves: a frame per token would double the traffic, a full window would let the worker run dry.
  if (phase_ != HostPhase::kReady || request->state != RequestState::kAccepted) return;
  if (request->taken < std::max<std::uint32_t>(services_.options.credit_tokens / 2, 1)) return;
  request->credits += request->taken;
  send_frame(request->id, ipc::Credit{std::exchange(request->taken, 0)});
  want_cores();
}

void ModelHost::finish(const std::shared_ptr<Request>& held, std::optional<Error> error) {
  const auto request = held;  // `held` may be the entry of the map
  const std::int64_t now = services_.clock.monotonic_ns();
  requests_.erase(request->id);
  request->state = RequestState::kDone;
  request->frame.clear();
  request->frame.shrink_to_fit();
  if (request->kind != RequestKind::kWarmUp) {
    metrics_.request_ended(error ? &*error : nullptr);
    metrics_.request_seconds.observe(static_cast<double>(now - request->submitted_ns) / kNsPerSecond);
  }
  request->failure = std::move(error);
  request->notify();
  publish();
  want_cores();
  if (requests_.empty()) {
    idle_since_ns_ = now;
    services_.room.changed();
  }
  leave_if_done();
}

// --- turns

void ModelHost::yield_to(const std::string& other) {
  services_.log.info("model makes room",
                     {{"model", name_}, {"for", other}, {"requests", std::int64_t(requests_.size())}});
  yields_ = true;
  leave_if_done();
}

void ModelHost::stay() {
  if (!yields_ || phase_ != HostPhase::kReady) return;
  yields_ = false;
  send_waiting();
}

void ModelHost::leave_if_done() {
  if (!yields_ || phase_ != HostPhase::kReady) return;
  const bool runs =
      std::ranges::any_of(requests_, [](const auto& entry) { return entry.second->state != RequestState::kWaiting; });
  if (runs) return;
  count_eviction();
  stop("its turn is over");
}

bool ModelHost::asked_before(const ModelHost& other) const {
  return std::tie(asked_room_ns_, name_) < std::tie(other.asked_room_ns_, other.name_);
}

// --- start

void ModelHost::start() {
  assert(!process_);
  if (asked_room_ns_ == 0) asked_room_ns_ = services_.clock.monotonic_ns();
  auto started = prepare_start();
  if (!started.ok()) {
    asked_room_ns_ = 0;
    fail_start(std::move(started).error());
  } else if (*started) {
    asked_room_ns_ = 0;
    set_phase(HostPhase::kLoading);
  } else {
    set_phase(HostPhase::kWaitingForRoom);
  }
}

// True: a process loads. False: it waits for room.
Result<bool> ModelHost::prepare_start() {
  model_ = SHOAL_TRY(services_.source.resolve(name_));
  const OpenedModel opened = SHOAL_TRY(open_model(model_.info.path));
  const ipc::WorkerArgs args = worker_args(services_.options, model_);
  if (args.kv_type != services_.options.kv_type && model_.info.generates && model_.shape.kv_values_per_token > 0) {
    services_.log.warn("the KV cache stays f16", {{"model", name_},
                                                  {"asked", types::format_of(services_.options.kv_type).name},
                                                  {"head_width", std::int64_t{model_.shape.key_length}},
                                                  {"wanted", "a multiple of 32, and engine.exact off"}});
  }
  const MemoryEstimate need = estimate_memory(model_, opened.bytes, args, services_.options.cpu);
  predicted_bytes_ = need.total();
  if (!SHOAL_TRY(services_.room.ask(*this, need, args.context_length))) return false;
  SHOAL_TRY(spawn(opened.fd.get(), args));
  return true;
}

Result<void> ModelHost::spawn(int model_fd, const ipc::WorkerArgs& args) {
  const WorkerSpawn spec{.executable = services_.options.worker_path,
                         .arguments = ipc::to_argv(args),
                         .model_name = name_,
                         .model_fd = model_fd,
                         .second_fd = -1};
  const std::weak_ptr<ModelHost> weak = weak_from_this();
  const auto call = [weak](auto member) {
    return [weak, member](auto&&... arguments) {
      if (const auto self = weak.lock()) ((*self).*member)(std::forward<decltype(arguments)>(arguments)...);
    };
  };
  WorkerEvents events{.on_frame = [weak](ipc::Frame frame) -> Result<void> {
                        const auto self = weak.lock();
                        return self ? self->on_frame(std::move(frame)) : Result<void>();
                      },
                      .on_lost = call(&ModelHost::on_lost),
                      .on_gone = call(&ModelHost::on_gone)};
  process_ = SHOAL_TRY(WorkerProcess::spawn(services_.executor, services_.log, spec, std::move(events)));
  cores_ =
      services_.cores.add(compute_threads(services_.options), [weak](const ipc::Lease& lease, std::int64_t waited_ns) {
        if (const auto self = weak.lock()) self->on_lease(lease, waited_ns);
      });
  started_ns_ = services_.clock.monotonic_ns();
  beat_ns_ = 0;
  stop_wanted_ = was_ready_ = pong_due_ = yields_ = false;
  work_ = prefilled_ = prefix_evictions_ = 0;
  load_error_.reset();
  work_rates_.clear();
  kv_used_ = 0;
  services_.log.info("worker starts",
                     {{"model", name_}, {"pid", process_->pid()}, {"predicted_bytes", predicted_bytes_}});
  return {};
}

// No process came to be. What is wrong will be wrong at once again, so everybody who waits hears it now.
void ModelHost::fail_start(Error error) {
  services_.log.warn("worker not started", {{"model", name_}, {"code", error.info().slug}, {"why", error.message()}});
  set_phase(HostPhase::kStopped);
  end_all(error);
}

void ModelHost::room_freed() {
  if (phase_ != HostPhase::kWaitingForRoom) return;
  phase_ = HostPhase::kStopped;  // for a moment: nothing was freed
  if (!requests_.empty()) return start();
  asked_room_ns_ = 0;
  publish();
}

// --- loss, restart, stop

void ModelHost::on_lost(const std::string& why) {
  was_ready_ = phase_ == HostPhase::kReady;
  services_.cores.remove(cores_);
  metrics_.threads.set(0);
  lost_why_ = why;
  if (!stop_wanted_) {
    const std::string& said = process_->last_stderr_line();
    services_.log.error("worker lost", {{"model", name_}, {"pid", process_->pid()}, {"why", why}, {"said", said}});
    metrics_.failures.add();
    failures_ns_.push_back(services_.clock.monotonic_ns());
  }
  set_phase(HostPhase::kStopping);
  stop_started_ns_ = services_.clock.monotonic_ns();

  const Error crashed(ErrorCode::kWorkerCrashed, fmt::format("the worker of {} was lost: {}", name_, why));
  // Those that may have been in the batch: all that have tokens, and the oldest others up to the number of slots.
  auto suspects = static_cast<std::ptrdiff_t>(ready_.slots) -
                  std::ranges::count_if(requests_, [](const auto& entry) { return entry.second->tokens > 0; });
  for (const auto& request : std::vector(std::views::values(requests_).begin(), std::views::values(requests_).end())) {
    if (request->state == RequestState::kWaiting) continue;
    const bool suspect = request->tokens > 0 || suspects-- > 0;
    // Nothing of the answer has been seen, so nobody can tell that it starts again. Once only for a suspect: a
    // prompt that kills its worker must not kill every next one.
    if (request->tokens == 0 && !(suspect && request->resubmitted) && !stop_wanted_) {
      request->state = RequestState::kWaiting;
      request->resubmitted = request->resubmitted || suspect;
      request->received = 0;
      request->embedding = {};
      request->token_ids.clear();
      request->text.clear();
      request->hidden_state.clear();
      metrics_.resubmitted.add();
    } else {
      finish(request, crashed);
    }
  }
}

void ModelHost::on_gone() {
  process_.reset();
  if (stop_wanted_) {
    set_phase(HostPhase::kStopped);
    if (!requests_.empty()) start();
  } else {
    recover();
  }
  services_.room.changed();
}

void ModelHost::recover() {
  const std::int64_t now = services_.clock.monotonic_ns();
  const std::int64_t window_start = now - services_.options.failure_window_ms * kNsPerMs;
  while (!failures_ns_.empty() && failures_ns_.front() < window_start) failures_ns_.pop_front();

  if (load_error_ && !load_error_->info().retryable) {
    give_up(*load_error_);
  } else if (failures_ns_.size() >= services_.options.max_failures) {
    give_up(Error(ErrorCode::kModelFailed,
                  fmt::format("the worker of {} was lost {} times within {} s and is given up; the last time: {}",
                              name_, failures_ns_.size(), services_.options.failure_window_ms / 1'000,
                              load_error_ ? load_error_->message() : lost_why_)));
  } else {
    retry_at_ns_ = now + backoff_ms() * kNsPerMs;
    set_phase(HostPhase::kBackoff);
    tick();  // the first restart in a window is due at once
  }
}

void ModelHost::give_up(Error error) {
  services_.log.error("model given up", {{"model", name_}, {"code", error.info().slug}, {"why", error.message()}});
  failure_ = std::move(error);
  set_phase(HostPhase::kFailed);
  end_all(*failure_);
}

std::int64_t ModelHost::backoff_ms() {
  const std::size_t failures = failures_ns_.size();
  if (failures <= 1) return 0;
  const SupervisorOptions& options = services_.options;
  const std::size_t doublings = std::min<std::size_t>(failures - 2, 20);
  const std::int64_t delay = std::min(options.backoff_ms << doublings, options.backoff_max_ms);
  // +-25 %: models that died together must not load together.
  return std::uniform_int_distribution<std::int64_t>(delay * 3 / 4, delay * 5 / 4)(jitter_);
}

void ModelHost::stop(std::string_view why) {
  switch (phase_) {
    case HostPhase::kReady:
      services_.log.info("worker stops", {{"model", name_}, {"pid", process_->pid()}, {"why", why}});
      stop_wanted_ = true;
      send_frame(0, ipc::Drain{});
      stop_started_ns_ = services_.clock.monotonic_ns();
      set_phase(HostPhase::kStopping);
      break;
    case HostPhase::kLoading:
      stop_wanted_ = true;
      process_->kill(std::string(why));
      break;
    case HostPhase::kWaitingForRoom:
    case HostPhase::kBackoff:
      asked_room_ns_ = 0;
      set_phase(HostPhase::kStopped);
      break;
    case HostPhase::kStopping:
      stop_wanted_ = true;  // a crash that is being reaped: do not come back
      break;
    case HostPhase::kStopped:
    case HostPhase::kFailed:
      break;
  }
}

void ModelHost::forgive() {
  failures_ns_.clear();
  failure_.reset();
  if (phase_ == HostPhase::kFailed) set_phase(HostPhase::kStopped);
}

// --- time

bool ModelHost::needs_tick() const {
  return !requests_.empty() || (phase_ != HostPhase::kStopped && phase_ != HostPhase::kFailed);
}

bool ModelHost::needs_tick_soon() const {
  return needs_tick() && (!requests_.empty() || phase_ != HostPhase::kReady);
}

void ModelHost::tick() {
  const std::int64_t now = services_.clock.monotonic_ns();
  for (const auto& request : std::vector(std::views::values(requests_).begin(), std::views::values(requests_).end())) {
    if (!request->deadline.passed(services_.clock)) continue;
    end(request, phase_ == HostPhase::kWaitingForRoom
                     ? Error(ErrorCode::kDeadlineExceeded,
                             fmt::format("the deadline passed while {} waited for memory that other models use", name_))
                     : deadline_error());
  }
  const SupervisorOptions& options = services_.options;
  switch (phase_) {
    case HostPhase::kLoading:
      if (now - started_ns_ > options.load_timeout_ms * kNsPerMs) {
        process_->kill(fmt::format("not ready after {} ms", options.load_timeout_ms));
      }
      break;
    case HostPhase::kReady:
      watch_ready(now);
      break;
    case HostPhase::kStopping:
      if (process_ && now - stop_started_ns_ > options.stop_timeout_ms * kNsPerMs) {
        process_->kill(fmt::format("did not stop within {} ms", options.stop_timeout_ms));
      }
      break;
    case HostPhase::kBackoff:
      if (now < retry_at_ns_) break;
      set_phase(HostPhase::kStopped);
      // Eager after a crash, so that the next request finds a worker; not after a failed load that nobody waits for.
      if (!requests_.empty() || (was_ready_ && !services_.room.draining())) {
        ++restarts_;
        metrics_.restarts.add();
        start();
      }
      break;
    case HostPhase::kWaitingForRoom:
      if (requests_.empty()) {
        asked_room_ns_ = 0;
        set_phase(HostPhase::kStopped);
      }
      break;
    case HostPhase::kStopped:
    case HostPhase::kFailed:
      break;
  }
}

void ModelHost::watch_ready(std::int64_t now_ns) {
  const SupervisorOptions& options = services_.options;
  if (requests_.empty() && options.idle_unload_ms > 0 && now_ns - idle_since_ns_ > options.idle_unload_ms * kNsPerMs) {
    stop("idle");
    return;
  }
  // A worker that waits for cores can do nothing: that time is nobody's fault.
  if (services_.cores.use(cores_).waits) last_alive_ns_ = last_progress_ns_ = now_ns;
  if (pong_due_) {
    // A worker that computes is slow, not hung: the heartbeat waits for the end of the step.
    const std::int64_t alive_ns = std::max(last_ping_ns_, last_alive_ns_);
    if (now_ns - alive_ns > options.heartbeat_timeout_ms * kNsPerMs) {
      process_->kill(fmt::format("no answer to a heartbeat for {} ms", options.heartbeat_timeout_ms));
      return;
    }
  } else {
    const std::int64_t idle_ns = std::max(options.idle_heartbeat_ms * kNsPerMs, beat_ns_ * kIdleBeatShare);
    if (now_ns - last_ping_ns_ > (requests_.empty() ? idle_ns : options.heartbeat_ms * kNsPerMs)) {
      last_ping_ns_ = now_ns;
      pong_due_ = true;
      send_frame(0, ipc::Ping{});
      want_cores();
    }
  }
  if (!work_is_possible()) {
    last_progress_ns_ = now_ns;
  } else if (now_ns - last_progress_ns_ > options.progress_timeout_ms * kNsPerMs) {
    process_->kill(
        fmt::format("{} requests, but nothing computed for {} ms", requests_.size(), options.progress_timeout_ms));
  }
}

// Whether the worker owes us progress: not when nobody asks, and not when clients that do not read hold all slots, or
// so many cells that nothing else fits beside them.
bool ModelHost::work_is_possible() const {
  const auto paused = std::ranges::count_if(requests_, [](const auto& entry) {
    const Request& request = *entry.second;
    return request.state == RequestState::kAccepted && request.kind == RequestKind::kGenerate && request.credits == 0;
  });
  const auto held =
      std::ranges::count_if(requests_, [](const auto& entry) { return entry.second->state == RequestState::kWaiting; });
  const auto unpaused = requests_.size() - static_cast<std::size_t>(paused + held);
  if (paused > 0 && services_.cores.use(cores_).declined) return false;
  return unpaused > 0 && static_cast<std::size_t>(paused) < slots();
}

// --- numbers

std::uint32_t ModelHost::slots() const {
  return phase_ == HostPhase::kReady && ready_.slots > 0 ? ready_.slots : services_.options.slots;
}

std::uint32_t ModelHost::running() const {
  const auto accepted = std::ranges::count_if(
      requests_, [](const auto& entry) { return entry.second->state == RequestState::kAccepted; });
  return std::min(static_cast<std::uint32_t>(accepted), slots());
}

std::uint64_t ModelHost::reserved_bytes() const {
  return phase_ == HostPhase::kStopped || phase_ == HostPhase::kFailed ? 0 : predicted_bytes_;
}

void ModelHost::set_phase(HostPhase phase) {
  const std::uint64_t before = reserved_bytes();
  phase_ = phase;
  publish();
  want_cores();
  if (reserved_bytes() < before) services_.room.changed();
}

void ModelHost::on_lease(const ipc::Lease& lease, std::int64_t waited_ns) {
  send_frame(0, lease);
  leased_ns_ = services_.clock.monotonic_ns();
  metrics_.threads.set(services_.cores.use(cores_).threads);
  if (waited_ns > 0) metrics_.core_wait_seconds.observe(static_cast<double>(waited_ns) / kNsPerSecond);
}

// Whether the worker has something to compute on cores: not for texts that it reads, and not for clients that do not
// read.
bool ModelHost::has_work() const {
  if (phase_ != HostPhase::kReady) return false;
  return pong_due_ || std::ranges::any_of(requests_, [](const auto& entry) {
           const Request& request = *entry.second;
           if (request.state == RequestState::kWaiting) return false;
           return request.kind == RequestKind::kEmbed || request.kind == RequestKind::kScore ||
                  (request.kind == RequestKind::kGenerate && request.credits > 0);
         });
}

void ModelHost::want_cores() {
  services_.cores.want(cores_, has_work());
}

void ModelHost::publish() {
  const std::uint32_t now_running = running();
  metrics_.running.set(now_running);
  metrics_.queued.set(static_cast<double>(requests_.size() - now_running));
  metrics_.predicted_bytes.set(static_cast<double>(reserved_bytes()));
}

ModelCost ModelHost::cost() const {
  const ModelShape& shape = model_.shape;
  const types::KvFormat& format = types::format_of(ready_.kv_type);
  return {shape.step_bytes, shape.kv_values_per_token * format.block_bytes / format.block, 2 * shape.prompt_parameters};
}

WorkerStatus ModelHost::status() const {
  WorkerStatus out;
  out.model = name_;
  out.running = running();
  out.queued = static_cast<std::uint32_t>(requests_.size()) - out.running;
  out.predicted_bytes = reserved_bytes();
  out.resident_bytes = process_ ? process_->resident_bytes() : 0;
  out.pid = process_ ? process_->pid() : 0;
  out.threads = process_ ? services_.cores.use(cores_).threads : 0;
  out.restarts = restarts_;
  out.tokens_decoded = tokens_;
  const std::int64_t now = services_.clock.monotonic_ns();
  out.tokens_per_second = rate_.per_second(now);
  out.idle_ms = requests_.empty() ? (now - idle_since_ns_) / kNsPerMs : 0;
  switch (phase_) {
    case HostPhase::kStopped:
      break;
    case HostPhase::kWaitingForRoom:
      out.state = types::ModelState::kLoading;
      out.reason = "waits until other models are unloaded";
      break;
    case HostPhase::kLoading:
      out.state = types::ModelState::kLoading;
      out.reason = "loads the model file";
      break;
    case HostPhase::kBackoff:
      out.state = types::ModelState::kLoading;
      out.reason =
          fmt::format("restarts in {} ms: {}", std::max<std::int64_t>(retry_at_ns_ - now, 0) / kNsPerMs, lost_why_);
      break;
    case HostPhase::kReady:
      out.state = types::ModelState::kReady;
      out.context_length = ready_.context_length;
      out.sequence_length = ready_.sequence_length;
      out.kv_used = kv_used_;
      out.rates = work_rates_.rates();
      out.demand = demand(out.rates, cost());
      out.slots = ready_.slots;
      out.sandbox = ready_.sandbox;
      out.cpu_backend = ready_.cpu_backend;
      if (model_.info.generates && model_.shape.kv_values_per_token > 0)
        out.kv_type = types::format_of(ready_.kv_type).name;
      break;
    case HostPhase::kStopping:
      out.state = stop_wanted_ ? types::ModelState::kStopped : types::ModelState::kLoading;
      out.reason = stop_wanted_ ? "stops" : lost_why_;
      break;
    case HostPhase::kFailed:
      out.state = types::ModelState::kFailed;
      out.reason = failure_->message();
      break;
  }
  return out;
}

}  // namespace shoal::engine
