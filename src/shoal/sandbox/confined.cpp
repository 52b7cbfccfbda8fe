#include "shoal/sandbox/confined.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <poll.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shoal/base/clock.h"
#include "shoal/sandbox/sandbox.h"

namespace shoal::sandbox {
namespace {

constexpr std::size_t kMaxErrorBytes = 4096;
constexpr int kTickMs = 50;
constexpr std::uint64_t kCloneThread = 0x10000;  // CLONE_THREAD
constexpr int kSetExclusive = 0x5451;            // FIOCLEX
// ABI 1's rights on files: what may be done below a folder of programs, and below /dev.
constexpr std::uint64_t kExecute = 1U << 0U;
constexpr std::uint64_t kReadFile = 1U << 2U;
constexpr std::uint64_t kReadFolder = 1U << 3U;

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

Error unavailable(std::string_view lock, int cause) {
  return {ErrorCode::kSandboxUnavailable,
          fmt::format("code cannot be run in the sandbox: {}: {}", lock, std::strerror(cause))};
}

// Debian 12's header stops at ABI 2; see sandbox.cpp.
struct LandlockAttr {
  std::uint64_t fs = 0;
  std::uint64_t net = 0;
  std::uint64_t scoped = 0;
};

int allow_below(int rules, const char* path, std::uint64_t rights) {
  const Descriptor folder(open(path, O_PATH | O_CLOEXEC));
  if (folder.get() < 0) return 0;  // what is not there needs no permission
  landlock_path_beneath_attr beneath{.allowed_access = rights, .parent_fd = folder.get()};
  const bool held = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0U) == 0;
  return held ? 0 : errno;
}

// The rules that the child binds itself to.
Result<int> landlock_rules(const std::string& program) {
  const int abi = support().landlock_abi;
  LandlockAttr attr;
  attr.fs = (1ULL << 13U) - 1;
  if (abi >= 2) attr.fs |= 1ULL << 13U;
  if (abi >= 3) attr.fs |= 1ULL << 14U;
  if (abi >= 5) attr.fs |= 1ULL << 15U;
  if (abi >= 4) attr.net = 3;
  if (abi >= 6) attr.scoped = 3;
  const std::size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const int rules = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0U));
  if (rules < 0) return unavailable("landlock", errno);
  std::vector<std::string> folders = {"/usr", "/bin", "/lib", "/lib64"};
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(program, error);
  const std::string above = error ? "" : real.parent_path().parent_path().string();
  if (above.size() > 1) folders.push_back(above);
  int fault = 0;
  for (const std::string& folder : folders) {
    if (fault == 0) fault = allow_below(rules, folder.c_str(), kExecute | kReadFile | kReadFolder);
  }
  for (const char* const file : {"/etc/ld.so.cache", "/dev/null", "/dev/urandom"}) {
    if (fault == 0) fault = allow_below(rules, file, kReadFile);
  }
  if (fault == 0) return rules;
  close(rules);
  return unavailable("landlock", fault);
}

