// What this machine can do, for `shoal ps` of a running server: from the file that was kept, or measured the first time
// somebody asks while no request runs, on a thread of its own. Owned by App. Threads: get() the I/O thread.
#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>

#include "shoal/base/log.h"
#include "shoal/device/speed.h"

namespace shoal::cli {

class Speedometer {
 public:
  // Reads the file. `log` must outlive this.
  Speedometer(std::filesystem::path file, base::Log& log);
  ~Speedometer();
  Speedometer(const Speedometer&) = delete;
  Speedometer& operator=(const Speedometer&) = delete;

  // Nothing while it is not known. `idle`: nothing computes that a measurement would disturb. Never blocks.
  [[nodiscard]] std::optional<device::Speed> get(bool idle);

 private:
  void measure();

  const std::filesystem::path file_;
  base::Log& log_;
  std::mutex mutex_;  // guards known_
  std::optional<device::Speed> known_;
  std::thread thread_;  // joinable once it was started; it is started once
};

// Where it is kept: in the data folder.
[[nodiscard]] std::filesystem::path speed_file(const std::filesystem::path& data_dir);

}  // namespace shoal::cli
