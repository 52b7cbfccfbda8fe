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
constexpr double kLetter = 6.4;  // the width of most of them
constexpr double kLineHeight = 14;
constexpr double kKeyHeight = 20;
constexpr double kSwatch = 28;  // the line of a key, and the space behind it
constexpr double kKeyGap = 16;

constexpr std::string_view kCss = R"css(
svg text{font:12px system-ui,sans-serif}.axis{fill:#66707a}.grid{stroke:#dde2e7;fill:none}.line{fill:none;stroke-width:2}.bar{stroke-width:2}
.s0{stroke:#1f6feb;fill:#1f6feb}.s1{stroke:#c2410c;fill:#c2410c}.s2{stroke:#15803d;fill:#15803d}.s3{stroke:#7e22ce;fill:#7e22ce}.s4{stroke:#a16207;fill:#a16207}.s5{stroke:#be185d;fill:#be185d}
.ideal{stroke:#66707a;fill:#66707a;stroke-dasharray:4 4;stroke-width:1.5}.dashed{stroke-dasharray:5 3;stroke-width:1.5}path.line{fill:none}text.name{stroke:none}
@media(prefers-color-scheme:dark){.axis{fill:#98a3ad}.grid{stroke:#333b43}.s0{stroke:#6ea8fe;fill:#6ea8fe}.s1{stroke:#fb923c;fill:#fb923c}.s2{stroke:#4ade80;fill:#4ade80}.s3{stroke:#c084fc;fill:#c084fc}.s4{stroke:#facc15;fill:#facc15}.s5{stroke:#f472b6;fill:#f472b6}.ideal{stroke:#98a3ad;fill:#98a3ad}}
)css";

// "0.05", "1200": as many digits as the step needs.
std::string tick_text(double value, double step) {
  const int digits = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 9);
  return fmt::format("{:.{}f}", std::abs(value) < step / 1000 ? 0.0 : value, digits);
}

// Bytes that do not go on a character of UTF-8.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
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

std::string_view plot_css() {
  return kCss;
}

Scale Scale::powers(double low, double high) {
  Scale out{.low = 0, .high = 0, .step = 0, .logarithm = true};
  for (double ten = std::pow(10, std::floor(std::log10(low))); out.high == 0; ten *= 10) {
    for (const double tick : {ten, 2 * ten, 5 * ten}) {
      if (tick <= low) out.low = tick;
      if (out.high == 0 && tick >= high) out.high = tick;
    }
  }
  return out;
}

std::vector<double> Scale::ticks() const {
  std::vector<double> out;
  if (!logarithm) {
    for (int i = 0; low + i * step <= high + step / 2; ++i) out.push_back(low + i * step);
    return out;
  }
  for (double ten = std::pow(10, std::floor(std::log10(low))); ten <= high; ten *= 10) {
    for (const double tick : {ten, 2 * ten, 5 * ten}) {
      if (tick >= low * 0.999 && tick <= high * 1.001) out.push_back(tick);
    }
  }
  return out;
}

double Scale::place(double value) const {
  const double at = std::clamp(value, low, high);
  return logarithm ? std::log(at / low) / std::log(high / low) : (at - low) / (high - low);
}

Plot::Plot(std::string_view title, std::string_view x_name, std::string_view y_name, Scale x, Scale y, bool percent_x)
    : x_(x), y_(y), title_(title), key_x_(kLeft) {
  axes(x_name, y_name, percent_x);
}

double Plot::px(double x) const {
  return kLeft + x_.place(x) * (kWidth - kLeft - kRight);
}
double Plot::py(double y) const {
  return kHeight - kBottom - y_.place(y) * (kHeight - kTop - kBottom);
}

void Plot::axes(std::string_view x_name, std::string_view y_name, bool percent_x) {
  const double bottom = kHeight - kBottom;
  for (const double at : y_.ticks()) {
    drawn_ += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>", kLeft, py(at), kWidth - kRight);
    drawn_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", kLeft - 6,
                          py(at) + 4, tick_text(100 * at, 100 * (y_.logarithm ? at : y_.step)));
  }
  for (const double at : x_.ticks()) {
    const double shown = percent_x ? 100 : 1;
    const std::string tick = tick_text(shown * at, shown * (x_.logarithm ? at : x_.step));
    // The last one must not leave the picture.
    const double most = kWidth - 2 - kLetter * static_cast<double>(tick.size()) / 2;
    drawn_ += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", px(at), kTop, bottom);
    drawn_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                          std::min(px(at), most), bottom + 16, tick);
  }
  drawn_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                        (kLeft + kWidth - kRight) / 2, kHeight - 8, html_text(x_name));
  drawn_ += fmt::format(
      "<text class=\"axis\" transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      (kTop + bottom) / 2, html_text(y_name));
}

void Plot::line(std::span<const At> points, std::string_view style) {
  if (points.empty()) return;
  drawn_ += fmt::format("<path class=\"line {}\" d=\"", style);
  for (std::size_t i = 0; i < points.size(); ++i)
    drawn_ += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", px(points[i].x), py(points[i].y));
  drawn_ += "\"/>\n";
}

void Plot::point(At at, statistics::Interval y, std::string_view style, std::string_view label) {
  drawn_ += fmt::format("<g class=\"{}\"><title>{}</title>", style, html_text(label));
  drawn_ += fmt::format("<path class=\"bar\" d=\"M{:.1f} {:.1f}V{:.1f}\"/>", px(at.x), py(y.low), py(y.high));
  drawn_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/></g>\n", px(at.x), py(at.y));
}

void Plot::name(At at, std::string_view text, std::string_view style) {
  const double width = kLetter * static_cast<double>(characters(text));
  // A name on the right half would leave the picture.
  const bool left = px(at.x) > kWidth * 0.6;
  const double x = px(at.x) + (left ? -9 : 9);
  Box box{.left = left ? x - width : x, .right = left ? x : x + width, .y = py(at.y) + 4};
  const auto hits = [&box](const Box& other) {
    return box.left < other.right && other.left < box.right && std::abs(box.y - other.y) < kLineHeight;
  };
  while (box.y > kTop + kLineHeight && std::ranges::any_of(names_, hits)) box.y -= kLineHeight;
  names_.push_back(box);
  drawn_ += fmt::format("<text class=\"name {}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", style, x,
                        box.y, left ? "end" : "start", html_text(text));
}

void Plot::key(std::string_view text, std::string_view style) {
  const double width = kSwatch + kLetter * static_cast<double>(characters(text)) + kKeyGap;
  if (key_rows_ == 0 || key_x_ + width > kWidth) {
    key_x_ = kLeft;
    ++key_rows_;
  }
  const double y = height() - kKeyHeight / 2;
  drawn_ += fmt::format("<path class=\"line {}\" d=\"M{:.1f} {:.1f}h{:.1f}\"/>", style, key_x_, y, kSwatch - 6);
  drawn_ += fmt::format("<text class=\"axis\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", key_x_ + kSwatch, y + 4,
                        html_text(text));
  key_x_ += width;
}

double Plot::height() const {
  return kHeight + kKeyHeight * key_rows_;
}

std::string Plot::text() const {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n", kWidth, height(),
                     html_text(title_), drawn_);
}

std::string Plot::file() const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\" role=\"img\" "
      "aria-label=\"{2}\">\n<style>.paper{{fill:#fff}}{3}@media(prefers-color-scheme:dark){{.paper{{fill:#14181c}}}}"
      "</style>\n<rect class=\"paper\" width=\"{0}\" height=\"{1}\"/>\n{4}</svg>\n",
      kWidth, height(), html_text(title_), kCss, drawn_);
}

}  // namespace shoal::evaluation
