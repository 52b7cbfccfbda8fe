// The refusal of what no candidate can do, in one wording. Threads: any; pure.
#pragma once

#include <string>
#include <string_view>

#include "shoal/base/error.h"
#include "shoal/types/chat.h"

namespace shoal::types {

// What a model that cannot is said not to do: "no model that may answer this request ...".
[[nodiscard]] constexpr std::string_view ability(NeedKind kind) {
  switch (kind) {
    case NeedKind::kTools:
      return "can call tools";
    case NeedKind::kImages:
      return "can see images";
    case NeedKind::kAudio:
      return "can hear or speak";
    case NeedKind::kStructured:
      return "can be held to a format";
    case NeedKind::kReasoning:
      return "lets its reasoning be set";
    case NeedKind::kSignals:
      return "shows what this engine shows";
    case NeedKind::kPaid:
      return "has extras that are paid for";
    case NeedKind::kStored:
      return "keeps answers";
    case NeedKind::kOpenAi:
      return "knows it";
  }
  return "can do it";
}

// kUnsupportedParameter that names the parameter.
[[nodiscard]] inline Error unsupported(const Need& need) {
  return Error(ErrorCode::kUnsupportedParameter, need.param +
                                                     " is not supported: no model that may answer this request " +
                                                     std::string(ability(need.kind)) + "; leave it out")
      .with_param(need.param);
}

}  // namespace shoal::types
