#include "shoal/engine/supervisor.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "shoal/engine/core_share.h"
#include "shoal/engine/memory_estimate.h"
#include "shoal/engine/model_host.h"
#include "shoal/engine/request.h"
#include "shoal/engine/worker_command.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {
namespace {

namespace asio = base::asio;

// Inputs of one embedding call are sent in parts of at most this size: a frame holds 1 MiB, and between the parts
// other requests get their turn.
constexpr std::size_t kEmbedPartBytes = std::size_t{256} * 1024;
constexpr std::size_t kEmbedPartInputs = 64;
constexpr std::int64_t kIdleTicks = 10;
constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr double kBytesPerMib = 1024.0 * 1024.0;

CoreOptions core_options(const SupervisorOptions& options) {
  CoreOptions out;
  out.cores = usable_cores(options);
  out.late_ns = options.core_late_ms * 1'000'000;
  return out;
}

std::size_t wire_bytes(const std::variant<std::string, std::vector<std::int32_t>>& input) {
  if (const auto* text = std::get_if<std::string>(&input)) return text->size();
  return std::get<std::vector<std::int32_t>>(input).size() * sizeof(std::int32_t);
}

Error does_not(const types::ModelInfo& model, std::string_view what, std::string_view wanted) {
  const std::string_view does = model.generates ? "generates text"
                                : model.embeds  ? "embeds"
                                                : "ranks pairs of texts, for which there is no endpoint";
  return Error(ErrorCode::kUnsupportedParameter,
               fmt::format("{} does not {}, it {}; name {}", model.name, what, does, wanted))
      .with_param("model");
}
Error generates_not(const types::ModelInfo& model) {
  return does_not(model, "generate text", "a model that generates");
}

}  // namespace

class Supervisor::Impl final : public MemoryRoom, public std::enable_shared_from_this<Impl> {
 public:
  Impl(base::Executor executor, const base::Clock& clock, base::Log& log, const ModelSource& source,
       telemetry::Registry& registry, SupervisorOptions options)
      : executor_(std::move(executor)),
        clock_(clock),
        log_(log),
        source_(source),
        registry_(registry),
        options_(std::move(options)),
        cores_(executor_, clock_, core_options(options_)),
        ticker_(executor_),
        changed_(executor_) {}

  [[nodiscard]] const ModelSource& source() const { return source_; }
  [[nodiscard]] const base::Clock& clock() const { return clock_; }
  [[nodiscard]] std::uint32_t credit_tokens() const { return options_.credit_tokens; }
  [[nodiscard]] std::vector<WorkerStatus> status() const;
  std::shared_ptr<ModelHost> host_for(const LocalModel& model);
  [[nodiscard]] std::shared_ptr<ModelHost> find(const std::string& name) const;
  Result<LocalModel> admit(const std::string& name) const;
  [[nodiscard]] std::shared_ptr<Request> new_request(RequestKind kind, base::Deadline deadline, std::stop_token cancel);
  Result<void> submit(ModelHost& host, const std::shared_ptr<Request>& request);
  Result<void> await(const std::shared_ptr<ModelHost>& host, const std::shared_ptr<Request>& request,
                     RequestState until, base::Yield yield);
  Result<void> run(const std::shared_ptr<ModelHost>& host, const std::shared_ptr<Request>& request,
                   const ipc::Body& body, base::Yield yield);
  Result<void> embed_part(const std::shared_ptr<ModelHost>& host, const EmbedRequest& request, std::size_t first,
                          std::size_t count, EmbedResult& out, base::Yield yield);
  void drain(base::Deadline deadline, base::Yield yield);
  void shut();
  void forgive_failures();

  Result<bool> ask(ModelHost& host, const MemoryEstimate& need, std::uint32_t context_tokens) override;
  void changed() override;
  [[nodiscard]] bool draining() const override { return draining_; }

