// Two layers that may not know each other have one number in common.
#include <gtest/gtest.h>

#include "shoal/config/config.h"
#include "shoal/ledger/prices.h"

namespace shoal::cli {
namespace {

TEST(PriceDefaults, OfTheConfigurationAreTheLedgers) {
  EXPECT_EQ(config::PriceConfig().message_tokens, ledger::kMessageTokens);
  EXPECT_EQ(config::PriceConfig().tool_tokens, ledger::kToolTokens);
  EXPECT_EQ(config::PriceConfig().image_tokens, ledger::PriceRow().image_tokens);
}

}  // namespace
}  // namespace shoal::cli
