#include "shoal/worker/channel.h"

#include <array>
#include <cerrno>
#include <limits>

#include <unistd.h>

namespace shoal::worker {

void Channel::read_all(const std::function<void(ipc::Frame)>& handle) const {
  std::array<char, 65536> bytes{};
  ipc::FrameReader reader;
  for (;;) {
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

void Channel::send(std::uint64_t request, const ipc::Body& body) {
  const std::lock_guard lock(mutex_);
  buffer_.clear();
  if (auto encoded = ipc::encode_to(buffer_, request, std::numeric_limits<std::int64_t>::max(), body); !encoded.ok()) {
    // Only text grows without bound; a client learns of it in place of the frame.
    buffer_.clear();
    ipc::encode_to(buffer_, request, 0, ipc::Failed{ErrorCode::kInternal, encoded.error().message(), ""})
        .ignore("a short frame");
  }
  for (std::size_t sent = 0; sent < buffer_.size();) {
    const ssize_t wrote = write(fd_, buffer_.data() + sent, buffer_.size() - sent);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) _exit(0);
    sent += static_cast<std::size_t>(wrote);
  }
}

}  // namespace shoal::worker
