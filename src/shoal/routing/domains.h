// Domains: which of a route's areas of work a request is about, so that the route of that area answers it, with its own
// model, prompt, threshold and reviewer. Told by a trained task (learning/class_model.h), whose labels are areas or
// kinds of requests within them, from what the user wrote; by the hashed part alone, in microseconds.
//
// One area: at least `least` sure that it is this one, not like texts of other kinds, and no part of the text that is
// about something else. Several: parts of it are surely about areas of different routes. Else unsure. What is not of
// one area is for the large model to sort out.
//
// Why parts: to a bag of words "pay my bill and book a flight" is as sure as either half. Over pairs of CLINC150's
// validation texts joined by marks, conjunctions or a blank, a fifth passed for one area when judged whole, and 7 % by
// parts; of single texts 87.5 % in place of 88.6 % were still sure, 99.1 % of them rightly.
//
// Immutable and shared once made. Threads: any, each with its own scorer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/learning/class_model.h"

namespace shoal::routing {

struct Domains {
  learning::ClassModel task;
  std::vector<std::string> routes;  // by label of the task; empty: the route that has these domains
  double least = 0.8;
};

enum class DomainKind : std::uint8_t { kOne, kUnsure, kSeveral };

struct Domain {
  DomainKind kind = DomainKind::kUnsure;
  std::size_t label = 0;   // the likeliest of the whole text
  std::size_t other = 0;   // of kSeveral: a part's, of another route
  double probability = 0;  // that `label` is right
  double outside = 0;      // from 0 to 1: how much it is like texts of none of the labels
};

// From here on a text is taken for one of none of the labels.
inline constexpr double kOutside = 0.5;

// `turns`: what the user wrote, the last one last. A turn of fewer than four words is read with the one before it.
[[nodiscard]] Domain find_domain(const Domains& domains, std::span<const std::string_view> turns,
                                 learning::ClassScorer& scorer);

}  // namespace shoal::routing