// What an interpreter needs to read its files, compute, and print.
constexpr int kInterpreterCalls[] = {SCMP_SYS(read),
                                     SCMP_SYS(write),
                                     SCMP_SYS(readv),
                                     SCMP_SYS(writev),
                                     SCMP_SYS(pread64),
                                     SCMP_SYS(openat),
                                     SCMP_SYS(open),
                                     SCMP_SYS(close),
                                     SCMP_SYS(fstat),
                                     SCMP_SYS(stat),
                                     SCMP_SYS(lstat),
                                     SCMP_SYS(newfstatat),
                                     SCMP_SYS(statx),
                                     SCMP_SYS(lseek),
                                     SCMP_SYS(mmap),
                                     SCMP_SYS(mprotect),
                                     SCMP_SYS(munmap),
                                     SCMP_SYS(mremap),
                                     SCMP_SYS(madvise),
                                     SCMP_SYS(brk),
                                     SCMP_SYS(rt_sigaction),
                                     SCMP_SYS(rt_sigprocmask),
                                     SCMP_SYS(rt_sigreturn),
                                     SCMP_SYS(sigaltstack),
                                     SCMP_SYS(access),
                                     SCMP_SYS(faccessat),
                                     SCMP_SYS(faccessat2),
                                     SCMP_SYS(getpid),
                                     SCMP_SYS(getppid),
                                     SCMP_SYS(gettid),
                                     SCMP_SYS(getuid),
                                     SCMP_SYS(geteuid),
                                     SCMP_SYS(getgid),
                                     SCMP_SYS(getegid),
                                     SCMP_SYS(getcwd),
                                     SCMP_SYS(chdir),
                                     SCMP_SYS(readlink),
                                     SCMP_SYS(readlinkat),
                                     SCMP_SYS(getdents64),
                                     SCMP_SYS(fcntl),
                                     SCMP_SYS(dup),
                                     SCMP_SYS(dup2),
                                     SCMP_SYS(dup3),
                                     SCMP_SYS(pipe),
                                     SCMP_SYS(pipe2),
                                     SCMP_SYS(poll),
                                     SCMP_SYS(ppoll),
                                     SCMP_SYS(select),
                                     SCMP_SYS(pselect6),
                                     SCMP_SYS(futex),
                                     SCMP_SYS(sched_yield),
                                     SCMP_SYS(sched_getaffinity),
                                     SCMP_SYS(nanosleep),
                                     SCMP_SYS(clock_nanosleep),
                                     SCMP_SYS(clock_gettime),
                                     SCMP_SYS(clock_getres),
                                     SCMP_SYS(gettimeofday),
                                     SCMP_SYS(time),
                                     SCMP_SYS(times),
                                     SCMP_SYS(getrusage),
                                     SCMP_SYS(getrandom),
                                     SCMP_SYS(exit),
                                     SCMP_SYS(exit_group),
                                     SCMP_SYS(execve),
                                     SCMP_SYS(arch_prctl),
                                     SCMP_SYS(set_tid_address),
                                     SCMP_SYS(set_robust_list),
                                     SCMP_SYS(rseq),
                                     SCMP_SYS(getrlimit),
                                     SCMP_SYS(sysinfo),
                                     SCMP_SYS(uname),
                                     SCMP_SYS(umask),
                                     SCMP_SYS(restart_syscall)};

void allow_interpreter(scmp_filter_ctx filter, int& fault) {
  const auto note = [&fault](int result) {
    if (result != 0 && fault == 0) fault = -result;
  };
  for (const int call : kInterpreterCalls) {
    note(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0));
  }
  // Limits may be read, not set.
  const scmp_arg_cmp no_new_limit = SCMP_A2(SCMP_CMP_EQ, 0);
  note(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, &no_new_limit));
  const scmp_arg_cmp exclusive = SCMP_A1(SCMP_CMP_EQ, kSetExclusive);
  note(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, &exclusive));
  // A thread, never a process; clone3 hides its flags, so glibc must fall back to clone.
  const scmp_arg_cmp thread = SCMP_A0(SCMP_CMP_MASKED_EQ, kCloneThread, kCloneThread);
  note(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread));
  note(seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
}

// The filter as the kernel takes it: libseccomp allocates, which the child may not.
Result<std::vector<sock_filter>> filter_program() {
  const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return unavailable("seccomp", ENOMEM);
  int fault = 0;
  allow_interpreter(filter, fault);
  const Descriptor file(memfd_create("filter", MFD_CLOEXEC));
  if (file.get() < 0) fault = errno;
  if (fault == 0) fault = -seccomp_export_bpf(filter, file.get());
  seccomp_release(filter);
  if (fault != 0) return unavailable("seccomp", fault);
  const off_t size = lseek(file.get(), 0, SEEK_END);
  std::vector<sock_filter> out(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (pread(file.get(), out.data(), static_cast<std::size_t>(size), 0) != size) return unavailable("seccomp", EIO);
  return out;
}

struct Locks {
  Descriptor rules;
  std::vector<sock_filter> filter;
  ConfinedLimits limits;
};

bool limit(int which, std::uint64_t value) {
  const rlimit both{value, value};
  return setrlimit(static_cast<__rlimit_resource>(which), &both) == 0;
}

// In the child: only calls that are safe in a copy of a process with threads. Says on `fault` why it ends.
[[noreturn]] void become(char* const* argv, const Locks& locks, const std::array<int, 3>& standard, int fault,
                         pid_t parent) {
  static char path[] = "PATH=/usr/bin:/bin";
  static char language[] = "LANG=C.UTF-8";
  std::array<char*, 3> environment = {path, language, nullptr};
  sock_fprog program{.len = static_cast<unsigned short>(locks.filter.size()),
                     .filter = const_cast<sock_filter*>(locks.filter.data())};
  bool held = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && chdir("/") == 0;
  // The signals that the caller blocks are its own affair.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int to = 0; held && to < 3; ++to) held = dup2(standard[static_cast<std::size_t>(to)], to) == to;
  held = held && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, 64) && limit(RLIMIT_FSIZE, 0) &&
         limit(RLIMIT_CPU, locks.limits.cpu_s) && limit(RLIMIT_AS, locks.limits.memory_mib << 20U);
  held = held && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, locks.rules.get(), 0U) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
  if (held) execve(argv[0], argv, environment.data());
  // Negative: a lock, not the program.
  const int why = held ? errno : -errno;
  [[maybe_unused]] const ssize_t told = write(fault, &why, sizeof why);
  _exit(127);
}

