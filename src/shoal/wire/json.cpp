#include "shoal/wire/json.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <forward_list>
#include <memory>
#include <span>
#include <unordered_set>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value.hpp>
#include <boost/json/value_stack.hpp>

#include "shoal/wire/json_text.h"

namespace shoal::wire {
namespace json = boost::json;
namespace {

// With what else a document has it makes an allocation of a size that the allocator keeps at hand.
constexpr std::size_t kFirstBytes = 800;

enum class Refusal : std::uint8_t { kNone, kNodes, kNumber };

// Takes the parser's events, counts nodes, and refuses numbers that no double holds.
struct Checker {
  static constexpr std::size_t max_object_size = json::object::max_size();
  static constexpr std::size_t max_array_size = json::array::max_size();
  static constexpr std::size_t max_key_size = json::string::max_size();
  static constexpr std::size_t max_string_size = json::string::max_size();

  explicit Checker(std::size_t max_nodes) : nodes_left(max_nodes) {}

  bool node(json::error_code& ec) {
    if (nodes_left == 0) return refuse(Refusal::kNodes, ec);
    --nodes_left;
    return true;
  }
  bool refuse(Refusal why, json::error_code& ec) {
    refusal = why;
    ec = json::error::syntax;
    return false;
  }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }
  bool on_array_begin(json::error_code& ec) { return node(ec); }
  bool on_array_end(std::size_t, json::error_code&) { return true; }
  bool on_object_begin(json::error_code& ec) { return node(ec); }
  bool on_object_end(std::size_t, json::error_code&) { return true; }
  bool on_key_part(json::string_view, std::size_t, json::error_code&) { return true; }
  bool on_key(json::string_view, std::size_t, json::error_code&) { return true; }
  bool on_string_part(json::string_view, std::size_t, json::error_code&) { return true; }
  bool on_string(json::string_view, std::size_t, json::error_code& ec) { return node(ec); }
  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(std::int64_t, json::string_view, json::error_code& ec) { return node(ec); }
  bool on_uint64(std::uint64_t, json::string_view, json::error_code& ec) { return node(ec); }
  bool on_double(double d, json::string_view, json::error_code& ec) {
    return std::isfinite(d) ? node(ec) : refuse(Refusal::kNumber, ec);
  }
  bool on_bool(bool, json::error_code& ec) { return node(ec); }
  bool on_null(json::error_code& ec) { return node(ec); }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

  std::size_t nodes_left;
  Refusal refusal = Refusal::kNone;
};

// The keys of the objects that are open. Few are looked at one by one, which is how nearly all objects are; many are
// hashed, so that a hostile body costs no more than another.
class OpenKeys {
 public:
  OpenKeys() {
    objects_.reserve(8);
    names_.reserve(2 * kFew);
  }
  void open() { objects_.push_back({.first = names_.size()}); }
  void close() {
    names_.resize(objects_.back().first);
    objects_.pop_back();
  }
  // Whether the innermost object has it for the first time. REQUIRES: `name` outlives this.
  bool add(std::string_view name) {
    Object& object = objects_.back();
    const std::span few = std::span(names_).subspan(object.first);
    if (few.size() < kFew) {
      if (std::ranges::find(few, name) != few.end()) return false;
      names_.push_back(name);
      return true;
    }
    if (object.many.empty()) object.many.insert(few.begin(), few.end());
    return object.many.insert(name).second;
  }

 private:
  static constexpr std::size_t kFew = 16;
  struct Object {
    std::size_t first = 0;  // of its names
    std::unordered_set<std::string_view> many{};
  };
  std::vector<Object> objects_;
  std::vector<std::string_view> names_;
};

// Builds the document as well, and notes the first key that an object names twice.
struct Builder : Checker {
  Builder(std::size_t max_nodes, json::storage_ptr storage) : Checker(max_nodes), stack({}, scratch, sizeof scratch) {
    stack.reset(std::move(storage));
  }

  bool on_array_end(std::size_t n, json::error_code&) {
    stack.push_array(n);
    return true;
  }
  bool on_object_begin(json::error_code& ec) {
    keys.open();
    return node(ec);
  }
  bool on_object_end(std::size_t n, json::error_code&) {
    keys.close();
    stack.push_object(n);
    return true;
  }
  bool on_key_part(json::string_view s, std::size_t, json::error_code&) {
    key.append(s.data(), s.size());
    stack.push_chars(s);
    return true;
  }
  bool on_key(json::string_view s, std::size_t, json::error_code&) {
    stack.push_key(s);
    // In one part it is a piece of the text, which is there to the end; of several, or unescaped, it must be kept.
    std::string_view name(s.data(), s.size());
    if (!key.empty() || name.data() < text.data() || name.data() + name.size() > text.data() + text.size()) {
      name = kept.emplace_front(std::move(key).append(name));
      key.clear();
    }
    if (!keys.add(name) && !has_duplicate) {
      has_duplicate = true;
      duplicate = name;
    }
    return true;
  }
  bool on_string_part(json::string_view s, std::size_t, json::error_code&) {
    stack.push_chars(s);
    return true;
  }
  bool on_string(json::string_view s, std::size_t, json::error_code& ec) {
    stack.push_string(s);
    return node(ec);
  }
  bool on_int64(std::int64_t i, json::string_view, json::error_code& ec) {
    stack.push_int64(i);
    return node(ec);
  }
  bool on_uint64(std::uint64_t u, json::string_view, json::error_code& ec) {
    stack.push_uint64(u);
    return node(ec);
  }
  bool on_double(double d, json::string_view s, json::error_code& ec) {
    stack.push_double(d);
    return Checker::on_double(d, s, ec);
  }
  bool on_bool(bool b, json::error_code& ec) {
    stack.push_bool(b);
    return node(ec);
  }
  bool on_null(json::error_code& ec) {
    stack.push_null();
    return node(ec);
  }

