#include "shoal/evaluation/run.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>

namespace shoal::evaluation {

Result<RunResult> run_suite(const Suite& suite, const RunOptions& options, const Server& server,
                            AnswerJournal& journal) {
  const std::size_t rows = options.limit == 0 ? suite.rows.size() : std::min(options.limit, suite.rows.size());
  RunResult out;
  for (const std::string& route : options.routes) {
    RouteResult& one = out.routes.emplace_back();
    one.route = route;
    one.identity = SHOAL_TRY(server.identity(route));
    one.rows.resize(rows);
  }
  // Row by row, each through all routes, so that a run that ended early has pairs to compare.
  const std::size_t routes = out.routes.size();
  const auto request = [&](std::size_t at) {
    const RouteResult& route = out.routes[at % routes];
    const SuiteRow& row = suite.rows[at / routes];
    return Request{row.id, route.route, route.identity, chat_body(suite, row, route.route)};
  };
  Asked asked = SHOAL_TRY(ask_all(rows * routes, request, options, server, journal));
  for (std::size_t at = 0; at < asked.replies.size(); ++at) {
    RowResult& row = out.routes[at % routes].rows[at / routes];
    row.asked = asked.replies[at].asked;
    row.answer = std::move(asked.replies[at].answer);
  }
  out.asked = asked.asked;
  out.kept = asked.kept;
  out.errors = asked.errors;
  out.spent_usd = asked.spent_usd;
  out.ended = asked.ended;
  return out;
}

Result<void> grade_all(const Suite& suite, std::size_t parallel, RunResult& run,
                       const std::function<bool()>& interrupted) {
  if (suite.judge) return {};
  const std::size_t rows = run.routes.empty() ? 0 : run.routes.front().rows.size();
  const std::size_t all = rows * run.routes.size();
  std::atomic<std::size_t> next = 0;
  std::atomic<bool> stop = false;
  std::atomic<bool> late = false;
  std::mutex mutex;
  std::optional<Error> failed;
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < std::max<std::size_t>(parallel, 1); ++i) {
      threads.emplace_back([&] {
        for (std::size_t at = next++; at < all && !stop; at = next++) {
          RowResult& row = run.routes[at / rows].rows[at % rows];
          if (!row.asked || !row.answer.error.empty()) continue;
          if (interrupted && interrupted()) {
            row.ungraded = "interrupted before it was graded";
            late = true;
            continue;
          }
          auto graded = grade(suite.grader, suite.rows[at % rows].gold, row.answer.text);
          if (graded.ok()) {
            row.grade = std::move(graded).value();
          } else if (graded.error().code() == ErrorCode::kInvalidData) {
            row.ungraded = graded.error().message();
          } else {
            const std::lock_guard lock(mutex);
            if (!failed) failed = std::move(graded).error();
            stop = true;
          }
        }
      });
    }
  }
  if (failed) return *std::move(failed);
  if (late) run.ended = Ended::kInterrupted;
  return {};
}

namespace {

Grade grade_of(const Suite& suite, double score, std::string why) {
  return {.score = score, .right = score >= suite.grader.right_from - 1e-12, .why = std::move(why)};
}

// What is judged: an answer that is there, is not the reference to the byte, and is no longer than graders read.
struct Case {
  std::size_t route = 0;
  std::size_t row = 0;
};

std::vector<Case> cases_of(const Suite& suite, RunResult& run) {
  std::vector<Case> out;
  for (std::size_t route = 0; route < run.routes.size(); ++route) {
    for (std::size_t i = 0; i < run.routes[route].rows.size(); ++i) {
      RowResult& row = run.routes[route].rows[i];
      if (!row.asked || !row.answer.error.empty()) continue;
      if (row.answer.text.size() > kMaxGradedBytes) {
        row.grade = grade_of(suite, 0, "it is longer than any answer that is graded");
      } else if (suite.judge->pairwise && row.answer.text == suite.rows[i].gold.answers.front()) {
        row.grade = grade_of(suite, 0.5, "the same as the reference");
      } else {
        out.push_back({route, i});
      }
    }
  }
  return out;
}

void take_pair(const Suite& suite, const Reply& there, const Reply& back, RowResult& row, JudgeCounts& counts) {
  PairVerdict said = pair_verdict(*suite.judge, there, back, counts);
  if (!said.better) {
    row.ungraded = std::move(said.why);
    return;
  }
  const double score = *said.better == Better::kFirst ? 1 : *said.better == Better::kTie ? 0.5 : 0;
  row.grade = grade_of(suite, score, std::move(said.why));
}

void take_score(const Suite& suite, const Reply& reply, RowResult& row, JudgeCounts& counts) {
  // As a pair with itself: the same faults are told in the same words.
  PairVerdict said = pair_verdict(*suite.judge, reply, reply, counts);
  if (!said.better) {
    row.ungraded = std::move(said.why);
    return;
  }
  const int score = *read_score(reply.answer.text);
  row.grade = grade_of(suite, (score - 1) / 4.0, "the judge gives " + std::to_string(score) + " of 5");
}

}  // namespace

Result<void> judge_all(const Suite& suite, const RunOptions& options, const Server& server, AnswerJournal& journal,
                       RunResult& run) {
  const JudgeSettings& judge = *suite.judge;
  const std::vector<Case> cases = cases_of(suite, run);
  const std::size_t orders = judge.pairwise ? 2 : 1;
  const auto request = [&](std::size_t at) {
    const Case& one = cases[at / orders];
    const SuiteRow& row = suite.rows[one.row];
    const std::string& answer = run.routes[one.route].rows[one.row].answer.text;
    const std::string reference = row.gold.answers.empty() ? "" : row.gold.answers.front();
    std::string body = !judge.pairwise ? score_body(judge, row.prompt, reference, answer)
                       : at % 2 == 0   ? pair_body(judge, row.prompt, answer, reference)
                                       : pair_body(judge, row.prompt, reference, answer);
    return Request{"judge:" + row.id, judge.judge, run.trial->identity, std::move(body)};
  };
  const Asked asked = SHOAL_TRY(ask_all(cases.size() * orders, request, options, server, journal));
  JudgeCounts& counts = run.judged.emplace();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    RowResult& row = run.routes[cases[i].route].rows[cases[i].row];
    if (judge.pairwise) {
      take_pair(suite, asked.replies[2 * i], asked.replies[2 * i + 1], row, counts);
    } else {
      take_score(suite, asked.replies[i], row, counts);
    }
  }
  run.asked += asked.asked;
  run.kept += asked.kept;
  run.errors += asked.errors;
  run.spent_usd += asked.spent_usd;
  if (run.ended == Ended::kComplete) run.ended = asked.ended;
  return {};
}

}  // namespace shoal::evaluation
