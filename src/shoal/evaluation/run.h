// Asks the questions of a suite through routes and grades the answers, or has a judge do that.
// Owned by the command. Threads: as ask_all(); grade_all() starts `parallel` of its own and joins them.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/evaluation/answers.h"
#include "shoal/evaluation/asker.h"
#include "shoal/evaluation/grader.h"
#include "shoal/evaluation/judge.h"
#include "shoal/evaluation/suite.h"

namespace shoal::evaluation {

// One row through one route.
struct RowResult {
  bool asked = false;          // false: the run ended before
  Answer answer;               // with `error` when the request failed
  std::optional<Grade> grade;  // of an answer; nothing: it could not be graded
  std::string ungraded;        // why
};

struct RouteResult {
  std::string route;
  std::string identity;
  std::vector<RowResult> rows;  // as the suite's, as far as the limit
};

struct RunResult {
  std::vector<RouteResult> routes;
  std::size_t asked = 0;   // now
  std::size_t kept = 0;    // were there
  std::size_t errors = 0;  // requests that failed for good
  double spent_usd = 0;    // now
  Ended ended = Ended::kComplete;
  std::optional<JudgeTrial> trial;    // of a suite with a judge
  std::optional<JudgeCounts> judged;  // what it said of the answers
};

// Errors: those of ask_all() and of identity(); what was answered is kept.
[[nodiscard]] Result<RunResult> run_suite(const Suite& suite, const RunOptions& options, const Server& server,
                                          AnswerJournal& journal);

// Grades every answer, `parallel` at a time, until `interrupted` says so; those that are left have no grade. Leaves a
// suite with a judge to judge_all(). Errors: when the sandbox or the interpreter for code is missing.
Result<void> grade_all(const Suite& suite, std::size_t parallel, RunResult& run,
                       const std::function<bool()>& interrupted = {});

// Has the judge grade every answer, under the budget of `options`. REQUIRES: suite.judge and run.trial.
// Errors: as run_suite().
Result<void> judge_all(const Suite& suite, const RunOptions& options, const Server& server, AnswerJournal& journal,
                       RunResult& run);

}  // namespace shoal::evaluation
