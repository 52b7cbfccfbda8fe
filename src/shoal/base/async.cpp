// The one translation unit that compiles Asio.
#include "shoal/base/async.h"

#include <cstdlib>

#include <fmt/format.h>

#include <boost/asio/impl/src.hpp>

namespace shoal::base {

void die_of_exception(const char* name, std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    fmt::print(stderr, "coroutine {} ended with an exception: {}\n", name, e.what());
  }
  std::abort();
}

}  // namespace shoal::base
