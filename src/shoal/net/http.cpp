#include "shoal/net/http.h"

#include "shoal/net/head.h"

namespace shoal::net {

std::string_view HttpRequest::header(std::string_view name) const {
  for (const auto& [field, value] : headers) {
    if (iequals(field, name)) return value;
  }
  return {};
}

}  // namespace shoal::net
