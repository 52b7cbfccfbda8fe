#include "shoal/engine/worker_process.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

#include "shoal/ipc/worker_args.h"

namespace shoal::engine {
namespace {

namespace asio = base::asio;

// Sources are lifted above this, so that no dup2 overwrites one that is still needed.
constexpr int kFirstSafeFd = 20;
constexpr std::size_t kReadBytes = std::size_t{64} * 1024;
constexpr std::size_t kMaxLineBytes = 400;
// Per process. A worker that writes more than this is broken, and its log is not worth the disk.
constexpr std::uint32_t kMaxLines = 200;
// Death is reported with its signal when the kernel says it within this time, without it otherwise: a request
// hears of a crash within 100 ms.
constexpr std::chrono::milliseconds kExitStatusWait{40};

struct SpawnAttributes {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnAttributes() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
  }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  ~SpawnAttributes() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
};

FileDescriptor lifted(int fd) {
  return FileDescriptor(::fcntl(fd, F_DUPFD_CLOEXEC, kFirstSafeFd));
}

// posix_spawn is clone(CLONE_VM | CLONE_VFORK) in glibc: safe beside other threads, and quick however large the
// gateway is. The child keeps descriptors 0 to 4, or 5, and nothing of our environment.
Result<pid_t> spawn_child(const WorkerSpawn& spawn, int socket_fd, int stderr_fd) {
  const FileDescriptor socket = lifted(socket_fd);
  const FileDescriptor model = lifted(spawn.model_fd);
  const FileDescriptor second(spawn.second_fd < 0 ? -1 : lifted(spawn.second_fd).release());
  const FileDescriptor error = lifted(stderr_fd);
  const bool has_second = spawn.second_fd >= 0;
  if (socket.get() < 0 || model.get() < 0 || error.get() < 0 || (has_second && second.get() < 0)) {
    return base::errno_error("cannot duplicate a descriptor for a worker", errno);
  }
  SpawnAttributes spec;
  ::posix_spawn_file_actions_addopen(&spec.actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&spec.actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&spec.actions, error.get(), 2);
  ::posix_spawn_file_actions_adddup2(&spec.actions, socket.get(), ipc::kWorkerSocketFd);
  ::posix_spawn_file_actions_adddup2(&spec.actions, model.get(), ipc::kWorkerModelFd);
  if (has_second) ::posix_spawn_file_actions_adddup2(&spec.actions, second.get(), ipc::kWorkerSecondFd);
  ::posix_spawn_file_actions_addclosefrom_np(&spec.actions, ipc::kWorkerModelFd + (has_second ? 2 : 1));
  // Its own process group: Ctrl-C in the terminal drains the gateway and must not kill the workers under it.
  sigset_t none;
  sigset_t all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&spec.attributes, &none);
  ::posix_spawnattr_setsigdefault(&spec.attributes, &all);
  ::posix_spawnattr_setpgroup(&spec.attributes, 0);
  ::posix_spawnattr_setflags(&spec.attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);

  std::vector<std::string> arguments{spawn.executable};
  arguments.insert(arguments.end(), spawn.arguments.begin(), spawn.arguments.end());
  // Without it an assert inside ggml forks and runs gdb before the process dies: 540 ms in place of 3.
  std::vector<std::string> environment{"GGML_NO_BACKTRACE=1"};
  std::vector<char*> argv;
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<char*, 2> envp{environment[0].data(), nullptr};

  pid_t pid = -1;
  const int error_number =
      ::posix_spawn(&pid, spawn.executable.c_str(), &spec.actions, &spec.attributes, argv.data(), envp.data());
  if (error_number != 0) return base::errno_error(fmt::format("cannot start {}", spawn.executable), error_number);
  return pid;
}

std::string describe_exit(const siginfo_t& info) {
  if (info.si_code == CLD_EXITED) return fmt::format("exited with status {}", info.si_status);
  return fmt::format("killed by signal {} ({})", info.si_status, ::strsignal(info.si_status));
}

}  // namespace

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<OpenedModel> open_model(const std::string& path) {
  OpenedModel out;
  // O_NONBLOCK: opening a FIFO would wait for its writer otherwise. It means nothing to a regular file.
  out.fd = FileDescriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (out.fd.get() < 0) return base::errno_error(fmt::format("cannot open the model file {}", path), errno);
  struct stat info{};
  if (::fstat(out.fd.get(), &info) != 0) return base::errno_error(fmt::format("cannot stat {}", path), errno);
  if (!S_ISREG(info.st_mode)) {
    return Error(ErrorCode::kModelInvalid, fmt::format("the model {} is not a regular file", path));
  }
  out.bytes = static_cast<std::uint64_t>(info.st_size);
  return out;
}

