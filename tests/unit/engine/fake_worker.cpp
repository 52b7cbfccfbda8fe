// A worker that runs no model: speaks the frames of ipc/ and misbehaves as it is told, by the "model file" on
// descriptor 4 for its whole life, and by the prompt of each request. Both are words `key=value`.
//   file:    shout=LINES  ready=no  die=STATUS  die_times=N  fail=SLUG  garbage=1  pong=no  drain=no  slots=N context=N
//   lease=ignore (cores are never given back)  pong_after=PATH (once it exists)  log=PATH
//   prompt:  tokens=N  endless=1  crash_at=N  crash_once=PATH  mute=1  hang=1  fail=SLUG  long=1  bad=KIND
// A text to tokenize has one id for each byte, from 0 on. An input to embed may be "mute=1", "short", "beyond",
// "again".
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "shoal/base/error.h"
#include "shoal/ipc/frames.h"
#include "shoal/worker/lease.h"

namespace {

namespace ipc = shoal::ipc;

using Words = std::map<std::string, std::string>;

Words words_of(const std::string& text) {
  Words out;
  std::istringstream in(text);
  for (std::string word; in >> word;) {
    const auto equals = word.find('=');
    if (equals != std::string::npos) out[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return out;
}

int number(const Words& words, const std::string& key, int fallback) {
  const auto found = words.find(key);
  int value = fallback;
  if (found != words.end()) {
    const std::string& text = found->second;
    std::from_chars(text.data(), text.data() + text.size(), value);
  }
  return value;
}

bool is(const Words& words, const std::string& key, const std::string& value) {
  const auto found = words.find(key);
  return found != words.end() && found->second == value;
}

struct Job {
  Words words;
  int sent = 0;
  int tokens = 0;
  std::uint32_t credits = 0;
};

class FakeWorker {
 public:
  explicit FakeWorker(Words file) : file_(std::move(file)) {}

  int run() {
    note("start");
    note_what_was_inherited();
    for (int line = number(file_, "shout", 0); line > 0; --line)
      std::fputs((std::string(1000, 'x') + "\n").c_str(), stderr);
    if (file_.contains("fail")) {
      send(0, ipc::Failed{code(file_), "the file is not a model\nat all", ""});
      return 1;
    }
    if (file_.contains("garbage")) write_all("GET / HTTP/1.1\r\n\r\n" + std::string(64, 'x'));
    if (file_.contains("die") && starts() <= number(file_, "die_times", 1'000)) {
      std::fputs("no such tensor: fake\n", stderr);
      return number(file_, "die", 1);
    }
    if (!is(file_, "ready", "no")) {
      send(0, ready());
    }
    while (step()) {
    }
    return 0;
  }

 private:
  [[nodiscard]] ipc::Ready ready() const {
    ipc::Ready out;
    out.cpu_backend = "fake";
    out.sandbox = "none";
    out.context_length = static_cast<std::uint32_t>(number(file_, "context", 512));
    out.sequence_length = static_cast<std::uint32_t>(number(file_, "sequence", static_cast<int>(out.context_length)));
    out.slots = static_cast<std::uint32_t>(number(file_, "slots", 4));
    out.vocabulary = 100;
    out.embedding_length = 4;
    return out;
  }

  static ipc::Finished finished(int prompt_tokens, int completion_tokens) {
    ipc::Finished out;
    out.text = "!";
    out.usage.prompt_tokens = prompt_tokens;
    out.usage.completion_tokens = completion_tokens;
    return out;
  }

  bool step() {
    bool busy = false;
    settle();
    for (auto it = jobs_.begin(); it != jobs_.end();) {
      auto& [id, job] = *it;
      const bool over = lease_.threads() > 0 && advance(id, job);
      busy = busy || (!over && lease_.threads() > 0 && job.credits > 0 && !job.words.contains("hang"));
      it = over ? jobs_.erase(it) : std::next(it);
    }
    settle();
    if (draining_ && jobs_.empty()) return false;
    pollfd socket{3, POLLIN, 0};
    const bool works = !jobs_.empty() && is(file_, "work", "yes");  // in a step that does not end
    const bool holds = lease_.threads() > 0;                        // to be given back once nothing needs it
    if (works) {
      note("work");
      send(0, ipc::Stats{.work = ++work_});
    }
    if (::poll(&socket, 1, busy ? 0 : works || holds ? 1 : -1) <= 0) return true;
    char buffer[65536];
    const ssize_t got = ::read(3, buffer, sizeof buffer);
    if (got <= 0) return false;
    reader_.feed({buffer, static_cast<std::size_t>(got)});
    while (true) {
      auto frame = reader_.next();
      if (!frame.ok()) return false;
      if (!frame->has_value()) return true;
      take(**frame);
    }
  }

  // Gives back the cores that it does not need, or is asked for.
  void settle() {
    const bool works = ping_due_ || !embeds_.empty() || !scores_.empty() ||
                       std::ranges::any_of(jobs_, [](const auto& entry) { return entry.second.credits > 0; });
    const std::uint32_t before = lease_.threads();
    const auto held = lease_.settle(works);
    if (lease_.threads() != before) note("threads " + std::to_string(lease_.threads()));
    if (held && !is(file_, "lease", "ignore")) send(0, *held);
    if (lease_.threads() == 0) return;
    const auto wait = file_.find("pong_after");
    if (ping_due_ && (wait == file_.end() || std::filesystem::exists(wait->second))) {
      ping_due_ = false;
      send(0, ipc::Pong{});
    }
    for (const auto& [id, embed] : std::exchange(embeds_, {})) take_embed(id, embed);
    for (const auto& [id, score] : std::exchange(scores_, {})) take_score(id, score);
  }

  // One token, or what the prompt wants in its place. True: the job is over.
  bool advance(std::uint64_t id, Job& job) {
    if (job.words.contains("hang") || job.words.contains("mute")) return false;
    if (number(job.words, "crash_at", -1) == job.sent && may_crash(job.words)) ::kill(::getpid(), SIGKILL);
    if (job.words.contains("bad") && misbehave(id, job)) return false;
    if (job.sent >= job.tokens && !job.words.contains("endless")) {
      send(id, finished(3, job.sent));
      return true;
    }
    if (job.credits == 0) return false;
    --job.credits;
    send(id, token(job.sent++, " t"));
    return false;
  }

  bool misbehave(std::uint64_t id, Job& job) {
    const std::string kind = std::exchange(job.words["bad"], "done");
    if (kind == "unknown") {  // frames about requests that never were: to be ignored
      send(id + 1'000'000, token(0, "lost"));
      send(id + 1'000'000, ipc::Failed{});
      return false;
    }
    if (kind == "text") send(id, token(0, std::string(100'000, 'x')));
    if (kind == "top") {
      ipc::TokenFrame frame = token(0, " t");
      frame.token.top.resize(21);
      send(id, frame);
    }
    if (kind == "twice") send(id, ipc::Accepted{});
    if (kind == "ready") send(0, ready());
    if (kind == "role") send(id, ipc::Cancel{});
    if (kind == "finish") send(id, finished(-1, 0));
    if (kind == "usage") send(id, finished(3, 2147483647));
    if (kind == "finish_prompt") send(id, finished(4, 0));
    if (kind == "garbage") write_all(std::string(200, '\xff'));
    if (kind == "credit") {  // in one write, so that no top-up can come between
      std::string bytes;
      for (std::uint32_t i = 0; i <= job.credits; ++i) bytes += encoded(id, token(static_cast<int>(i), " t"));
      write_all(bytes);
    }
    return kind != "done";
  }

  static bool may_crash(const Words& words) {
    const auto once = words.find("crash_once");
    if (once == words.end()) return true;
    if (std::filesystem::exists(once->second)) return false;
    std::ofstream(once->second) << "crashed";
    return true;
  }

  void take(const ipc::Frame& frame) {
    const std::uint64_t id = frame.header.request;
    if (const auto* generate = std::get_if<ipc::Generate>(&frame.body)) {
      take_generate(id, *generate);
    } else if (const auto* embed = std::get_if<ipc::Embed>(&frame.body)) {
      embeds_.emplace_back(id, *embed);
    } else if (const auto* score = std::get_if<ipc::Score>(&frame.body)) {
      scores_.emplace_back(id, *score);
    } else if (const auto* tokenize = std::get_if<ipc::Tokenize>(&frame.body)) {
      std::vector<std::int32_t> ids(std::get<std::string>(tokenize->input).size());
      std::iota(ids.begin(), ids.end(), 0);
      send(id, ipc::Tokens{.last = true, .lossless = true, .ids = ids});
    } else if (std::holds_alternative<ipc::Cancel>(frame.body)) {
      note("cancel");
      jobs_.erase(id);
      std::erase_if(embeds_, [id](const auto& entry) { return entry.first == id; });
      std::erase_if(scores_, [id](const auto& entry) { return entry.first == id; });
    } else if (const auto* credit = std::get_if<ipc::Credit>(&frame.body)) {
      if (jobs_.contains(id)) jobs_[id].credits += credit->tokens;
    } else if (std::holds_alternative<ipc::Ping>(frame.body)) {
      note("ping");
      ping_due_ = !is(file_, "pong", "no");
    } else if (const auto* lease = std::get_if<ipc::Lease>(&frame.body)) {
      lease_.take(*lease);
    } else if (std::holds_alternative<ipc::Drain>(frame.body)) {
      note("drain");
      draining_ = !is(file_, "drain", "no");
    }
  }

  void take_generate(std::uint64_t id, const ipc::Generate& generate) {
    Job job{.words = words_of(std::get<std::string>(generate.prompt))};
    job.tokens = number(job.words, "tokens", 2);
    job.credits = generate.credits;
    if (generate.streams) note("stream");
    if (job.words.contains("fail")) {
      send(id, ipc::Failed{code(job.words), job.words.contains("long") ? std::string(10'000, 'x') : "told to fail",
                           "prompt"});
      return;
    }
    if (job.words.contains("mute")) {
      note("mute");
    } else {
      send(id, ipc::Accepted{.prompt_tokens = is(job.words, "bad", "prompt") ? 513 : 3});
    }
    jobs_[id] = std::move(job);
  }

  // Each label has one token, of the probability that its length says; the prompt may want something else.
  void take_score(std::uint64_t id, const ipc::Score& score) {
    const Words words = words_of(std::get<std::string>(score.prompt));
    send(id, ipc::Accepted{.prompt_tokens = 3});
    if (words.contains("hang")) return;
    ipc::Scored out;
    out.usage = {3, static_cast<std::int32_t>(score.labels.size()), 0};
    for (const std::string& label : score.labels)
      out.labels.push_back({{static_cast<std::int32_t>(label.size())}, {-static_cast<float>(label.size())}});
    if (is(words, "bad", "count")) out.labels.pop_back();
    if (is(words, "bad", "lengths")) out.labels[0].logprobs.clear();
    if (is(words, "bad", "usage")) out.usage.completion_tokens = 2147483647;
    if (is(words, "bad", "ids")) out.labels[0].tokens[0] = 100;
    send(id, out);
  }

  void take_embed(std::uint64_t id, const ipc::Embed& embed) {
    note("embed");
    for (std::uint32_t i = 0; i < embed.inputs.size(); ++i) {
      const auto& text = std::get<std::string>(embed.inputs[i]);
      if (text == "mute=1") return;
      const std::vector<float> values(text == "short" ? 3 : 4, static_cast<float>(text.size()));
      const std::uint32_t index = text == "beyond"  ? static_cast<std::uint32_t>(embed.inputs.size())
                                  : text == "again" ? 0
                                                    : i;
      send(id, ipc::Embedding{.index = index, .tokens = 2, .last = i + 1 == embed.inputs.size(), .values = values});
    }
  }

  static ipc::TokenFrame token(int index, const std::string& text) {
    ipc::TokenFrame frame;
    frame.token.id = index;
    frame.token.bytes = text.substr(0, 2);
    frame.text = text;
    return frame;
  }

  static shoal::ErrorCode code(const Words& words) {
    return shoal::base::error_code_from_slug(words.at("fail")).value_or(shoal::ErrorCode::kInternal);
  }

  void note(const std::string& event) const {
    const auto log = file_.find("log");
    if (log != file_.end()) std::ofstream(log->second, std::ios::app) << event << '\n';
  }

  void note_what_was_inherited() const {
    for (char** variable = environ; *variable != nullptr; ++variable) {
      if (!std::string(*variable).starts_with("GGML_")) note("environment");
    }
    for (int fd = 5; fd < 256; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0) note("descriptor");
    }
  }

  [[nodiscard]] int starts() const {
    std::ifstream in(file_.at("log"));
    int count = 0;
    for (std::string line; std::getline(in, line);) count += line == "start" ? 1 : 0;
    return count;
  }

  static std::string encoded(std::uint64_t id, const ipc::Body& body) {
    return ipc::encode(id, std::numeric_limits<std::int64_t>::max(), body).value();
  }
  static void send(std::uint64_t id, const ipc::Body& body) { write_all(encoded(id, body)); }

  static void write_all(const std::string& bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const ssize_t wrote = ::write(3, bytes.data() + done, bytes.size() - done);
      if (wrote < 0 && errno != EINTR) std::_Exit(0);
      if (wrote > 0) done += static_cast<std::size_t>(wrote);
    }
  }

  Words file_;
  std::map<std::uint64_t, Job> jobs_;
  ipc::FrameReader reader_;
  shoal::worker::Lease lease_{256};
  bool ping_due_ = false;
  std::vector<std::pair<std::uint64_t, ipc::Embed>> embeds_;
  std::vector<std::pair<std::uint64_t, ipc::Score>> scores_;
  bool draining_ = false;
  std::uint64_t work_ = 0;
};

}  // namespace

int main() {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(4, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(got));
  return FakeWorker(words_of(text)).run();
}
