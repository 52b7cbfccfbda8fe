// Which tensors change and which stay when a model is rewritten in another type, and why a type does not apply.
#include "shoal/gguf/rewrite_plan.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace shoal::gguf {
namespace {

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kF16 = 1;
constexpr std::uint32_t kQ4 = 2;
constexpr std::uint32_t kQ4_1 = 3;
constexpr std::uint32_t kQ8 = 8;
constexpr std::uint32_t kQ4_K = 12;

Tensor tensor(std::string name, std::vector<std::uint64_t> dims, std::uint32_t type) {
  return {.name = std::move(name), .dims = std::move(dims), .type = type, .offset = 0, .bytes = 0};
}

// A model of `type` with rows of 288 and tied embeddings.
Header model(std::uint32_t type, std::uint32_t embedding) {
  Header header;
  header.tensors = {
      tensor("token_embd.weight", {288, 100}, embedding),  tensor("blk.0.attn_norm.weight", {288}, kF32),
      tensor("blk.0.attn_q.weight", {288, 288}, type),     tensor("blk.0.attn_q.bias", {288}, kF32),
      tensor("blk.0.ffn_gate_inp.weight", {288, 8}, kF32), tensor("blk.0.ffn_up_exps.weight", {288, 64, 8}, type)};
  return header;
}

std::vector<std::uint32_t> planned(const Header& header, std::uint32_t type) {
  const auto plan = plan_rewrite(header, type);
  EXPECT_TRUE(plan.ok()) << plan.error().message();
  return plan.ok() ? plan->types : std::vector<std::uint32_t>();
}

std::string refusal(const Header& header, std::uint32_t type) {
  const auto plan = plan_rewrite(header, type);
  return plan.ok() ? "" : plan.error().message();
}

TEST(RewritePlan, MatricesChangeAndTheRestStays) {
  const Header header = model(kQ4_1, kQ4_1);
  EXPECT_EQ(planned(header, kQ8), (std::vector<std::uint32_t>{kQ8, kF32, kQ8, kF32, kF32, kQ8}));
  const auto plan = plan_rewrite(header, kQ8);
  EXPECT_EQ(plan->changed, 3U);
  // 34 bytes for 32 weights.
  EXPECT_EQ(plan->weight_bytes, (288 * 100 + 288 * 288 + 288 * 64 * 8) / 32 * 34 + 4 * (288 + 288 + 288 * 8));
}

TEST(RewritePlan, TheOutputKeepsMoreBitsThanTheRest) {
  EXPECT_EQ(planned(model(kF16, kF16), kQ4)[0], kQ8) << "tied: the embedding is the output";
  EXPECT_EQ(planned(model(kQ8, kQ4_1), kQ4)[0], kQ4_1) << "it has fewer already, and gains nothing by more";
  Header untied = model(kF16, kF16);
  untied.tensors.push_back(tensor("output.weight", {288, 100}, kF16));
  EXPECT_EQ(planned(untied, kQ4).front(), kQ4) << "only looked up";
  EXPECT_EQ(planned(untied, kQ4).back(), kQ8);
}

TEST(RewritePlan, FloatsInAQuantisedFileStayAndThoseOfAFloatFileDoNot) {
  Header mixed = model(kQ4, kQ8);
  mixed.tensors.push_back(tensor("blk.0.special.weight", {288, 64}, kF32));
  EXPECT_EQ(planned(mixed, kQ8).back(), kF32);
  EXPECT_EQ(planned(model(kF32, kF32), kQ8)[2], kQ8);
}

TEST(RewritePlan, ATypeThatDoesNotApplyIsRefusedWithTheReason) {
  EXPECT_EQ(refusal(model(kQ4_1, kQ4_1), kQ4_K),
            "rows of 288 in blk.0.attn_q.weight are no multiple of the 256 weights of a Q4_K block");
  EXPECT_EQ(refusal(model(kQ4, kQ8), kQ4), "the model has this type already");
  Header part = model(kQ4_1, kQ4_1);
  part.metadata["split.count"] = std::uint64_t{3};
  EXPECT_EQ(refusal(part, kQ8), "the model is one file of several");
}

TEST(RewritePlan, TheMainTypeIsThatOfMostWeights) {
  EXPECT_EQ(main_type(model(kQ4_1, kF16)), kQ4_1);
  EXPECT_EQ(main_type(Header()), kF32);
}

TEST(GgufTypes, AreFoundByNameInAnyCase) {
  EXPECT_EQ(type_by_name("q4_k"), kQ4_K);
  EXPECT_EQ(type_by_name("Q4"), std::nullopt);
  EXPECT_DOUBLE_EQ(bits_per_weight(kQ8), 8.5);
}

}  // namespace
}  // namespace shoal::gguf
