// A server that echoes, for the HTTP suites: net_test_server [PORT] prints `port N` and runs until killed.
#include <cstdio>
#include <cstdlib>
#include <string>

#include <boost/asio/io_context.hpp>

#include "shoal/net/http_server.h"

namespace {

void echo(const shoal::net::HttpRequest& request, shoal::net::ResponseWriter& writer, shoal::base::Yield yield) {
  const std::string& method = request.method;
  if (request.path == "/events") {
    writer.begin_event_stream();
    for (const char* event : {"one", "two", "[DONE]"}) {
      if (!writer.write_event(event, yield).ok()) return;
      if (writer.state() == shoal::net::ResponseWriter::State::kHeld && !writer.commit(yield).ok()) return;
    }
    writer.end_stream(yield).ignore("the client left");
    return;
  }
  if (method == "GET" || method == "HEAD") {
    writer.send(200, "text/plain", "hello", yield).ignore("the client left");
  } else if (method == "POST") {
    writer.send(200, "text/plain", request.body, yield).ignore("the client left");
  } else {
    writer.set_header("Allow", "GET, HEAD, POST, OPTIONS");
    writer.send(method == "OPTIONS" ? 204 : 405, "text/plain", "", yield).ignore("the client left");
  }
}

}  // namespace

int main(int argc, char** argv) {
  boost::asio::io_context io(1);
  shoal::net::HttpServerOptions options;
  shoal::net::ListenerOptions listener;
  if (argc > 1) listener.port = static_cast<std::uint16_t>(std::atoi(argv[1]));
  options.listeners.push_back(listener);
  shoal::net::HttpServer server(io, options, echo);
  if (const auto started = server.start(); !started.ok()) {
    std::fprintf(stderr, "%s\n", started.error().message().c_str());
    return 1;
  }
  std::printf("port %d\n", server.port());
  std::fflush(stdout);
  io.run();
}
