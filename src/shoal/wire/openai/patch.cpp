// Texts of the OpenAI dialect with a few members changed and every other byte as it came.
#include <algorithm>
#include <array>
#include <cassert>
#include <string>
#include <utility>
#include <vector>

#include "shoal/wire/json_text.h"
#include "shoal/wire/json_walk.h"
#include "shoal/wire/openai/upstream.h"

namespace shoal::wire::openai {
namespace {

// Changes of the top level of one object, collected while it is walked over once, and then applied in one pass.
class Patch {
 public:
  explicit Patch(std::string_view object) : object_(object), after_brace_(object.find('{') + 1) {
    edits_.reserve(4);
    assert(after_brace_ > 0 && after_brace_ <= object.size());
  }

  // One of these for each member, in their order.
  void keep(const JsonWalk& member) {
    // What was cut before a member that stays takes the comma after it along.
    if (cut_begin_ != kNone) edits_.push_back({{cut_begin_, member.key_range().begin}, {}});
    cut_begin_ = kNone;
    kept_end_ = member.value_range().end;
    any_kept_ = true;
  }
  void cut(const JsonWalk& member) {
    if (cut_begin_ == kNone) cut_begin_ = member.key_range().begin;
    cut_end_ = member.value_range().end;
  }

  // Of a member that is kept: another value.
  void replace(ByteRange value, std::string by) { edits_.push_back({value, std::move(by)}); }
  // After all of them: a member more, at the end.
  void add(std::string_view name, std::string_view value) {
    constexpr std::size_t kPunctuation = 4;
    added_.reserve(added_.size() + name.size() + value.size() + kPunctuation);
    added_ += added_.empty() && !any_kept_ ? "\"" : ",\"";
    added_.append(name).append("\":").append(value);
  }

  [[nodiscard]] std::string apply() && {
    // What was cut after the last member that stays takes the comma before it along.
    edits_.push_back({{kept_end_, std::max(kept_end_, cut_end_)}, std::move(added_)});
    std::ranges::sort(edits_, {}, [](const Edit& edit) { return edit.range.begin; });
    std::string out;
    std::size_t most = object_.size();
    for (const Edit& edit : edits_) most += edit.text.size();
    out.reserve(most);
    std::size_t done = 0;
    for (const Edit& edit : edits_) {
      assert(edit.range.begin >= done);
      out.append(object_.substr(done, edit.range.begin - done)).append(edit.text);
      done = edit.range.end;
    }
    return out.append(object_.substr(done));
  }

 private:
  struct Edit {
    ByteRange range;
    std::string text;
  };

  static constexpr std::size_t kNone = std::string_view::npos;
  const std::string_view object_;
  const std::size_t after_brace_;
  std::vector<Edit> edits_;
  std::string added_;
  bool any_kept_ = false;
  std::size_t kept_end_ = after_brace_;  // of the last member that stays
  std::size_t cut_begin_ = kNone;        // of those cut since then
  std::size_t cut_end_ = 0;
};

std::string json_text(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

// The value of stream_options, which is an object or null, with the usage asked for.
std::string with_include_usage(std::string_view options) {
  if (!json_is_object(options)) return R"({"include_usage":true})";
  Patch patch(options);
  bool found = false;
  JsonWalk walk(options);
  while (walk.next()) {
    patch.keep(walk);
    if (!walk.is("include_usage")) continue;
    found = true;
    patch.replace(walk.value_range(), "true");
  }
  if (!found) patch.add("include_usage", "true");
  return std::move(patch).apply();
}

// A message more, before those of the array.
std::string with_system_message(std::string_view messages, std::string_view prompt) {
  const std::size_t begin = messages.find('[') + 1;
  const bool none = messages[messages.find_first_not_of(" \t\r\n", begin)] == ']';
  std::string out(messages.substr(0, begin));
  out += R"({"role":"system","content":)";
  append_json_string(out, prompt);
  out += none ? "}" : "},";
  return out.append(messages.substr(begin));
}

}  // namespace

std::string patch_request(std::string_view body, const RequestPatch& wanted) {
  Patch patch(body);
  constexpr std::array<std::string_view, 2> kLimits = {"max_tokens", "max_completion_tokens"};
  const std::string_view limit = kLimits.at(static_cast<std::size_t>(wanted.limit));
  bool has_model = false;
  bool has_options = false;
  bool has_limit = false;
  std::optional<ByteRange> null_limit;  // of the name that is wanted

  JsonWalk walk(body);
  while (walk.next()) {
    if (walk.is("x_shoal") || walk.is("ignore_eos")) {
      patch.cut(walk);
      continue;
    }
    patch.keep(walk);
    if (walk.is("model")) {
      has_model = true;
      patch.replace(walk.value_range(), json_text(wanted.model));
    } else if (wanted.include_usage && walk.is("stream_options")) {
      has_options = true;
      patch.replace(walk.value_range(), with_include_usage(walk.value()));
    } else if (!wanted.system_prompt.empty() && walk.is("messages")) {
      patch.replace(walk.value_range(), with_system_message(walk.value(), wanted.system_prompt));
    } else if (walk.is(kLimits[0]) || walk.is(kLimits[1])) {
      has_limit = has_limit || !json_is_null(walk.value());
      if (walk.is(limit)) null_limit = walk.value_range();
    }
  }
  if (!has_model) patch.add("model", json_text(wanted.model));
  if (wanted.max_tokens && !has_limit) {
    if (null_limit) {
      patch.replace(*null_limit, std::to_string(*wanted.max_tokens));
    } else {
      patch.add(limit, std::to_string(*wanted.max_tokens));
    }
  }
  if (wanted.include_usage && !has_options) patch.add("stream_options", R"({"include_usage":true})");
  return std::move(patch).apply();
}

std::string with_x_shoal(std::string_view object, std::string_view x_shoal) {
  // Nearly none has one, by that name or escaped: it goes before the last brace, and nothing is walked over.
  constexpr std::string_view kName = "\"x_shoal\":";
  if (object.find("x_shoal") == std::string_view::npos && object.find("\\u") == std::string_view::npos) {
    const std::size_t brace = object.rfind('}');
    const std::size_t end = object.find_last_not_of(" \t\r\n", brace - 1) + 1;
    std::string out;
    out.reserve(object.size() + kName.size() + x_shoal.size() + 1);
    out.append(object.substr(0, end));
    if (out.back() != '{') out += ',';
    return out.append(kName).append(x_shoal).append(object.substr(end));
  }
  Patch patch(object);
  JsonWalk walk(object);
  while (walk.next()) {
    if (walk.is("x_shoal")) {
      patch.cut(walk);
    } else {
      patch.keep(walk);
    }
  }
  patch.add("x_shoal", x_shoal);
  return std::move(patch).apply();
}

std::string without_usage(std::string chunk) {
  JsonWalk walk(chunk);
  std::size_t kept_end = std::string::npos;
  while (walk.next()) {
    if (!walk.is("usage")) {
      kept_end = walk.value_range().end;
      continue;
    }
    const ByteRange key = walk.key_range();
    const ByteRange value = walk.value_range();
    // With the comma after it, or the one before it.
    const std::size_t end = walk.next() ? walk.key_range().begin : value.end;
    const bool last = end == value.end;
    const std::size_t begin = last && kept_end != std::string::npos ? kept_end : key.begin;
    chunk.erase(begin, end - begin);
    return chunk;
  }
  return chunk;
}

}  // namespace shoal::wire::openai
