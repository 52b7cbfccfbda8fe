#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "shoal/base/suggest.h"
#include "shoal/cli/app.h"
#include "shoal/engine/memory_estimate.h"
#include "shoal/models/catalogue.h"
#include "shoal/models/store.h"
#include "shoal/wire/json_text.h"

namespace shoal::cli {
namespace {

class NoModels final : public engine::ModelSource {
 public:
  [[nodiscard]] std::vector<types::ModelInfo> list() const override { return {}; }
  [[nodiscard]] Result<engine::LocalModel> resolve(const std::string& name) const override {
    return Error(ErrorCode::kModelNotFound,
                 fmt::format("no model named \"{}\": this server runs without models", wire::shortened(name)))
        .with_param("model");
  }
};

// The time of the store's folder has the resolution of a timer tick: a change right after a look may not show.
constexpr std::int64_t kSettledNs = 1'000'000'000;

Result<engine::LocalModel> read_local(const std::string& name, const std::filesystem::path& path,
                                      const std::string& sha256) {
  const gguf::Header header = SHOAL_TRY(models::read_model(path));
  return engine::LocalModel{models::describe(name, path, sha256, header), engine::shape_of(header)};
}

// The store as it is now, so that a model that is pulled while the server runs answers at once, with the catalogue's
// aliases; then the files of the configured folders. Models of other programs answer to their names and are not
// listed.
// As many as a message can hold.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t kMost = 5;
  const std::size_t shown = std::min(names.size(), kMost);
  return fmt::format("{}{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < names.size() ? fmt::format(" and {} more", names.size() - shown) : "");
}

class StoredModels final : public engine::ModelSource {
 public:
  StoredModels(models::Store store, const config::ModelsConfig& config, models::Catalogue catalogue)
      : store_(std::move(store)), catalogue_(std::move(catalogue)) {
    models::FoundIn own;
    own.folders.assign(config.dirs.begin(), config.dirs.end());
    for (const models::Found& found : models::find_models(own)) {
      if (auto local = read_local(found.name, found.path, ""); local.ok()) in_folders_.push_back(*std::move(local));
    }
    if (config.found) found_ = models::find_models(models::default_found_in());
  }

  // Errors: kIo when the store cannot be read.
  Result<void> scan() const {
    const std::int64_t now = clock_.unix_seconds() * 1'000'000'000;
    const std::int64_t revision = store_.revision();
    const std::vector<models::Installed> entries = SHOAL_TRY(store_.list());
    std::vector<engine::LocalModel> models;
    for (const models::Installed& entry : entries) {
      // One damaged file must not stop the server; `shoal models verify` names it.
      auto local = read_local(entry.name, entry.path, entry.sha256);
      if (local.ok()) models.push_back(*std::move(local));
    }
    for (const engine::LocalModel& local : in_folders_) {
      if (find(models, local.info.name) == nullptr) models.push_back(local);
    }
    models_ = std::move(models);
    seen_revision_ = now - revision > kSettledNs ? revision : -1;
    return {};
  }

  [[nodiscard]] std::vector<types::ModelInfo> list() const override {
    refresh();
    std::vector<types::ModelInfo> infos;
    for (const engine::LocalModel& model : models_) infos.push_back(model.info);
    return infos;
  }

  [[nodiscard]] Result<engine::LocalModel> resolve(const std::string& name) const override {
    refresh();
    if (const engine::LocalModel* model = find(models_, name)) return *model;
    if (const engine::LocalModel* model = find(opened_, name)) return *model;
    const auto found = std::ranges::find(found_, name, &models::Found::name);
    if (found != found_.end()) {
      opened_.push_back(SHOAL_TRY(read_local(name, found->path, "")));
      return opened_.back();
    }
    const auto entry = catalogue_.find(name);
    if (entry.ok()) {
      if (const engine::LocalModel* model = find(models_, (*entry)->name)) return *model;
      return Error(
                 ErrorCode::kModelNotFound,
                 fmt::format("the model \"{}\" is in the catalogue but not on this machine; `shoal pull {}` fetches it",
                             name, (*entry)->name))
          .with_param("model");
    }
    std::vector<std::string> names;
    for (const engine::LocalModel& model : models_) names.push_back(model.info.name);
    std::string near = base::suggest(name, names);
    if (near.empty()) near = entry.error().suggestion();
    return Error(ErrorCode::kModelNotFound,
                 fmt::format("no model named \"{}\" is here{}", wire::shortened(name),
                             near.empty() ? names.empty() ? ", nor any other" : ", only " + some_of(names)
                                          : fmt::format("; did you mean \"{}\"?", near)))
        .with_param("model")
        .with_suggestion(std::move(near));
  }

 private:
  // A store that cannot be read at this moment leaves what was known.
  void refresh() const {
    if (store_.revision() != seen_revision_) scan().ignore("what was known stays");
  }

  static const engine::LocalModel* find(const std::vector<engine::LocalModel>& models, const std::string& name) {
    const auto found = std::ranges::find(models, name, [](const auto& model) { return model.info.name; });
    return found != models.end() ? &*found : nullptr;
  }

  const base::SystemClock clock_;
  const models::Store store_;
  const models::Catalogue catalogue_;
  std::vector<engine::LocalModel> in_folders_;
  std::vector<models::Found> found_;
  mutable std::vector<engine::LocalModel> models_;
  mutable std::int64_t seen_revision_ = -1;
  mutable std::vector<engine::LocalModel> opened_;  // of found_, those that somebody asked for
};

}  // namespace

Result<std::unique_ptr<engine::ModelSource>> make_model_source(const config::Config& config,
                                                               ModelSourceOptions options) {
  if (options.none) return std::unique_ptr<engine::ModelSource>(std::make_unique<NoModels>());
  models::Catalogue catalogue = SHOAL_TRY(models::Catalogue::with_file(config.models.catalogue));
  auto source =
      std::make_unique<StoredModels>(models::Store(config.server.data_dir), config.models, std::move(catalogue));
  SHOAL_TRY(source->scan());
  return std::unique_ptr<engine::ModelSource>(std::move(source));
}

}  // namespace shoal::cli
