// Files of trained models: a line of kind and version, a header in JSON for people and tools, the numbers, and a
// SHA-256 over all that, which tells damage. Numbers are as this machine has them.
// Use: `out = sealed_head(kind, version, header); Writer(out).numbers(...); out += sum_of(out)`, and unseal().
// Owned by nobody; functions and short-lived helpers. Threads: any; save_ and read_ block on the disk.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "shoal/base/result.h"

namespace shoal::learning {

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void number(double value) { raw(&value, sizeof value); }
  template <class T>
  void numbers(const std::vector<T>& values) {
    static_assert(std::is_arithmetic_v<T>);
    const std::uint64_t count = values.size();
    raw(&count, sizeof count);
    raw(values.data(), count * sizeof(T));
  }

 private:
  void raw(const void* from, std::size_t bytes) { out_.append(static_cast<const char*>(from), bytes); }

  std::string& out_;
};

// What is not there is 0, or none, and ended() says so.
class Reader {
 public:
  explicit Reader(std::string_view from) : rest_(from) {}

  double number() {
    double out = 0;
    raw(&out, sizeof out);
    if (!std::isfinite(out)) ok_ = false;
    return out;
  }
  template <class T>
  std::vector<T> numbers() {
    std::uint64_t count = 0;
    raw(&count, sizeof count);
    if (!ok_ || count > rest_.size() / sizeof(T)) return ok_ = false, std::vector<T>();
    std::vector<T> out(count);
    raw(out.data(), count * sizeof(T));
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::ranges::all_of(out, [](T one) { return std::isfinite(one); })) ok_ = false;
    }
    return out;
  }
  [[nodiscard]] bool ended() const { return ok_ && rest_.empty(); }

 private:
  void raw(void* to, std::size_t bytes) {
    if (!ok_ || bytes > rest_.size()) {
      ok_ = false;
      return;
    }
    if (bytes > 0) std::memcpy(to, rest_.data(), bytes);
    rest_.remove_prefix(bytes);
  }

  std::string_view rest_;
  bool ok_ = true;
};

[[nodiscard]] std::string sum_of(std::string_view bytes);
[[nodiscard]] std::string sealed_head(std::string_view kind, std::uint32_t version, std::string_view header);

struct Unsealed {
  std::string_view header;
  std::string_view numbers;
};
// Views of `bytes`. Errors: kInvalidConfig, what is wrong.
[[nodiscard]] Result<Unsealed> unseal(std::string_view kind, std::uint32_t version, std::string_view bytes);
// kInvalidConfig: `what`, and what to do.
[[nodiscard]] Error damaged(std::string_view what);

// FOLDER/NAME; replaces one of that name at once. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_model_file(const std::filesystem::path& folder,
                                                            const std::string& name, std::string_view bytes);
// Errors: kIo; kInvalidConfig: too large for a model.
[[nodiscard]] Result<std::string> read_model_file(const std::filesystem::path& path);

}  // namespace shoal::learning
