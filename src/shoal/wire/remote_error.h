// What a provider of any dialect says went wrong, out of whatever it sent. Threads: any; pure.
#pragma once

#include <string_view>

#include "shoal/types/remote.h"

namespace shoal::wire {

// Reads the error objects of OpenAI, Anthropic and Gemini, and what vLLM, llama-server, Ollama, FastAPI, Mistral and
// Azure send in their place: {"error":{}}, {"error":"text"}, [{"error":{}}], {"object":"error"}, {"detail":""},
// {"detail":[{"loc","msg"}]}, {"message":""}, HTML and plain text. `message` is never empty and has at most some 1,000
// bytes; what the provider did not say stays empty. `status`: of HTTP, 0 within a stream.
[[nodiscard]] types::RemoteError parse_error(int status, std::string_view body);

}  // namespace shoal::wire
