#include "shoal/cli/eval_page.h"

#include <charconv>
#include <cmath>
#include <csignal>
#include <optional>
#include <stop_token>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <boost/asio/io_context.hpp>

#include "shoal/base/async.h"
#include "shoal/base/ids.h"
#include "shoal/base/secret.h"
#include "shoal/base/text.h"
#include "shoal/cli/interruptible.h"
#include "shoal/evaluation/svg.h"
#include "shoal/net/http_server.h"

namespace shoal::cli {
namespace {

using evaluation::BlindComparison;
using evaluation::BlindPair;
using evaluation::Choice;
using evaluation::html_text;

constexpr std::size_t kMaxBodyBytes = 1024;
constexpr std::int64_t kFarewellMs = 2'000;  // for the last answer to be read
constexpr std::string_view kForm = "application/x-www-form-urlencoded";
constexpr std::string_view kHtml = "text/html; charset=utf-8";

constexpr std::string_view kStyle = R"css(
:root{--ink:#1c2126;--faint:#5c6670;--line:#c9d0d6;--paper:#fff;--accent:#1f5fd0}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--faint:#9aa5ae;--line:#3b444c;--paper:#14181c;--accent:#7db0ff}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:80rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.2rem}h2{font-size:1rem;color:var(--faint)}.text{white-space:pre-wrap;overflow-wrap:anywhere}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1rem}@media(max-width:45rem){.pair{grid-template-columns:1fr}}
article{border:1px solid var(--line);border-radius:.4rem;padding:.2rem 1rem 1rem;min-width:0}
form{position:sticky;bottom:0;background:var(--paper);padding:1rem 0;display:flex;flex-wrap:wrap;gap:.7rem}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:.4rem;padding:.5rem 1rem;cursor:pointer}
button:focus-visible,article:focus-visible{outline:3px solid var(--accent);outline-offset:2px}.faint{color:var(--faint)}
)css";

// A key is a press of its button; the page works without it.
constexpr std::string_view kScript = R"js(
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const button = document.querySelector(`button[data-key="${CSS.escape(event.key)}"]`);
  if (button) { event.preventDefault(); button.click(); }
});
document.querySelector("form")?.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "yes";
});
)js";

// The value of a field of a form; our own fields need no percent-decoding.
std::string_view field_of(std::string_view body, std::string_view name) {
  while (!body.empty()) {
    const std::size_t end = std::min(body.find('&'), body.size());
    const std::string_view one = body.substr(0, end);
    body.remove_prefix(std::min(end + 1, body.size()));
    if (one.size() > name.size() && one.starts_with(name) && one[name.size()] == '=')
      return one.substr(name.size() + 1);
  }
  return {};
}

std::optional<Choice> choice_named(std::string_view name) {
  if (name == "left") return Choice::kLeft;
  if (name == "right") return Choice::kRight;
  return name == "tie" ? std::optional(Choice::kTie) : std::nullopt;
}

// How text of a person or a model stands on the page: nothing of it is a tag, and no control turns a line around.
std::string shown(std::string_view text) {
  return html_text(base::escape_lines(text));
}

class Page {
 public:
  Page(boost::asio::io_context& io, BlindComparison& comparison, const EvalPageOptions& options)
      : comparison_(comparison),
        options_(options),
        token_(base::random_id()),
        digest_(base::digest_secret(token_)),
        ended_(io),
        server_(io, server_options(options.port),
                [this](const net::HttpRequest& request, net::ResponseWriter& writer, base::Yield yield) {
                  handle(request, writer, std::move(yield));
                }) {
    ended_.expires_at(base::Timer::time_point::max());
  }

  Result<void> start() {
    SHOAL_TRY(server_.start());
    options_.ready(fmt::format("http://127.0.0.1:{}/{}/", server_.port(), token_));
    return {};
  }

  void wait(const std::stop_token& stop, base::Yield yield) {
    const std::stop_callback woken(stop, [this] { ended_.cancel(); });
    base::error_code ignored;
    if (!over() && !stop.stop_requested()) ended_.async_wait(yield[ignored]);
    server_.drain(kFarewellMs, yield);
    server_.stop();
  }

