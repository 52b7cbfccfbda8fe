#include "shoal/store/rows.h"

namespace shoal::store {

std::string_view name_of(AttemptState state) {
  switch (state) {
    case AttemptState::kOpen:
      return "open";
    case AttemptState::kSettled:
      return "settled";
    case AttemptState::kNotSent:
      return "not_sent";
    case AttemptState::kUnknown:
      return "unknown";
  }
  return "";
}

}  // namespace shoal::store