Result<std::shared_ptr<WorkerProcess>> WorkerProcess::spawn(base::Executor executor, base::Log& log,
                                                            const WorkerSpawn& spawn, WorkerEvents events) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) {
    return base::errno_error("cannot make a socketpair for a worker", errno);
  }
  FileDescriptor ours(sockets[0]);
  const FileDescriptor theirs(sockets[1]);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return base::errno_error("cannot make a pipe for a worker", errno);
  FileDescriptor error_read(pipe_fds[0]);
  const FileDescriptor error_write(pipe_fds[1]);

  const pid_t pid = SHOAL_TRY(spawn_child(spawn, theirs.get(), error_write.get()));
  // By number: the header of glibc 2.36 declares pidfd_open without extern "C".
  FileDescriptor pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd.get() < 0) {
    const int saved = errno;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    return base::errno_error("cannot watch a worker by pidfd_open", saved);
  }
  std::shared_ptr<WorkerProcess> process(
      new WorkerProcess(std::move(executor), log, spawn.model_name, std::move(events)));
  process->pid_ = pid;
  base::error_code ec;
  process->socket_.assign(asio::local::stream_protocol(), ours.release(), ec);
  assert(!ec);
  process->pidfd_.assign(pidfd.release(), ec);
  assert(!ec);
  process->stderr_.assign(error_read.release(), ec);
  assert(!ec);
  process->run();
  return process;
}

WorkerProcess::WorkerProcess(base::Executor executor, base::Log& log, std::string model_name, WorkerEvents events)
    : executor_(executor),
      log_(log),
      model_name_(std::move(model_name)),
      events_(std::move(events)),
      socket_(executor),
      pidfd_(executor),
      stderr_(executor),
      exit_wait_(executor) {}

WorkerProcess::~WorkerProcess() {
  // Reached unreaped only when the io_context is destroyed under its coroutines.
  if (pid_ > 0 && !reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void WorkerProcess::run() {
  auto self = shared_from_this();
  base::spawn(executor_, "worker frames", [self](base::Yield yield) { self->read_frames(yield); });
  base::spawn(executor_, "worker stderr", [self](base::Yield yield) { self->read_stderr(yield); });
  base::spawn(executor_, "worker exit", [self](base::Yield yield) { self->wait_for_exit(yield); });
}

void WorkerProcess::read_frames(base::Yield yield) {
  std::vector<char> buffer(kReadBytes);
  std::string why;
  while (!lost_ && why.empty()) {
    base::error_code ec;
    const std::size_t got = socket_.async_read_some(asio::buffer(buffer), yield[ec]);
    if (ec || lost_) break;
    reader_.feed(std::span<const char>(buffer.data(), got));
    while (!lost_ && why.empty()) {
      auto frame = reader_.next();
      if (!frame.ok()) {
        why = "broke the frame protocol: " + frame.error().message();
        break;
      }
      if (!frame->has_value()) break;
      const auto handled = events_.on_frame ? events_.on_frame(std::move(**frame)) : Result<void>();
      if (!handled.ok()) why = "broke the frame protocol: " + handled.error().message();
    }
    // Whoever waits for these frames goes first: to find that there are no more takes a system call.
    asio::post(yield);
  }
  if (lost_) return;
  if (!why.empty()) kill_reason_ = why;
  // The exit status of a process that is dying is fixed already; this ends one that only closed its socket.
  if (!reap()) ::kill(pid_, SIGKILL);
  if (!reaped_) {
    exit_wait_.expires_after(kExitStatusWait);
    base::error_code ignored;
    exit_wait_.async_wait(yield[ignored]);
  }
  lose(!exit_text_.empty() ? exit_text_ : "closed its connection");
}

void WorkerProcess::wait_for_exit(base::Yield yield) {
  while (!reap()) {
    base::error_code ec;
    pidfd_.async_wait(asio::posix::stream_descriptor::wait_read, yield[ec]);
    if (ec == asio::error::operation_aborted) return;
  }
  exit_wait_.cancel();
  settle();
}

bool WorkerProcess::reap() {
  if (reaped_) return true;
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG) != 0) {
    reaped_ = true;  // ECHILD: somebody else took the status; the process is gone all the same
    exit_text_ = "exited";
  } else if (info.si_pid == pid_) {
    reaped_ = true;
    exit_text_ = describe_exit(info);
  }
  return reaped_;
}

