#include "shoal/sandbox/sandbox.h"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shoal::sandbox {
namespace {

// A socket domain that no kernel has. The filter answers it with a number of the phase's own, which shows
// that this very filter is in force; without a filter the kernel says EAFNOSUPPORT.
constexpr int kProbeDomain = 0x5A0A1;
constexpr int kLoadAnswer = EOWNERDEAD;
constexpr int kWorkAnswer = ENOTRECOVERABLE;

constexpr int kFcntlGetFlags = 3;                    // F_GETFL, by fdopen
constexpr std::uint64_t kCloneThread = 0x10000;      // CLONE_THREAD
constexpr std::uint64_t kArchReqXcompPerm = 0x1023;  // ARCH_REQ_XCOMP_PERM: AMX tiles; refused = silently slow

// Debian 12's header stops at ABI 2, so the attribute is declared in full, and its later flags here.
struct LandlockAttr {
  std::uint64_t fs = 0;
  std::uint64_t net = 0;
  std::uint64_t scoped = 0;
};

int landlock_abi() {
  const long abi = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

// Denies everything that the running kernel can deny. Returns the ABI, 0 when it did not hold.
int landlock_nothing() {
  const int abi = landlock_abi();
  if (abi == 0) return 0;
  LandlockAttr attr;
  attr.fs = (1ULL << 13) - 1;           // ABI 1: all file access
  if (abi >= 2) attr.fs |= 1ULL << 13;  // REFER
  if (abi >= 3) attr.fs |= 1ULL << 14;  // TRUNCATE
  if (abi >= 5) attr.fs |= 1ULL << 15;  // IOCTL_DEV
  if (abi >= 4) attr.net = 3;           // BIND_TCP, CONNECT_TCP
  if (abi >= 6) attr.scoped = 3;        // abstract Unix sockets, signals to outside
  const std::size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
  const int fd = static_cast<int>(syscall(SYS_landlock_create_ruleset, &attr, size, 0U));
  if (fd < 0) return 0;
  const bool held = syscall(SYS_landlock_restrict_self, fd, 0U) == 0;
  close(fd);
  // Seen here, because the system call filter will answer every open() before landlock is asked.
  const int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool denies = root < 0 && errno == EACCES;
  if (root >= 0) close(root);
  return held && denies ? abi : 0;
}

// Collects rules; the first that libseccomp refuses is remembered.
class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_KILL_PROCESS)) {
    if (context_ == nullptr) {
      fault_ = ENOMEM;
      return;
    }
    note(seccomp_attr_set(context_, SCMP_FLTATR_CTL_TSYNC, 1));
    // The caller set no_new_privs. libseccomp would call prctl again, which the first filter kills.
    note(seccomp_attr_set(context_, SCMP_FLTATR_CTL_NNP, 0));
    note(seccomp_attr_set(context_, SCMP_FLTATR_CTL_OPTIMIZE, 2));  // a binary tree
  }
  ~Filter() {
    if (context_ != nullptr) seccomp_release(context_);
  }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;

  void allow(std::initializer_list<int> calls) {
    for (const int call : calls) note(seccomp_rule_add(context_, SCMP_ACT_ALLOW, call, 0));
  }
  void allow_if(int call, scmp_arg_cmp condition) {
    note(seccomp_rule_add_array(context_, SCMP_ACT_ALLOW, call, 1, &condition));
  }
  void answer(int call, int error) {
    note(seccomp_rule_add(context_, SCMP_ACT_ERRNO(static_cast<std::uint16_t>(error)), call, 0));
  }
  void answer_if(int call, scmp_arg_cmp condition, int error) {
    note(seccomp_rule_add_array(context_, SCMP_ACT_ERRNO(static_cast<std::uint16_t>(error)), call, 1, &condition));
  }
  [[nodiscard]] int load() {
    if (fault_ == 0) note(seccomp_load(context_));
    return fault_;
  }

 private:
  void note(int result) {
    if (result != 0 && fault_ == 0) fault_ = -result;
  }
  scmp_filter_ctx context_;
  int fault_ = 0;
};

