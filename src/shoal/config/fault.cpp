#include "shoal/config/fault.h"

#include <algorithm>

#include <fmt/format.h>

#include "shoal/base/text.h"
#include "shoal/config/secrets.h"

namespace shoal::config {
namespace {

// Longer lines would only push the caret out of sight.
constexpr std::size_t kMaxShown = 160;

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string_view line_at(std::string_view text, std::uint32_t number) {
  for (std::uint32_t i = 1; i < number; ++i) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string_view line = text.substr(0, text.find('\n'));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

}  // namespace

std::string_view layer_name(Layer layer) {
  switch (layer) {
    case Layer::kDefault:
      return "default";
    case Layer::kFile:
      return "file";
    case Layer::kEnvironment:
      return "environment";
    case Layer::kFlag:
      break;
  }
  return "flag";
}

std::string render(const Fault& fault) {
  const std::string place = base::escape_control(fault.place);
  std::string out = fault.line == 0
                        ? fmt::format("{}: error: {}", place, fault.message)
                        : fmt::format("{}:{}:{}: error: {}", place, fault.line, fault.column, fault.message);
  if (fault.line != 0 && !fault.source.empty() && fault.source.size() <= kMaxShown) {
    std::string shown = fault.source;
    // One column each, so that the caret stays under its character.
    std::ranges::replace_if(shown, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
    const std::size_t length = characters(shown);
    const std::size_t start = std::min<std::size_t>(fault.column > 0 ? fault.column - 1 : 0, length);
    const std::size_t width = std::clamp<std::size_t>(fault.width, 1, std::max<std::size_t>(length - start, 1));
    const std::string number = fmt::format("{}", fault.line);
    out += fmt::format("\n  {} | {}\n  {:{}} | {}{}", number, base::escape_control(shown), "", number.size(),
                       std::string(start, ' '), std::string(width, '^'));
  }
  if (!fault.suggestion.empty()) out += fmt::format("\n  {}", fault.suggestion);
  return out;
}

Error to_error(std::span<const Fault> faults) {
  std::string all;
  for (const Fault& fault : faults) {
    if (!all.empty()) all += '\n';
    all += render(fault);
  }
  return {ErrorCode::kInvalidConfig, std::move(all)};
}

Fault fault_of(std::string place, std::string message, std::string suggestion) {
  Fault found;
  found.place = std::move(place);
  found.message = std::move(message);
  found.suggestion = std::move(suggestion);
  return found;
}

Fault SourceText::fault(const Spot& spot, std::string message, std::string suggestion) const {
  Fault found = fault_of(name, std::move(message), std::move(suggestion));
  found.line = spot.line;
  found.column = spot.column;
  found.width = spot.width;
  const std::string_view line = line_at(text, spot.line);
  if (!may_hold_secret(line)) found.source = line;
  return found;
}

Fault SourceText::fault(const Origin& origin, std::string message, std::string suggestion) const {
  return origin.layer == Layer::kFile ? fault(origin.spot, std::move(message), std::move(suggestion))
                                      : fault_of(origin.place, std::move(message), std::move(suggestion));
}

Fault SourceText::fault(const Origin& origin, std::size_t item, std::string message, std::string suggestion) const {
  return item < origin.items.size() ? fault(origin.items[item], std::move(message), std::move(suggestion))
                                    : fault(origin, std::move(message), std::move(suggestion));
}

}  // namespace shoal::config