  // A call under way: drain() waits for it, also between the parts that it sends.
  class Call {
   public:
    explicit Call(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) { ++impl_->calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      --impl_->calls_;
      impl_->changed_.cancel();
    }
    Impl* operator->() const { return impl_.get(); }

   private:
    std::shared_ptr<Impl> impl_;
  };

 private:
  void arm_ticker();
  void tick();
  template <class Done>
  void wait_until(Done done, base::Deadline deadline, base::Yield yield);
  void end_turns();
  [[nodiscard]] Error does_not_fit(const ModelHost& host, const MemoryEstimate& need, std::uint32_t context) const;

  base::Executor executor_;
  const base::Clock& clock_;
  base::Log& log_;
  const ModelSource& source_;
  telemetry::Registry& registry_;
  SupervisorOptions options_;
  CoreShare cores_;
  base::Timer ticker_;
  base::Timer changed_;  // cancelled when a request or a process ended: drain() looks again
  bool ticking_ = false;
  bool ticks_soon_ = false;
  bool draining_ = false;
  bool shut_ = false;  // nothing is started any more
  std::size_t calls_ = 0;
  std::uint64_t last_id_ = 0;
  std::map<std::string, std::shared_ptr<ModelHost>> hosts_;
};

// --- requests

Result<LocalModel> Supervisor::Impl::admit(const std::string& name) const {
  if (draining_) {
    return Error(ErrorCode::kShuttingDown, "the server is draining and takes no new requests")
        .with_retry_after_ms(options_.retry_after_ms);
  }
  return source_.resolve(name);
}

std::shared_ptr<ModelHost> Supervisor::Impl::host_for(const LocalModel& model) {
  auto& slot = hosts_[model.info.name];
  if (!slot) {
    slot = std::make_shared<ModelHost>(
        HostServices{executor_, clock_, log_, source_, options_, *this, cores_, registry_}, model);
  }
  return slot;
}

std::shared_ptr<ModelHost> Supervisor::Impl::find(const std::string& name) const {
  const auto found = hosts_.find(name);
  return found == hosts_.end() ? nullptr : found->second;
}

std::shared_ptr<Request> Supervisor::Impl::new_request(RequestKind kind, base::Deadline deadline,
                                                       std::stop_token cancel) {
  auto request = std::make_shared<Request>(executor_);
  request->kind = kind;
  request->id = ++last_id_;
  request->deadline = deadline;
  request->cancel = std::move(cancel);
  return request;
}

Result<void> Supervisor::Impl::submit(ModelHost& host, const std::shared_ptr<Request>& request) {
  if (shut_) return Error(ErrorCode::kShuttingDown, "the server shuts down");
  if (request->cancel.stop_requested()) return cancelled_error();
  SHOAL_TRY(host.submit(request));
  arm_ticker();
  return {};
}

// Until the request is at least in state `until`, or over. Errors: why it failed.
Result<void> Supervisor::Impl::await(const std::shared_ptr<ModelHost>& host, const std::shared_ptr<Request>& request,
                                     RequestState until, base::Yield yield) {
  while (!request->failure && request->state < until) {
    if (request->deadline.passed(clock_)) {
      host->end(request, deadline_error());
      break;
    }
    request->wait(clock_, base::Deadline{}, yield);
  }
  if (request->failure) return *request->failure;
  return {};
}

// From the first frame to the last of a request that is no generation. Errors: kPayloadTooLarge for a body that no
// frame holds, and why it failed.
Result<void> Supervisor::Impl::run(const std::shared_ptr<ModelHost>& host, const std::shared_ptr<Request>& request,
                                   const ipc::Body& body, base::Yield yield) {
  auto frame = ipc::encode(request->id, request->deadline.at_ns, body);
  if (!frame.ok()) {
    return Error(ErrorCode::kPayloadTooLarge,
                 fmt::format("one input may have at most {} bytes (4 for each token id); send it in parts",
                             ipc::kMaxBodyBytes - 1024));
  }
  request->frame = std::move(frame).value();
  SHOAL_TRY(submit(*host, request));
  // Tells the worker when the request is cancelled, and when this coroutine ends early, by an unwinding stack.
  const WorkerGeneration guard(request, host, clock_);
  return await(host, request, RequestState::kDone, yield);
}