// Both phases: memory (never executable), locks, the socket, time, dying.
void allow_always(Filter& filter, int socket_fd) {
  filter.allow({SCMP_SYS(futex), SCMP_SYS(munmap), SCMP_SYS(brk), SCMP_SYS(exit), SCMP_SYS(exit_group),
                SCMP_SYS(mremap), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid), SCMP_SYS(gettid),
                SCMP_SYS(read), SCMP_SYS(poll), SCMP_SYS(sched_yield), SCMP_SYS(clock_gettime),
                SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall),
                // A thread's own first calls: it may get to them only after the second filter is closed.
                SCMP_SYS(set_robust_list), SCMP_SYS(rseq)});
  // A thread chooses its own core, 0, and nobody else's.
  filter.allow_if(SCMP_SYS(sched_setaffinity), SCMP_A0(SCMP_CMP_EQ, 0));
  for (const int fd : {socket_fd, 2})
    filter.allow_if(SCMP_SYS(write), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(fd)));
  filter.allow_if(SCMP_SYS(sendmsg), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(socket_fd)));
  filter.allow_if(SCMP_SYS(sendto), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(socket_fd)));
  filter.allow_if(SCMP_SYS(recvmsg), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(socket_fd)));
  // abort() signals this process only.
  filter.allow_if(SCMP_SYS(tgkill), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(getpid())));
  filter.allow_if(SCMP_SYS(mmap), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  filter.allow_if(SCMP_SYS(mprotect), SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  // glibc gives freed memory back.
  filter.allow_if(SCMP_SYS(madvise), SCMP_A2(SCMP_CMP_EQ, MADV_DONTNEED));
}

void allow_load(Filter& filter) {
  filter.allow({SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek), SCMP_SYS(pread64), SCMP_SYS(fadvise64),
                SCMP_SYS(close), SCMP_SYS(getrandom), SCMP_SYS(rt_sigaction), SCMP_SYS(sysinfo), SCMP_SYS(seccomp),
                SCMP_SYS(sched_getaffinity)});
  filter.allow_if(SCMP_SYS(fcntl), SCMP_A1(SCMP_CMP_EQ, kFcntlGetFlags));
  filter.allow_if(SCMP_SYS(madvise), SCMP_A2(SCMP_CMP_EQ, MADV_WILLNEED));
  filter.allow_if(SCMP_SYS(prctl), SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
  filter.allow_if(SCMP_SYS(arch_prctl), SCMP_A0(SCMP_CMP_EQ, kArchReqXcompPerm));
  // Asked for by libraries that cope with a no. Landlock would refuse them too.
  filter.answer(SCMP_SYS(openat), EACCES);
  filter.answer(SCMP_SYS(readlink), EACCES);
  filter.answer(SCMP_SYS(ioctl), ENOTTY);
  // A thread, never a process; clone3 hides its flags, so glibc must fall back to clone.
  filter.allow_if(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, kCloneThread, kCloneThread));
  filter.answer(SCMP_SYS(clone3), ENOSYS);
}

// What the runtimes of the sanitizers call by themselves; only in builds that are instrumented.
void allow_sanitizer([[maybe_unused]] Filter& filter) {
#if defined(SHOAL_SANITIZE_ADDRESS) || defined(SHOAL_SANITIZE_THREAD)
  filter.allow({SCMP_SYS(sigaltstack), SCMP_SYS(madvise), SCMP_SYS(sched_getaffinity), SCMP_SYS(gettimeofday),
                SCMP_SYS(nanosleep)});
#endif
}

Error unavailable(std::string what) {
  return {ErrorCode::kSandboxUnavailable, "the sandbox does not hold: " + std::move(what)};
}

}  // namespace

Support support() {
  Support found;
  found.landlock_abi = landlock_abi();
  // Asks whether the action exists; a kernel without filters says EINVAL or ENOSYS.
  std::uint32_t action = SCMP_ACT_KILL_PROCESS;
  found.seccomp = syscall(SYS_seccomp, 2U /* SECCOMP_GET_ACTION_AVAIL */, 0U, &action) == 0;
  if (found.landlock_abi == 0) found.missing = "landlock (a kernel from 5.13 on, with `landlock` in its lsm= list)";
  if (!found.seccomp) found.missing += std::string(found.missing.empty() ? "" : " and ") + "seccomp filters";
  return found;
}

Result<void> die_with_parent(std::int32_t parent_pid) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return unavailable("prctl(PR_SET_PDEATHSIG)");
  // The parent may have died before the call.
  if (getppid() != parent_pid) return unavailable(fmt::format("the parent {} is gone", parent_pid));
  return {};
}

Result<void> limit_resources(std::uint64_t data_mib) {
  constexpr rlim_t kDescriptors = 64;
  const rlimit no_core{0, 0};
  const rlimit few_files{kDescriptors, kDescriptors};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0 || setrlimit(RLIMIT_NOFILE, &few_files) != 0)
    return unavailable("setrlimit");
  if (data_mib > 0) {
    const rlimit data{data_mib << 20, data_mib << 20};
    if (setrlimit(RLIMIT_DATA, &data) != 0) return unavailable("setrlimit(RLIMIT_DATA)");
  }
  return {};
}

Result<int> close_for_load(int socket_fd, std::optional<int> output_fd) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return unavailable("prctl(PR_SET_NO_NEW_PRIVS)");
  const int abi = landlock_nothing();
  if (abi == 0) return unavailable("landlock is not there, or does not deny what it was told to");
  Filter filter;
  allow_always(filter, socket_fd);
  allow_load(filter);
  if (output_fd) filter.allow_if(SCMP_SYS(write), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(*output_fd)));
  allow_sanitizer(filter);
  filter.answer_if(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(kProbeDomain)), kLoadAnswer);
  if (const int fault = filter.load(); fault != 0) return unavailable(fmt::format("seccomp: {}", strerror(fault)));
  return abi;
}

Result<void> close_for_work(int socket_fd) {
  Filter filter;
  allow_always(filter, socket_fd);
  allow_sanitizer(filter);
  filter.answer_if(SCMP_SYS(socket), SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(kProbeDomain)), kWorkAnswer);
  if (const int fault = filter.load(); fault != 0) return unavailable(fmt::format("seccomp: {}", strerror(fault)));
  return {};
}

Result<void> probe(Phase phase) {
  errno = 0;
  const int fd = socket(kProbeDomain, SOCK_STREAM, 0);
  const int answer = errno;
  // With both filters loaded, the newer one's number is returned.
  const int wanted = phase == Phase::kLoad ? kLoadAnswer : kWorkAnswer;
  if (fd >= 0 || answer != wanted) {
    return unavailable(fmt::format("the system call filter of the {} phase does not answer ({})",
                                   phase == Phase::kLoad ? "load" : "work", strerror(answer)));
  }
  return {};
}

}  // namespace shoal::sandbox
