#include "shoal/net/listener.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/address.hpp>

namespace shoal::net {
namespace {

constexpr int kBacklog = 1024;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error address_in_use(const std::string& host, std::uint16_t port) {
  const std::string holder = holder_of_port(port);
  return {ErrorCode::kAddressInUse,
          fmt::format("{}:{} is taken by {}; stop it, or use another port: shoal serve --port {}", host, port,
                      holder.empty() ? "a process of another user" : holder, port == 65535 ? 8080 : port + 1)};
}

// Inodes of the sockets that listen on `port`. Format: proc(5), /proc/net/tcp; state 0A is LISTEN.
std::set<std::string> listening_inodes(std::uint16_t port) {
  std::set<std::string> inodes;
  const std::string suffix = fmt::format(":{:04X}", port);
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode;
      fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> uid >> timeout >> inode;
      if (local.ends_with(suffix) && state == "0A") inodes.insert("socket:[" + inode + "]");
    }
  }
  return inodes;
}

// Errors: kAddressInUse when somebody listens, kAlreadyExists when the file is no socket.
Result<void> remove_stale_socket(const std::string& path, const sockaddr_un& address) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) return {};
  if (!S_ISSOCK(info.st_mode)) {
    return Error(ErrorCode::kAlreadyExists,
                 fmt::format("{} exists and is not a socket; remove it or choose another path", path));
  }
  const Descriptor probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno != ECONNREFUSED) {
    return Error(ErrorCode::kAddressInUse,
                 fmt::format("another server listens on {}; stop it, or set another data directory", path));
  }
  if (::unlink(path.c_str()) != 0) return base::errno_error("cannot remove the stale socket " + path, errno);
  return {};
}

}  // namespace

std::string holder_of_port(std::uint16_t port) {
  const auto inodes = listening_inodes(port);
  std::error_code ec;
  for (const auto& process : std::filesystem::directory_iterator("/proc", ec)) {
    const std::string pid = process.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code denied;
    std::filesystem::directory_iterator fds(process.path() / "fd", denied);
    if (denied) continue;
    for (; fds != std::filesystem::directory_iterator(); fds.increment(denied)) {
      if (denied) break;
      std::error_code gone;
      if (!inodes.contains(std::filesystem::read_symlink(fds->path(), gone))) continue;
      std::ifstream comm(process.path() / "comm");
      std::string name;
      std::getline(comm, name);
      return fmt::format("pid {} ({})", pid, name);
    }
  }
  return {};
}

Result<int> listen_tcp(const std::string& host, std::uint16_t port) {
  boost::system::error_code ec;
  const auto address = boost::asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, ec);
  if (ec) {
    return Error(
        ErrorCode::kInvalidConfig,
        fmt::format("the address `{}` to listen on is not an IP address or localhost, such as 127.0.0.1", host));
  }
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    in.sin_addr.s_addr = htonl(address.to_v4().to_uint());
    std::memcpy(&storage, &in, size = sizeof in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.to_v6().to_bytes().data(), 16);
    std::memcpy(&storage, &in, size = sizeof in);
  }
  Descriptor fd(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return base::errno_error("cannot open a socket", errno);
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const bool bound = ::bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), size) == 0;
  if (!bound || ::listen(fd.get(), kBacklog) != 0) {
    if (errno == EADDRINUSE) return address_in_use(host, port);
    return base::errno_error(fmt::format("cannot listen on {}:{}", host, port), errno);
  }
  return fd.release();
}

Result<int> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Error(ErrorCode::kInvalidConfig,
                 fmt::format("the socket path `{}` is empty or longer than {} bytes; use a shorter data directory",
                             path, sizeof address.sun_path - 1));
  }
  std::memcpy(static_cast<void*>(address.sun_path), path.data(), path.size());
  // The lock on the folder keeps two starting servers from removing each other's fresh socket.
  const std::string folder = std::filesystem::path(path).parent_path();
  const Descriptor lock(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.get() < 0 || ::flock(lock.get(), LOCK_EX) != 0)
    return base::errno_error("cannot lock the folder of " + path, errno);
  SHOAL_TRY(remove_stale_socket(path, address));
  Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return base::errno_error("cannot open a socket", errno);
  // Before bind: Linux gives the file the mode of the socket, so it is never open to others, not for a moment.
  if (::fchmod(fd.get(), S_IRUSR | S_IWUSR) != 0) return base::errno_error("cannot restrict " + path, errno);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return base::errno_error("cannot listen on " + path, errno);
  }
  return fd.release();
}

}  // namespace shoal::net
