// The Llama half of convert.h: what config.json says, and which tensors a model of it has. What llama.cpp's graph of
// the architecture does not honour is refused by name. Inside models/convert only. Threads: any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"
#include "shoal/gguf/writer.h"
#include "shoal/models/convert/plan.h"
#include "shoal/models/convert/weights.h"

namespace shoal::models::convert {

struct LlamaConfig {
  std::uint32_t context_length = 0;
  std::uint32_t hidden = 0;
  std::uint32_t feed_forward = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  bool states_head_dim = false;  // rather than hidden / heads
  std::uint32_t vocabulary = 0;
  double rms_epsilon = 0;
  double rope_theta = 0;
  double linear_scaling = 0;        // 0: none
  std::vector<float> rope_factors;  // of the llama3 scaling; empty: none
  bool tied_embeddings = false;
};

// Errors: kModelInvalid; kUnimplemented for what is not honoured, by its key.
[[nodiscard]] Result<LlamaConfig> read_llama_config(const boost::json::object& config);

void write_llama_metadata(const LlamaConfig& config, const std::string& name, gguf::Writer& writer);

// Every tensor of the model, checked for presence and shape. Points into `tensors`.
// Errors: kModelInvalid for one that is missing, has another shape or is not known.
[[nodiscard]] Result<std::vector<PlannedTensor>> plan_llama_tensors(const LlamaConfig& config,
                                                                    const WeightMap& tensors);

struct Llama3Scaling {
  double factor = 0;
  double low_frequency_factor = 0;
  double high_frequency_factor = 0;
  double original_context = 0;
};
// By what each frequency is divided: one factor per pair of a head's dimensions.
// Source: _compute_llama3_parameters of transformers' modeling_rope_utils.py.
[[nodiscard]] std::vector<float> llama3_rope_factors(const Llama3Scaling& scaling, double theta,
                                                     std::uint32_t head_dim);

}  // namespace shoal::models::convert
