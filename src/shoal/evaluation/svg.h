// Plots as SVG, in an HTML page or as a file of their own: axes with round ticks, lines, points with intervals, names.
// How they look is in plot_css(), by class: s0 to s5 for series, `axis`, `grid`, `ideal` and `dashed` for lines. Light
// and dark, as the reader's system is. Owned by value. Threads: one.
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

// The rules that a page with plots needs among its own; file() has them in it.
[[nodiscard]] std::string_view plot_css();

// From a little below `low` to a little above `high`, at round numbers. Of a range without extent: around it.
struct Scale {
  double low = 0;
  double high = 1;
  double step = 0.2;
  bool logarithm = false;  // then ticks are 1, 2 and 5 times a power of ten, and `step` does not count

  [[nodiscard]] static Scale around(double low, double high);
  // On a logarithmic scale. REQUIRES: 0 < low < high.
  [[nodiscard]] static Scale powers(double low, double high);
  [[nodiscard]] std::vector<double> ticks() const;
  // From 0 to 1.
  [[nodiscard]] double place(double value) const;
};

struct At {
  double x = 0;
  double y = 0;
};

class Plot {
 public:
  // `percent_x`: the ticks of x are shares; those of y always are.
  Plot(std::string_view title, std::string_view x_name, std::string_view y_name, Scale x, Scale y, bool percent_x);

  void line(std::span<const At> points, std::string_view style);
  // A dot, its interval as a bar upright, and what it is when the mouse rests on it.
  void point(At at, statistics::Interval y, std::string_view style, std::string_view label);
  // Beside a dot, or above it where another name would be written over.
  void name(At at, std::string_view text, std::string_view style);
  // Below the plot, what a line or a colour stands for.
  void key(std::string_view text, std::string_view style);

  // The element, for a page.
  [[nodiscard]] std::string text() const;
  // A whole SVG file.
  [[nodiscard]] std::string file() const;

 private:
  [[nodiscard]] double px(double x) const;
  [[nodiscard]] double py(double y) const;
  void axes(std::string_view x_name, std::string_view y_name, bool percent_x);
  [[nodiscard]] double height() const;

  // Of a name, so that the next one keeps away from it.
  struct Box {
    double left, right, y;
  };

  Scale x_;
  Scale y_;
  std::vector<Box> names_;
  std::string title_;
  std::string drawn_;
  double key_x_;
  int key_rows_ = 0;
};

}  // namespace shoal::evaluation