Result<void> Supervisor::Impl::embed_part(const std::shared_ptr<ModelHost>& host, const EmbedRequest& request,
                                          std::size_t first, std::size_t count, EmbedResult& out, base::Yield yield) {
  ipc::Embed body;
  body.principal = request.principal;
  const auto begin = request.inputs.begin() + static_cast<std::ptrdiff_t>(first);
  body.inputs.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
  const auto part = new_request(RequestKind::kEmbed, request.deadline, request.cancel);
  part->inputs = count;
  SHOAL_TRY(run(host, part, body, yield));
  for (auto& row : part->embedding.embeddings) out.embeddings.push_back(std::move(row));
  out.usage.prompt_tokens += part->embedding.usage.prompt_tokens;
  return {};
}

// --- memory

Result<bool> Supervisor::Impl::ask(ModelHost& host, const MemoryEstimate& need, std::uint32_t context) {
  const std::uint64_t budget = options_.memory_budget_bytes;
  if (budget == 0) return true;
  if (need.total() > budget) return does_not_fit(host, need, context);
  std::vector<std::shared_ptr<ModelHost>> others;  // that have memory, or asked for it before
  for (const auto& [name, other] : hosts_) {
    if (other.get() == &host || other->reserved_bytes() == 0) continue;
    if (other->phase() != HostPhase::kWaitingForRoom || other->asked_before(host)) others.push_back(other);
  }
  const auto fits_now = [&] {
    std::uint64_t used = need.total();
    for (const auto& other : others) used += other->reserved_bytes();
    return used <= budget;
  };
  if (fits_now()) return true;

  std::uint64_t later = 0;  // once those that stop are gone
  std::vector<std::shared_ptr<ModelHost>> idle;
  for (const auto& other : others) {
    if (other->phase() == HostPhase::kStopping) continue;
    later += other->reserved_bytes();
    if (other->idle()) idle.push_back(other);
  }

  std::ranges::sort(idle, {}, [](const auto& other) { return other->idle_since_ns(); });
  std::vector<std::shared_ptr<ModelHost>> victims;
  for (const auto& other : idle) {
    if (later + need.total() <= budget) break;
    later -= other->reserved_bytes();
    victims.push_back(other);
  }
  // Nobody is unloaded in vain: the others are busy, and have their turn.
  if (later + need.total() > budget) return false;
  for (const auto& victim : victims) {
    victim->count_eviction();
    victim->stop("evicted to make room for " + host.name());
  }
  return fits_now();
}

// Models that are never idle would never be unloaded: the one that waits the longest gets the memory of those that had
// theirs for a turn.
void Supervisor::Impl::end_turns() {
  const ModelHost* first = nullptr;
  for (const auto& [name, host] : hosts_) {
    if (host->phase() != HostPhase::kWaitingForRoom) continue;
    if (first == nullptr || host->asked_before(*first)) first = host.get();
  }
  if (first == nullptr) {
    for (const auto& [name, host] : hosts_) host->stay();
    return;
  }
  std::uint64_t later = first->reserved_bytes();
  std::vector<std::shared_ptr<ModelHost>> busy;
  for (const auto& [name, host] : hosts_) {
    if (host->phase() == HostPhase::kWaitingForRoom || host->phase() == HostPhase::kStopping || host->yields())
      continue;
    if (host->idle() && host->phase() == HostPhase::kReady) continue;
    later += host->reserved_bytes();
    const std::int64_t had_ns = clock_.monotonic_ns() - host->ready_since_ns();
    if (host->phase() == HostPhase::kReady && had_ns >= options_.turn_ms * kNsPerMs) busy.push_back(host);
  }
  std::ranges::sort(busy, {}, [](const auto& host) { return host->ready_since_ns(); });
  for (const auto& host : busy) {
    if (later <= options_.memory_budget_bytes) return;
    later -= host->reserved_bytes();
    host->yield_to(first->name());
  }
}

