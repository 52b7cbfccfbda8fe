#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "shoal/base/suggest.h"
#include "shoal/cli/app.h"
#include "shoal/engine/memory_estimate.h"
#include "shoal/models/catalogue.h"
#include "shoal/models/store.h"

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

// What was installed when the server started, with the catalogue's aliases; found models of other programs answer
// to their own names and are listed only when they are asked for.
class StoredModels final : public engine::ModelSource {
 public:
  StoredModels(std::vector<engine::LocalModel> models, std::vector<models::Found> found, models::Catalogue catalogue)
      : models_(std::move(models)), found_(std::move(found)), catalogue_(std::move(catalogue)) {}

  [[nodiscard]] std::vector<types::ModelInfo> list() const override {
    std::vector<types::ModelInfo> infos;
    for (const engine::LocalModel& model : models_) infos.push_back(model.info);
    return infos;
  }

  [[nodiscard]] Result<engine::LocalModel> resolve(const std::string& name) const override {
    if (const engine::LocalModel* model = named(name)) return *model;
    for (const models::Found& found : found_) {
      if (found.name != name) continue;
      const gguf::Header header = SHOAL_TRY(models::read_model(found.path));
      return engine::LocalModel{models::describe(name, found.path, "", header), engine::shape_of(header)};
    }
    const auto entry = catalogue_.find(name);
    if (entry.ok()) {
      if (const engine::LocalModel* model = named((*entry)->name)) return *model;
      return Error(
          ErrorCode::kModelNotFound,
          fmt::format("the model \"{}\" is in the catalogue but not on this machine; `shoal pull {}` fetches it", name,
                      (*entry)->name));
    }
    std::vector<std::string> names;
    for (const engine::LocalModel& model : models_) names.push_back(model.info.name);
    std::string near = base::suggest(name, names);
    return Error(ErrorCode::kModelNotFound, fmt::format("no model named \"{}\" is here{}", name,
                                                        near.empty() ? "; GET /v1/models lists them"
                                                                     : fmt::format("; did you mean \"{}\"?", near)))
        .with_param("model")
        .with_suggestion(std::move(near));
  }

 private:
  [[nodiscard]] const engine::LocalModel* named(const std::string& name) const {
    const auto found =
        std::ranges::find_if(models_, [&name](const engine::LocalModel& m) { return m.info.name == name; });
    return found != models_.end() ? &*found : nullptr;
  }

  std::vector<engine::LocalModel> models_;
  std::vector<models::Found> found_;
  models::Catalogue catalogue_;
};

}  // namespace

Result<std::unique_ptr<engine::ModelSource>> make_model_source(const config::Config& config,
                                                               ModelSourceOptions options) {
  if (options.none) return std::unique_ptr<engine::ModelSource>(std::make_unique<NoModels>());
  const models::Store store(config.server.data_dir);
  std::vector<engine::LocalModel> local;
  for (const models::Installed& installed : SHOAL_TRY(store.list())) {
    const auto header = models::read_model(installed.path);
    // One damaged file must not stop the server; `shoal models verify` names it.
    if (header.ok())
      local.push_back(
          {models::describe(installed.name, installed.path, installed.sha256, *header), engine::shape_of(*header)});
  }
  std::vector<models::Found> found;
  if (config.models.found) found = models::find_models(models::default_found_in());
  models::Catalogue catalogue = SHOAL_TRY(models::Catalogue::built_in());
  return std::unique_ptr<engine::ModelSource>(
      std::make_unique<StoredModels>(std::move(local), std::move(found), std::move(catalogue)));
}

}  // namespace shoal::cli
