#include <utility>

#include <fmt/format.h>

#include "shoal/cli/app.h"

namespace shoal::cli {
namespace {

class NoModels final : public engine::ModelSource {
 public:
  [[nodiscard]] std::vector<types::ModelInfo> list() const override { return {}; }
  [[nodiscard]] Result<engine::LocalModel> resolve(const std::string& name) const override {
    return Error(ErrorCode::kModelNotFound,
                 fmt::format("no model named \"{}\": this server runs without models", name));
  }
};

}  // namespace

Result<std::unique_ptr<engine::ModelSource>> make_model_source(const config::Config& config,
                                                               ModelSourceOptions options) {
  (void)config, (void)options;
  return std::unique_ptr<engine::ModelSource>(std::make_unique<NoModels>());
}

}  // namespace shoal::cli
