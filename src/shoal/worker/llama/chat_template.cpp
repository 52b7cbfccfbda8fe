#include "shoal/worker/llama/chat_template.h"

#include <exception>
#include <utility>

#include <jinja/caps.h>
#include <jinja/lexer.h>
#include <jinja/parser.h>
#include <jinja/runtime.h>
#include <jinja/value.h>
#include <json.h>

namespace shoal::worker::llama {
namespace {

const char* role_name(types::Role role) {
  switch (role) {
    case types::Role::kSystem:
      return "system";
    case types::Role::kUser:
      return "user";
    case types::Role::kAssistant:
      return "assistant";
    case types::Role::kTool:
      return "tool";
  }
  return "user";
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::program program;
  jinja::caps capabilities;
  std::string source;
  std::string bos;
  std::string eos;
};

ChatTemplate::ChatTemplate(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

Result<ChatTemplate> ChatTemplate::compile(const std::string& source, std::string bos, std::string eos) {
  auto impl = std::make_unique<Impl>();
  try {
    jinja::lexer lexer;
    auto tokens = lexer.tokenize(source);
    impl->program = jinja::parse_from_tokens(tokens);
    impl->source = tokens.source;
    impl->capabilities = jinja::caps_get(impl->program);
  } catch (const std::exception& e) {
    return Error(ErrorCode::kModelInvalid, std::string("the chat template of the model does not parse: ") + e.what());
  }
  impl->bos = std::move(bos);
  impl->eos = std::move(eos);
  return ChatTemplate(std::move(impl));
}

Result<std::vector<PromptPiece>> ChatTemplate::render(const std::vector<types::Message>& messages) const {
  // Templates that know only lists of typed parts get them.
  const bool typed = !impl_->capabilities.supports_string_content && impl_->capabilities.supports_typed_content;
  try {
    common_json list = common_json::array();
    for (const types::Message& message : messages) {
      common_json entry = common_json{{"role", role_name(message.role)}};
      if (typed) {
        entry["content"] = common_json::array({common_json{{"type", "text"}, {"text", message.content}}});
      } else {
        entry["content"] = message.content;
      }
      if (!message.name.empty()) entry["name"] = message.name;
      list.push_back(entry);
    }
    const common_json input{{"messages", list},
                            {"bos_token", impl_->bos},
                            {"eos_token", impl_->eos},
                            {"enable_thinking", true},
                            {"add_generation_prompt", true}};
    jinja::context context(impl_->source);
    jinja::global_from_json(context, input, /*mark_input=*/true);
    jinja::runtime runtime(context);
    const jinja::value results = runtime.execute(impl_->program);
    const auto parts = jinja::runtime::gather_string_parts(results);
    std::vector<PromptPiece> pieces;
    for (const auto& part : parts->val_str.parts) pieces.push_back({part.val, part.is_input});
    return pieces;
  } catch (const std::exception& e) {
    return Error(ErrorCode::kInvalidRequest,
                 std::string("the chat template of the model refuses these messages: ") + e.what())
        .with_param("messages");
  }
}

}  // namespace shoal::worker::llama
