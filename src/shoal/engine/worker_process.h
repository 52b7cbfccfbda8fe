// One worker process and the four things that the gateway watches of it: its frames, its room for ours, its
// stderr and its death (pidfd). Knows nothing of models or requests; model_host.h decides.
// Owned by a ModelHost through shared_ptr; its coroutines keep it alive until the process is reaped.
// Threads: the I/O thread. The worker's PDEATHSIG follows the thread that spawned it, so spawn() must run on a
// thread that lives as long as the gateway: the I/O thread does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "shoal/base/async.h"
#include "shoal/base/log.h"
#include "shoal/base/result.h"
#include "shoal/ipc/frames.h"

namespace shoal::engine {

// A descriptor that closes itself.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

// Opens a model file for a worker and says how large it is. Refuses what is not a regular file, so that a FIFO
// or a device in the store can block nobody. Errors: kIo, kModelInvalid.
struct OpenedModel {
  FileDescriptor fd;
  std::uint64_t bytes = 0;
};
[[nodiscard]] Result<OpenedModel> open_model(const std::string& path);

// What the owner hears. Each is called on the I/O thread; after on_gone nothing is called any more.
struct WorkerEvents {
  // A frame, in order. An error breaks the link: the worker is killed with that as the reason.
  std::function<Result<void>(ipc::Frame)> on_frame;
  // Once: no further frame will come. `why` is for people: "killed by signal 9 (Killed)".
  std::function<void(const std::string& why)> on_lost;
  // Once, after on_lost: the process is reaped, its memory is free.
  std::function<void()> on_gone;
};

struct WorkerSpawn {
  std::string executable;
  std::vector<std::string> arguments;  // without argv[0]
  std::string model_name;              // for the log
  int model_fd = -1;                   // borrowed; the child's fd 4
  int second_fd = -1;                  // borrowed; the child's fd 5, for a task; -1: none
};

class WorkerProcess : public std::enable_shared_from_this<WorkerProcess> {
 public:
  // Errors: kIo with what failed.
  static Result<std::shared_ptr<WorkerProcess>> spawn(base::Executor executor, base::Log& log, const WorkerSpawn& spawn,
                                                      WorkerEvents events);
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;
  ~WorkerProcess();

  // Queues bytes of whole frames; returns at once. Dropped when the link is lost already.
  void send(std::string_view bytes);
  // SIGKILL now; on_lost(why) follows, then on_gone.
  void kill(std::string why);
  // Stops all calls to the owner, kills the process and reaps it: for the owner's destructor. Blocks for the few
  // milliseconds that the kernel needs after SIGKILL.
  void abandon();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // Read from /proc; 0 when the process is gone.
  [[nodiscard]] std::uint64_t resident_bytes() const;
  // The last line that the worker wrote to stderr, bounded; empty when it wrote none.
  [[nodiscard]] const std::string& last_stderr_line() const { return last_line_; }

 private:
  WorkerProcess(base::Executor executor, base::Log& log, std::string model_name, WorkerEvents events);

  void run();
  void read_frames(base::Yield yield);
  void read_stderr(base::Yield yield);
  void wait_for_exit(base::Yield yield);
  void write_next();
  void take_stderr(std::string_view bytes);
  void log_stderr_line();
  // Collects the exit status when there is one. True once the process is reaped.
  bool reap();
  void lose(const std::string& why);
  void settle();

  base::Executor executor_;
  base::Log& log_;
  std::string model_name_;
  WorkerEvents events_;
  pid_t pid_ = -1;
  base::asio::local::stream_protocol::socket socket_;
  base::asio::posix::stream_descriptor pidfd_;
  base::asio::posix::stream_descriptor stderr_;
  base::Timer exit_wait_;  // wakes the reader when the process is reaped
  ipc::FrameReader reader_;
  std::string outgoing_;
  std::string writing_;  // in flight; empty: none
  bool reaped_ = false;
  bool lost_ = false;
  bool gone_ = false;
  std::string kill_reason_;
  std::string exit_text_;
  std::string line_;
  std::string last_line_;
  std::uint32_t lines_logged_ = 0;
};

}  // namespace shoal::engine
