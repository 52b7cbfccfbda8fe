// How a parser refused a request, for its tests.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "shoal/base/result.h"

namespace shoal::wire {

struct Refusal {
  std::string code;
  std::string param;
  std::string message;
};
template <class T>
Refusal refusal(const Result<T>& result) {
  if (result.ok()) return {"accepted", "", ""};
  return {std::string(result.error().info().slug), result.error().param(), result.error().message()};
}

#define EXPECT_REFUSED(result, wanted_code, wanted_param, wanted_text)            \
  do {                                                                            \
    const Refusal came = refusal(result);                                         \
    EXPECT_EQ(came.code, wanted_code) << came.message;                            \
    EXPECT_EQ(came.param, wanted_param) << came.message;                          \
    EXPECT_NE(came.message.find(wanted_text), std::string::npos) << came.message; \
  } while (false)

}  // namespace shoal::wire
