// Answers of a model to the questions of a labelled file, graded: what `shoal route fit` learns from and `shoal route
// certify` counts. Runs a worker of its own; answers are kept as they come, so that a command that was killed goes on
// where it was, and two commands that ask the same ask once. Owned by a command. Threads: the main thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/cli/answer_cache.h"
#include "shoal/config/config.h"
#include "shoal/evaluation/labelled_data.h"
#include "shoal/routing/fit.h"

namespace shoal::cli {

struct Questioning {
  std::string model;
  std::string task;
  std::filesystem::path data;
  std::int32_t commit_tokens = 16;
  std::int32_t max_tokens = 64;
  std::vector<std::string> stop;
  evaluation::Grader grader = evaluation::Grader::kExact;
  std::string grader_name = "exact";
  std::function<void(std::size_t, std::size_t, double)> note;  // answers there, of how many, new ones per second
};

struct GradedAnswers {
  evaluation::LabelledData data;
  std::map<std::size_t, CachedAnswer> answers;  // by question
  std::size_t asked = 0;                        // now; the others were there
  std::string model;                            // its own name
  routing::TableKey key;                        // of whole answers
  std::string date;                             // today's

  [[nodiscard]] bool right(const Questioning& request, std::size_t question) const;
  // What was seen of an answer, as the server sees it.
  [[nodiscard]] routing::Checks checks(std::size_t question) const;
  // Of answers with at least so many tokens; 0: of whole ones, with their checks.
  [[nodiscard]] std::vector<routing::Label> labels(const Questioning& request, std::int32_t tokens) const;
};

// `data`: of request.data. Errors: kInvalidRequest for a model without a hash, kCancelled (what was
// answered is kept), those of the engine.
[[nodiscard]] Result<GradedAnswers> answer_questions(const config::Config& config, const Questioning& request,
                                                     evaluation::LabelledData data);
// "2026-11-23"
[[nodiscard]] std::string utc_date(const base::Clock& clock);
// Where tables are kept.
[[nodiscard]] std::filesystem::path calibration_folder(const config::Config& config);

}  // namespace shoal::cli
