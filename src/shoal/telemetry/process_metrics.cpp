#include "shoal/telemetry/process_metrics.h"

#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

namespace shoal::telemetry {
namespace {

std::vector<double> numbers_of(std::string_view text) {
  std::vector<double> out;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    double value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error == std::errc()) out.push_back(value);
    at = next > at ? next : at + 1;
  }
  return out;
}

std::string content_of(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

double resident_bytes() {
  const auto fields = numbers_of(content_of("/proc/self/statm"));  // proc(5): size, resident, ... in pages
  return fields.size() > 1 ? fields[1] * static_cast<double>(::sysconf(_SC_PAGESIZE)) : 0;
}

double cpu_seconds() {
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double open_fds() {
  std::error_code error;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) {
    ++count;
  }
  return count > 0 ? static_cast<double>(count - 1) : 0;  // less the one that lists them
}

// Field 22 of proc(5) stat, in ticks since boot, plus btime of /proc/stat.
double start_time_seconds() {
  const std::string stat = content_of("/proc/self/stat");
  const auto name_end = stat.rfind(')');  // the name may hold anything, digits too
  if (name_end == std::string::npos) return 0;
  const auto fields = numbers_of(std::string_view(stat).substr(name_end + 1));  // from field 4 on: 3 is a letter
  const std::string system = content_of("/proc/stat");
  const auto at = system.find("btime ");
  if (at == std::string::npos || fields.size() < 19) return 0;
  const auto boot = numbers_of(std::string_view(system).substr(at + 6, 20));
  return boot.empty() ? 0 : boot[0] + fields[18] / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

void add_process_metrics(Registry& registry) {
  Gauge& resident = registry.gauges("shoal_process_resident_bytes", "Resident memory of the gateway.").with({});
  Counter& cpu =
      registry.counters("shoal_process_cpu_seconds_total", "User and system CPU time of the gateway.").with({});
  Gauge& fds = registry.gauges("shoal_process_open_fds", "Open file descriptors of the gateway.").with({});
  registry.gauges("shoal_process_start_time_seconds", "Start of the gateway, seconds since 1970.")
      .with({})
      .set(start_time_seconds());
  registry.on_render([&resident, &cpu, &fds] {
    resident.set(resident_bytes());
    cpu.set(cpu_seconds());
    fds.set(open_fds());
  });
}

}  // namespace shoal::telemetry
