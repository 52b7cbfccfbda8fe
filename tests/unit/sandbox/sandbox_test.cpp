// A locked-up process cannot do what a captured worker would try, and can tell from inside that it is locked.
#include "shoal/sandbox/sandbox.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shoal::sandbox {
namespace {

// Runs `body` in a child; its return value is the exit code.
template <class Body>
int in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(Sandbox, EveryAttackIsRefused) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  const auto attacks = self_test();
  EXPECT_EQ(attacks.size(), 13U);
  for (const Attack& attack : attacks) EXPECT_TRUE(attack.refused) << attack.name << ": " << attack.how;
}

TEST(Sandbox, ProbeHoldsOnlyInThePhaseThatWasClosed) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  EXPECT_FALSE(probe(Phase::kLoad).ok()) << "nothing is closed in this process";
  EXPECT_EQ(in_child([] {
              if (!close_for_load(2).ok()) return 1;
              if (!probe(Phase::kLoad).ok()) return 2;
              if (probe(Phase::kWork).ok()) return 3;
              if (!close_for_work(2).ok()) return 4;
              if (!probe(Phase::kWork).ok()) return 5;
              return 0;
            }),
            0);
}

TEST(Sandbox, AWorkerThatMakesAFileWritesToThatOneOnly) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  const auto written_to = [](bool output) {
    return in_child([output] {
      const int allowed = memfd_create("output", 0);
      const int other = memfd_create("other", 0);
      if (!close_for_load(2, allowed).ok()) return 1;
      return write(output ? allowed : other, "x", 1) == 1 ? 0 : 2;
    });
  };
  EXPECT_EQ(written_to(true), 0);
  EXPECT_EQ(written_to(false), 128 + SIGSYS);
}

// Lets the system call filters fail to load, so that what landlock denies can be seen alone.
void refuse_filters() {
  std::array code = {sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                     sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_seccomp, 0, 1),
                     sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                     sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{code.size(), code.data()};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

TEST(Sandbox, LandlockAloneDeniesFilesAndPorts) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  const bool knows_ports = support().landlock_abi >= 4;
  EXPECT_EQ(in_child([knows_ports] {
              refuse_filters();
              if (close_for_load(2).ok()) return 1;  // said, not passed over
              if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES) return 2;
              if (open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES) return 3;
              if (!knows_ports) return 0;
              sockaddr_in address{};
              address.sin_family = AF_INET;
              const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
              if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno != EACCES) return 4;
              address.sin_port = htons(9);
              if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 || errno != EACCES) return 5;
              return 0;
            }),
            0);
}

// What a worker may do with its own socket and stderr only, or with data only.
TEST(Sandbox, AllowedCallsAreAllowedForTheirPurposeOnly) {
  if (!support().missing.empty()) GTEST_SKIP() << "this kernel lacks " << support().missing;
  static const int kOther = dup(2);
  static const pid_t kParent = getpid();
  static void* const kPage = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct Call {
    const char* name;
    void (*run)();
  };
  for (const Call& call :
       {Call{"write", [] { (void)!write(kOther, "", 0); }}, Call{"sendto", [] { send(kOther, "", 0, 0); }},
        Call{"mprotect", [] { mprotect(kPage, 4096, PROT_READ | PROT_EXEC); }},
        Call{"tgkill", [] { syscall(SYS_tgkill, kParent, kParent, 0); }}}) {
    EXPECT_EQ(in_child([&call] {
                if (!close_for_load(2).ok() || !close_for_work(2).ok()) return 1;
                call.run();
                return 0;
              }),
              128 + SIGSYS)
        << call.name;
  }
  close(kOther);
  munmap(kPage, 4096);
}

TEST(Sandbox, LimitsAreSetAsNamed) {
  EXPECT_EQ(in_child([] {
              if (!limit_resources(4096).ok()) return 1;
              rlimit is{};
              if (getrlimit(RLIMIT_DATA, &is) != 0 || is.rlim_max != rlim_t{4096} * 1024 * 1024) return 2;
              if (getrlimit(RLIMIT_CORE, &is) != 0 || is.rlim_max != 0) return 3;
              if (getrlimit(RLIMIT_NOFILE, &is) != 0 || is.rlim_max > 64) return 4;
              return 0;
            }),
            0);
}

TEST(Sandbox, AnOrphanRefusesToRun) {
  EXPECT_EQ(in_child([] { return die_with_parent(1'999'999'999).ok() ? 1 : 0; }), 0);
  EXPECT_EQ(in_child([parent = getpid()] {
              if (!die_with_parent(parent).ok()) return 1;
              int signal = 0;
              prctl(PR_GET_PDEATHSIG, &signal);
              return signal == SIGKILL ? 0 : 2;
            }),
            0);
}

}  // namespace
}  // namespace shoal::sandbox
