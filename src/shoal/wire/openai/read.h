// What the parsers of the OpenAI dialect share; for the sources of this folder alone. Each reader takes a part of a
// request out of `in`, which collects the first fault and the needs. Threads: any; pure.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/string.hpp>

#include "shoal/base/error.h"
#include "shoal/types/chat.h"
#include "shoal/wire/fields.h"

namespace shoal::wire::openai {

[[nodiscard]] inline std::string_view view(const boost::json::string& s) {
  return {s.data(), s.size()};
}
[[nodiscard]] inline std::string_view view(boost::json::string_view s) {
  return {s.data(), s.size()};
}

// kInvalidRequest: "`path` `message`".
[[nodiscard]] Error bad(std::string path, std::string_view message);

[[nodiscard]] std::vector<types::Message> read_messages(Fields& in, const boost::json::array& values,
                                                        const std::string& path);
// The `type` of an object, which names the member that describes it: one of `types`, with that member and without the
// others. Empty: it has none, or `in` a fault.
[[nodiscard]] std::string read_type(Fields& in, std::span<const std::string_view> types);
// tools, tool_choice and parallel_tool_calls.
void read_tools(Fields& in, types::ChatRequest& request);
void read_response_format(Fields& in, types::ResponseFormat& format);
void check_modalities(Fields& in);
// {"id","type","function":{"name","arguments"}}; nothing: a call that only the client's bytes hold.
[[nodiscard]] std::optional<types::ToolCall> read_tool_call(Fields& in, const boost::json::value& value,
                                                            const std::string& path);

// For endpoints that only Shoal's own engine has: what it cannot do is a fault. After the last reader.
void refuse_needs(Fields& in);

}  // namespace shoal::wire::openai
