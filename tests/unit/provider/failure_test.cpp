// A provider's refusal is told to the client as far as it is the client's business, and says what may help.
#include "shoal/provider/failure.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shoal::provider {
namespace {

using testing::HasSubstr;
using testing::Not;

types::RemoteError said(int status, std::string code = "", std::string message = "secret words") {
  types::RemoteError error;
  error.status = status;
  error.code = std::move(code);
  error.message = std::move(message);
  return error;
}

struct Case {
  types::RemoteError error;
  ErrorCode code;
  FailureClass failure;
};

TEST(Failure, TheCodeDecidesThenTheStatus) {
  const std::vector<Case> cases = {
      {said(500), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(503), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(529), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(408), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(0), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(429), ErrorCode::kRateLimited, FailureClass::kTransient},
      {said(429, "insufficient_quota"), ErrorCode::kUpstreamRefused, FailureClass::kHardDown},
      {said(402), ErrorCode::kUpstreamRefused, FailureClass::kHardDown},
      {said(401), ErrorCode::kUpstreamRefused, FailureClass::kHardDown},
      {said(403), ErrorCode::kUpstreamRefused, FailureClass::kHardDown},
      {said(400, "API_KEY_INVALID"), ErrorCode::kUpstreamRefused, FailureClass::kHardDown},
      {said(400, "", "Your credit balance is too low to access the API"), ErrorCode::kUpstreamRefused,
       FailureClass::kHardDown},
      {said(400, "context_length_exceeded"), ErrorCode::kContextLengthExceeded, FailureClass::kContextLength},
      {said(400, "", "This model's maximum context length is 8192"), ErrorCode::kContextLengthExceeded,
       FailureClass::kContextLength},
      {said(500, "context_length_exceeded"), ErrorCode::kUpstreamFailed, FailureClass::kTransient},
      {said(400), ErrorCode::kInvalidRequest, FailureClass::kClientFault},
      {said(404), ErrorCode::kModelNotFound, FailureClass::kClientFault},
      {said(413), ErrorCode::kPayloadTooLarge, FailureClass::kClientFault},
      {said(422), ErrorCode::kUnsupportedParameter, FailureClass::kClientFault},
      {said(418), ErrorCode::kInvalidRequest, FailureClass::kClientFault},
      {said(302), ErrorCode::kBadAnswer, FailureClass::kTransient},
  };
  for (const Case& one : cases) {
    const Error error = error_of("acme", one.error, {});
    EXPECT_EQ(error.code(), one.code) << one.error.status << " " << one.error.code;
    EXPECT_EQ(class_of(error), one.failure) << one.error.status << " " << one.error.code;
    EXPECT_THAT(error.message(), HasSubstr("acme"));
  }
  EXPECT_EQ(class_of(Error(ErrorCode::kCancelled, "")), FailureClass::kOurs);
  EXPECT_EQ(class_of(Error(ErrorCode::kUnreachable, "")), FailureClass::kTransient);
}

// What is between this server and the provider is not the client's business: messages about keys often quote them.
TEST(Failure, TheProvidersWordsAboutOurKeyAreNotHandedOn) {
  for (const int status : {401, 402, 403, 429, 500})
    EXPECT_THAT(error_of("acme", said(status), {}).message(), Not(HasSubstr("secret words"))) << status;
  EXPECT_THAT(error_of("acme", said(400), {}).message(), HasSubstr("acme says: secret words"));
  types::RemoteError fault = said(400);
  fault.param = "tools[0]";
  EXPECT_EQ(error_of("acme", fault, {}).param(), "tools[0]");
}

TEST(Failure, AKeyIsHiddenWhereverItStands) {
  const auto hidden = [](std::string text, std::string_view key = "sk-0123456789") {
    hide_key(text, key);
    return text;
  };
  EXPECT_EQ(hidden("sk-0123456789 and sk-0123456789"), "(key) and (key)");
  EXPECT_EQ(hidden("it was sk-01234..."), "it was (key)...") << "cut off in its midst";
  EXPECT_EQ(hidden("it was sk-0123456789..."), "it was (key)...");
  EXPECT_EQ(hidden("it was sk-01234"), "it was sk-01234") << "as a provider shortens it";
  EXPECT_EQ(hidden("none of these", "none"), "none of these") << "no secret";
  EXPECT_EQ(hidden("", "sk-0123456789"), "");
}

TEST(Failure, WhenToComeBackIsHandedOn) {
  EXPECT_EQ(error_of("acme", said(429), 1500).retry_after_ms(), 1500);
  EXPECT_EQ(error_of("acme", said(503), 20).retry_after_ms(), 20);
  EXPECT_FALSE(error_of("acme", said(503), {}).retry_after_ms());
  types::RemoteError in_body = said(429);
  in_body.retry_after_ms = 17'000;
  EXPECT_EQ(error_of("acme", in_body, {}).retry_after_ms(), 17'000);
  EXPECT_EQ(error_of("acme", in_body, 20).retry_after_ms(), 20) << "the header comes first";
}

TEST(Failure, RetryAfterIsReadAsSecondsMillisecondsOrADate) {
  constexpr std::int64_t kNow = 784'111'777;  // Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110
  EXPECT_EQ(retry_after_ms("", "2", kNow), 2000);
  EXPECT_EQ(retry_after_ms("1500", "2", kNow), 1500);
  EXPECT_EQ(retry_after_ms("", "0.5", kNow), 500);
  EXPECT_EQ(retry_after_ms("", "Sun, 06 Nov 1994 08:49:47 GMT", kNow), 10'000);
  EXPECT_EQ(retry_after_ms("", "Sun, 06 Nov 1994 08:00:00 GMT", kNow), 0) << "it is past";
  EXPECT_EQ(retry_after_ms("", "Sunday, 06-Nov-94 08:49:47 GMT", kNow), 10'000);
  EXPECT_EQ(retry_after_ms("", "Sun Nov  6 08:49:47 1994", kNow), 10'000);
  EXPECT_EQ(retry_after_ms("", "999999999", kNow), 86'400'000) << "a day at most";
  for (const char* const none : {"", "soon", "-3", "12x", "nan"}) EXPECT_FALSE(retry_after_ms("", none, kNow)) << none;
}

}  // namespace
}  // namespace shoal::provider
