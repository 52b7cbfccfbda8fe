// Writer and Reader of frame bodies: fixed-width host-order numbers, length-prefixed text and lists. The
// reader trusts nothing: every length is checked against what is left before anything is allocated, and once
// it has failed it stays failed, so that a decoder reads straight through and asks once at the end.
// Place: inside ipc/ only. Threads: each object belongs to one caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace shoal::ipc {

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  template <class T>
    requires(std::is_arithmetic_v<T> || std::is_enum_v<T>)
  void number(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_.append(bytes, sizeof(T));
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_.append(value);
  }
  void count(std::size_t value) { number(static_cast<std::uint32_t>(value)); }

 private:
  std::string& out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}

  template <class T>
    requires(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>)
  [[nodiscard]] T number() {
    T value{};
    if (!take(sizeof(T))) return value;
    std::memcpy(&value, in_.data() + at_ - sizeof(T), sizeof(T));
    if constexpr (std::is_floating_point_v<T>) {
      // Not a number would poison every comparison after it; minus infinity is a log-probability of zero.
      if (value != value) failed_ = true;
    }
    return value;
  }
  // 0 or 1, nothing else.
  [[nodiscard]] bool boolean() {
    const auto value = number<std::uint8_t>();
    if (value > 1) failed_ = true;
    return value == 1;
  }
  // An enumerator with values 0 .. last.
  template <class E>
  [[nodiscard]] E enumerator(E last) {
    using U = std::underlying_type_t<E>;
    const auto value = number<U>();
    if (value > static_cast<U>(last)) failed_ = true;
    return failed_ ? E{} : static_cast<E>(value);
  }
  [[nodiscard]] std::string text() {
    const auto size = number<std::uint32_t>();
    if (!take(size)) return {};
    return std::string(in_.substr(at_ - size, size));
  }
  // A list length, refused when that many elements of `element_bytes` cannot be left.
  [[nodiscard]] std::size_t count(std::size_t element_bytes) {
    const auto value = number<std::uint32_t>();
    if (failed_ || value > (in_.size() - at_) / element_bytes) {
      failed_ = true;
      return 0;
    }
    return value;
  }

  void fail() { failed_ = true; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] std::size_t left() const { return in_.size() - at_; }

 private:
  bool take(std::size_t bytes) {
#ifndef SHOAL_PLANTED_BUG
    if (bytes > in_.size() - at_) failed_ = true;
#endif
    if (failed_) return false;
    at_ += bytes;
    return true;
  }

  std::string_view in_;
  std::size_t at_ = 0;
  bool failed_ = false;
};

}  // namespace shoal::ipc
