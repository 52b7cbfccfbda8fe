// What a row of a data file asks: a text, or the messages of a conversation. Owned by value. Threads: any; pure.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include <boost/json/object.hpp>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"

namespace shoal::evaluation {

using Prompt = std::variant<std::vector<types::Message>, std::string>;

// "prompt" or "messages" of a row. Errors: kInvalidData.
[[nodiscard]] Result<Prompt> read_prompt(const boost::json::object& row);

// What a model is asked, to the byte: the same for prompts that are the same, and for no others of their kind.
[[nodiscard]] std::string exact_text(const Prompt& prompt);

}  // namespace shoal::evaluation
