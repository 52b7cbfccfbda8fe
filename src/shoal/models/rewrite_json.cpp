#include "shoal/models/rewrite_json.h"

#include <string_view>

#include <boost/json.hpp>

namespace shoal::models {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

double number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  json::error_code ignored;
  return value != nullptr && value->is_number() ? value->to_number<double>(ignored) : 0;
}

std::uint64_t bytes_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  json::error_code ignored;
  return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>(ignored) : 0;
}

const json::object* object_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr ? value->if_object() : nullptr;
}

json::object to_json(const RewriteFigures& figures) {
  return {{"file_bytes", figures.file_bytes},
          {"resident_bytes", figures.resident_bytes},
          {"prefill_tokens_per_second", figures.prefill},
          {"decode_tokens_per_second", figures.decode},
          {"streams16_tokens_per_second", figures.streams},
          {"perplexity", figures.perplexity}};
}

RewriteFigures figures_from(const json::object* object) {
  if (object == nullptr) return {};
  return {bytes_of(*object, "file_bytes"),
          bytes_of(*object, "resident_bytes"),
          number_of(*object, "prefill_tokens_per_second"),
          number_of(*object, "decode_tokens_per_second"),
          number_of(*object, "streams16_tokens_per_second"),
          number_of(*object, "perplexity")};
}

}  // namespace

json::object to_json(const RewriteCandidate& candidate) {
  json::object out{{"type", candidate.type}};
  if (!candidate.not_tested.empty()) {
    out["not_tested"] = candidate.not_tested;
    return out;
  }
  out["source"] = to_json(candidate.source);
  out["candidate"] = to_json(candidate.figures);
  out["prefill_ratio"] = candidate.prefill_ratio;
  out["decode_ratio"] = candidate.decode_ratio;
  out["streams16_ratio"] = candidate.streams_ratio;
  out["speedup"] = candidate.speedup();
  out["more_memory_percent"] = candidate.more_memory_percent();
  out["kl"] = candidate.kl;
  out["top1_agreement"] = candidate.agreement;
  return out;
}

json::object to_json(const Rewrite& rewrite) {
  return {{"source_path", rewrite.source_path.string()},
          {"source_sha256", rewrite.source_sha256},
          {"source_bytes", rewrite.source_bytes},
          {"source_type", rewrite.source_type},
          {"measured", to_json(rewrite.chosen)},
          {"terms", rewrite.terms},
          {"machine", rewrite.machine},
          {"made_at", rewrite.made_at}};
}

std::optional<Rewrite> rewrite_from(const json::object& object) {
  Rewrite rewrite;
  rewrite.source_path = text_of(object, "source_path");
  rewrite.source_sha256 = text_of(object, "source_sha256");
  rewrite.source_bytes = bytes_of(object, "source_bytes");
  rewrite.source_type = text_of(object, "source_type");
  rewrite.terms = text_of(object, "terms");
  rewrite.machine = text_of(object, "machine");
  rewrite.made_at = text_of(object, "made_at");
  const json::object* measured = object_of(object, "measured");
  if (rewrite.source_path.empty() || rewrite.source_sha256.empty() || measured == nullptr) return std::nullopt;
  RewriteCandidate& chosen = rewrite.chosen;
  chosen.type = text_of(*measured, "type");
  chosen.source = figures_from(object_of(*measured, "source"));
  chosen.figures = figures_from(object_of(*measured, "candidate"));
  chosen.prefill_ratio = number_of(*measured, "prefill_ratio");
  chosen.decode_ratio = number_of(*measured, "decode_ratio");
  chosen.streams_ratio = number_of(*measured, "streams16_ratio");
  chosen.kl = number_of(*measured, "kl");
  chosen.agreement = number_of(*measured, "top1_agreement");
  return rewrite;
}

}  // namespace shoal::models
