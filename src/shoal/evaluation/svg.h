// Plots as SVG that stands in an HTML page: axes with round ticks, lines, points with intervals, steps. Colours are the
// page's, by class: s0 to s5 for series, `axis`, `grid`, `ideal`. Owned by value; text() has the whole element.
// Threads: one.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/statistics/interval.h"

namespace shoal::evaluation {

// Text in an element or an attribute of HTML; controls are escaped as base::escape_control() does.
[[nodiscard]] std::string html_text(std::string_view text);

// From a little below `low` to a little above `high`, at round numbers. Of a range without extent: around it.
struct Scale {
  double low = 0;
  double high = 1;
  double step = 0.2;

  [[nodiscard]] static Scale around(double low, double high);
};

struct At {
  double x = 0;
  double y = 0;
};

class Plot {
 public:
  // `percent_x`: the ticks of x are shares.
  Plot(std::string_view title, std::string_view x_name, std::string_view y_name, Scale x, Scale y, bool percent_x);

  void line(std::span<const At> points, std::string_view style);
  // A dot, its interval as a bar upright, and what it is when the mouse rests on it.
  void point(At at, statistics::Interval y, std::string_view style, std::string_view label);
  // Beside a dot.
  void name(At at, std::string_view text, std::string_view style);

  [[nodiscard]] std::string text() const;

 private:
  [[nodiscard]] double px(double x) const;
  [[nodiscard]] double py(double y) const;
  void axes(std::string_view x_name, std::string_view y_name, bool percent_x);

  Scale x_;
  Scale y_;
  std::string out_;
};

}  // namespace shoal::evaluation
