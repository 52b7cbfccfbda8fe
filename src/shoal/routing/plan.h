// plan(): who may answer a request, in which order, before anything is computed or sent. Pure: the same facts give the
// same plan, and `shoal route test` calls it as the pipeline does. What falls out is named with its reason.
// Threads: any.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "shoal/base/error.h"
#include "shoal/routing/route.h"
#include "shoal/types/chat.h"
#include "shoal/types/route.h"

namespace shoal::routing {

// Whom the client would rather have answer: x-shoal-prefer.
enum class Prefer : std::uint8_t { kNone, kLocal, kRemote };

// Of the request.
struct Facts {
  const std::vector<types::Need>& needs;
  bool local_only = false;  // the client's own wish
  Prefer prefer = Prefer::kNone;
};

// Of the world, at this moment.
struct RemoteState {
  std::optional<Error> out{};       // why it cannot be asked now; nothing: it can
  bool openai = true;               // it speaks OpenAI's dialect, which has parameters that no other knows
  std::string signal = "provider";  // that `out` comes from: "breaker", "keys"
  std::string value{};              // of it: "open for 12 s"; empty: the code of `out`
};
struct World {
  std::optional<Error> no_local;  // why the local model cannot be asked; nothing: it can
  // Why it had better not be asked where somebody else can be: the prompt cannot fit, too many wait. And the reason.
  std::optional<Error> local_hindrance;
  types::Reason hindered_by;
  bool calibrated = false;  // there is a table that makes a confidence of the local model's answers to this task
  std::optional<types::Reason> gap;  // why there is none
  // What the route's router says of this request; without one, nothing. `gains`: enough to ask a provider at once.
  std::optional<types::Reason> outlook;
  bool gains = false;
  // What the request is about, of a route with domains. `undecided`: of several of them, or of none for sure.
  std::optional<types::Reason> domain;
  bool undecided = false;
  std::optional<types::Reason> proof;  // of the risk that the route promises
  bool may_escalate = true;            // its key has escalations left
  bool egress_allowed = true;
  std::vector<RemoteState> remotes;  // as Route::remote
};

struct Candidate {
  bool local = true;
  std::size_t remote = 0;  // index into Route::remote, when not local
  // Its answer is judged before the client sees it; else it is kept as it comes.
  bool judged = false;
  // The local model once more, where its answer was not sure enough and nobody else could answer.
  bool fallback = false;
};

struct Plan {
  std::vector<Candidate> candidates;
  std::vector<types::Reason> reasons;
  std::optional<Error> refusal;  // when there is no candidate
  // It wants a provider before anything is drafted, for what the request is like or for want of a confidence: that
  // takes one of the key's escalations. Where none is left, nobody but the local model comes first.
  bool escalates = false;
};

[[nodiscard]] Plan plan(const Route& route, const Facts& facts, const World& world);

}  // namespace shoal::routing
