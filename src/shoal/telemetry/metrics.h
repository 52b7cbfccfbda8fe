// Metrics in the Prometheus text format 0.0.4: counters, gauges and histograms in families with fixed label
// names. Made once at start, kept by reference, updated from anywhere, rendered for /metrics.
// Use: `auto& family = registry.counters("shoal_requests_total", "Requests.", {"model"});`
//      `family.with({"smollm2"}).add();`
// Owned by cli/'s App; families and series live as long as their Registry. Threads: any.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace shoal::telemetry {

// Only grows.
class Counter {
 public:
  void add(double amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  // For totals that somebody else counts (the kernel's CPU time): set to the newest reading.
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

class Histogram {
 public:
  explicit Histogram(std::span<const double> bounds);
  void observe(double value);
  [[nodiscard]] std::uint64_t count() const;

 private:
  friend class Registry;
  std::vector<double> bounds_;                          // upper bounds, rising; +Inf is implied
  std::unique_ptr<std::atomic<std::uint64_t>[]> hits_;  // [bounds_ + 1], not cumulative
  std::atomic<double> sum_ = 0;
};

// Bounds in seconds, from OpenTelemetry's gen_ai.server.time_to_first_token and .request.duration.
inline constexpr double kFirstTokenBounds[] = {.001, .005, .01, .02, .04, .06, .08, .1,
                                               .25,  .5,   .75, 1,   2.5, 5,   7.5, 10};
inline constexpr double kDurationBounds[] = {.01,  .02,  .04,  .08,   .16,   .32,   .64,
                                             1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};

// Past this many series of one family, further label values are counted together as "other", so that a
// client who can choose a label value cannot make the server's memory grow.
inline constexpr std::size_t kMaxSeriesPerFamily = 1000;

// The series of one name, by label values.
template <class Metric>
class Family {
 public:
  // The series of these label values, in the order of the label names. REQUIRES: as many as there are names.
  Metric& with(std::initializer_list<std::string_view> values);

 private:
  friend class Registry;
  // By their values; looked up without making strings of them, for it is done with each request.
  struct Order {
    using is_transparent = void;
    bool operator()(const auto& a, const auto& b) const { return std::ranges::lexicographical_compare(a, b); }
  };
  Family(std::string name, std::string help, std::vector<std::string> labels, std::vector<double> bounds)
      : name_(std::move(name)), help_(std::move(help)), labels_(std::move(labels)), bounds_(std::move(bounds)) {}

  std::string name_;
  std::string help_;
  std::vector<std::string> labels_;
  std::vector<double> bounds_;  // histograms only
  mutable std::mutex mutex_;
  std::map<std::vector<std::string>, std::unique_ptr<Metric>, Order> series_;
};

class Registry {
 public:
  // REQUIRES (all three): the name is `shoal_[a-z0-9_]+` and was not registered as another kind or with other
  // labels; label names are `[a-z_]+`. The same name again returns the same family.
  Family<Counter>& counters(std::string_view name, std::string_view help, std::vector<std::string> labels = {});
  Family<Gauge>& gauges(std::string_view name, std::string_view help, std::vector<std::string> labels = {});
  Family<Histogram>& histograms(std::string_view name, std::string_view help, std::span<const double> bounds,
                                std::vector<std::string> labels = {});

  // Called at the start of each render(), on the caller's thread: for values that are read and not counted.
  void on_render(std::function<void()> refresh);

  // The exposition, families in order of name. Content type: kContentType.
  [[nodiscard]] std::string render() const;

  static constexpr std::string_view kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Family<Counter>>, std::less<>> counters_;
  std::map<std::string, std::unique_ptr<Family<Gauge>>, std::less<>> gauges_;
  std::map<std::string, std::unique_ptr<Family<Histogram>>, std::less<>> histograms_;
  std::vector<std::function<void()>> refreshers_;
};

}  // namespace shoal::telemetry
