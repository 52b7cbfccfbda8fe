// TaskDraft: what a trained task says in place of a local model: the label of the text that is asked about, with how
// sure the task is of it. The text's embedding has so long to come as the pipeline gives it; without one the hashed
// part answers alone, and the receipt says so.
// Owned by the pipeline for one attempt. Threads: the I/O thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shoal/base/async.h"
#include "shoal/base/clock.h"
#include "shoal/base/result.h"
#include "shoal/engine/engine.h"
#include "shoal/gateway/answer.h"
#include "shoal/gateway/answer_stream.h"
#include "shoal/learning/class_model.h"
#include "shoal/routing/tasks.h"

namespace shoal::gateway {

// Embeddings for a task, or why there are none.
struct TaskEmbeddings {
  engine::EmbedResult result;  // as many as the texts, or none
  std::string embedder;        // its name; empty: nothing was computed
  std::string degraded;        // why there are none, though the task has an embedder
};
// `request` without its model and inputs. Errors: kCancelled, kDeadlineExceeded, kShuttingDown; any other failure is
// told in `degraded`.
[[nodiscard]] Result<TaskEmbeddings> embed_for_task(engine::Engine& engine, const learning::ClassModel& model,
                                                    std::span<const std::string_view> texts,
                                                    engine::EmbedRequest request, base::Yield yield);

// Whether a task can answer the request at all: one text, one answer, nothing that only a model that writes can do.
[[nodiscard]] std::optional<Error> why_no_task(const AnswerRequest& request);

struct TaskDraftOptions {
  base::Deadline embed_by;      // for the embedding; the request's own holds beside it
  bool certified_only = false;  // an answer that the task's certificate is not for is of unknown certainty
};

class TaskDraft final : public AnswerStream {
 public:
  // REQUIRES: a task of classes, !why_no_task(request); all of it outlives this.
  TaskDraft(engine::Engine& engine, learning::ClassScorer& scorer, const routing::Task& task,
            const AnswerRequest& request, TaskDraftOptions options);

  // The first one computes all of the answer, and waits for the embedding whatever `wake` is.
  [[nodiscard]] std::optional<AnswerEvent> next(const base::Clock& clock, base::Deadline wake,
                                                base::Yield yield) override;

 private:
  Result<void> answer(const base::Clock& clock, base::Yield yield);

  engine::Engine& engine_;
  learning::ClassScorer& scorer_;
  const routing::Task& task_;
  const AnswerRequest& request_;
  const TaskDraftOptions options_;
  std::deque<AnswerEvent> waiting_;
};

}  // namespace shoal::gateway
