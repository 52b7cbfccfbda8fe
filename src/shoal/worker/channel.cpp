#include "shoal/worker/channel.h"

#include <array>
#include <cerrno>
#include <limits>

#include <poll.h>
#include <unistd.h>

namespace shoal::worker {
namespace {

constexpr std::size_t kKeptBytes = std::size_t{256} * 1024;

}  // namespace

void Channel::read_all(const std::function<void(ipc::Frame)>& handle) const {
  std::array<char, 65536> bytes{};
  ipc::FrameReader reader;
  for (;;) {
    // Not in read() itself: there the kernel wakes this thread whenever the gateway has read what was written, which
    // takes the core from the gateway in the middle of it.
    pollfd readable{fd_, POLLIN, 0};
    if (poll(&readable, 1, -1) < 0 && errno != EINTR) return;
    const ssize_t got = read(fd_, bytes.data(), bytes.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    reader.feed({bytes.data(), static_cast<std::size_t>(got)});
    for (;;) {
      auto frame = reader.next();
      if (!frame.ok()) {
        constexpr std::string_view kMessage = "shoal-worker: the gateway sent a broken frame\n";
        (void)!write(STDERR_FILENO, kMessage.data(), kMessage.size());
        return;
      }
      if (!frame->has_value()) break;
      handle(std::move(**frame));
    }
  }
}

void Channel::add(std::uint64_t request, const ipc::Body& body) {
  const std::lock_guard lock(mutex_);
  frame_.clear();
  if (auto encoded = ipc::encode_to(frame_, request, std::numeric_limits<std::int64_t>::max(), body); !encoded.ok()) {
    // Only text grows without bound; a client learns of it in place of the frame.
    frame_.clear();
    ipc::encode_to(frame_, request, 0, ipc::Failed{ErrorCode::kInternal, encoded.error().message(), ""})
        .ignore("a short frame");
  }
  unwritten_ += frame_;
}

void Channel::send(std::uint64_t request, const ipc::Body& body) {
  add(request, body);
  flush();
}

void Channel::flush() {
  const std::lock_guard lock(mutex_);
  for (std::size_t sent = 0; sent < unwritten_.size();) {
    const ssize_t wrote = write(fd_, unwritten_.data() + sent, unwritten_.size() - sent);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) _exit(0);
    sent += static_cast<std::size_t>(wrote);
  }
  unwritten_.clear();
  if (unwritten_.capacity() > kKeptBytes) unwritten_.shrink_to_fit();
}

}  // namespace shoal::worker
