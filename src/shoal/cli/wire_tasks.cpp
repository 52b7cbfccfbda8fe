#include <memory>
#include <utility>

#include <fmt/format.h>

#include "shoal/base/sha256.h"
#include "shoal/cli/app.h"
#include "shoal/cli/tune_certify.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/learning/class_file.h"
#include "shoal/learning/model_file.h"
#include "shoal/learning/slot_file.h"

namespace shoal::cli {
namespace {

Result<routing::Task> load_one(const std::filesystem::path& file) {
  const std::string bytes = SHOAL_TRY(learning::read_model_file(file));
  routing::Task out;
  // Whoever copied a file may have given it another name, by which it is asked for.
  out.name = file.stem().string();
  if (!learning::is_task_name(out.name)) return Error(ErrorCode::kInvalidConfig, "its name is none");
  if (file.extension() == learning::kSlotFileEnding) {
    out.model = SHOAL_TRY(learning::parse_slot_model(bytes));
  } else {
    out.model = SHOAL_TRY(learning::parse_class_model(bytes));
  }
  base::Sha256 sum;
  sum.update(bytes);
  auto found = task_certificate(file.parent_path(), out.name, sum.finish());
  if (found.ok()) {
    out.certificate = std::move(found).value();
  } else {
    out.no_certificate = found.error().message();
  }
  return out;
}

}  // namespace

std::shared_ptr<const routing::Tasks> load_tasks(const config::Config& config, base::Log& log) {
  auto tasks = std::make_shared<routing::Tasks>();
  for (const std::filesystem::path& file : task_files(task_folder(config))) {
    auto loaded = load_one(file);
    if (!loaded.ok()) {
      log.warn("a trained task is not used", {{"file", file.string()}, {"reason", loaded.error().message()}});
      continue;
    }
    tasks->push_back(std::move(loaded).value());
    if (const routing::Task& task = tasks->back(); !task.no_certificate.empty()) {
      log.warn("a task's certificate is void", {{"task", task.name}, {"reason", task.no_certificate}});
    }
  }
  return tasks;
}

}  // namespace shoal::cli
