// Secrets in the wrong place: somebody pasted a key where the name of a variable belongs, or made up a field for it.
// Such a text must not travel on in a fault, a log or a screenshot. Guesses from the form of the text: what they miss
// is shown as it would be anyway, and what they hit needlessly costs the fault its line. Threads: any; pure.
#pragma once

#include <string_view>

namespace shoal::config {

// "sk-...", "gsk_...", or long and random as keys are.
[[nodiscard]] bool looks_like_secret(std::string_view text);

// "api_key", "password": a name that a secret would have.
[[nodiscard]] bool names_secret(std::string_view name);

// Whether a word of this line looks like a secret, or a URL in it has a user or a query.
[[nodiscard]] bool may_hold_secret(std::string_view line);

// What the environment can have: letters, digits and underscores, no digit first.
[[nodiscard]] bool is_variable_name(std::string_view text);

}  // namespace shoal::config
