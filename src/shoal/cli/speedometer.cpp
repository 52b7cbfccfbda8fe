#include "shoal/cli/speedometer.h"

#include <utility>

#include "shoal/base/scheduling.h"
#include "shoal/device/machine.h"

namespace shoal::cli {

Speedometer::Speedometer(std::filesystem::path file, base::Log& log)
    : file_(std::move(file)), log_(log), known_(device::read_speed(file_, device::probe_machine())) {}

Speedometer::~Speedometer() {
  if (thread_.joinable()) thread_.join();  // a quarter of a second
}

std::optional<device::Speed> Speedometer::get(bool idle) {
  const std::lock_guard lock(mutex_);
  if (!known_ && idle && !thread_.joinable()) thread_ = base::start_thread("speedometer", [this] { measure(); });
  return known_;
}

void Speedometer::measure() {
  const device::Machine machine = device::probe_machine();
  const Result<device::Speed> speed = device::measure_speed(machine);
  if (!speed.ok()) return log_.warn("the machine was not measured", {{"why", speed.error().message()}});
  log_.info("machine measured", {{"bytes_per_second", static_cast<std::int64_t>(speed->bytes_per_second)},
                                 {"flops_per_second", static_cast<std::int64_t>(speed->flops_per_second)}});
  if (const Result<void> kept = device::write_speed(file_, machine, *speed); !kept.ok())
    log_.warn("the machine will be measured again", {{"why", kept.error().message()}});
  const std::lock_guard lock(mutex_);
  known_ = *speed;
}

std::filesystem::path speed_file(const std::filesystem::path& data_dir) {
  return data_dir / "machine-speed";
}

}  // namespace shoal::cli
