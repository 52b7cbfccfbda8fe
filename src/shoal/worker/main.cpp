// shoal-worker: one model, one process, started by the gateway; or one task on a model file (WorkerTask). The order
// below is the security of it: files and libraries first, then the locks, and only then the first byte of the model.
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <malloc.h>
#include <sys/random.h>
#include <unistd.h>

#include "shoal/base/clock.h"
#include "shoal/ipc/frames.h"
#include "shoal/ipc/worker_args.h"
#include "shoal/sandbox/sandbox.h"
#include "shoal/worker/channel.h"
#include "shoal/worker/compare.h"
#include "shoal/worker/llama/llama_model.h"
#include "shoal/worker/llama/rewrite_weights.h"
#include "shoal/worker/model_file.h"
#include "shoal/worker/scheduler.h"

namespace shoal::worker {
namespace {

// What the sandbox achieved, in words, for `shoal ps`. Errors: kSandboxUnavailable.
Result<std::string> lock_up(const ipc::WorkerArgs& args) {
  if (!args.sandbox_required) return std::string("none (allowed by the configuration)");
  const std::optional<int> output =
      args.task == ipc::WorkerTask::kRewrite ? std::optional<int>(ipc::kWorkerSecondFd) : std::nullopt;
  const int abi = SHOAL_TRY(sandbox::close_for_load(ipc::kWorkerSocketFd, output));
  SHOAL_TRY(sandbox::probe(sandbox::Phase::kLoad));
  return fmt::format("landlock abi {} + seccomp", abi);
}

Result<void> lock_tighter(const ipc::WorkerArgs& args) {
  if (!args.sandbox_required) return {};
  SHOAL_TRY(sandbox::close_for_work(ipc::kWorkerSocketFd));
  return sandbox::probe(sandbox::Phase::kWork);
}

// One pass through the model, so that the first request meets warm code and touched memory. On one thread: that is what
// the gateway counts for a worker that loads.
void warm_up(Model& model) {
  model.set_threads(1);
  if (model.shape().generates) {
    const BatchToken token{model.any_token(), 0, model.shape().scratch_id, true};
    if (model.decode({&token, 1}) == DecodeStatus::kDone) (void)model.shorten(token.sequence, 0);
    return;
  }
  const std::vector<std::int32_t> input{model.any_token()};
  (void)model.embed({&input, 1});
}

// Errors: as llama::load().
Result<std::unique_ptr<Model>> load_model(const ipc::WorkerArgs& args, int fd) {
  return llama::load({fd, args.context_length, args.slots, args.threads, args.ubatch, args.use_mmap, args.exact,
                      args.keep_prefixes, args.kv_type});
}

// A task to its end. Errors: as rewrite_weights() and compare().
Result<void> run_task(const ipc::WorkerArgs& args, Channel& channel) {
  constexpr std::uint64_t kMostReports = 50;
  std::uint64_t told = 0;
  const auto report = [&](std::uint64_t done, std::uint64_t total) {
    const std::uint64_t part = total == 0 ? 0 : done * kMostReports / total;
    if (part > std::exchange(told, part)) channel.send(0, ipc::TaskProgress{done, total});
  };
  if (args.task == ipc::WorkerTask::kRewrite) {
    channel.send(0, SHOAL_TRY(llama::rewrite_weights(
                        {ipc::kWorkerModelFd, ipc::kWorkerSecondFd, args.type, args.threads}, report)));
    _exit(0);
  }
  SHOAL_TRY(check_model_file(ipc::kWorkerSecondFd));
  const auto load = [&args](int fd) {
    return llama::load({fd, args.context_length, args.slots, args.threads, args.ubatch, args.use_mmap, args.exact,
                        args.keep_prefixes});
  };
  const auto source = SHOAL_TRY(load(ipc::kWorkerModelFd));
  const auto candidate = SHOAL_TRY(load(ipc::kWorkerSecondFd));
  channel.send(0, SHOAL_TRY(compare(*source, *candidate, report)));
  _exit(0);
}

// Everything up to READY, then requests until the gateway drains or closes. Errors are told before READY.
Result<void> serve(const ipc::WorkerArgs& args, Channel& channel) {
  const base::SystemClock clock;
  const std::int64_t begin = clock.monotonic_ns();

  // Files and libraries.
  if (args.parent_pid != 0) SHOAL_TRY(sandbox::die_with_parent(args.parent_pid));
  SHOAL_TRY(sandbox::limit_resources(args.memory_limit_mib));
  llama::install_handlers();
  tzset();  // templates ask for the date; reading the zone opens a file
  const std::string backend = SHOAL_TRY(llama::load_backends());
  std::uint64_t seed = 0;
  (void)!getrandom(&seed, sizeof seed, 0);

  // FENCE: from here on nothing can be opened, connected or started.
  const std::string locks = SHOAL_TRY(lock_up(args));

  // The model: our own reader first.
  SHOAL_TRY(check_model_file(ipc::kWorkerModelFd));
  if (args.task != ipc::WorkerTask::kServe) return run_task(args, channel);
  const auto model = SHOAL_TRY(load_model(args, ipc::kWorkerModelFd));
  warm_up(*model);
  ::malloc_trim(0);  // what only loading needed: 2 MB of a vocabulary of 49,152
  Scheduler scheduler(
      *model, clock, [&channel](std::uint64_t request, const ipc::Body& body) { channel.add(request, body); },
      SchedulerOptions{.seed = seed,
                       .cold_cache_bytes = std::uint64_t{args.cold_cache_mib} << 20,
                       .speculates = args.speculates,
                       .flush = [&channel] { channel.flush(); }});
  std::thread reader([&channel, &scheduler] {
    channel.read_all([&scheduler](ipc::Frame frame) { scheduler.post(std::move(frame)); });
    _exit(0);  // the gateway is gone, whatever computes
  });

  // FENCE: every thread runs; from here on not even a thread can be started.
  SHOAL_TRY(lock_tighter(args));
  const ModelShape& shape = model->shape();
  channel.send(
      0, ipc::Ready{backend, locks, shape.context_length, shape.sequence_length, shape.sequences, shape.vocabulary,
                    shape.embedding_length, args.kv_type,
                    static_cast<std::uint64_t>(clock.monotonic_ns() - begin) / 1000, args.exact, shape.keeps_prefixes});
  scheduler.run();
  _exit(0);  // drained; the reader blocks in read(), and there is nothing to save
}

int run(int argc, char** argv) {
  const auto args = ipc::parse_worker_args(std::vector<std::string>(argv + 1, argv + argc));
  if (!args.ok()) {
    fmt::print(stderr, "{}\n", args.error().message());
    return args.error().info().exit_code;
  }
  std::signal(SIGPIPE, SIG_IGN);
  // glibc shrinks the arena of another thread by reading a file, which the sandbox answers with death.
  mallopt(M_ARENA_MAX, 1);
  Channel channel(ipc::kWorkerSocketFd);
  const auto served = serve(*args, channel);
  const Error& error = served.error();
  channel.send(0, ipc::Failed{error.code(), error.message(), error.param()});
  _exit(error.info().exit_code);  // a reader thread may run; its destructor would abort
}

}  // namespace
}  // namespace shoal::worker

int main(int argc, char** argv) {
  return shoal::worker::run(argc, argv);
}