Error Supervisor::Impl::does_not_fit(const ModelHost& host, const MemoryEstimate& need, std::uint32_t context) const {
  const auto mib = [](std::uint64_t bytes) { return static_cast<double>(bytes) / kBytesPerMib; };
  std::string users;
  for (const auto& [name, other] : hosts_) {
    if (other.get() == &host || other->reserved_bytes() == 0) continue;
    users += fmt::format("{}{} {:.0f} MiB{}", users.empty() ? "" : ", ", name, mib(other->reserved_bytes()),
                         other->idle() ? " (idle)" : "");
  }
  return Error(ErrorCode::kInsufficientMemory,
               fmt::format("{} needs about {:.0f} MiB (weights {:.0f}, cache for {} tokens {:.0f}, the rest {:.0f}); "
                           "the budget is {:.0f} MiB, used by: {}",
                           host.name(), mib(need.total()), mib(need.weights_bytes), context, mib(need.kv_bytes),
                           mib(need.compute_bytes + need.process_bytes + need.cold_bytes),
                           mib(options_.memory_budget_bytes), users.empty() ? "nobody" : users));
}

void Supervisor::Impl::changed() {
  changed_.cancel();
  if (shut_) return;
  // Posted: the caller is in the middle of a change, and a host that starts now would act on half of it.
  asio::post(executor_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || self->shut_) return;
    for (const auto& [name, host] : self->hosts_) host->room_freed();
  });
}

// --- time

// A worker that only waits is looked at rarely: eight of them must not keep the gateway busy.
void Supervisor::Impl::arm_ticker() {
  if (hosts_.empty()) return;
  const bool soon = std::ranges::any_of(hosts_, [](const auto& entry) { return entry.second->needs_tick_soon(); });
  if (ticking_ && (ticks_soon_ || !soon)) return;
  ticking_ = true;
  ticks_soon_ = soon;
  ticker_.expires_after(std::chrono::milliseconds(options_.tick_ms * (soon ? 1 : kIdleTicks)));
  ticker_.async_wait([weak = weak_from_this()](base::error_code ec) {
    if (const auto self = weak.lock(); self && !ec) self->tick();
  });
}

void Supervisor::Impl::tick() {
  ticking_ = false;
  bool again = false;
  for (const auto& [name, host] : hosts_) {
    host->tick();
    again = again || host->needs_tick();
  }
  end_turns();
  // A gateway without a worker does not wake up.
  if (again) arm_ticker();
}

template <class Done>
void Supervisor::Impl::wait_until(Done done, base::Deadline deadline, base::Yield yield) {
  while (!done() && !deadline.passed(clock_)) {
    // Looked at again after every tick too: an injected clock moves without a timer.
    const auto step = std::min(std::chrono::nanoseconds(deadline.left_ns(clock_)),
                               std::chrono::nanoseconds(std::chrono::milliseconds(options_.tick_ms)));
    changed_.expires_after(step);
    base::error_code ignored;
    changed_.async_wait(yield[ignored]);
  }
}

