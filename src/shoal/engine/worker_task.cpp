#include "shoal/engine/worker_task.h"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "shoal/engine/worker_command.h"
#include "shoal/engine/worker_process.h"
#include "shoal/ipc/worker_args.h"

namespace shoal::engine {
namespace {

// Of one piece of text. Longer ones cost memory for the cache of two models, and say nothing more.
constexpr std::uint32_t kCompareContext = 1024;
constexpr std::uint32_t kShortestContext = 16;
// Tokens of a step of a comparison. As many slots, because a worker has room for one row of logits per slot.
constexpr std::uint32_t kCompareBatch = 64;

// What came of a task; shared with the callbacks of its process.
struct TaskState {
  explicit TaskState(const base::Executor& executor) : gone(executor) {}
  std::optional<ipc::Body> result;
  std::optional<Error> failure;
  std::string why_lost;
  base::Timer gone;  // cancelled when the process is
  bool is_gone = false;
};

Result<void> on_frame(TaskState& state, const WorkerTaskContext& context, ipc::Frame frame) {
  if (const auto* progress = std::get_if<ipc::TaskProgress>(&frame.body)) {
    if (context.on_progress) context.on_progress(progress->done, progress->total);
  } else if (auto* failed = std::get_if<ipc::Failed>(&frame.body)) {
    state.failure = Error(failed->code, std::move(failed->message)).with_param(std::move(failed->param));
  } else if (std::holds_alternative<ipc::Rewritten>(frame.body) || std::holds_alternative<ipc::Compared>(frame.body)) {
    state.result = std::move(frame.body);
  } else {
    return Error(ErrorCode::kInvalidRequest, "a frame that is no answer to a task");
  }
  return {};
}

Error crashed(const TaskState& state, const std::string& last_line) {
  return {ErrorCode::kWorkerCrashed, fmt::format("the worker {} before it was done{}{}", state.why_lost,
                                                 last_line.empty() ? "" : ": ", last_line)};
}

Result<ipc::Body> run(const WorkerTaskContext& context, ipc::WorkerArgs args, int model_fd, int second_fd,
                      base::Yield yield) {
  args.parent_pid = ::getpid();
  args.threads = compute_threads(context.options);
  args.sandbox_required = context.options.sandbox == SandboxMode::kRequired;
  args.memory_limit_mib = context.options.worker_memory_limit_mib;
  const auto state = std::make_shared<TaskState>(context.executor);
  state->gone.expires_at(base::Timer::time_point::max());
  const WorkerSpawn spec{.executable = context.options.worker_path,
                         .arguments = ipc::to_argv(args),
                         .model_name = "task",
                         .model_fd = model_fd,
                         .second_fd = second_fd};
  WorkerEvents events{
      .on_frame = [state, &context](ipc::Frame frame) { return on_frame(*state, context, std::move(frame)); },
      .on_lost = [state](const std::string& why) { state->why_lost = why; },
      .on_gone =
          [state] {
            state->is_gone = true;
            state->gone.cancel();
          }};
  const auto process = SHOAL_TRY(WorkerProcess::spawn(context.executor, context.log, spec, std::move(events)));
  const std::stop_callback on_cancel(context.cancel, [&process] { process->kill("was cancelled"); });
  while (!state->is_gone) {
    base::error_code ignored;
    state->gone.async_wait(yield[ignored]);
  }
  if (context.cancel.stop_requested()) return Error(ErrorCode::kCancelled, "interrupted");
  if (state->failure) return *std::move(state->failure);
  if (!state->result) return crashed(*state, process->last_stderr_line());
  return *std::move(state->result);
}

}  // namespace

Result<ipc::Rewritten> rewrite_weights(const WorkerTaskContext& context, const std::string& source, std::uint32_t type,
                                       const std::string& output, base::Yield yield) {
  const OpenedModel model = SHOAL_TRY(open_model(source));
  const FileDescriptor out(::open(output.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (out.get() < 0) return base::errno_error("cannot write " + output, errno);
  ipc::WorkerArgs args;
  args.task = ipc::WorkerTask::kRewrite;
  args.type = type;
  auto body = SHOAL_TRY(run(context, args, model.fd.get(), out.get(), std::move(yield)));
  if (const auto* rewritten = std::get_if<ipc::Rewritten>(&body)) return *rewritten;
  return Error(ErrorCode::kInternal, "the worker answered another task");
}

Result<ipc::Compared> compare_models(const WorkerTaskContext& context, const std::string& source,
                                     const std::string& candidate, std::uint32_t trained_context, base::Yield yield) {
  const OpenedModel first = SHOAL_TRY(open_model(source));
  const OpenedModel second = SHOAL_TRY(open_model(candidate));
  ipc::WorkerArgs args;
  args.task = ipc::WorkerTask::kCompare;
  args.context_length =
      trained_context == 0 ? kCompareContext : std::clamp(trained_context, kShortestContext, kCompareContext);
  args.slots = kCompareBatch;
  args.ubatch = kCompareBatch;
  auto body = SHOAL_TRY(run(context, args, first.fd.get(), second.fd.get(), std::move(yield)));
  if (const auto* compared = std::get_if<ipc::Compared>(&body)) return *compared;
  return Error(ErrorCode::kInternal, "the worker answered another task");
}

}  // namespace shoal::engine
