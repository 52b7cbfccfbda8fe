// The chat page, embedded from web/chat at build time. Constant data. Threads: any.
#pragma once

#include <string_view>

namespace shoal::server {

[[nodiscard]] std::string_view chat_html();
[[nodiscard]] std::string_view chat_js();
[[nodiscard]] std::string_view chat_css();

}  // namespace shoal::server
