// Certificates: what certify() showed, as files: which thresholds keep which promise, for one model as it runs, one
// task, and the calibration tables that made the scores. JSON that a person can read, a version first; a folder of
// them is read at start and at each reload. A certificate is for what it was made with and nothing else: where one
// thing differs it is void, and which thing that was is told. Owned by value; a set of them is immutable and shared.
// Threads: any; files block on the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shoal/base/result.h"
#include "shoal/routing/calibration.h"
#include "shoal/routing/calibration_file.h"
#include "shoal/routing/certify.h"

namespace shoal::routing {

// How answers are judged: a stream at its K-th token or at its end, when that comes first; or an answer that is
// whole, by the less sure of the two. See prefix_judge.h. Each is a gate with a risk of its own.
enum class Gate : std::uint8_t { kStream, kWhole };
[[nodiscard]] std::string_view gate_name(Gate gate);  // "stream", "whole"

struct Certificate {
  TableKey key;  // its tokens: commit_tokens of the route. No weights: of scores from a file, which no server has
  Gate gate = Gate::kStream;
  std::string scores;  // scores_name() of the tables that made them; of a file: "file"
  Certification shown;
  std::string excludes;  // what the labels were not: "out-of-scope"; empty: nothing is left out
  std::string model;     // its name then, for people
  std::string data;      // SHA-256 of the file of labels
  std::string date;      // "2026-11-23"
  std::string command;
  std::string sha256;  // of the file, as it is printed; empty: it was not read from one

  // Of the loosest that is certified; further back in the walk for a drift, up to the strictest.
  [[nodiscard]] double threshold(std::size_t steps_back = 0) const;
};

// The SHA-256 of both tables. Empty where one has none.
[[nodiscard]] std::string scores_name(const Calibration& calibration);

[[nodiscard]] std::string print_certificate(const Certificate& certificate);
// Errors: kInvalidConfig, with the field at fault, as parse_table().
[[nodiscard]] Result<Certificate> parse_certificate(std::string_view text);

struct Certificates {
  std::vector<Certificate> certificates;
  std::vector<BadFile> bad;
};
// Every *.json of the folder, by name; a folder that is not there has none.
[[nodiscard]] Certificates load_certificates(const std::filesystem::path& folder);

// "reviews.smollm2-135m-instruct.b179c9523d0e.stream.k16.risk5.json"
[[nodiscard]] std::string file_name(const Certificate& certificate);
// Into the folder, which is made; the file is there whole or not at all. Errors: kIo.
[[nodiscard]] Result<std::filesystem::path> save_certificate(const Certificate& certificate,
                                                             const std::filesystem::path& folder);

// What is to hold now.
struct Promise {
  TableKey key;  // of what runs, with the tokens after which the decision falls
  Gate gate = Gate::kStream;
  std::string scores;  // scores_name() of the tables in use
  double risk = 0.05;
  double confidence = 0.95;
};
// The certificate that has it, of several the one that keeps most; or what differs from the nearest one.
struct FoundCertificate {
  const Certificate* certificate = nullptr;  // points into the span
  std::optional<Gap> gap;
};
[[nodiscard]] FoundCertificate find_certificate(std::span<const Certificate> certificates, const Promise& promise);

}  // namespace shoal::routing
