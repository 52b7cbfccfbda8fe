#include "shoal/base/process.h"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/base/clock.h"

namespace shoal::base {
namespace {

constexpr std::size_t kMaxOutputBytes = std::size_t{4} << 20;
constexpr std::size_t kMaxErrorBytes = 4096;
constexpr int kTickMs = 100;

struct Pipe {
  std::array<int, 2> ends{-1, -1};
  ~Pipe() {
    for (const int end : ends) {
      if (end >= 0) close(end);
    }
  }
  void close_end(std::size_t which) {
    close(ends[which]);
    ends[which] = -1;
  }
};

// In the child, between fork and exec: only calls that are safe in a copy of a process with threads; glibc's execvp
// takes no lock and no memory of the heap. Says on `fault` why it ends.
[[noreturn]] void become(const std::vector<char*>& words, const Pipe& out, const Pipe& err, int fault, pid_t parent) {
  // Else a client whose `shoal` was killed would go on, and write into the file that the next one goes on with.
  // posix_spawn cannot ask for it. SIGTERM, for pip and npm have things to put away. The signal comes when the thread
  // that forked ends; that one waits for the child.
  const bool bound = prctl(PR_SET_PDEATHSIG, SIGTERM) == 0 && getppid() == parent;
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (bound && null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(out.ends[1], STDOUT_FILENO) >= 0 &&
      dup2(err.ends[1], STDERR_FILENO) >= 0) {
    execvp(words[0], words.data());
  }
  const int why = errno;
  [[maybe_unused]] const ssize_t told = write(fault, &why, sizeof why);
  _exit(127);
}

Result<pid_t> start(const std::vector<std::string>& argv, const Pipe& out, const Pipe& err) {
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  Pipe fault;
  if (pipe2(fault.ends.data(), O_CLOEXEC) != 0) return errno_error("pipe", errno);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return errno_error("fork", errno);
  if (pid == 0) become(words, out, err, fault.ends[1], parent);
  fault.close_end(1);
  int why = 0;
  ssize_t told = 0;
  while ((told = read(fault.ends[0], &why, sizeof why)) < 0 && errno == EINTR) {
  }
  if (told == 0) return pid;  // exec closed it
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (why == ENOENT) return Error(ErrorCode::kNotFound, fmt::format("the program `{}` is not installed", argv[0]));
  return errno_error("cannot start " + argv[0], why);
}

// Appends what is there; false at the end.
bool drain(Pipe& pipe, std::string& into, std::size_t limit, bool keep_tail) {
  std::array<char, 16384> bytes{};
  const ssize_t got = read(pipe.ends[0], bytes.data(), bytes.size());
  if (got < 0 && errno == EINTR) return true;
  if (got <= 0) {
    pipe.close_end(0);
    return false;
  }
  into.append(bytes.data(), static_cast<std::size_t>(got));
  if (into.size() > limit) keep_tail ? into.erase(0, into.size() - limit) : into.erase(limit);
  return true;
}

}  // namespace

Result<ProcessResult> run_process(const std::vector<std::string>& argv, const ProcessOptions& options) {
  Pipe out;
  Pipe err;
  if (pipe2(out.ends.data(), O_CLOEXEC) != 0 || pipe2(err.ends.data(), O_CLOEXEC) != 0)
    return errno_error("pipe", errno);
  const pid_t pid = SHOAL_TRY(start(argv, out, err));
  out.close_end(1);
  err.close_end(1);
  const SystemClock clock;
  const Deadline deadline = options.timeout_ms > 0 ? Deadline::after_ms(clock, options.timeout_ms) : Deadline{};
  ProcessResult result;
  bool late = false;
  while (out.ends[0] >= 0 || err.ends[0] >= 0) {
    std::array<pollfd, 2> waiting = {pollfd{out.ends[0], POLLIN, 0}, pollfd{err.ends[0], POLLIN, 0}};
    poll(waiting.data(), waiting.size(), kTickMs);
    if (waiting[0].revents != 0) drain(out, result.output, kMaxOutputBytes, false);
    if (waiting[1].revents != 0) drain(err, result.error_tail, kMaxErrorBytes, true);
    if (options.on_tick) options.on_tick();
    if (deadline.passed(clock)) {
      // What the child has started may hold the pipes open: do not wait for their end.
      late = true;
      kill(pid, SIGKILL);
      break;
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (late)
    return Error(ErrorCode::kDeadlineExceeded,
                 fmt::format("`{}` did not end within {} ms", argv[0], options.timeout_ms));
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace shoal::base
