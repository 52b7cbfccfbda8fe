// Stackful coroutines: request code reads top to bottom. The only place that spawns one, because
// asio::spawn with `detached` swallows exceptions and its default stack has no guard page.
// Use: `base::spawn(io, "accept", [&](base::Yield yield) { ... })`; await with yield[ec] and convert at
// once; never `catch (...)` around an await and never await inside a catch block.
// Threads: a coroutine runs on the threads of its executor, one at a time.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/error.hpp>  // spawn.hpp of 1.81 needs it first
#include <boost/asio/spawn.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

namespace shoal::base {

namespace asio = boost::asio;
using boost::system::error_code;
using Yield = asio::yield_context;

// 256 KiB with a guard page: TLS and the deepest JSON fit with room to spare (tests/unit/base).
inline constexpr std::size_t kCoroutineStackBytes = std::size_t{256} * 1024;

// Logs "coroutine NAME ended with an exception: ..." and aborts: a bug, never input.
void die_of_exception(const char* name, std::exception_ptr error);

// `name` must outlive the coroutine: a string literal.
template <class Executor, class Body>
void spawn(Executor&& executor, const char* name, Body&& body) {
  asio::spawn(std::forward<Executor>(executor), std::allocator_arg,
              boost::context::protected_fixedsize_stack(kCoroutineStackBytes), std::forward<Body>(body),
              [name](std::exception_ptr error) {
                if (error) die_of_exception(name, error);
              });
}

}  // namespace shoal::base