 private:
  static net::HttpServerOptions server_options(std::uint16_t port) {
    net::HttpServerOptions out;
    out.listeners.push_back({.kind = net::ListenerKind::kPublic, .host = "127.0.0.1", .port = port});
    out.max_body_bytes = kMaxBodyBytes;
    out.max_connections = 32;
    return out;
  }

  [[nodiscard]] bool over() const {
    return stopped_ || at_ >= comparison_.pairs().size() ||
           comparison_.test().winner() != statistics::Preferred::kNeither;
  }

  void handle(const net::HttpRequest& request, net::ResponseWriter& writer, base::Yield yield) {
    writer.set_header("Cache-Control", "no-store");
    writer.set_header("X-Content-Type-Options", "nosniff");
    writer.set_header("X-Frame-Options", "DENY");
    // Not no-referrer: with that a browser sends no Origin with a form, and the path is told to nobody else anyway.
    writer.set_header("Referrer-Policy", "same-origin");
    writer.set_header("Cross-Origin-Opener-Policy", "same-origin");
    writer.set_header("Cross-Origin-Resource-Policy", "same-origin");
    if (!own_origin(request)) return say(writer, 403, "This page answers to itself only.", std::move(yield));
    const std::string_view path = request.path;
    const std::size_t slash = path.find('/', 1);
    const bool known =
        slash != std::string_view::npos && base::equal_digests(base::digest_secret(path.substr(1, slash - 1)), digest_);
    const std::string_view rest = known ? path.substr(slash) : std::string_view();
    if (rest == "/" && (request.method == "GET" || request.method == "HEAD"))
      return send(writer, 200, content(), std::move(yield));
    if (rest == "/vote" && request.method == "POST") return vote(request, writer, std::move(yield));
    say(writer, rest == "/" || rest == "/vote" ? 405 : 404, "Nothing is here.", std::move(yield));
  }

  // net/ has seen to it that the Host is an address or a loopback name; a vote comes from this very page.
  static bool own_origin(const net::HttpRequest& request) {
    const std::string_view origin = request.header("Origin");
    const std::string_view site = request.header("Sec-Fetch-Site");
    if (!origin.empty() && origin != fmt::format("http://{}", request.header("Host"))) return false;
    return request.method != "POST" || site.empty() || site == "same-origin";
  }

  void vote(const net::HttpRequest& request, net::ResponseWriter& writer, base::Yield yield) {
    const std::string_view kind = request.header("Content-Type");
    if (kind.substr(0, kind.find(';')) != kForm) return say(writer, 415, "Wanted a form.", std::move(yield));
    const std::string_view said = field_of(request.body, "choice");
    const std::string_view number = field_of(request.body, "pair");
    std::size_t pair = 0;
    const auto [end, fault] = std::from_chars(number.data(), number.data() + number.size(), pair);
    const bool numbered = fault == std::errc() && end == number.data() + number.size();
    const auto choice = choice_named(said);
    if (!numbered || (!choice && said != "stop"))
      return say(writer, 400, "Wanted a pair and a choice.", std::move(yield));
    // A second press, or a page that stayed open: it was judged already, and is judged once.
    if (!over() && pair == at_) {
      if (!choice) {
        stopped_ = true;
      } else if (const auto kept = comparison_.judge(comparison_.pairs()[at_], *choice); !kept.ok()) {
        return say(writer, 503, "The vote is not kept, and does not count: " + kept.error().message(),
                   std::move(yield));
      } else {
        ++at_;
      }
    }
    if (over()) {
      send(writer, 200, content(), std::move(yield));
      ended_.cancel();
      return;
    }
    writer.set_header("Location", fmt::format("/{}/", token_));
    writer.send(303, "text/plain", "", std::move(yield)).ignore("the page can be asked for again");
  }

  void say(net::ResponseWriter& writer, int status, std::string_view text, base::Yield yield) {
    send(writer, status, fmt::format("<h1>{}</h1>", shown(text)), std::move(yield));
  }