void WorkerProcess::lose(const std::string& why) {
  if (lost_) return;
  lost_ = true;
  base::error_code ignored;
  socket_.close(ignored);
  outgoing_.clear();
  const auto on_lost = std::exchange(events_.on_lost, nullptr);
  if (on_lost) on_lost(kill_reason_.empty() ? why : kill_reason_);
  settle();
}

void WorkerProcess::settle() {
  if (!lost_ || !reaped_ || gone_) return;
  gone_ = true;
  base::error_code ignored;
  pidfd_.close(ignored);
  const auto on_gone = std::exchange(events_.on_gone, nullptr);
  events_.on_frame = nullptr;
  if (on_gone) on_gone();
}

void WorkerProcess::send(std::string_view bytes) {
  if (lost_) return;
  outgoing_ += bytes;
  write_next();
}

// A plain handler and not a coroutine: credits are sent often, and each coroutine costs an mmap.
void WorkerProcess::write_next() {
  if (lost_ || outgoing_.empty() || !writing_.empty()) return;
  writing_.swap(outgoing_);
  asio::async_write(socket_, asio::buffer(writing_), [self = shared_from_this()](base::error_code ec, std::size_t) {
    self->writing_.clear();
    // The reader hears of the end too, and reports it with what the worker said last.
    if (!ec) self->write_next();
  });
}

void WorkerProcess::kill(std::string why) {
  if (lost_ || reaped_) return;
  if (kill_reason_.empty()) kill_reason_ = std::move(why);
  ::kill(pid_, SIGKILL);
  // A process in an uninterruptible wait dies late; its requests need not wait for it.
  lose(kill_reason_);
}

void WorkerProcess::abandon() {
  events_ = {};
  if (!reaped_) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    reaped_ = true;
  }
  lost_ = gone_ = true;
  base::error_code ignored;
  socket_.close(ignored);
  pidfd_.close(ignored);
  stderr_.close(ignored);
  exit_wait_.cancel();
}

void WorkerProcess::read_stderr(base::Yield yield) {
  std::array<char, 4096> buffer{};
  while (true) {
    base::error_code ec;
    const std::size_t got = stderr_.async_read_some(asio::buffer(buffer), yield[ec]);
    if (ec) break;
    take_stderr({buffer.data(), got});
  }
  if (!line_.empty()) log_stderr_line();
}

void WorkerProcess::take_stderr(std::string_view bytes) {
  for (const char c : bytes) {
    if (c == '\n') {
      log_stderr_line();
    } else if (line_.size() < kMaxLineBytes) {
      line_ += c;
    }
  }
}

void WorkerProcess::log_stderr_line() {
  if (line_.empty()) return;
  last_line_ = std::exchange(line_, {});
  if (++lines_logged_ > kMaxLines) return;
  log_.info("worker says", {{"model", model_name_}, {"pid", pid_}, {"line", last_line_}});
  if (lines_logged_ == kMaxLines) {
    log_.warn("worker says too much; its further lines are dropped", {{"model", model_name_}, {"pid", pid_}});
  }
}

std::uint64_t WorkerProcess::resident_bytes() const {
  if (pid_ <= 0 || reaped_) return 0;
  const FileDescriptor file(::open(fmt::format("/proc/{}/statm", pid_).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 128> text{};
  const ssize_t got = file.get() < 0 ? -1 : ::read(file.get(), text.data(), text.size());
  if (got <= 0) return 0;
  // proc(5): the second field is the resident set, in pages.
  const char* const end = text.data() + got;
  const char* const space = std::find(static_cast<const char*>(text.data()), end, ' ');
  std::uint64_t pages = 0;
  if (space == end || std::from_chars(space + 1, end, pages).ec != std::errc()) return 0;
  return pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace shoal::engine
