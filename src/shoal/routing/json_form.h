// Whether a text is JSON, and has the form that a JSON Schema asks for, as far as type, required, properties,
// additionalProperties, items, enum and const say it; other words of a schema are passed over, so that "no" is sure and
// "yes" is not. Threads: any; pure. Allocates.
#pragma once

#include <string_view>

namespace shoal::routing {

// `schema` empty: JSON of any form. A schema that is no JSON object asks for nothing.
[[nodiscard]] bool has_json_form(std::string_view text, std::string_view schema);

}  // namespace shoal::routing
