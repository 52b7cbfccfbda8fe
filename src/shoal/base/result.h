// Result<T>: a value or an Error; a class of our own because libstdc++ 12's std::expected is not
// [[nodiscard]] as a class and has no and_then. Use it as the return type of everything that can fail;
// exceptions do not cross a module edge. Propagate with SHOAL_TRY, drop with .ignore("why").
// Owned by value. Threads: as its T.
#pragma once

#include <cassert>
#include <expected>
#include <type_traits>
#include <utility>

#include "shoal/base/error.h"

namespace shoal::base {

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  // NOLINTBEGIN(google-explicit-constructor): `return value;` and `return Error(...)` must both read well.
  template <class U = T>
    requires(!std::is_void_v<T> && std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error>)
  Result(U&& value) : inner_(std::in_place, std::forward<U>(value)) {}
  Result()
    requires std::is_void_v<T>
  = default;
  Result(Error error) : inner_(std::unexpect, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return inner_.has_value(); }
  explicit operator bool() const { return ok(); }

  // REQUIRES: ok().
  [[nodiscard]] decltype(auto) value() & {
    assert(ok());
    if constexpr (!std::is_void_v<T>) return (*inner_);
  }
  [[nodiscard]] decltype(auto) value() const& {
    assert(ok());
    if constexpr (!std::is_void_v<T>) return (*inner_);
  }
  [[nodiscard]] T value() && {
    assert(ok());
    if constexpr (!std::is_void_v<T>) return *std::move(inner_);
  }
  template <class U = T>
    requires(!std::is_void_v<U>)
  [[nodiscard]] U& operator*() & {
    return value();
  }
  template <class U = T>
    requires(!std::is_void_v<U>)
  [[nodiscard]] const U& operator*() const& {
    return value();
  }
  template <class U = T>
    requires(!std::is_void_v<U>)
  [[nodiscard]] U operator*() && {
    return std::move(*this).value();
  }
  template <class U = T>
    requires(!std::is_void_v<U>)
  [[nodiscard]] U* operator->() {
    return &value();
  }
  template <class U = T>
    requires(!std::is_void_v<U>)
  [[nodiscard]] const U* operator->() const {
    return &value();
  }
  template <class U>
  [[nodiscard]] T value_or(U&& fallback) && {
    return ok() ? std::move(*this).value() : T(std::forward<U>(fallback));
  }

  // REQUIRES: !ok().
  [[nodiscard]] const Error& error() const& {
    assert(!ok());
    return inner_.error();
  }
  [[nodiscard]] Error error() && {
    assert(!ok());
    return std::move(inner_).error();
  }

  // The visible way to drop a failure; `why` is for the reader.
  void ignore(const char* why) const { (void)why; }

 private:
  std::expected<T, Error> inner_;
};

}  // namespace shoal::base

namespace shoal {
using base::Result;
}

// The value of a Result, or return its error from the enclosing function. A statement expression: not
// for C++20 coroutines (gcc PR 115851), which Shoal does not use.
#define SHOAL_TRY(expr)                                                     \
  ({                                                                        \
    auto shoal_try_result = (expr);                                         \
    if (!shoal_try_result.ok()) return std::move(shoal_try_result).error(); \
    std::move(shoal_try_result).value();                                    \
  })
