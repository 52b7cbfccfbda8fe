// What the tests of the supervisor share: a clock that stands still until it is moved, a source of models that
// are scripts for fake_worker, and an I/O thread that runs a coroutine to its end.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/log.h"
#include "shoal/engine/supervisor.h"
#include "shoal/telemetry/metrics.h"

namespace shoal::engine {

// Starts at the real time, because deadlines travel to another process.
class FakeClock final : public base::Clock {
 public:
  [[nodiscard]] std::int64_t monotonic_ns() const override { return now_ns_; }
  [[nodiscard]] std::int64_t unix_ms() const override { return 1'700'000'000'000; }
  void advance_ms(std::int64_t ms) { now_ns_ += ms * 1'000'000; }

 private:
  std::atomic<std::int64_t> now_ns_ = base::SystemClock().monotonic_ns();
};

class ScriptedModels final : public ModelSource {
 public:
  ScriptedModels() {
    std::string pattern = (std::filesystem::temp_directory_path() / "shoal-engine-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~ScriptedModels() override { std::filesystem::remove_all(folder_); }

  void add(const std::string& name, const std::string& script = {}) {
    LocalModel model;
    model.info.name = name;
    model.info.path = file(name + ".model");
    model.info.generates = model.info.embeds = true;
    model.info.context_length = 512;
    std::ofstream(model.info.path) << script << " log=" << log_of(name);
    models_[name] = model;
  }
  LocalModel& at(const std::string& name) { return models_.at(name); }
  [[nodiscard]] std::string file(const std::string& name) const { return folder_ / name; }

  // How often the worker of this model noted this event: start, stream, cancel, ping, drain, embed.
  [[nodiscard]] int count(const std::string& name, const std::string& event) const {
    std::ifstream in(log_of(name));
    int count = 0;
    for (std::string line; std::getline(in, line);) count += line == event ? 1 : 0;
    return count;
  }

  [[nodiscard]] std::vector<types::ModelInfo> list() const override {
    std::vector<types::ModelInfo> out;
    for (const auto& [name, model] : models_) out.push_back(model.info);
    return out;
  }
  [[nodiscard]] Result<LocalModel> resolve(const std::string& name) const override {
    const auto found = models_.find(name);
    if (found == models_.end()) return Error(ErrorCode::kModelNotFound, "no model " + name).with_suggestion("a");
    return found->second;
  }

 private:
  [[nodiscard]] std::string log_of(const std::string& name) const { return file(name + ".log"); }

  std::filesystem::path folder_;
  std::map<std::string, LocalModel> models_;
};

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    options_.worker_path = std::filesystem::path(SHOAL_BIN_DIR).parent_path() / "tests" / "fake_worker";
    options_.sandbox = SandboxMode::kNone;
    options_.tick_ms = 2;
    options_.backoff_ms = 1;
    models_.add("a");
    models_.add("b");
  }

  ~SupervisorTest() override {
    supervisor_.reset();
    io_.restart();
    io_.poll();  // handlers that hold what the supervisor let go
  }

  // Made with the first use, so that a test can change options_ before.
  Supervisor& supervisor() {
    if (!supervisor_) {
      supervisor_ = std::make_unique<Supervisor>(io_.get_executor(), clock(), log_, models_, registry_, options_);
    }
    return *supervisor_;
  }
  [[nodiscard]] const base::Clock& clock() const {
    return frozen_ ? static_cast<const base::Clock&>(fake_clock_) : system_clock_;
  }

  // Runs the body as a coroutine, and everything beside it, until the body and all its side() coroutines are over.
  void run(const std::function<void(base::Yield)>& body) {
    side(body);
    io_.restart();
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (running_ > 0 && std::chrono::steady_clock::now() < limit) {
      io_.run_one_for(std::chrono::seconds(1));
    }
    if (running_ == 0) return;
    ADD_FAILURE() << "a coroutine of the test hangs";
    std::abort();  // it refers to locals of the test, which must not go away under it
  }
  void side(std::function<void(base::Yield)> body) {
    ++running_;
    base::spawn(io_, "test", [this, body = std::move(body)](base::Yield yield) {
      body(yield);
      --running_;
    });
  }

  // Lets everything else run until `done` holds; gives up after 20 s.
  ::testing::AssertionResult eventually(base::Yield yield, const std::function<bool()>& done) {
    for (int i = 0; i < 10'000; ++i) {
      if (done()) return ::testing::AssertionSuccess();
      base::Timer timer(io_, std::chrono::milliseconds(2));
      base::error_code ignored;
      timer.async_wait(yield[ignored]);
    }
    return ::testing::AssertionFailure() << "never became true";
  }

  [[nodiscard]] static GenerateRequest ask(const std::string& model, const std::string& prompt) {
    GenerateRequest request;
    request.model = model;
    request.prompt.input = prompt;
    return request;
  }

  struct Answer {
    std::string text;
    int tokens = 0;
    bool finished = false;
    std::optional<Error> error;
    [[nodiscard]] std::string code() const { return error ? std::string(error->info().slug) : ""; }
  };
  static void read(Generation& generation, Answer& out, base::Yield yield) {
    while (!out.finished && !out.error) {
      auto event = generation.next(yield, base::Deadline{});
      if (!event.ok()) {
        out.error = event.error();
      } else if (const auto* token = std::get_if<TokenEvent>(&**event)) {
        ++out.tokens;
        out.text += token->text;
      } else {
        out.text += std::get<FinishEvent>(**event).text;
        out.finished = true;
      }
    }
  }
  Answer answer(GenerateRequest request, base::Yield yield) {
    Answer out;
    auto started = supervisor().start(std::move(request), yield);
    if (!started.ok()) {
      out.error = started.error();
    } else {
      read(**started, out, yield);
    }
    return out;
  }
  Answer answer(const std::string& model, const std::string& prompt, base::Yield yield) {
    return answer(ask(model, prompt), yield);
  }

  WorkerStatus status(const std::string& model) {
    for (auto& row : supervisor().status()) {
      if (row.model == model) return row;
    }
    return {};
  }

  bool frozen_ = false;  // set before the first use of supervisor()
  FakeClock fake_clock_;
  base::SystemClock system_clock_;
  base::Log log_ = base::Log::null();
  telemetry::Registry registry_;
  ScriptedModels models_;
  SupervisorOptions options_;
  base::asio::io_context io_;
  std::unique_ptr<Supervisor> supervisor_;
  int running_ = 0;
};

}  // namespace shoal::engine