  unsigned char scratch[2048];  // of the stack, which asks for memory when it is full
  json::value_stack stack;
  std::string_view text;
  OpenKeys keys;
  std::forward_list<std::string> kept;
  std::string key;
  bool has_duplicate = false;
  std::string duplicate;
};

std::string describe_byte(std::string_view text, std::size_t at) {
  if (at >= text.size()) return "the text ends there";
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte >= 0x20 && byte < 0x7F) return fmt::format("found '{}'", text[at]);
  return fmt::format("found byte 0x{:02x}", byte);
}

Error syntax_error(std::string_view text, std::size_t at, const json::error_code& ec) {
  std::string what = ec.message();
  if (ec == json::error::syntax) what = "not JSON";
  if (ec == json::error::incomplete) what = "the JSON is not complete";
  if (ec == json::error::extra_data) what = "something follows the JSON value";
  return {ErrorCode::kInvalidJson,
          fmt::format("the body is not valid JSON at byte {}: {}; {}", at, what, describe_byte(text, at))};
}

json::parse_options parser_options(const JsonLimits& limits) {
  json::parse_options options;
  options.max_depth = limits.depth;
  return options;
}

template <class Handler>
Result<void> run(json::basic_parser<Handler>& parser, std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.bytes) {
    return Error(ErrorCode::kPayloadTooLarge,
                 fmt::format("the JSON has {} bytes; at most {} are read", text.size(), limits.bytes));
  }
  json::error_code ec;
  const std::size_t read = parser.write_some(false, text.data(), text.size(), ec);
  const Refusal refusal = parser.handler().refusal;
  if (refusal == Refusal::kNodes) {
    return Error(ErrorCode::kInvalidJson,
                 fmt::format("the JSON at byte {} goes past {} values, the most that are read", read, limits.nodes));
  }
  if (refusal == Refusal::kNumber) {
    return Error(ErrorCode::kInvalidJson,
                 fmt::format("the number before byte {} is larger than a double can hold", read));
  }
  if (ec == json::error::too_deep) {
    return Error(ErrorCode::kInvalidJson,
                 fmt::format("the JSON at byte {} is nested deeper than {} levels", read, limits.depth));
  }
  if (!ec && read < text.size()) ec = json::error::extra_data;
  if (ec) return syntax_error(text, read, ec);
  return {};
}

}  // namespace

struct JsonDocument::Parsed {
  unsigned char first[kFirstBytes];  // all of it, for most
  json::monotonic_resource memory{first, sizeof first};
  json::value root;
  bool has_duplicate = false;
  std::string duplicate;
};

JsonDocument::JsonDocument(std::unique_ptr<Parsed> parsed) : parsed_(std::move(parsed)) {}
JsonDocument::JsonDocument(JsonDocument&&) noexcept = default;
JsonDocument& JsonDocument::operator=(JsonDocument&&) noexcept = default;
JsonDocument::~JsonDocument() = default;

Result<JsonDocument> JsonDocument::parse(std::string_view text, const JsonLimits& limits) {
  std::unique_ptr<Parsed> parsed(new Parsed);
  json::basic_parser<Builder> parser(parser_options(limits), limits.nodes, &parsed->memory);
  Builder& builder = parser.handler();
  builder.text = text;
  SHOAL_TRY(run(parser, text, limits));
  // Made anew, and not assigned: an assignment would copy it into the memory of the value that was there.
  std::destroy_at(&parsed->root);
  std::construct_at(&parsed->root, builder.stack.release());
  parsed->has_duplicate = builder.has_duplicate;
  parsed->duplicate = std::move(builder.duplicate);
  return JsonDocument(std::move(parsed));
}

Result<void> check_json(std::string_view text, const JsonLimits& limits) {
  json::basic_parser<Checker> parser(parser_options(limits), limits.nodes);
  return run(parser, text, limits);
}

const json::value& JsonDocument::root() const {
  return parsed_->root;
}

Result<const json::object*> JsonDocument::request_object() const {
  if (!parsed_->root.is_object()) {
    return Error(ErrorCode::kInvalidRequest, "the body must be a JSON object, as in {\"model\": \"...\"}");
  }
  if (parsed_->has_duplicate) {
    const std::string key = shortened(parsed_->duplicate);
    return Error(ErrorCode::kInvalidRequest,
                 fmt::format("the key \"{}\" is given twice in one object; give it once", key))
        .with_param(key);
  }
  return &parsed_->root.get_object();
}

}  // namespace shoal::wire
