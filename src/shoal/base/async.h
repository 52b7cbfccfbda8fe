// Stackful coroutines: request code reads top to bottom. The only place that spawns one, because
// asio::spawn with `detached` swallows exceptions and its default stack has no guard page. Stacks are used again:
// mapping and guarding one costs more than a short request.
// Use: `base::spawn(io, "accept", [&](base::Yield yield) { ... })`; await with yield[ec] and convert at
// once; never `catch (...)` around an await and never await inside a catch block.
// Threads: a coroutine runs on the threads of its executor, one at a time.
#pragma once

#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/error.hpp>  // spawn.hpp of 1.81 needs it first
#include <boost/asio/execution_context.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/context/stack_context.hpp>

namespace shoal::base {

namespace asio = boost::asio;
using boost::system::error_code;

// All that waits in this process waits on an io_context. Named, for the types that can hold any executor ask it through
// tables of functions at every step.
using Executor = asio::io_context::executor_type;
using Timer =
    asio::basic_waitable_timer<std::chrono::steady_clock, asio::wait_traits<std::chrono::steady_clock>, Executor>;
using Yield = asio::basic_yield_context<Executor>;

// 256 KiB with a guard page: TLS and the deepest JSON fit with room to spare (tests/unit/base).
inline constexpr std::size_t kCoroutineStackBytes = std::size_t{256} * 1024;

// The stacks of one execution context: those of coroutines that ended wait for the next, a bounded number of them.
// Owned by the context and by the stacks in use. Threads: any.
class StackPool {
 public:
  // The pool of a context; made when it is first asked for.
  [[nodiscard]] static std::shared_ptr<StackPool> of(asio::execution_context& context);

  StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;
  ~StackPool();

  [[nodiscard]] boost::context::stack_context take();
  void give_back(boost::context::stack_context& stack);
  [[nodiscard]] std::size_t waiting() const;  // stacks that nobody uses

 private:
  struct Stacks;
  std::unique_ptr<Stacks> stacks_;
};

// What Boost.Context asks of an allocator of stacks.
class PooledStack {
 public:
  explicit PooledStack(std::shared_ptr<StackPool> pool) : pool_(std::move(pool)) {}

  boost::context::stack_context allocate() { return pool_->take(); }
  void deallocate(boost::context::stack_context& stack) { pool_->give_back(stack); }

 private:
  std::shared_ptr<StackPool> pool_;
};

// Logs "coroutine NAME ended with an exception: ..." and aborts: a bug, never input.
void die_of_exception(const char* name, std::exception_ptr error);

// `name` must outlive the coroutine: a string literal.
template <class Executor, class Body>
void spawn(Executor&& executor, const char* name, Body&& body) {
  asio::execution_context* context = nullptr;
  if constexpr (std::is_base_of_v<asio::execution_context, std::remove_cvref_t<Executor>>) {
    context = &executor;
  } else {
    context = &asio::query(executor, asio::execution::context);
  }
  asio::spawn(std::forward<Executor>(executor), std::allocator_arg, PooledStack(StackPool::of(*context)),
              std::forward<Body>(body), [name](std::exception_ptr error) {
                if (error) die_of_exception(name, error);
              });
}

}  // namespace shoal::base
