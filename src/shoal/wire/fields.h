// Fields: the strict reader of a request object. A table says which keys an endpoint knows, with type and
// range; the same table makes /openapi.json, so that the document cannot disagree with the parser. A key that
// is not in the table, and a value that Shoal does not honour, are refused by name and never dropped. What some models
// can do and others cannot is collected: whoever chooses the model refuses it.
//
// Use: `Fields in(object, "", kFields); request.n = in.integer("n").value_or(1); SHOAL_TRY(in.finish());`
// The first fault sticks, later reads return nothing, finish() returns it. null means absent.
// Lives on the stack while one object is read. Threads: as plain data.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"

namespace shoal::wire {

enum class FieldType : std::uint8_t { kString, kNumber, kInteger, kBoolean, kArray, kObject, kAny };

enum class FieldRule : std::uint8_t {
  kHonoured,
  kAccepted,  // read and checked for its type, changes nothing in the answer
  kRefused,   // refused by name, except for the values in `harmless`, which ask for nothing
  kNeeds,     // of its type, and not one of `harmless`: what not every model can do; see Fields::needs()
};

struct FieldSpec {
  std::string_view name;
  FieldType type = FieldType::kAny;
  FieldRule rule = FieldRule::kHonoured;
  std::string_view what;  // for the documentation
  double min = std::numeric_limits<double>::lowest();
  double max = std::numeric_limits<double>::max();
  bool above_min = false;     // min itself is out of range
  std::string_view harmless;  // kRefused, kNeeds: JSON texts that ask for nothing, separated by '|'
  std::string_view instead;   // kRefused: the parameter of ours that another server calls by this name
  bool required = false;
  std::string_view schema;  // JSON Schema members in place of `type`, for arrays, objects and unions
  types::NeedKind need = types::NeedKind::kTools;  // kNeeds: what it needs
  bool verbatim = false;                           // kNeeds: no field of types/ holds it, so it needs kOpenAi as well
};

class Fields {
 public:
  // `path` is the object's own: "" for the body, "messages[2]" within. REQUIRES: all outlive this.
  Fields(const boost::json::object& object, std::string path, std::span<const FieldSpec> table);

  // Each reads one key of the table; nothing when it is absent or null, or when a fault was found.
  // REQUIRES: the table has it, with that type.
  std::optional<std::string> text(std::string_view key);
  std::optional<double> number(std::string_view key);
  std::optional<std::int64_t> integer(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  const boost::json::array* array(std::string_view key);
  const boost::json::object* object(std::string_view key);
  const boost::json::value* any(std::string_view key);

  // Records a fault found by the caller, unless there is one.
  void fail(Error error);
  // Records what not every model can do, found by the caller.
  void need(types::NeedKind kind, const std::string& param, bool verbatim = false);
  // Finishes the reader of an object within this one, and takes over its fault and its needs.
  void finish(Fields& inner);
  [[nodiscard]] bool ok() const { return !fault_.has_value(); }
  // "messages[2].role"
  [[nodiscard]] std::string path_of(std::string_view key) const;

  // Errors: the first fault; else kUnsupportedParameter for a key that is unknown (with suggestion) or whose
  // value is not honoured; else kInvalidRequest for a required key that is missing.
  [[nodiscard]] Result<void> finish();

  // After finish(): what the object asks for that not every model can do, with the paths of the parameters.
  [[nodiscard]] std::vector<types::Need>& needs() { return needs_; }

 private:
  [[nodiscard]] const FieldSpec& spec(std::string_view key) const;
  const boost::json::value* find(std::string_view key) const;
  void check_range(const FieldSpec& spec, double value, const boost::json::value& shown);
  void check_key(std::string_view key, const boost::json::value& value);

  const boost::json::object& object_;
  const std::string path_;
  const std::span<const FieldSpec> table_;
  std::optional<Error> fault_;
  std::vector<types::Need> needs_;
};

// "messages[2]"
[[nodiscard]] std::string item_path(std::string_view path, std::size_t index);
// kInvalidRequest: "temperature must be a number, not the string \"1\"".
[[nodiscard]] Error wrong_type(std::string path, std::string_view wanted, const boost::json::value& came);
// A value as it may be shown in a message: short, one line, valid UTF-8.
[[nodiscard]] std::string describe(const boost::json::value& value);

}  // namespace shoal::wire
