#include "shoal/config/keys.h"

#include <algorithm>
#include <array>
#include <limits>

namespace shoal::config {
namespace {

template <auto kSection, auto kMember>
Value read(const Config& config) {
  return (config.*kSection).*kMember;
}

template <auto kSection, auto kMember>
void write(Config& config, Value value) {
  auto& target = (config.*kSection).*kMember;
  target = std::get<std::remove_cvref_t<decltype(target)>>(std::move(value));
}

constexpr std::int64_t kDay = 86'400'000;
constexpr std::int64_t kWhole = 9;  // digits of an amount before its point
constexpr std::int64_t kMicro = 6;  // and after it: micro-dollars
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::array<std::string_view, 2> kSandboxes = {"required", "none"};
constexpr std::array<std::string_view, 3> kKvTypes = {"f16", "q8_0", "q4_0"};
constexpr std::array<std::string_view, 2> kOptimise = {"free", "off"};
constexpr std::array<std::string_view, 5> kLevels = {"debug", "info", "warn", "error", "off"};
constexpr std::array<std::string_view, 3> kFormats = {"auto", "text", "json"};
constexpr std::array<std::string_view, 2> kReceipts = {"all", "paid"};

#define SHOAL_FIELD(section, Struct, member) \
  &read<&Config::section, &Struct::member>, &write<&Config::section, &Struct::member>
#define SHOAL_SERVER(member) SHOAL_FIELD(server, ServerConfig, member)
#define SHOAL_LEDGER(member) SHOAL_FIELD(ledger, LedgerConfig, member)
#define SHOAL_ENGINE(member) SHOAL_FIELD(engine, EngineConfig, member)

constexpr auto kHot = Apply::kHot;
constexpr auto kRestart = Apply::kRestart;

// clang-format off
constexpr std::array kKeys = {
    Key{{"server.host", Type::kString, "", 0, 0, {}, kRestart, "Address to listen on: an IP literal or localhost. One that other machines can reach needs keys."}, SHOAL_SERVER(host)},
    Key{{"server.port", Type::kInteger, "", 0, 65535, {}, kRestart, "TCP port to listen on. 0: any free one; `shoal serve` prints which."}, SHOAL_SERVER(port)},
    Key{{"server.data_dir", Type::kPath, "", 0, 0, {}, kRestart, "Folder of models and state. Empty: $XDG_DATA_HOME/shoal, or ~/.local/share/shoal."}, SHOAL_SERVER(data_dir)},
    Key{{"server.allowed_hosts", Type::kStringList, "", 0, 0, {}, kRestart, "Host names, beside IP literals and localhost, that requests may address. Guards against DNS rebinding."}, SHOAL_SERVER(allowed_hosts)},
    Key{{"server.allowed_origins", Type::kStringList, "", 0, 0, {}, kRestart, "Origins of web pages that may call the server, such as https://chat.example.org."}, SHOAL_SERVER(allowed_origins)},
    Key{{"server.api_keys_file", Type::kPath, "", 0, 0, {}, kHot, "File of the keys that clients may send, one a line. Empty: no key is asked for."}, SHOAL_SERVER(api_keys_file)},
    Key{{"server.api_keys_env", Type::kString, "", 0, 0, {}, kRestart, "Name of the environment variable that holds the keys, one a line. In place of api_keys_file."}, SHOAL_SERVER(api_keys_env)},
    Key{{"server.max_body_bytes", Type::kInteger, "bytes", 1024, std::int64_t{1} << 30, {}, kRestart, "Largest request body."}, SHOAL_SERVER(max_body_bytes)},
    Key{{"server.max_connections", Type::kInteger, "", 1, 1'000'000, {}, kRestart, "Connections held at once; the next one is answered 503."}, SHOAL_SERVER(max_connections)},
    Key{{"server.request_timeout_ms", Type::kInteger, "ms", 100, kDay, {}, kRestart, "The longest that one answer may take."}, SHOAL_SERVER(request_timeout_ms)},
    Key{{"server.drain_timeout_ms", Type::kInteger, "ms", 0, kDay, {}, kRestart, "How long running answers may go on after SIGTERM."}, SHOAL_SERVER(drain_timeout_ms)},
    Key{{"server.admin_socket", Type::kPath, "", 0, 0, {}, kRestart, "Unix socket of the admin API, for its owner only. Empty: $XDG_RUNTIME_DIR/shoal/admin.sock, or admin.sock in the data folder."}, SHOAL_SERVER(admin_socket)},
    Key{{"engine.default_model", Type::kString, "", 0, 0, {}, kRestart, "Model of requests that name none."}, SHOAL_ENGINE(default_model)},
    Key{{"engine.default_embedding_model", Type::kString, "", 0, 0, {}, kRestart, "Model of embedding requests that name none. Empty: the first that embeds."}, SHOAL_ENGINE(default_embedding_model)},
    Key{{"engine.preload", Type::kStringList, "", 0, 0, {}, kRestart, "Models to load at start; others are loaded by their first request."}, SHOAL_ENGINE(preload)},
    Key{{"engine.sandbox", Type::kChoice, "", 0, 0, kSandboxes, kRestart, "required: a worker that cannot lock itself up does not start. none: workers run without a sandbox."}, SHOAL_ENGINE(sandbox)},
    Key{{"engine.memory_budget_mib", Type::kInteger, "MiB", 0, std::int64_t{1} << 24, {}, kRestart, "Memory that all workers together may be predicted to use. 0: three quarters of what this machine or its cgroup has."}, SHOAL_ENGINE(memory_budget_mib)},
    Key{{"engine.context_length", Type::kInteger, "tokens", 0, std::int64_t{1} << 24, {}, kRestart, "Context of a worker, shared by its slots. 0: what the model was trained for, times slots, at most 8192."}, SHOAL_ENGINE(context_length)},
    Key{{"engine.slots", Type::kInteger, "", 1, 64, {}, kRestart, "Requests that a worker decodes in one batch."}, SHOAL_ENGINE(slots)},
    Key{{"engine.threads", Type::kInteger, "", 0, 256, {}, kRestart, "Compute threads of a worker that is busy alone, at most one per core. 0: one per core. Workers that are busy at the same time share the cores."}, SHOAL_ENGINE(threads)},
    Key{{"engine.ubatch", Type::kInteger, "tokens", 16, 4096, {}, kRestart, "The most tokens of a compute step; one takes fewer where answers or newcomers would wait."}, SHOAL_ENGINE(ubatch)},
    Key{{"engine.kv_type", Type::kChoice, "", 0, 0, kKvTypes, kRestart, "How the KV cache stores keys and values: f16, or in blocks of 32 with a scale: q8_0 takes 53 % of the memory, q4_0 28 % and some of the quality. A model whose heads are no multiple of 32 wide keeps f16, with a warning, and so does every one with engine.exact."}, SHOAL_ENGINE(kv_type)},
    Key{{"engine.mmap", Type::kBool, "", 0, 0, {}, kRestart, "Map weights from the file in place of reading them: shared between workers, slower."}, SHOAL_ENGINE(mmap)},
    Key{{"engine.exact", Type::kBool, "", 0, 0, {}, kRestart, "Answers do not depend on requests beside them or prefixes kept from before, bit for bit. Slower, and each slot has its own share of the context."}, SHOAL_ENGINE(exact)},
    Key{{"engine.prefix_cache", Type::kBool, "", 0, 0, {}, kRestart, "Keep what was computed of a prompt for later prompts of the same client that begin alike."}, SHOAL_ENGINE(prefix_cache)},
    Key{{"engine.prefix_cache_mib", Type::kInteger, "MiB", 0, 1'000'000, {}, kRestart, "Memory of a worker for prompt prefixes that lost their place in its context. 0: they are computed again."}, SHOAL_ENGINE(prefix_cache_mib)},
    Key{{"engine.speculation", Type::kBool, "", 0, 0, {}, kRestart, "Guess tokens where an answer copies what stood before, and compute them together. It stops by itself while it does not pay."}, SHOAL_ENGINE(speculation)},
    Key{{"engine.max_queue", Type::kInteger, "", 0, 100'000, {}, kRestart, "Requests per model that may wait beyond those in its slots; the next one is answered 429."}, SHOAL_ENGINE(max_queue)},
    Key{{"engine.worker_memory_limit_mib", Type::kInteger, "MiB", 0, std::int64_t{1} << 24, {}, kRestart, "Hard limit of one worker's memory. 0: none."}, SHOAL_ENGINE(worker_memory_limit_mib)},
    Key{{"engine.idle_unload_ms", Type::kInteger, "ms", 0, kMax, {}, kRestart, "A model without a request for this long is unloaded. 0: never."}, SHOAL_ENGINE(idle_unload_ms)},
    Key{{"engine.turn_ms", Type::kInteger, "ms", 0, kMax, {}, kRestart, "A busy model keeps its memory so long while another model waits for it; then its new requests wait, and it is unloaded after those that run."}, SHOAL_ENGINE(turn_ms)},
    Key{{"engine.load_timeout_ms", Type::kInteger, "ms", 100, kDay, {}, kRestart, "The longest that loading a model may take."}, SHOAL_ENGINE(load_timeout_ms)},
    Key{{"engine.heartbeat_ms", Type::kInteger, "ms", 100, kDay, {}, kRestart, "Time between two checks that a busy worker still decodes."}, SHOAL_ENGINE(heartbeat_ms)},
    Key{{"engine.heartbeat_timeout_ms", Type::kInteger, "ms", 100, kDay, {}, kRestart, "A worker that does not answer a check for this long is restarted."}, SHOAL_ENGINE(heartbeat_timeout_ms)},
    Key{{"engine.progress_timeout_ms", Type::kInteger, "ms", 100, kDay, {}, kRestart, "A worker with requests that computes nothing for this long is restarted."}, SHOAL_ENGINE(progress_timeout_ms)},
    Key{{"engine.stop_timeout_ms", Type::kInteger, "ms", 0, kDay, {}, kRestart, "How long a worker may take to end before it is killed."}, SHOAL_ENGINE(stop_timeout_ms)},
    Key{{"engine.worker_path", Type::kPath, "", 0, 0, {}, kRestart, "The shoal-worker program. Empty: beside shoal, or in its libexec folder."}, SHOAL_ENGINE(worker_path)},
    Key{{"models.catalogue", Type::kPath, "", 0, 0, {}, kRestart, "TOML file with more models for `shoal pull`, or other sources of those that it knows. Empty: none."}, SHOAL_FIELD(models, ModelsConfig, catalogue)},
    Key{{"models.dirs", Type::kPathList, "", 0, 0, {}, kRestart, "More folders whose GGUF files are used in place."}, SHOAL_FIELD(models, ModelsConfig, dirs)},
    Key{{"models.found", Type::kBool, "", 0, 0, {}, kRestart, "Also look for models of Ollama, LM Studio and the Hugging Face cache on this machine."}, SHOAL_FIELD(models, ModelsConfig, found)},
    Key{{"models.optimise", Type::kChoice, "", 0, 0, kOptimise, kRestart, "free: `shoal pull` rewrites weights in a faster type where that costs next to nothing, measured on this machine. off: models stay as they come."}, SHOAL_FIELD(models, ModelsConfig, optimise)},
    Key{{"egress.allowed", Type::kBool, "", 0, 0, {}, kHot, "Whether anything may be sent to a provider. false keeps every byte on this machine, whatever routes say."}, SHOAL_FIELD(egress, EgressConfig, allowed)},
    Key{{"ledger.daily_usd", Type::kMoney, "", kWhole, kMicro, {}, kHot, "The most that may be spent at all providers on one day (UTC). Empty: no such limit; each provider has its own."}, SHOAL_LEDGER(daily_usd)},
    Key{{"ledger.monthly_usd", Type::kMoney, "", kWhole, kMicro, {}, kHot, "The most that may be spent at all providers in one month (UTC). Empty: no such limit."}, SHOAL_LEDGER(monthly_usd)},
    Key{{"ledger.local_usd_per_hour", Type::kMoney, "", kWhole, kMicro, {}, kHot, "What an hour of computing on this machine is taken to cost. The default is an assumption, not a measurement: set it to what yours costs.", Need::kFilled}, SHOAL_LEDGER(local_usd_per_hour)},
    Key{{"ledger.baseline", Type::kTarget, "", 0, 0, {}, kHot, "What answers are compared with for savings: the provider and model that would have answered all of them. Empty: the first provider of the route that was asked for, if it has one."}, SHOAL_LEDGER(baseline)},
    Key{{"audit.receipts", Type::kChoice, "", 0, 0, kReceipts, kHot, "Which requests leave a receipt in the journal. all: each. paid: those of which something went to a provider with a journal (durability is not none), so that what was answered here, or by a provider that is local and free, is written nowhere; it is missing in `shoal receipts` and in the counts of `shoal costs`."}, SHOAL_FIELD(audit, AuditConfig, receipts)},
    Key{{"log.level", Type::kChoice, "", 0, 0, kLevels, kHot, "The least important lines that are written."}, SHOAL_FIELD(log, LogConfig, level)},
    Key{{"log.format", Type::kChoice, "", 0, 0, kFormats, kRestart, "auto: text on a terminal, one JSON object a line otherwise."}, SHOAL_FIELD(log, LogConfig, format)},
};
// clang-format on
#undef SHOAL_LEDGER
#undef SHOAL_ENGINE
#undef SHOAL_SERVER
#undef SHOAL_FIELD

}  // namespace

std::string Key::variable() const {
  std::string out = "SHOAL_";
  for (const char c : name) {
    if (c == '.') {
      out += "__";
    } else {
      out += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }
  return out;
}

std::span<const Key> keys() {
  return kKeys;
}

const Key* find_key(std::string_view name) {
  const auto* const found = std::ranges::find(kKeys, name, &Key::name);
  return found == kKeys.end() ? nullptr : found;
}

}  // namespace shoal::config
