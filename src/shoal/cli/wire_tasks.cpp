#include <memory>
#include <utility>

#include "shoal/cli/app.h"
#include "shoal/cli/tune_probe.h"
#include "shoal/learning/class_file.h"

namespace shoal::cli {

std::shared_ptr<const server::Tasks> load_tasks(const config::Config& config, base::Log& log) {
  auto tasks = std::make_shared<server::Tasks>();
  for (const std::filesystem::path& file : task_files(task_folder(config))) {
    auto loaded = learning::load_class_model(file);
    // Whoever copied a file may have given it another name, by which it is asked for.
    if (loaded.ok() && learning::is_task_name(file.stem().string())) {
      tasks->push_back(std::move(loaded).value());
      tasks->back().name = file.stem().string();
    } else {
      log.warn("a trained task is not used",
               {{"file", file.string()}, {"reason", loaded.ok() ? "its name is none" : loaded.error().message()}});
    }
  }
  return tasks;
}

}  // namespace shoal::cli
