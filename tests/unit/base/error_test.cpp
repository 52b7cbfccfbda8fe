#include "shoal/base/error.h"

#include <set>

#include <gtest/gtest.h>

namespace shoal::base {
namespace {

TEST(ErrorTable, EveryRowIsComplete) {
  std::set<std::string_view> slugs;
  for (const ErrorInfo& row : error_table()) {
    EXPECT_TRUE(slugs.insert(row.slug).second) << row.slug;
    EXPECT_EQ(&error_info(row.code), &row);
    EXPECT_EQ(error_code_from_slug(row.slug), row.code);
    EXPECT_TRUE(row.http_status >= 400 && row.http_status < 600) << row.slug;
    EXPECT_TRUE((row.exit_code >= 1 && row.exit_code <= 8) || row.exit_code == 130) << row.slug;
    EXPECT_TRUE(row.text.ends_with('.')) << row.slug;
    EXPECT_TRUE(row.fix.ends_with('.')) << row.slug;
  }
}

TEST(ErrorTable, UnknownSlugsAreNothing) {
  EXPECT_EQ(error_code_from_slug("no_such"), std::nullopt);
}

TEST(ErrorTable, ErrnoIsSpelledOut) {
  const Error error = errno_error("cannot open /x", 2);
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.message(), "cannot open /x: No such file or directory");
}

}  // namespace
}  // namespace shoal::base
