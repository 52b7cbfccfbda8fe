// Python that a model wrote, run with the row's tests in the sandbox.
#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

#include <fmt/format.h>

#include "shoal/base/sha256.h"
#include "shoal/base/text.h"
#include "shoal/evaluation/graders/parts.h"
#include "shoal/sandbox/confined.h"
#include "shoal/wire/json_text.h"

namespace shoal::evaluation {
namespace {

// Runs the answer, then each test for itself; a line for each that says how it went. The lines begin with a mark that
// the answer cannot know by heart, so that one that prints or exits early does not pass: it guards against code that
// is wrong, not against code that was written to read its own grader.
constexpr std::string_view kRunner = R"py(
def _shoal_run(code, tests, mark):
    import sys
    out = sys.stdout
    scope = {"__name__": "answer"}
    try:
        exec(compile(code, "answer.py", "exec"), scope)
    except BaseException as fault:
        out.write("\n%s code %s: %s\n" % (mark, type(fault).__name__, str(fault)[:200].replace("\n", " ")))
        out.flush()
        return
    for number, test in enumerate(tests):
        try:
            exec(compile(test, "test.py", "exec"), scope)
            said = "ok"
        except BaseException as fault:
            said = "%s: %s" % (type(fault).__name__, str(fault)[:200].replace("\n", " "))
        out.write("\n%s %d %s\n" % (mark, number, said))
        out.flush()
)py";

std::string find_python(const std::string& given) {
  if (!given.empty()) return given;
  for (const char* const place : {"/usr/bin/python3", "/usr/local/bin/python3", "/bin/python3"}) {
    std::error_code error;
    if (std::filesystem::exists(place, error)) return place;
  }
  return "";
}

// A Python literal: JSON's strings are ones, as long as they are ASCII or UTF-8 without lone surrogates.
std::string literal(std::string_view text) {
  return base::json_string(text);
}

std::string mark_of(std::string_view code, const std::vector<std::string>& tests) {
  base::Sha256 hash;
  hash.update(code);
  for (const std::string& test : tests) hash.update(test);
  return hash.finish().substr(0, 24);
}

struct Outcome {
  std::size_t passed = 0;
  std::string first_fault;
};

Outcome read_outcome(std::string_view output, std::string_view mark, std::size_t tests) {
  Outcome out;
  std::size_t next = 0;
  while (!output.empty()) {
    const std::size_t end = output.find('\n');
    std::string_view line = output.substr(0, end);
    output.remove_prefix(end == std::string_view::npos ? output.size() : end + 1);
    if (!line.starts_with(mark)) continue;
    line.remove_prefix(std::min(line.size(), mark.size() + 1));
    if (line.starts_with("code ")) {
      out.first_fault = std::string(line.substr(5));
      return out;
    }
    const std::string wanted = fmt::format("{} ", next);
    if (!line.starts_with(wanted) || next >= tests) continue;
    line.remove_prefix(wanted.size());
    if (line == "ok") {
      ++out.passed;
    } else if (out.first_fault.empty()) {
      out.first_fault = fmt::format("test {}: {}", next + 1, line);
    }
    ++next;
  }
  if (next < tests && out.first_fault.empty()) out.first_fault = fmt::format("it ended before test {}", next + 1);
  return out;
}

}  // namespace

std::optional<std::string_view> fenced(std::string_view answer) {
  const std::size_t open = answer.find("```");
  if (open == std::string_view::npos) return std::nullopt;
  const std::size_t line = answer.find('\n', open);
  if (line == std::string_view::npos) return std::nullopt;
  const std::string_view rest = answer.substr(line + 1);
  return rest.substr(0, rest.find("```"));
}

Result<Grade> grade_code(const GraderSettings& settings, const Gold& gold, std::string_view answer) {
  const std::string python = find_python(settings.python);
  if (python.empty() || !std::filesystem::path(python).is_absolute()) {
    return Error(ErrorCode::kNotFound,
                 "the grader code needs Python 3: there is none at /usr/bin/python3; install it, "
                 "or set `python` to the path of one");
  }
  const std::string_view code = fenced(answer).value_or(answer);
  const std::string mark = mark_of(code, gold.tests);
  std::string program(kRunner);
  program += fmt::format("_shoal_run({}, [", literal(code));
  for (const std::string& test : gold.tests) program += literal(test) + ",";
  program += fmt::format("], {})\n", literal(mark));
  sandbox::ConfinedLimits limits;
  limits.wall_ms = settings.timeout_s * 1000;
  // Later than the wall clock's, which says why it ended: a loop alone on a core meets both at the same moment.
  limits.cpu_s = static_cast<std::uint64_t>(settings.timeout_s) + 1;
  limits.memory_mib = static_cast<std::uint64_t>(settings.memory_mib);
  const sandbox::ConfinedOutcome ran =
      SHOAL_TRY(sandbox::run_confined({python, "-I", "-S", "-B", "-"}, program, limits));
  const Outcome read = read_outcome(ran.output, mark, gold.tests.size());
  const double score = static_cast<double>(read.passed) / static_cast<double>(gold.tests.size());
  std::string why = fmt::format("{} of {} tests pass", read.passed, gold.tests.size());
  if (ran.late) why += fmt::format("; it did not end within {} s", settings.timeout_s);
  if (!ran.late && !read.first_fault.empty()) why += "; " + base::escape_control(read.first_fault);
  return Grade{.score = score, .right = score >= 1, .why = std::move(why)};
}

}  // namespace shoal::evaluation
