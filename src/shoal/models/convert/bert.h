// The BERT half of convert.h: metadata, vocabulary and tensor names. Inside models/convert only. Threads: any.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <boost/json/fwd.hpp>

#include "shoal/base/result.h"
#include "shoal/gguf/writer.h"
#include "shoal/models/convert/plan.h"
#include "shoal/models/convert/weights.h"

namespace shoal::models::convert {

// Errors: kModelInvalid, kUnimplemented.
[[nodiscard]] Result<void> write_bert_metadata(const boost::json::object& config, const std::filesystem::path& folder,
                                               gguf::Writer& writer);

// "encoder.layer.3.output.dense.weight" -> "blk.3.ffn_down.weight"; empty for tensors that inference does not use.
// Errors: kModelInvalid for a name that BERT does not have.
[[nodiscard]] Result<std::string> bert_tensor_name(const std::string& name);

// Every tensor that inference uses. Points into `tensors`. Errors: kModelInvalid.
[[nodiscard]] Result<std::vector<PlannedTensor>> plan_bert_tensors(const WeightMap& tensors);

}  // namespace shoal::models::convert
