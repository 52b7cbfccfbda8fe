#include "shoal/learning/slot_file.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include <boost/json.hpp>

#include "shoal/learning/class_file.h"
#include "shoal/learning/model_file.h"

namespace shoal::learning {
namespace {

namespace json = boost::json;

constexpr std::string_view kKind = "shoal-slots";

std::string print_header(const SlotModel& model) {
  json::object out{{"task", model.name},
                   {"features", kSlotFeaturesVersion},
                   {"date", model.date},
                   {"data_sha256", model.data_sha256}};
  boost::system::error_code error;
  out["report"] = json::parse(model.report, error);
  out["slots"] = json::array(model.slots.begin(), model.slots.end());
  return json::serialize(out);
}

std::string text_of(const json::object& from, std::string_view name) {
  const json::value* const value = from.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

Result<SlotModel> parse_header(std::string_view text) {
  boost::system::error_code error;
  const json::value root = json::parse(json::string_view(text.data(), text.size()), error);
  if (error || !root.is_object()) return damaged("its header is not JSON");
  const json::object& from = root.get_object();
  const json::value* const features = from.if_contains("features");
  if (features == nullptr || *features != kSlotFeaturesVersion) {
    return damaged(
        fmt::format("it reads texts by another version than this program, which has {}", kSlotFeaturesVersion));
  }
  SlotModel out;
  out.name = text_of(from, "task");
  out.date = text_of(from, "date");
  out.data_sha256 = text_of(from, "data_sha256");
  if (const json::value* const report = from.if_contains("report")) out.report = json::serialize(*report);
  const json::value* const slots = from.if_contains("slots");
  if (slots == nullptr || !slots->is_array()) return damaged("it names no slots");
  for (const json::value& slot : slots->get_array()) {
    if (!slot.is_string()) return damaged("a slot is not a text");
    out.slots.emplace_back(slot.get_string());
  }
  if (!is_task_name(out.name) || out.slots.empty()) return damaged("its header is not one of a task");
  return out;
}

bool fits_all(const SlotModel& model) {
  const std::size_t tags = model.tags();
  const auto& buckets = model.buckets;
  return model.weights.size() == buckets.size() * tags && model.steps.size() == tags * tags &&
         std::ranges::adjacent_find(buckets, std::ranges::greater_equal{}) == buckets.end() &&
         (buckets.empty() || buckets.back() < kSlotBuckets);
}

}  // namespace

std::string print_slot_model(const SlotModel& model) {
  std::string out = sealed_head(kKind, kSlotFileVersion, print_header(model));
  Writer writer(out);
  writer.numbers(model.buckets);
  writer.numbers(model.weights);
  writer.numbers(model.steps);
  return out + sum_of(out);
}

Result<SlotModel> parse_slot_model(std::string_view bytes) {
  const Unsealed file = SHOAL_TRY(unseal(kKind, kSlotFileVersion, bytes));
  SlotModel out = SHOAL_TRY(parse_header(file.header));
  Reader reader(file.numbers);
  out.buckets = reader.numbers<std::uint32_t>();
  out.weights = reader.numbers<float>();
  out.steps = reader.numbers<float>();
  if (!reader.ended() || !fits_all(out)) return damaged("its numbers do not fit");
  out.place_buckets();
  return out;
}

Result<std::filesystem::path> save_slot_model(const SlotModel& model, const std::filesystem::path& folder) {
  return save_model_file(folder, model.name + std::string(kSlotFileEnding), print_slot_model(model));
}

}  // namespace shoal::learning
