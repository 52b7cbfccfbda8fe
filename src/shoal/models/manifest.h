// third_party/manifest.toml, compiled in. Inside models/ only. Threads: any.
#pragma once

namespace shoal::models {
extern const char kManifest[];
}  // namespace shoal::models