void Supervisor::Impl::drain(base::Deadline deadline, base::Yield yield) {
  draining_ = true;
  const auto idle = [this] {
    return calls_ == 0 && std::ranges::all_of(hosts_, [](const auto& entry) { return entry.second->idle(); });
  };
  wait_until(idle, deadline, yield);
  shut_ = true;
  const Error late(ErrorCode::kShuttingDown, "the server shut down before the answer was complete");
  for (const auto& [name, host] : hosts_) host->end_all(late);
  for (const auto& [name, host] : hosts_) host->stop("the server shuts down");
  arm_ticker();
  const auto gone = [this] {
    return std::ranges::none_of(hosts_, [](const auto& entry) { return entry.second->has_process(); });
  };
  // Each host kills its worker after stop_timeout_ms; the kernel needs a moment to reap it.
  wait_until(gone, base::Deadline::after_ms(clock_, options_.stop_timeout_ms * 2), yield);
}

void Supervisor::Impl::shut() {
  shut_ = true;
  ticker_.cancel();
  changed_.cancel();
  for (const auto& [name, host] : hosts_) {
    host->end_all(Error(ErrorCode::kShuttingDown, "the server shut down before the answer was complete"));
    host->abandon();
  }
  hosts_.clear();
}

void Supervisor::Impl::forgive_failures() {
  for (const auto& [name, host] : hosts_) host->forgive();
}

std::vector<WorkerStatus> Supervisor::Impl::status() const {
  std::vector<WorkerStatus> out;
  for (const auto& model : source_.list()) {
    if (hosts_.contains(model.name)) continue;
    WorkerStatus row;
    row.model = model.name;
    out.push_back(std::move(row));
  }
  for (const auto& [name, host] : hosts_) out.push_back(host->status());
  std::ranges::sort(out, {}, &WorkerStatus::model);
  return out;
}

// --- Supervisor

Supervisor::Supervisor(base::Executor executor, const base::Clock& clock, base::Log& log, const ModelSource& source,
                       telemetry::Registry& registry, SupervisorOptions options)
    : impl_(std::make_shared<Impl>(std::move(executor), clock, log, source, registry, std::move(options))) {}

Supervisor::~Supervisor() {
  impl_->shut();
}

std::vector<types::ModelInfo> Supervisor::models() const {
  return impl_->source().list();
}

Result<types::ModelInfo> Supervisor::resolve(const std::string& name) const {
  return SHOAL_TRY(impl_->source().resolve(name)).info;
}

std::vector<WorkerStatus> Supervisor::status() const {
  return impl_->status();
}

Result<std::unique_ptr<Generation>> Supervisor::start(GenerateRequest asked, base::Yield yield) {
  const Impl::Call impl(impl_);  // held over the waits
  const LocalModel model = SHOAL_TRY(impl->admit(asked.model));
  if (!model.info.generates) return generates_not(model.info);
  const auto request = impl->new_request(RequestKind::kGenerate, asked.deadline, std::move(asked.cancel));
  ipc::Generate body{.principal = asked.principal,
                     .credits = impl->credit_tokens(),
                     .max_tokens = asked.max_tokens.value_or(-1),
                     .top_logprobs = asked.top_logprobs,
                     .ignore_eos = asked.ignore_eos,
                     .p_true = asked.p_true,
                     .hidden_state = asked.hidden_state,
                     .streams = asked.streams,
                     .sampling = std::move(asked.sampling),
                     .stop = std::move(asked.stop),
                     .prompt = std::move(asked.prompt.input)};
  auto frame = ipc::encode(request->id, asked.deadline.at_ns, body);
  if (!frame.ok()) {
    // Any context is shorter than what a frame holds.
    return Error(
        ErrorCode::kContextLengthExceeded,
        fmt::format("the prompt is larger than {} bytes, which is more than the context of {} ({} tokens) holds",
                    ipc::kMaxBodyBytes, model.info.name, model.info.context_length));
  }
  request->frame = std::move(frame).value();
  const auto host = impl->host_for(model);
  SHOAL_TRY(impl->submit(*host, request));
  auto generation = std::make_unique<WorkerGeneration>(request, host, impl->clock());
  SHOAL_TRY(impl->await(host, request, RequestState::kAccepted, yield));
  return std::unique_ptr<Generation>(std::move(generation));
}

