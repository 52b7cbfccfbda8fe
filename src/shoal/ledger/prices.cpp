#include "shoal/ledger/prices.h"

#include <algorithm>
#include <array>
#include <functional>
#include <set>
#include <tuple>

#include <fmt/format.h>

#include "shoal/base/suggest.h"
#include "shoal/base/text.h"
#include "shoal/ledger/calendar.h"

namespace shoal::ledger {
namespace {

constexpr std::size_t kMaxName = 256;      // bytes; no model has a longer name
constexpr std::size_t kMaxSuggested = 64;  // and for none longer the nearest is sought: that takes its square

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string lowered(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), lower);
  return out;
}

// The same without an allocation: names are looked up for each request.
class LowerName {
 public:
  explicit LowerName(std::string_view text) : size_(std::min(text.size(), kMaxName)) {
    std::ranges::transform(text.substr(0, size_), buffer_.begin(), lower);
  }
  [[nodiscard]] std::string_view view() const { return {buffer_.data(), size_}; }

 private:
  std::array<char, kMaxName> buffer_;
  std::size_t size_;
};

struct Hash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

}  // namespace

struct PriceTable::Entry {
  int layer = 0;
  const PriceRow* row = nullptr;
};

// Names in lower case. Entries of one name: the latest layer first, and within it the latest date.
struct PriceTable::Provider {
  struct Prefix {
    std::string text;
    std::vector<Entry> entries;
  };
  std::string name;
  std::unordered_map<std::string, std::vector<Entry>, Hash, std::equal_to<>> exact;
  std::vector<Prefix> prefixes;  // the longest first

  std::vector<Entry>& entries_of(std::string_view model) {
    if (!model.ends_with('*')) return exact[std::string(model)];
    model.remove_suffix(1);
    const auto at = std::ranges::find_if(
        prefixes, [&](const Prefix& prefix) { return prefix.text == model || prefix.text.size() < model.size(); });
    if (at != prefixes.end() && at->text == model) return at->entries;
    return prefixes.insert(at, Prefix{.text = std::string(model), .entries = {}})->entries;
  }

  [[nodiscard]] static const PriceRow* at(const std::vector<Entry>& entries, std::int64_t time) {
    for (const Entry& entry : entries) {
      if (entry.row->from <= time) return entry.row;
    }
    return nullptr;
  }
};

PriceTable::PriceTable() = default;
PriceTable::PriceTable(PriceTable&&) noexcept = default;
PriceTable& PriceTable::operator=(PriceTable&&) noexcept = default;
PriceTable::~PriceTable() = default;

Result<void> PriceTable::add(std::vector<PriceRow> rows) {
  std::set<std::tuple<std::string, std::string, std::int64_t>> seen;
  for (const PriceRow& row : rows) {
    if (!seen.emplace(lowered(row.provider), lowered(row.model), row.from).second) {
      return Error(ErrorCode::kInvalidConfig, fmt::format("two prices for {}", base::escape_control(row.id())))
          .with_param("from");
    }
  }
  ++layers_;
  for (PriceRow& row : rows) {
    const std::string name = lowered(row.provider);
    auto provider = std::ranges::find(providers_, name, [](const auto& known) -> const auto& { return known->name; });
    if (provider == providers_.end()) {
      provider = providers_.insert(provider, std::make_unique<Provider>());
      (*provider)->name = name;
    }
    std::vector<Entry>& entries = (*provider)->entries_of(lowered(row.model));
    const auto place = std::ranges::find_if(
        entries, [&](const Entry& entry) { return entry.layer < layers_ || entry.row->from < row.from; });
    const auto entry = entries.insert(place, Entry{.layer = layers_});
    rows_.push_back(std::make_unique<const PriceRow>(std::move(row)));
    entry->row = rows_.back().get();
  }
  return {};
}

const PriceRow* PriceTable::row(std::string_view provider, std::string_view model, std::int64_t at) const {
  if (provider.size() > kMaxName || model.size() > kMaxName) return nullptr;
  const LowerName provider_name(provider);
  const LowerName model_name(model);
  for (const auto& known : providers_) {
    if (known->name != provider_name.view()) continue;
    if (const auto exact = known->exact.find(model_name.view()); exact != known->exact.end()) {
      if (const PriceRow* const found = Provider::at(exact->second, at)) return found;
    }
    for (const Provider::Prefix& prefix : known->prefixes) {
      if (!model_name.view().starts_with(prefix.text)) continue;
      if (const PriceRow* const found = Provider::at(prefix.entries, at)) return found;
    }
  }
  return nullptr;
}

Result<const PriceRow*> PriceTable::find(std::string_view provider, std::string_view model, std::int64_t at) const {
  if (const PriceRow* const known = row(provider, model, at)) return known;
  return unknown(provider, model, at);
}

Error PriceTable::unknown(std::string_view provider, std::string_view model, std::int64_t at) const {
  std::vector<std::string_view> names;
  std::optional<std::int64_t> later;
  for (const auto& row : rows_) {
    if (lowered(row->provider) != lowered(provider)) continue;
    names.push_back(row->model);
    if (lowered(row->model) == lowered(model)) later = std::min(later.value_or(row->from), row->from);
  }
  const std::string provider_shown = base::escape_control(provider.substr(0, kMaxName));
  const std::string model_shown = base::escape_control(model.substr(0, kMaxName));
  Error error(
      ErrorCode::kUnknownPrice,
      fmt::format("no price for {0}/{1} on {2}{3}; add to the configuration a [[price]] with provider = \"{0}\", "
                  "model = \"{1}\", from = \"{2}\", and input_usd and output_usd, in USD per million tokens",
                  provider_shown, model_shown, date_text(at),
                  later ? fmt::format(" (the first holds from {})", date_text(*later)) : ""));
  const std::string_view near = later || model.size() > kMaxSuggested ? "" : base::suggest(model, names);
  return near.empty() ? error : std::move(error).with_suggestion(std::string(near));
}

}  // namespace shoal::ledger