// A file without a name that holds `input`.
Result<int> input_file(std::string_view input) {
  const int file = memfd_create("input", MFD_CLOEXEC);
  if (file < 0) return base::errno_error("cannot keep the program", errno);
  while (!input.empty()) {
    const ssize_t n = write(file, input.data(), input.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      close(file);
      return base::errno_error("cannot keep the program", errno);
    }
    input.remove_prefix(static_cast<std::size_t>(n));
  }
  lseek(file, 0, SEEK_SET);
  return file;
}

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
  bool open() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0) return false;
    read_end.reset(ends[0]);
    write_end.reset(ends[1]);
    return true;
  }
};

// Appends what is there; closes at the end.
void drain(Descriptor& from, std::string& into, std::size_t limit, bool keep_tail) {
  std::array<char, 16384> bytes{};
  const ssize_t got = read(from.get(), bytes.data(), bytes.size());
  if (got < 0 && errno == EINTR) return;
  if (got <= 0) return from.reset();
  into.append(bytes.data(), static_cast<std::size_t>(got));
  if (into.size() > limit) keep_tail ? into.erase(0, into.size() - limit) : into.erase(limit);
}

ConfinedOutcome collect(pid_t pid, Pipe& out, Pipe& err, const ConfinedLimits& limits) {
  const base::SystemClock clock;
  const base::Deadline deadline = base::Deadline::after_ms(clock, limits.wall_ms);
  ConfinedOutcome outcome;
  while (out.read_end.get() >= 0 || err.read_end.get() >= 0) {
    std::array<pollfd, 2> waiting = {pollfd{out.read_end.get(), POLLIN, 0}, pollfd{err.read_end.get(), POLLIN, 0}};
    poll(waiting.data(), waiting.size(), kTickMs);
    if (waiting[0].revents != 0) drain(out.read_end, outcome.output, limits.output_bytes, false);
    if (waiting[1].revents != 0) drain(err.read_end, outcome.error_tail, kMaxErrorBytes, true);
    if (deadline.passed(clock)) break;
  }
  // It may have closed its output and go on.
  int status = 0;
  for (;;) {
    const pid_t ended = waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) break;
    if (deadline.passed(clock)) {
      outcome.late = true;
      kill(pid, SIGKILL);
      while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
      }
      break;
    }
    poll(nullptr, 0, 1);
  }
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return outcome;
}

}  // namespace

Result<ConfinedOutcome> run_confined(const std::vector<std::string>& argv, std::string_view input,
                                     const ConfinedLimits& limits) {
  if (const Support found = support(); !found.missing.empty()) {
    return Error(ErrorCode::kSandboxUnavailable,
                 fmt::format("code cannot be run: this kernel has no {}; `shoal doctor` shows it", found.missing));
  }
  Locks locks;
  locks.limits = limits;
  locks.filter = SHOAL_TRY(filter_program());
  locks.rules.reset(SHOAL_TRY(landlock_rules(argv.at(0))));
  const Descriptor given(SHOAL_TRY(input_file(input)));
  Pipe out;
  Pipe err;
  Pipe fault;
  if (!out.open() || !err.open() || !fault.open()) return base::errno_error("pipe", errno);
  std::vector<char*> words;
  for (const std::string& word : argv) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const std::array<int, 3> standard = {given.get(), out.write_end.get(), err.write_end.get()};
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) return base::errno_error("fork", errno);
  if (pid == 0) become(words.data(), locks, standard, fault.write_end.get(), parent);
  for (Pipe* const pipe : {&out, &err, &fault}) pipe->write_end.reset();
  int why = 0;
  ssize_t told = 0;
  while ((told = read(fault.read_end.get(), &why, sizeof why)) < 0 && errno == EINTR) {
  }
  if (told > 0) {
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
    if (why < 0) return unavailable("a lock did not close", -why);
    return base::errno_error("cannot start " + argv[0], why, why == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo);
  }
  return collect(pid, out, err, limits);
}

}  // namespace shoal::sandbox
