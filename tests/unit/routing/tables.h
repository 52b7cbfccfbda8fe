// Tables for tests: the confidence is the logistic function of four weights on the plain features.
#pragma once

#include "shoal/routing/calibration.h"

namespace shoal::routing {

struct Weights {
  double first = 0;
  double mean = 0;
  double least = 0;
  double log_tokens = 0;
};

inline Table table_of(Weights weights, double bias, std::int32_t tokens = 0) {
  Table table;
  table.key = {.weights = "b179c9523d0e6a0f",
               .quantisation = "Q4_1",
               .chat_template = "c0ffee",
               .sampler = "greedy",
               .task = "snips",
               .tokens = tokens};
  table.logistic.spread = {1, 1, 1, 1};
  table.logistic.weight = {weights.first, weights.mean, weights.least, weights.log_tokens};
  table.logistic.bias = bias;
  table.fitted_on = 1000;
  table.fitted_right = 0.5;
  table.held_out = {.answers = 300, .right = 0.5, .brier = 0.2, .log_loss = 0.6, .ece = 0.03, .auroc = 0.7, .bins = {}};
  table.model = "small";
  return table;
}

}  // namespace shoal::routing
