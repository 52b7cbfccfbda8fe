// `shoal serve --demo-cascade`: a small model in front of a larger one, both on this machine, so that anybody can see
// an answer that is kept and one that escalates, offline. The larger one is asked through this very server as the
// provider "large", with a price, so that permit, journal, ledger and receipt are the real ones. Its calibration table
// is shipped: docs/tutorials/first-escalation.md says how it was made. Owned by serve. Threads: the main thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/config/config.h"
#include "shoal/engine/engine.h"
#include "shoal/routing/calibration.h"

namespace shoal::cli {

inline constexpr const char* kDemoSmall = "smollm2-135m-instruct";
inline constexpr const char* kDemoLarge = "tinyllama-1.1b-chat";

// The two models are here, and this server can ask itself: at 127.0.0.1, without a key, with egress allowed. Errors:
// kModelNotFound with what to pull, kUsage.
[[nodiscard]] Result<void> check_demo(const engine::Engine& engine, const config::Config& config);
// The provider, its price and the route shoal-auto, in place of what the configuration has of them.
void amend_for_demo(config::Config& config, std::uint16_t port);
// The tables that are shipped.
[[nodiscard]] const std::vector<routing::Table>& demo_tables();
// What it is, and what to type; `small_sha256` of the model that is here.
[[nodiscard]] std::string demo_text(const std::string& url, const std::string& small_sha256);

}  // namespace shoal::cli
