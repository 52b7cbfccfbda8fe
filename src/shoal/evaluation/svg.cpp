#include "shoal/evaluation/svg.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "shoal/base/text.h"

namespace shoal::evaluation {
namespace {

constexpr double kWidth = 520;
constexpr double kHeight = 320;
constexpr double kLeft = 56;
constexpr double kRight = 16;
constexpr double kTop = 12;
constexpr double kBottom = 44;
constexpr double kTicks = 5;

// "0.05", "1200": as many digits as the step needs.
std::string tick_text(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  return fmt::format("{:.{}f}", std::abs(value) < step / 1000 ? 0.0 : value, digits);
}

}  // namespace

std::string html_text(std::string_view text) {
  std::string out;
  for (const char c : base::escape_control(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Scale Scale::around(double low, double high) {
  if (!(high > low)) {
    const double room = low == 0 ? 1 : std::abs(low) / 2;
    low -= low == 0 ? 0 : room;
    high += room;
  }
  const double rough = (high - low) / kTicks;
  const double ten = std::pow(10, std::floor(std::log10(rough)));
  const double part = rough / ten;
  const double step = ten * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
  return {.low = std::floor(low / step) * step, .high = std::ceil(high / step) * step, .step = step};
}

Plot::Plot(std::string_view title, std::string_view x_name, std::string_view y_name, Scale x, Scale y, bool percent_x)
    : x_(x), y_(y) {
  out_ = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", kWidth, kHeight, html_text(title));
  axes(x_name, y_name, percent_x);
}

double Plot::px(double x) const {
  return kLeft + (std::clamp(x, x_.low, x_.high) - x_.low) / (x_.high - x_.low) * (kWidth - kLeft - kRight);
}
double Plot::py(double y) const {
  return kHeight - kBottom -
         (std::clamp(y, y_.low, y_.high) - y_.low) / (y_.high - y_.low) * (kHeight - kTop - kBottom);
}

void Plot::axes(std::string_view x_name, std::string_view y_name, bool percent_x) {
  const double bottom = kHeight - kBottom;
  for (int i = 0; y_.low + i * y_.step <= y_.high + y_.step / 2; ++i) {
    const double at = y_.low + i * y_.step;
    out_ += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", kLeft, py(at), kWidth - kRight);
    out_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 6,
                        py(at) + 4, tick_text(100 * at, 100 * y_.step));
  }
  for (int i = 0; x_.low + i * x_.step <= x_.high + x_.step / 2; ++i) {
    const double at = x_.low + i * x_.step;
    const double shown = percent_x ? 100 : 1;
    out_ += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", px(at), kTop, bottom);
    out_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", px(at),
                        bottom + 16, tick_text(shown * at, shown * x_.step));
  }
  out_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                      (kLeft + kWidth - kRight) / 2, kHeight - 8, html_text(x_name));
  out_ += fmt::format(
      "<text class=\"axis\" transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      (kTop + bottom) / 2, html_text(y_name));
}

void Plot::line(std::span<const At> points, std::string_view style) {
  if (points.empty()) return;
  out_ += fmt::format("<path class=\"line {}\" d=\"", style);
  for (std::size_t i = 0; i < points.size(); ++i)
    out_ += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", px(points[i].x), py(points[i].y));
  out_ += "\"/>\n";
}

void Plot::point(At at, statistics::Interval y, std::string_view style, std::string_view label) {
  out_ += fmt::format("<g class=\"{}\"><title>{}</title>", style, html_text(label));
  out_ += fmt::format("<path class=\"bar\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", px(at.x), py(y.low), py(y.high));
  out_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/></g>\n", px(at.x), py(at.y));
}

void Plot::name(At at, std::string_view text, std::string_view style) {
  // A name on the right half would leave the picture.
  const bool left = px(at.x) > kWidth * 0.6;
  out_ += fmt::format("<text class=\"name {}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", style,
                      px(at.x) + (left ? -9 : 9), py(at.y) + 4, left ? "end" : "start", html_text(text));
}

std::string Plot::text() const {
  return out_ + "</svg>\n";
}

}  // namespace shoal::evaluation
