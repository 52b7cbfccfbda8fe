// Which answers of a trained task its certificate is for.
#include "shoal/routing/tasks.h"

#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace shoal::routing {
namespace {

Task certified(double risk = 0.05) {
  Certificate certificate;
  certificate.key.quantisation = "fused";
  certificate.shown.options = {.risk = risk, .confidence = 0.95};
  return {
      .name = "kinds", .model = learning::ClassModel{}, .certificate = std::move(certificate), .no_certificate = {}};
}

std::string gap(const Task& task, double risk, double confidence) {
  const FoundCertificate found = find_certificate(task, risk, confidence);
  if (found.certificate != nullptr) return found.certificate == &*task.certificate ? "none" : "a copy";
  return found.gap->field + " " + found.gap->value + ", for " + found.gap->wanted;
}

TEST(Tasks, ACertificateIsForTheWayThatWasCertified) {
  const Task task = certified();
  EXPECT_EQ(why_void(task, "fused"), "");
  EXPECT_EQ(why_void(task, "hashed"), "it is for answers of the fused model, and these are of the hashed one");
}

TEST(Tasks, WithoutACertificateTheReasonIsThatOfItsFile) {
  Task task = certified();
  task.certificate.reset();
  EXPECT_EQ(why_void(task, "fused"), "") << "nobody asked for one";
  EXPECT_EQ(gap(task, 0.05, 0.95), "certificate none, for one of `shoal tune certify kinds`");
  task.no_certificate = "it is for another training";
  EXPECT_EQ(why_void(task, "fused"), "it is for another training");
  EXPECT_EQ(gap(task, 0.05, 0.95), "certificate it is for another training, for one of `shoal tune certify kinds`");
}

TEST(Tasks, ACertificateIsForItsRiskAndAnyLargerOne) {
  const Task task = certified(0.05);
  EXPECT_EQ(gap(task, 0.05, 0.95), "none");
  EXPECT_EQ(gap(task, 0.10, 0.95), "none");
  EXPECT_EQ(gap(task, 0.02, 0.95), "risk 0.02, for 0.05");
  EXPECT_EQ(gap(task, 0.05, 0.90), "none");
  EXPECT_EQ(gap(task, 0.05, 0.99), "risk_confidence 0.99, for 0.95");
}

}  // namespace
}  // namespace shoal::routing