Result<EmbedResult> Supervisor::embed(EmbedRequest asked, base::Yield yield) {
  const Impl::Call impl(impl_);
  const LocalModel model = SHOAL_TRY(impl->admit(asked.model));
  if (!model.info.embeds) return does_not(model.info, "embed", "an embedding model");
  const auto host = impl->host_for(model);
  EmbedResult out;
  for (std::size_t first = 0; first < asked.inputs.size();) {
    std::size_t count = 0;
    std::size_t bytes = 0;
    while (first + count < asked.inputs.size() && count < kEmbedPartInputs &&
           (count == 0 || bytes + wire_bytes(asked.inputs[first + count]) <= kEmbedPartBytes)) {
      bytes += wire_bytes(asked.inputs[first + count]);
      ++count;
    }
    SHOAL_TRY(impl->embed_part(host, asked, first, count, out, yield));
    first += count;
  }
  return out;
}

Result<ScoreResult> Supervisor::score(ScoreRequest asked, base::Yield yield) {
  const Impl::Call impl(impl_);
  const LocalModel model = SHOAL_TRY(impl->admit(asked.model));
  if (!model.info.generates) return generates_not(model.info);
  const auto host = impl->host_for(model);
  const auto request = impl->new_request(RequestKind::kScore, asked.deadline, std::move(asked.cancel));
  request->inputs = asked.labels.size();
  SHOAL_TRY(impl->run(host, request,
                      ipc::Score{asked.principal, std::move(asked.labels), std::move(asked.prompt.input)}, yield));
  return std::move(request->scored);
}

Result<TokenizeResult> Supervisor::tokenize(TokenizeRequest asked, base::Yield yield) {
  const Impl::Call impl(impl_);
  const LocalModel model = SHOAL_TRY(impl->admit(asked.model));
  const auto host = impl->host_for(model);
  const auto request = impl->new_request(RequestKind::kTokenize, asked.deadline, std::move(asked.cancel));
  SHOAL_TRY(impl->run(host, request, ipc::Tokenize{asked.add_special, std::move(asked.input)}, yield));
  return TokenizeResult{std::move(request->token_ids), host->status().sequence_length, request->lossless};
}

Result<std::string> Supervisor::detokenize(DetokenizeRequest asked, base::Yield yield) {
  const Impl::Call impl(impl_);
  const LocalModel model = SHOAL_TRY(impl->admit(asked.model));
  const auto host = impl->host_for(model);
  const auto request = impl->new_request(RequestKind::kDetokenize, asked.deadline, std::move(asked.cancel));
  SHOAL_TRY(impl->run(host, request, ipc::Detokenize{asked.skip_special, std::move(asked.tokens)}, yield));
  return std::move(request->text);
}

Result<void> Supervisor::load(const std::string& model, base::Yield yield) {
  const Impl::Call impl(impl_);
  const LocalModel local = SHOAL_TRY(impl->admit(model));
  const auto host = impl->host_for(local);
  host->forgive();
  const auto warm_up = impl->new_request(RequestKind::kWarmUp, base::Deadline{}, {});
  SHOAL_TRY(impl->submit(*host, warm_up));
  return impl->await(host, warm_up, RequestState::kDone, yield);
}

void Supervisor::forgive_failures() {
  impl_->forgive_failures();
}

Result<void> Supervisor::unload(const std::string& model) {
  const LocalModel local = SHOAL_TRY(impl_->source().resolve(model));
  const auto host = impl_->find(local.info.name);
  if (!host) return {};
  if (!host->idle()) {
    return Error(ErrorCode::kOverloaded,
                 fmt::format("{} has running requests; it is unloaded when none is left", local.info.name));
  }
  host->stop("asked to");
  return {};
}

void Supervisor::drain(base::Deadline deadline, base::Yield yield) {
  const auto impl = impl_;
  impl->drain(deadline, yield);
}

}  // namespace shoal::engine