  void send(net::ResponseWriter& writer, int status, std::string_view main, base::Yield yield) {
    const std::string nonce = base::random_id();
    writer.set_header("Content-Security-Policy",
                      fmt::format("default-src 'none'; style-src 'nonce-{0}'; script-src 'nonce-{0}'; form-action "
                                  "'self'; base-uri 'none'; frame-ancestors 'none'",
                                  nonce));
    const std::string html = fmt::format(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><title>Which answer is better?</title><style "
        "nonce=\"{0}\">{1}</style></head>\n<body><main>{2}</main><script nonce=\"{0}\">{3}</script></body></html>\n",
        nonce, kStyle, main, kScript);
    writer.send(status, kHtml, html, std::move(yield)).ignore("the reader went away");
  }

  [[nodiscard]] std::string content() const {
    if (over()) {
      return fmt::format("<h1>The comparison has ended</h1><p role=\"status\">{}</p><p>You may close this page.</p>",
                         shown(options_.verdict()));
    }
    const BlindPair& pair = comparison_.pairs()[at_];
    return fmt::format(
        "<h1>Which answer is better?</h1>\n{}<h2 id=\"question\">The question</h2><div class=\"text\" "
        "aria-labelledby=\"question\" role=\"region\">{}</div>\n<div class=\"pair\">{}{}</div>\n{}",
        state(), shown(pair.question), answer(1, pair.left), answer(2, pair.right), form());
  }

  static std::string answer(int number, std::string_view text) {
    return fmt::format(
        "<article tabindex=\"0\" aria-labelledby=\"answer-{0}\"><h2 id=\"answer-{0}\">Answer {0}</h2><div "
        "class=\"text\">{1}</div></article>",
        number, shown(text));
  }

  // What may be seen after every pair without making the test worse, and without telling who is who: how much evidence
  // there is that either is preferred, and never which.
  [[nodiscard]] std::string state() const {
    const statistics::PreferenceTest& test = comparison_.test();
    return fmt::format(
        "<p class=\"faint\" role=\"status\">{} judged, {} of them ties; {} left. Evidence that one of the two is "
        "preferred: {:.1f} of {:.0f}. You may look at it and stop at any time.</p>\n",
        test.first_wins() + test.second_wins() + comparison_.ties(), comparison_.ties(),
        comparison_.pairs().size() - at_, std::exp(test.log_evidence()), 1 / options_.delta);
  }

  [[nodiscard]] std::string form() const {
    std::string out = fmt::format(
        "<form method=\"post\" action=\"/{}/vote\" autocomplete=\"off\" aria-label=\"Your choice\"><input "
        "type=\"hidden\" "
        "name=\"pair\" value=\"{}\">",
        token_, at_);
    const auto button = [&](std::string_view choice, std::string_view key, std::string_view label) {
      out += fmt::format(
          "<button name=\"choice\" value=\"{}\" data-key=\"{}\" aria-keyshortcuts=\"{}\">{} <kbd>{}</kbd></button>\n",
          choice, key, key, label, key);
    };
    button("left", "1", "Answer 1 is better");
    button("right", "2", "Answer 2 is better");
    button("tie", "=", "Neither is");
    button("stop", "q", "Stop and show who is who");
    return out + "</form>";
  }

  BlindComparison& comparison_;
  const EvalPageOptions& options_;
  const std::string token_;
  const base::SecretDigest digest_;
  std::size_t at_ = 0;  // of the pairs that were left at the start
  bool stopped_ = false;
  base::Timer ended_;
  net::HttpServer server_;
};

}  // namespace

Result<void> compare_on_page(BlindComparison& comparison, const EvalPageOptions& options) {
  if (comparison.pairs().empty() || comparison.test().winner() != statistics::Preferred::kNeither) return {};
  boost::asio::io_context io;
  std::stop_source stop;
  Page page(io, comparison, options);
  SHOAL_TRY(page.start());
  return run_interruptible<void>(io, stop, {SIGINT, SIGTERM}, [&](base::Yield yield) -> Result<void> {
    page.wait(stop.get_token(), std::move(yield));
    return {};
  });
}

}  // namespace shoal::cli
