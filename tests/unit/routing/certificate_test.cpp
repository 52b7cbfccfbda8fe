#include "shoal/routing/certificate.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "shoal/statistics/random.h"

#include "unit/routing/tables.h"

namespace shoal::routing {
namespace {

namespace fs = std::filesystem;

Certificate made(double risk = 0.10) {
  statistics::Random random(1);
  std::vector<ScoredLabel> labels;
  for (int i = 0; i < 1'000; ++i) {
    const double score = random.uniform();
    labels.push_back(
        {.score = score, .right = !random.chance(0.4 * (1 - score) * (1 - score)), .group = std::to_string(i)});
  }
  Certificate out;
  out.key = table_of({}, 0, 16).key;
  out.scores = "aaaa+bbbb";
  out.shown = certify(labels, {.risk = risk, .confidence = 0.95}).value();
  out.excludes = "out-of-scope";
  out.model = "small";
  out.data = "d4d4";
  out.date = "2026-11-23";
  out.command = "shoal route certify --task \"snips\"";
  return out;
}

Promise promise_of(const Certificate& certificate) {
  return {.key = certificate.key,
          .gate = certificate.gate,
          .scores = certificate.scores,
          .risk = certificate.shown.options.risk,
          .confidence = certificate.shown.options.confidence};
}

std::string difference(const Certificate& certificate, const Promise& promise) {
  const std::vector<Certificate> all = {certificate};
  const FoundCertificate found = find_certificate(all, promise);
  if (found.certificate != nullptr) return "none";
  return found.gap->field + " " + found.gap->value + ", for " + found.gap->wanted;
}

TEST(Certificate, ReadsWhatItPrinted) {
  const Certificate certificate = made();
  const auto read = parse_certificate(print_certificate(certificate));
  ASSERT_TRUE(read.ok()) << read.error().message();
  EXPECT_EQ(read->key, certificate.key);
  EXPECT_EQ(read->shown, certificate.shown);
  EXPECT_EQ(print_certificate(*read), print_certificate(certificate));
  EXPECT_EQ(read->threshold(), certificate.shown.certified.back().threshold);
}

TEST(Certificate, GoesBackToStricterThresholds) {
  const Certificate certificate = made();
  ASSERT_GT(certificate.shown.certified.size(), 3U);
  EXPECT_LT(certificate.threshold(0), certificate.threshold(1));
  EXPECT_LT(certificate.threshold(1), certificate.threshold(2));
  EXPECT_EQ(certificate.threshold(1'000), certificate.shown.certified.front().threshold);
}

TEST(Certificate, SaysWhatDiffers) {
  const Certificate certificate = made();
  const Promise promise = promise_of(certificate);
  EXPECT_EQ(difference(certificate, promise), "none");
  const auto with = [&](auto change) {
    Promise other = promise;
    change(other);
    return difference(certificate, other);
  };
  EXPECT_EQ(with([](Promise& p) { p.key.task = "mail"; }), "task mail, for snips");
  EXPECT_EQ(with([](Promise& p) { p.key.quantisation = "Q8_0"; }), "quantisation Q8_0, for Q4_1");
  EXPECT_EQ(with([](Promise& p) { p.key.weights = "0123456789abcdef"; }), "weights 0123456789ab, for b179c9523d0e");
  EXPECT_EQ(with([](Promise& p) { p.key.chat_template = "none"; }), "chat_template none, for c0ffee");
  EXPECT_EQ(with([](Promise& p) { p.key.sampler = "temperature 1"; }), "sampler temperature 1, for greedy");
  EXPECT_EQ(with([](Promise& p) { p.key.tokens = 8; }), "commit_tokens 8, for 16");
  EXPECT_EQ(with([](Promise& p) { p.gate = Gate::kWhole; }), "gate whole, for stream");
  EXPECT_EQ(with([](Promise& p) { p.scores = "aaaa+cccc"; }), "calibration table cccc, for bbbb");
  EXPECT_EQ(with([](Promise& p) { p.scores = "dddd+bbbb"; }), "calibration table dddd, for aaaa");
  EXPECT_EQ(with([](Promise& p) { p.scores = ""; }), "calibration table none, for aaaa");
  EXPECT_EQ(with([](Promise& p) { p.risk = 0.05; }), "risk 0.05, for 0.1");
  EXPECT_EQ(with([](Promise& p) { p.confidence = 0.99; }), "risk_confidence 0.99, for 0.95");
  // What promises more than is wanted will do.
  EXPECT_EQ(with([](Promise& p) { p.risk = 0.2; }), "none");
  EXPECT_EQ(with([](Promise& p) { p.confidence = 0.9; }), "none");
}

TEST(FindCertificate, TakesTheOneThatKeepsMost) {
  const std::vector<Certificate> all = {made(0.05), made(0.10)};
  Promise promise = promise_of(all[1]);
  EXPECT_EQ(find_certificate(all, promise).certificate, &all[1]);
  promise.risk = 0.07;
  EXPECT_EQ(find_certificate(all, promise).certificate, &all[0]);
  promise.risk = 0.01;
  EXPECT_EQ(find_certificate(all, promise).certificate, nullptr);
}

TEST(FindCertificate, SaysWhereThereIsNone) {
  const FoundCertificate found = find_certificate({}, promise_of(made()));
  EXPECT_EQ(found.certificate, nullptr);
  EXPECT_EQ(found.gap->field, "certificate");
  // Scores of a file are no server's.
  std::vector<Certificate> of_file = {made()};
  of_file[0].key.weights.clear();
  of_file[0].scores = "file";
  Promise promise = promise_of(of_file[0]);
  EXPECT_EQ(find_certificate(of_file, promise).certificate, nullptr);
}

std::string changed(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Certificate, NamesWhatIsWrongInAFile) {
  const Certificate certificate = made();
  const std::string good = print_certificate(certificate);
  const auto fault = [](const std::string& text) {
    const auto read = parse_certificate(text);
    return read.ok() ? std::string("none") : read.error().message();
  };
  EXPECT_EQ(fault(good), "none");
  EXPECT_EQ(fault("[]"), "it is not a JSON object");
  EXPECT_EQ(fault(changed(good, "shoal-certificate-1", "shoal-certificate-9")),
            "format: wanted \"shoal-certificate-1\"");
  EXPECT_EQ(fault(changed(good, "\"gate\": \"stream\"", "\"gate\": \"sluice\"")),
            "gate: wanted \"stream\" or \"whole\"");
  EXPECT_EQ(fault(changed(good, "\"task\": \"snips\"", "\"task\": \"\"")), "key.task: wanted a name");
  EXPECT_EQ(fault(changed(good, "\"confidence\": 0.95", "\"confidence\": 1")).substr(0, 11), "confidence:");
  // The numbers must be a proof: nobody gets 1 % by writing it.
  EXPECT_EQ(fault(changed(good, "\"risk\": 0.1", "\"risk\": 0.01")),
            "certified: wanted thresholds whose labels show the risk");
}

TEST(Certificate, IsKeptInAFile) {
  const fs::path folder = fs::path(testing::TempDir()) / "certificates";
  fs::remove_all(folder);
  EXPECT_TRUE(load_certificates(folder).certificates.empty());
  const auto path = save_certificate(made(), folder);
  ASSERT_TRUE(path.ok());
  EXPECT_EQ(path->filename(), "snips.small.b179c9523d0e.stream.k16.risk10.json");
  std::ofstream(folder / "a.json") << "{}";
  const Certificates loaded = load_certificates(folder);
  ASSERT_EQ(loaded.certificates.size(), 1U);
  EXPECT_EQ(print_certificate(loaded.certificates[0]), print_certificate(made()));
  ASSERT_EQ(loaded.bad.size(), 1U);
  EXPECT_EQ(loaded.bad[0].path.filename(), "a.json");
  fs::remove_all(folder);
}

TEST(Certificate, NamesItsScoresByBothTables) {
  Table prefix = table_of({}, 0, 16);
  Table whole = table_of({}, 0);
  Calibration calibration{.prefix = &prefix, .whole = &whole, .gap = {}};
  EXPECT_EQ(scores_name(calibration), "") << "tables that are in no file have no name";
  prefix.sha256 = table_sha256(prefix);
  whole.sha256 = table_sha256(whole);
  EXPECT_EQ(scores_name(calibration), prefix.sha256 + "+" + whole.sha256);
  EXPECT_NE(prefix.sha256, whole.sha256);
  calibration.prefix = nullptr;
  EXPECT_EQ(scores_name(calibration), "none+" + whole.sha256);
}

}  // namespace
}  // namespace shoal::routing
