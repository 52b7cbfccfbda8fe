// The one translation unit that compiles Asio.
#include "shoal/base/async.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#include <fmt/format.h>

#include <boost/asio/impl/src.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#if defined(SHOAL_SANITIZE_ADDRESS)
#include <sanitizer/asan_interface.h>
#endif

namespace shoal::base {
namespace {

// A stack that was used keeps the pages that were touched: 8 to 16 KiB.
constexpr std::size_t kMostWaiting = 128;

// The tie between a context and its pool.
class StackService final : public asio::execution_context::service {
 public:
  using key_type = StackService;
  static inline asio::execution_context::id id;

  explicit StackService(asio::execution_context& context)
      : asio::execution_context::service(context), pool(std::make_shared<StackPool>()) {}

  const std::shared_ptr<StackPool> pool;

 private:
  void shutdown() override {}
};

}  // namespace

struct StackPool::Stacks {
  mutable std::mutex mutex;
  std::vector<boost::context::stack_context> waiting;
  boost::context::protected_fixedsize_stack source{kCoroutineStackBytes};
};

StackPool::StackPool() : stacks_(std::make_unique<Stacks>()) {}

StackPool::~StackPool() {
  for (auto& stack : stacks_->waiting) stacks_->source.deallocate(stack);
}

std::shared_ptr<StackPool> StackPool::of(asio::execution_context& context) {
  return asio::use_service<StackService>(context).pool;
}

boost::context::stack_context StackPool::take() {
  {
    const std::lock_guard lock(stacks_->mutex);
    if (!stacks_->waiting.empty()) {
      const auto stack = stacks_->waiting.back();
      stacks_->waiting.pop_back();
      return stack;
    }
  }
  return stacks_->source.allocate();
}

void StackPool::give_back(boost::context::stack_context& stack) {
#if defined(SHOAL_SANITIZE_ADDRESS)
  // The last frames of a coroutine never return, so what guards their variables is still set.
  __asan_unpoison_memory_region(static_cast<char*>(stack.sp) - stack.size, stack.size);
#endif
  {
    const std::lock_guard lock(stacks_->mutex);
    if (stacks_->waiting.size() < kMostWaiting) {
      stacks_->waiting.push_back(stack);
      return;
    }
  }
  stacks_->source.deallocate(stack);
}

std::size_t StackPool::waiting() const {
  const std::lock_guard lock(stacks_->mutex);
  return stacks_->waiting.size();
}

void die_of_exception(const char* name, std::exception_ptr error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    fmt::print(stderr, "coroutine {} ended with an exception: {}\n", name, e.what());
  }
  std::abort();
}

}  // namespace shoal::base
