#include "shoal/telemetry/metrics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace shoal::telemetry {
namespace {

// Escapes of the text format: backslash, newline, and in label values the quote.
std::string escaped(std::string_view text, bool quote) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quote) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
  return out;
}

// {a="x",b="y"}; `extra` is a ready pair such as le="0.5". Nothing at all when there are no labels.
std::string label_set(const std::vector<std::string>& names, const std::vector<std::string>& values,
                      std::string_view extra = {}) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", names[i], escaped(values[i], true));
  }
  if (!extra.empty()) out += fmt::format("{}{}", out.empty() ? "" : ",", extra);
  return out.empty() ? out : "{" + out + "}";
}

std::string number(double value) {
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  if (std::isnan(value)) return "NaN";
  return fmt::format("{}", value);
}

bool is_metric_name(std::string_view name) {
  return name.starts_with("shoal_") &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

template <class Metric>
std::unique_ptr<Metric> make(const std::vector<double>& bounds) {
  if constexpr (std::is_same_v<Metric, Histogram>) {
    return std::make_unique<Histogram>(bounds);
  } else {
    (void)bounds;
    return std::make_unique<Metric>();
  }
}

}  // namespace

Histogram::Histogram(std::span<const double> bounds)
    : bounds_(bounds.begin(), bounds.end()), hits_(new std::atomic<std::uint64_t>[bounds.size() + 1]()) {
  assert(std::ranges::is_sorted(bounds_));
}

void Histogram::observe(double value) {
  const auto bucket = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
  hits_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i <= bounds_.size(); ++i) total += hits_[i].load(std::memory_order_relaxed);
  return total;
}

template <class Metric>
Metric& Family<Metric>::with(std::initializer_list<std::string_view> values) {
  assert(values.size() == labels_.size());
  const std::lock_guard lock(mutex_);
  auto found = series_.find(values);
  if (found == series_.end() && series_.size() >= kMaxSeriesPerFamily) {
    found = series_.try_emplace(std::vector<std::string>(labels_.size(), "other")).first;
  } else if (found == series_.end()) {
    found = series_.try_emplace(std::vector<std::string>(values.begin(), values.end())).first;
  }
  if (!found->second) found->second = make<Metric>(bounds_);
  return *found->second;
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

Family<Counter>& Registry::counters(std::string_view name, std::string_view help, std::vector<std::string> labels) {
  assert(is_metric_name(name));
  const std::lock_guard lock(mutex_);
  assert(!gauges_.contains(name) && !histograms_.contains(name));
  auto& slot = counters_[std::string(name)];
  if (!slot) slot.reset(new Family<Counter>(std::string(name), std::string(help), std::move(labels), {}));
  return *slot;
}

Family<Gauge>& Registry::gauges(std::string_view name, std::string_view help, std::vector<std::string> labels) {
  assert(is_metric_name(name));
  const std::lock_guard lock(mutex_);
  assert(!counters_.contains(name) && !histograms_.contains(name));
  auto& slot = gauges_[std::string(name)];
  if (!slot) slot.reset(new Family<Gauge>(std::string(name), std::string(help), std::move(labels), {}));
  return *slot;
}

Family<Histogram>& Registry::histograms(std::string_view name, std::string_view help, std::span<const double> bounds,
                                        std::vector<std::string> labels) {
  assert(is_metric_name(name));
  const std::lock_guard lock(mutex_);
  assert(!counters_.contains(name) && !gauges_.contains(name));
  auto& slot = histograms_[std::string(name)];
  if (!slot) {
    slot.reset(new Family<Histogram>(std::string(name), std::string(help), std::move(labels),
                                     std::vector<double>(bounds.begin(), bounds.end())));
  }
  return *slot;
}

void Registry::on_render(std::function<void()> refresh) {
  const std::lock_guard lock(mutex_);
  refreshers_.push_back(std::move(refresh));
}

std::string Registry::render() const {
  // Outside the lock: a refresher asks this registry for its series.
  const auto refreshers = [&] {
    const std::lock_guard lock(mutex_);
    return refreshers_;
  }();
  for (const auto& refresh : refreshers) refresh();

  const std::lock_guard lock(mutex_);
  std::map<std::string_view, std::string> families;
  const auto plain = [&](const auto& kind, std::string_view type) {
    for (const auto& [name, family] : kind) {
      const std::lock_guard series_lock(family->mutex_);
      std::string& out = families[name];
      out = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, escaped(family->help_, false), type);
      for (const auto& [values, metric] : family->series_) {
        out += fmt::format("{}{} {}\n", name, label_set(family->labels_, values), number(metric->value()));
      }
    }
  };
  plain(counters_, "counter");
  plain(gauges_, "gauge");
  for (const auto& [name, family] : histograms_) {
    const std::lock_guard series_lock(family->mutex_);
    std::string& out = families[name];
    out = fmt::format("# HELP {0} {1}\n# TYPE {0} histogram\n", name, escaped(family->help_, false));
    for (const auto& [values, metric] : family->series_) {
      // _count is the sum of the buckets read here, so that it always equals the +Inf bucket.
      std::uint64_t total = 0;
      for (std::size_t i = 0; i <= metric->bounds_.size(); ++i) {
        total += metric->hits_[i].load(std::memory_order_relaxed);
        const std::string bound = i < metric->bounds_.size() ? number(metric->bounds_[i]) : "+Inf";
        out += fmt::format("{}_bucket{} {}\n", name, label_set(family->labels_, values, "le=\"" + bound + "\""), total);
      }
      const std::string labels = label_set(family->labels_, values);
      out += fmt::format("{0}_sum{1} {2}\n{0}_count{1} {3}\n", name, labels, number(metric->sum_.load()), total);
    }
  }
  std::string out;
  for (const auto& [name, text] : families) out += text;
  return out;
}

}  // namespace shoal::telemetry
