// The attacks of a captured worker, each in a child of its own: a kill is as good a refusal as an error.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/sandbox/sandbox.h"

namespace shoal::sandbox {
namespace {

struct Attempt {
  const char* name;
  long (*run)();  // a negative number: refused, errno says how
};

long connect_loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(9);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const long result = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  return errno == ECONNREFUSED ? 0 : result;
}

long start_program() {
  std::array<char*, 2> argv = {const_cast<char*>("true"), nullptr};
  std::array<char*, 1> environment = {nullptr};
  return execve("/bin/true", argv.data(), environment.data());
}

long read_parent() {
  std::array<char, 8> buffer{};
  iovec local{buffer.data(), buffer.size()};
  iovec remote{reinterpret_cast<void*>(&environ), buffer.size()};  // the child of a fork has its parent's addresses
  return process_vm_readv(getppid(), &local, 1, &remote, 1, 0);
}

long writable_code() {
  void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return page == MAP_FAILED ? -1 : 0;
}

long move_gateway() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(0, &cores);
  return sched_setaffinity(getppid(), sizeof cores, &cores);
}

long async_ring() {
  io_uring_params params{};
  return syscall(SYS_io_uring_setup, 4, &params);
}

constexpr std::array kAttempts = {
    Attempt{"open a file", [] { return static_cast<long>(open("/etc/passwd", O_RDONLY)); }},
    Attempt{"open a socket", [] { return static_cast<long>(socket(AF_INET, SOCK_STREAM, 0)); }},
    Attempt{"connect", connect_loopback},
    Attempt{"fork", [] { return static_cast<long>(fork()); }},
    Attempt{"start a program", start_program},
    Attempt{"trace the gateway", [] { return ptrace(PTRACE_SEIZE, getppid(), 0, 0); }},
    Attempt{"signal the gateway", [] { return static_cast<long>(kill(getppid(), 0)); }},
    Attempt{"move the gateway to one core", move_gateway},
    Attempt{"writable code", writable_code},
    Attempt{"io_uring", async_ring},
    Attempt{"read the gateway's memory", read_parent},
    Attempt{"open its own memory", [] { return static_cast<long>(open("/proc/self/mem", O_RDWR)); }},
    Attempt{"new namespace", [] { return static_cast<long>(unshare(CLONE_NEWUTS)); }},
};

// Exit codes of the child: what it says to its parent without a channel.
constexpr int kAchieved = 100;
constexpr int kNotLocked = 101;

[[noreturn]] void child(const Attempt& attempt) {
  // The worker's own sequence, with stderr in place of the socket.
  if (!limit_resources(0).ok() || !close_for_load(2).ok() || !close_for_work(2).ok()) _exit(kNotLocked);
  errno = 0;
  if (attempt.run() >= 0) _exit(kAchieved);
  _exit(errno > 0 && errno < kAchieved ? errno : 1);
}

}  // namespace

std::vector<Attack> self_test() {
  std::vector<Attack> attacks;
  for (const Attempt& attempt : kAttempts) {
    Attack& attack = attacks.emplace_back(Attack{attempt.name, false, ""});
    const pid_t pid = fork();
    if (pid == 0) child(attempt);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
      attack.how = fmt::format("could not be tried: {}", strerror(errno));
    } else if (WIFSIGNALED(status)) {
      attack.refused = WTERMSIG(status) == SIGSYS;
      attack.how = fmt::format("killed by {}", attack.refused ? "SIGSYS" : strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) == kNotLocked) {
      attack.how = "the locks could not be closed";
    } else {
      attack.refused = WEXITSTATUS(status) != kAchieved && WEXITSTATUS(status) != 0;
      attack.how = attack.refused ? strerror(WEXITSTATUS(status)) : "it succeeded";
    }
  }
  return attacks;
}

}  // namespace shoal::sandbox
