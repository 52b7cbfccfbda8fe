// ChatTemplate: a model's chat template, compiled once. Renders messages into pieces that say whether they
// come from the template or from a client, so that a client's text can never become a control token.
// A wrapper around llama.cpp's own jinja engine. Owned by LlamaModel. Threads: the compute thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/types/chat.h"

namespace shoal::worker::llama {

struct PromptPiece {
  std::string text;
  bool from_client = false;
};

class ChatTemplate {
 public:
  // Errors: kModelInvalid, when the template does not parse.
  static Result<ChatTemplate> compile(const std::string& source, std::string bos, std::string eos);
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  // The prompt up to where the assistant begins. Errors: kInvalidRequest, with the template's own complaint
  // ("roles must alternate").
  [[nodiscard]] Result<std::vector<PromptPiece>> render(const std::vector<types::Message>& messages) const;

 private:
  struct Impl;
  explicit ChatTemplate(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace shoal::worker::llama
